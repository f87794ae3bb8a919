"""The fold of all facts of a scan is its live row: nothing changed it but what was said about it."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Final, get_args

from pydantic import ValidationError
from sqlalchemy import exists, select
from sqlalchemy.orm import Session

from flows.audit.snapshots import Books, portions, snapshot
from flows.changes import state_of
from models.scan_fold import ScanFact, ScanReceived, fold
from models.tables.books import Fact
from models.tables.scan import Scan

_KINDS: Final[dict[str, type[ScanFact]]] = {kind.__name__: kind for kind in get_args(ScanFact)}


def scans_are_their_facts(books: Books) -> Iterator[str]:
    """Yield each scan whose row is not what its facts make of it."""
    for portion in portions(books, Scan.id, _load):
        for scan, facts in portion:
            yield from _compare(books, scan, facts)
    with snapshot(books.database) as session:
        orphans = select(Fact.subject_id).where(
            Fact.subject_kind == "scan", ~exists().where(Scan.id == Fact.subject_id)
        )
        for scan_id in session.scalars(orphans.distinct().order_by(Fact.subject_id)):
            yield f"scan {scan_id} has facts and no row"


def _load(session: Session, ids: Sequence[str]) -> list[tuple[Scan, list[Fact]]]:
    facts: dict[str, list[Fact]] = defaultdict(list)
    # A scan's facts are written under its lock, so their ids are the order in which they were taken in.
    for fact in session.scalars(select(Fact).where(Fact.subject_id.in_(ids)).order_by(Fact.id)):
        facts[fact.subject_id].append(fact)
    scans = session.scalars(select(Scan).where(Scan.id.in_(ids)).order_by(Scan.id))
    return [(scan, facts[scan.id]) for scan in scans]


def _compare(books: Books, scan: Scan, rows: Sequence[Fact]) -> Iterator[str]:
    try:
        facts = [_KINDS[row.kind].model_validate(row.body) for row in rows]
    except (KeyError, ValidationError):
        yield f"scan {scan.id} has a fact that can't be read"
        return
    first = facts[0] if facts else None
    if not isinstance(first, ScanReceived):
        yield f"scan {scan.id} has no fact of its receipt"
    elif (books.ids.scan(first.site_id, first.digests), first.site_id, first.scanner) != (
        scan.id,
        scan.site_id,
        scan.scanner,
    ):
        yield f"scan {scan.id} is not the one that was received: its id, site or scanner is another's"
    rebuilt, live = fold(facts), state_of(scan)
    wrong = [name for name in vars(live) if getattr(rebuilt, name) != getattr(live, name)]
    if wrong:
        yield f"scan {scan.id} is not what its facts say: {', '.join(wrong)}"
