"""None archived twice, archived means proven: the archive holds exactly the objects that the books say it holds."""

import random
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final

from sqlalchemy import ColumnElement, and_, exists, func, select
from sqlalchemy.orm import Session

from connectors.archive.protocol import Holding, StoredInstance
from flows.audit.snapshots import PORTION, Books, portions, snapshot
from models.facets import OPEN_STEP_STATES
from models.tables.books import Fact
from models.tables.scan import Instance
from models.tables.step import Step

_HELD: Final = ("stored", "proven", "rejected")
# How many objects are read back when not all are.
_SAMPLE: Final = 100


def archive_holds_what_the_books_say(books: Books) -> Iterator[str]:
    """Yield each object that is held and not in the books, twice, or with other bytes; and each that is missing.

    All are compared by name. Read back are all when the audit is full, else a sample.
    """
    hidden: set[str] = set()
    yield from _held(books, hidden)
    share = 1.0 if books.full else _share(books)
    for portion in portions(books, Instance.id, _load, Instance.state.in_(_HELD)):
        for (study, series), some in _by_series(portion.instances).items():
            listed = books.archive.listed(study, series)
            yield from _missing(some, listed, portion, hidden)
            yield from _changed(books, [one for one in some if one.sop_instance_uid in listed], share)


@dataclass(frozen=True)
class _Portion:
    """Some objects, with the ids of those that are just being hidden, and of those whose edition was once stored."""

    instances: Sequence[Instance]
    rejecting: frozenset[int]
    were_stored: frozenset[int]


def _load(session: Session, ids: Sequence[int]) -> _Portion:
    ours = Instance.id.in_(ids)
    return _Portion(
        session.scalars(select(Instance).where(ours).order_by(Instance.id)).all(),
        frozenset(session.scalars(select(Instance.id).where(ours, _reject_is_open()))),
        frozenset(session.scalars(select(Instance.id).where(ours, _was_stored()))),
    )


def _held(books: Books, hidden: set[str]) -> Iterator[str]:
    """Compare what the archive holds with the books; note in ``hidden`` what it holds and no longer offers."""
    seen: set[int] = set()
    holdings = iter(books.archive.holdings())
    while some := list(islice(holdings, PORTION)):
        # The books are asked after the archive: an object is on record before its first byte leaves.
        with snapshot(books.database) as session:
            query = select(Instance).where(Instance.sop_instance_uid.in_({one.sop_instance_uid for one in some}))
            rows = {row.sop_instance_uid: row for row in session.scalars(query)}
        for holding in some:
            uid = holding.sop_instance_uid
            if hash(uid) in seen:
                yield f"the archive holds object {uid} twice"
            seen.add(hash(uid))
            yield from _judged(holding, rows.get(uid))
            if holding.rejected is not None:
                hidden.add(uid)


def _judged(holding: Holding, row: Instance | None) -> Iterator[str]:
    uid = holding.sop_instance_uid
    if row is None:
        yield f"the archive holds object {uid}, which the books do not know"
        return
    if (holding.study_instance_uid, holding.series_instance_uid) != (row.study_instance_uid, row.series_instance_uid):
        yield f"the archive holds object {uid} in another study or series than the books"
    if holding.rejected is None and row.state == "rejected":
        yield f"the archive still offers object {uid} of scan {row.scan_id}, which was rejected"


def _missing(
    instances: Iterable[Instance], listed: frozenset[str], portion: _Portion, hidden: set[str]
) -> Iterator[str]:
    for one in instances:
        uid = one.sop_instance_uid
        if one.state == "rejected":
            if one.id in portion.were_stored and uid not in hidden:
                yield f"the archive lost object {uid} of scan {one.scan_id}, which was rejected and is to be kept"
        elif uid not in listed and one.id not in portion.rejecting:
            yield f"the archive does not offer object {uid} of scan {one.scan_id}, which counts as {one.state}"


def _changed(books: Books, instances: Iterable[Instance], share: float) -> Iterator[str]:
    for one in instances:
        if random.random() >= share:  # noqa: S311 - a sample, no secret
            continue
        stored = StoredInstance(
            study_instance_uid=one.study_instance_uid,
            series_instance_uid=one.series_instance_uid,
            sop_instance_uid=one.sop_instance_uid,
            sha256=one.sha256,
            bytes=one.bytes,
        )
        if books.archive.digest(stored) != one.sha256:
            yield f"the archive gives back other bytes for object {one.sop_instance_uid} of scan {one.scan_id}"


def _share(books: Books) -> float:
    with snapshot(books.database) as session:
        many = session.scalar(select(func.count()).where(Instance.state.in_(_HELD))) or 0
    return min(1.0, _SAMPLE / max(many, 1))


def _by_series(instances: Iterable[Instance]) -> dict[tuple[str, str], list[Instance]]:
    series: dict[tuple[str, str], list[Instance]] = defaultdict(list)
    for one in instances:
        series[one.study_instance_uid, one.series_instance_uid].append(one)
    return series


def _reject_is_open() -> ColumnElement[bool]:
    """Whether an object is just being hidden: then the archive may be ahead of the books."""
    its_reject = and_(Step.subject_id == Instance.scan_id, Step.kind == "reject", Step.edition == Instance.edition)
    return exists().where(its_reject, Step.state.in_(OPEN_STEP_STATES))


def _was_stored() -> ColumnElement[bool]:
    """Whether an object's whole edition once lay in the archive: one that was never sent need not be there."""
    said = and_(Fact.subject_id == Instance.scan_id, Fact.kind == "ObjectsStored")
    return exists().where(said, Fact.body["edition"].as_integer() == Instance.edition)
