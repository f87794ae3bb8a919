"""What a step is to the worker: a function that works, and gives back how its end is to be written.

The work (decoding, sending, storing) happens outside of any transaction. What it returns is called inside one,
and writes the end of the step, the model, its followers and the outbox together, or not at all.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from sqlalchemy import select
from sqlalchemy.orm import Session

from connectors.wiring import Lab
from flows.books import Cause
from flows.ledger import Claim
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
    row = session.execute(
        select(
            *(Scan.id, Scan.site_id, Scan.outcome, Scan.quality, Scan.quality_by_person, Scan.identity),
            ScanFile.id.label("file_id"),
            ScanFile.relative_path.label("file_name"),
        )
        .join(ScanFile, ScanFile.scan_id == Scan.id)
        .where(Scan.id == scan_id, ScanFile.state == "taken")
        .order_by(ScanFile.id)
    ).first()
    if row is None:
        message = f"scan {scan_id} has no file in the books: restore the spool from its backup"
        raise NeedsPersonError(message)
    return ScanAtWork(**row._asdict())


def file_of(session: Session, scan: Scan) -> ScanFile:
    """Return the file that holds a scan.

    Raises
    ------
    NeedsPersonError
        The books know none.
    """
    file = session.scalars(
        select(ScanFile).where(ScanFile.scan_id == scan.id, ScanFile.state == "taken").order_by(ScanFile.id)
    ).first()
    if file is None:
        message = f"scan {scan.id} has no file in the books: restore the spool from its backup"
        raise NeedsPersonError(message)
    return file
