"""Reads whose reader is gone or away, and that no look could move: people are told, so that none lies unseen."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import date, datetime
from typing import Final

from sqlalchemy import bindparam, or_, select
from sqlalchemy.orm import Session

from flows.alerts import READER_ABSENT
from flows.books import Subject, raise_alert
from flows.case_assignment.eligibility import horizon_of
from flows.case_assignment.hours import absence_at, first_reading
from flows.case_assignment.rebalance.snapshot import Snapshot
from models.tables.reading import Assignment, Pathologist, Read

_LEFT: Final = (
    "its reader reads no longer for this laboratory, and no machine moves it: 'coverslip assign override' gives it to "
    "somebody else"
)
_AWAY: Final = (
    "its reader is off sick, and no machine found who else may have it: 'coverslip assign override' gives it to "
    "somebody else"
)
_TOO_LATE: Final = (
    "its reader is on leave up to and including {last_day}, too late for it, and no machine moves it: "
    "'coverslip assign override' gives it to somebody else"
)
_LEFT_WITH_THEM = (
    select(Read.id, Pathologist.active)
    .join(Assignment, Assignment.read_id == Read.id)
    .join(Pathologist, Pathologist.id == Assignment.pathologist_id)
    .where(Read.closed_at.is_(None), Assignment.ended_at.is_(None))
    .where(or_(Pathologist.active.is_(False), Pathologist.id.in_(bindparam("sick", expanding=True))))
    .order_by(Read.id)
)
_STILL_THEIRS = select(Assignment.id).where(
    Assignment.id.in_(bindparam("given", expanding=True)), Assignment.ended_at.is_(None)
)


def tell_of_gone(session: Session, seen: Snapshot, now: datetime) -> None:
    """Raise each open read whose reader is gone, off sick, or on leave for too long for it.

    It is over when somebody else has it, or with the absence.
    """
    for read_id, active in session.execute(_LEFT_WITH_THEM, {"sick": sorted(seen.sick)}).all():
        raise_alert(session, Subject("read", read_id), READER_ABSENT, _AWAY if active else _LEFT, now)
    too_late = dict(_too_late(seen))
    for assignment_id in still_theirs(session, too_late):
        read_id, last_day = too_late[assignment_id]
        sentence = _TOO_LATE.format(last_day=last_day.isoformat())
        raise_alert(session, Subject("read", read_id), READER_ABSENT, sentence, now)


def still_theirs(session: Session, given: Iterable[int]) -> Sequence[int]:
    """Return those of these assignments that were not ended since they were seen."""
    return session.scalars(_STILL_THEIRS, {"given": sorted(given)}).all()


def _too_late(seen: Snapshot) -> Iterator[tuple[int, tuple[str, date]]]:
    """Yield the assignments to people on leave who do not read again before a read's deadline."""
    people = {one.pathologist_id: one for one in seen.people}
    for one in seen.reads:
        reader = people.get(one.owner or "")
        if reader is None or one.assignment_id is None or reader.pathologist_id in seen.absent:
            continue
        absence = absence_at(reader, seen.at)
        if absence is not None and first_reading(reader, seen.at, horizon_of(one.wanted, seen.at)) is None:
            yield one.assignment_id, (one.wanted.read_id, absence.last_day)
