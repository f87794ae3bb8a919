"""What a step is to the worker: a function that works, and gives back how its end is to be written.

The work (decoding, sending, storing) happens outside of any transaction. What it returns is called inside one,
and writes the end of the step, the model, its followers and the outbox together, or not at all.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from sqlalchemy import bindparam, select
from sqlalchemy.orm import Session

from connectors.wiring import Lab
from flows.books import Cause
from flows.ledger import Claim
from models.base import table_of
from models.errors import NeedsPersonError
from models.tables.scan import Scan, ScanFile

End: TypeAlias = Callable[[Session], None]
"""Writes the end of a step into the open write transaction."""

StepFunction: TypeAlias = Callable[[Lab, Claim], End]
"""One kind of step: reads, works, and returns its end.

Raises what happens next: ``RejectedError`` (set aside), ``TransientError`` (tried again), ``NeedsPersonError``.
"""

A_PERSON = "a person"
THE_LIMS = "the LIMS"
THE_PACS = "the PACS"
THE_EVENT_LOG = "Kafka"


_SCAN = table_of(Scan)
_FILE = table_of(ScanFile)
_FILE_OF_SCAN = (
    select(_FILE.c.id)
    .where(_FILE.c.scan_id == bindparam("scan"), _FILE.c.state == "taken")
    .order_by(_FILE.c.id)
    .limit(1)
)
_SCAN_WITH_FILE = (
    select(
        *(_SCAN.c.id, _SCAN.c.site_id, _SCAN.c.outcome, _SCAN.c.quality, _SCAN.c.quality_by_person, _SCAN.c.identity),
        _FILE.c.id.label("file_id"),
        _FILE.c.relative_path.label("file_name"),
    )
    .join(_FILE, _FILE.c.scan_id == _SCAN.c.id)
    .where(_SCAN.c.id == bindparam("scan"), _FILE.c.state == "taken")
    .order_by(_FILE.c.id)
    .limit(1)
)


def cause_of(claimed: Claim) -> Cause:
    """Return the cause that history names for what this attempt changes."""
    return Cause(f"{claimed.kind} {claimed.generation}.{claimed.attempt}")


@dataclass(frozen=True)
class ScanAtWork:
    """What a step needs to know of a scan before it begins."""

    id: str
    site_id: str
    outcome: str
    quality: str
    quality_by_person: bool
    identity: str
    file_id: str
    file_name: str


def scan_at_work(session: Session, scan_id: str) -> ScanAtWork:
    """Return a scan with the file that holds it.

    Raises
    ------
    NeedsPersonError
        The books know no file of it.
    """
    row = session.execute(_SCAN_WITH_FILE, {"scan": scan_id}).first()
    if row is None:
        raise NeedsPersonError(_no_file(scan_id))
    return ScanAtWork(**row._asdict())


def file_of(session: Session, scan_id: str) -> str:
    """Return the id of the file that holds a scan.

    Raises
    ------
    NeedsPersonError
        The books know none.
    """
    file_id: str | None = session.scalar(_FILE_OF_SCAN, {"scan": scan_id})
    if file_id is None:
        raise NeedsPersonError(_no_file(scan_id))
    return file_id


def _no_file(scan_id: str) -> str:
    return f"scan {scan_id} has no file in the books: restore the spool from its backup"
