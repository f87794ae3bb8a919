"""No scan lost: per site, what was received is moving, archived, set aside, superseded, cancelled or withdrawn."""

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, fields

from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session

from flows.audit.snapshots import Books, snapshot
from models.facets import FileState, Outcome, Storage
from models.tables.books import InboxMessage
from models.tables.scan import Scan, ScanFile


@dataclass(frozen=True)
class SiteAccount:
    """One site's scans: those received, and where they are now."""

    site: str
    received: int
    moving: int = 0
    archived: int = 0
    set_aside: int = 0
    superseded: int = 0
    cancelled: int = 0
    withdrawn: int = 0

    @property
    def accounted(self) -> int:
        """How many scans stand somewhere."""
        return sum(getattr(self, one.name) for one in fields(self) if one.name not in ("site", "received"))


def accounts(books: Books) -> list[SiteAccount]:
    """Return each site's account.

    Received are the files taken into a spool, counted apart from the scans; one whose scan is not registered yet
    is moving.
    """
    with snapshot(books.database) as session:
        received = dict(session.execute(_taken_by_site()).all())
        registered_later = session.execute(_taken_by_site().where(ScanFile.scan_id.is_(None)))
        unregistered = dict(registered_later.all())
        standing: Counter[tuple[str, str]] = Counter()
        for site, outcome, storage, count in session.execute(
            select(Scan.site_id, Scan.outcome, Scan.storage, func.count()).group_by(
                Scan.site_id, Scan.outcome, Scan.storage
            )
        ):
            standing[site, _place(outcome, storage)] += count
    for site, count in unregistered.items():
        standing[site, "moving"] += count
    return [
        SiteAccount(
            site, received.get(site, 0), **{place: count for (at, place), count in standing.items() if at == site}
        )
        for site in sorted({*received, *(site for site, _place_ in standing)})
    ]


def scans_are_conserved(books: Books) -> Iterator[str]:
    """Yield each site whose account does not balance, each file without its scan and each scan without its file.

    Of a gateway only what it has not handed on yet is asked: the scans stand in the books of others.
    """
    with snapshot(books.database) as session:
        told = _told_of(session)
        waiting = select(ScanFile.id).where(ScanFile.state == FileState.TAKEN, ScanFile.scan_id.is_(None))
        for file_id in session.scalars(waiting.order_by(ScanFile.id)):
            if file_id not in told:
                yield f"file {file_id} was taken, and neither a scan nor a message that waits tells of it"
    if not books.settings.forwards:
        yield from _accounts_do_not_balance(books)


def _accounts_do_not_balance(books: Books) -> Iterator[str]:
    for account in accounts(books):
        if account.received != account.accounted:
            yield f"site {account.site} received {account.received} scans, and {account.accounted} stand somewhere"
    with snapshot(books.database) as session:
        for file_id in session.scalars(_files_of_nothing()):
            yield f"file {file_id} names a scan that its site does not have"
        for scan_id in session.scalars(_scans_of_nothing()):
            yield f"scan {scan_id} has no file that was taken"


def _place(outcome: str, storage: str) -> str:
    if outcome != Outcome.ACTIVE:
        return outcome.replace(" ", "_")
    return "archived" if storage in (Storage.PROVEN, Storage.PURGED) else "moving"


def _taken_by_site() -> Select[str, int]:
    return select(ScanFile.site_id, func.count()).where(ScanFile.state == FileState.TAKEN).group_by(ScanFile.site_id)


def _told_of(session: Session) -> set[str]:
    """Return the files of scanner messages that are kept or were set aside: their scans are still to come."""
    messages = select(InboxMessage.payload).where(InboxMessage.source == "scanner", InboxMessage.state != "applied")
    return {str(json.loads(payload).get("file_id")) for payload in session.scalars(messages)}


def _files_of_nothing() -> Select[str]:
    its_scan = select(Scan.id).where(Scan.id == ScanFile.scan_id, Scan.site_id == ScanFile.site_id)
    return select(ScanFile.id).where(ScanFile.scan_id.is_not(None), ~its_scan.exists()).order_by(ScanFile.id)


def _scans_of_nothing() -> Select[str]:
    its_file = select(ScanFile.id).where(ScanFile.scan_id == Scan.id, ScanFile.state == FileState.TAKEN)
    return select(Scan.id).where(~its_file.exists()).order_by(Scan.id)
