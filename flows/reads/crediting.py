"""Points that are credited to whoever had a read when a report closed it, and corrected once when more is known.

The caller holds the case's row in its write transaction.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime

from sqlalchemy import bindparam, delete, select
from sqlalchemy.orm import Session

from flows.books import Cause, Subject, note_changes
from flows.case_assignment.candidate import GENERAL
from flows.case_assignment.weighing import Weighed
from flows.reads.rows import ANSWERED, REPORTED, Row
from flows.reads.weight import weight_of
from models.base import table_of
from models.database import insert_unless_there
from models.policy import Policy
from models.tables.case import Case
from models.tables.reading import Assignment, Credit

_ASSIGNMENT, _CREDIT = table_of(Assignment), table_of(Credit)
_LAST = (
    select(_ASSIGNMENT.c.pathologist_id, _ASSIGNMENT.c.ended_because)
    .where(_ASSIGNMENT.c.read_id == bindparam("read"))
    .order_by(_ASSIGNMENT.c.id.desc())
    .limit(1)
)
_REVOKE = delete(_CREDIT).where(_CREDIT.c.read_id == bindparam("read")).returning(_CREDIT.c.pathologist_id)


def credit(session: Session, case: Case, rows: Iterable[Row], policy: Policy, cause: Cause, now: datetime) -> None:
    """Credit each of these closed reads to whoever did it, once; of a cancelled case, and what nobody had, nothing."""
    if case.cancelled:
        return
    for row in rows:
        reader, why = last_reader(session, row)
        if row.credited or reader is None or why not in (REPORTED, ANSWERED):
            continue
        forecast = row.read.points
        points = _known_now(session, case, row, policy, forecast)
        values = {
            "read_id": row.read.id,
            "pathologist_id": reader,
            "forecast": forecast,
            "points": points,
            "weights": row.read.weights,
            "site_id": case.site_id,
            "subspecialty": row.read.subspecialty or case.subspecialty or GENERAL,
            "lane": case.lane,
            "credited_at": now,
            "corrected_at": now if points != forecast else None,
        }
        session.flush()
        if insert_unless_there(session, Credit, [values]):
            row.credited = True
            _note(session, case, row, None, f"{points:g} to {reader}", cause, now)


def last_reader(session: Session, row: Row) -> tuple[str | None, str | None]:
    """Return who had a read last, and why they have it no more, if they have not."""
    last = session.execute(_LAST, {"read": row.read.id}).one_or_none()
    return (last.pathologist_id, last.ended_because) if last is not None else (None, None)


def revoke(session: Session, case: Case, row: Row, cause: Cause, now: datetime) -> None:
    """Take a credit back: the report that closed the read turned out not to."""
    had = session.scalars(_REVOKE, {"read": row.read.id}).one_or_none()
    row.credited = False
    if had is not None:
        _note(session, case, row, had, None, cause, now)


def correct(session: Session, case: Case, there: Sequence[Row], policy: Policy, cause: Cause, now: datetime) -> None:
    """Correct each credit of a round's reads that never was corrected, when what is known now weighs something else."""
    for row in there:
        given = session.get(Credit, row.read.id, populate_existing=True) if row.credited else None
        # What came to a part after its report is the work of the part that was made for it.
        if given is None or given.corrected_at is not None or _is_read_on(row, there):
            continue
        before, after = given.points, _known_now(session, case, row, policy, given.points)
        if before != after:
            given.points, given.corrected_at = after, now
            _note(session, case, row, f"{before:g}", f"{after:g} to {given.pathologist_id}", cause, now)


def _is_read_on(row: Row, there: Iterable[Row]) -> bool:
    covers = row.covers or frozenset()
    return any(
        one.read.role == row.read.role and one.read.id != row.read.id and covers & (one.covers or frozenset())
        for one in there
    )


def _known_now(session: Session, case: Case, row: Row, policy: Policy, otherwise: float) -> float:
    """Return what a read weighs with what is known now, by the model that forecast it."""
    found = weight_of(session, case, row, policy, row.read.weights)
    return found.points if isinstance(found, Weighed) else otherwise


def _note(  # noqa: PLR0913, PLR0917 - a change's two sides
    session: Session, case: Case, row: Row, before: str | None, after: str | None, cause: Cause, now: datetime
) -> None:
    what = f"points of {row.read.role}" if row.read.scope == "whole" else f"points of {row.read.role}, {row.read.scope}"
    note_changes(session, Subject("case", case.id), [(what, before, after)], cause, now)
