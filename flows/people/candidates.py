"""The people who may be thought of for a read, as the database has them now."""

from collections import defaultdict
from collections.abc import Mapping
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from sqlalchemy import bindparam, func, select
from sqlalchemy.orm import Session

from flows.case_assignment.candidate import Absence, Candidate, WeeklySession
from flows.people.pools import THE_POOL
from models.base import table_of
from models.errors import TransientError
from models.tables.place import Site
from models.tables.reading import Assignment, Competence, Leave, Pathologist, Pool, Read, ReadingSession

_SITE, _PERSON, _COMPETENCE, _LEAVE, _HOURS, _ASSIGNMENT, _READ = (
    table_of(entity) for entity in (Site, Pathologist, Competence, Leave, ReadingSession, Assignment, Read)
)
_THE_POOL = select(Pool.id).where(Pool.id == THE_POOL)
_THE_POOL_LOCKED = _THE_POOL.with_for_update()
_PEOPLE = (
    select(
        *(_PERSON.c.id, _PERSON.c.name, _PERSON.c.site_id, _PERSON.c.points_a_week, _PERSON.c.active, _SITE.c.zone),
    )
    .select_from(_PERSON.join(_SITE, _SITE.c.id == _PERSON.c.site_id))
    .where(_PERSON.c.pool_id == THE_POOL)
    .order_by(_PERSON.c.id)
)
_DIGITAL_COMPETENCES = select(
    *(_COMPETENCE.c.pathologist_id, _COMPETENCE.c.subspecialty, _COMPETENCE.c.level),
    *(_COMPETENCE.c.valid_from, _COMPETENCE.c.valid_to),
).where(_COMPETENCE.c.digital.is_(True))
_LEAVE_SINCE = (
    select(_LEAVE.c.pathologist_id, _LEAVE.c.first_day, _LEAVE.c.last_day)
    .where(_LEAVE.c.last_day >= bindparam("since"))
    .order_by(_LEAVE.c.first_day)
)
_READING_HOURS = select(_HOURS.c.pathologist_id, _HOURS.c.weekday, _HOURS.c.starts, _HOURS.c.ends).order_by(
    _HOURS.c.weekday, _HOURS.c.starts
)
_OPEN_POINTS = (
    select(_ASSIGNMENT.c.pathologist_id, func.sum(_READ.c.points))
    .join(_READ, _READ.c.id == _ASSIGNMENT.c.read_id)
    .where(_ASSIGNMENT.c.ended_at.is_(None), _READ.c.closed_at.is_(None))
    .group_by(_ASSIGNMENT.c.pathologist_id)
)


def load_candidates(session: Session, now: datetime, *, lock_pool: bool = True) -> tuple[Candidate, ...]:
    """Return everybody who may be thought of for a read, with what is on their desk now, by id.

    The pool's row is locked before the loads are read, and until the caller's transaction ends: so whoever decides
    next sees this decision. A preview, which decides nothing, needs no lock.

    Raises
    ------
    TransientError
        The settings were never brought into this database.
    """
    if session.scalar(_THE_POOL_LOCKED if lock_pool else _THE_POOL) is None:
        raise TransientError("the laboratory's people are not in the database yet: tried again once they are")
    people = session.execute(_PEOPLE).all()
    today = {person.id: now.astimezone(ZoneInfo(person.zone)).date() for person in people}
    levels, absences = _levels(session, today), _absences(session, now)
    sessions, loads = _weekly_sessions(session), _open_points(session)
    return tuple(
        Candidate(
            pathologist_id=person.id,
            name=person.name,
            site_id=person.site_id,
            zone=person.zone,
            points_a_week=person.points_a_week,
            levels=levels[person.id],
            sessions=tuple(sessions[person.id]),
            absences=tuple(absences[person.id]),
            open_points=loads.get(person.id, 0.0),
            active=person.active,
        )
        for person in people
    )


def _levels(session: Session, today: Mapping[str, date]) -> dict[str, dict[str, int]]:
    """Return each one's competences that are valid on the civil day of their site."""
    levels: dict[str, dict[str, int]] = defaultdict(dict)
    for row in session.execute(_DIGITAL_COMPETENCES):
        day = today.get(row.pathologist_id)
        if day and row.valid_from <= day and (row.valid_to is None or day < row.valid_to):
            mine = levels[row.pathologist_id]
            mine[row.subspecialty] = min(row.level, mine.get(row.subspecialty, row.level))
    return levels


def _absences(session: Session, now: datetime) -> dict[str, list[Absence]]:
    """Return each one's leave that may still matter: in no zone is it earlier than the day before yesterday."""
    absences: dict[str, list[Absence]] = defaultdict(list)
    for row in session.execute(_LEAVE_SINCE, {"since": now.date() - timedelta(days=2)}):
        absences[row.pathologist_id].append(Absence(row.first_day, row.last_day))
    return absences


def _weekly_sessions(session: Session) -> dict[str, list[WeeklySession]]:
    sessions: dict[str, list[WeeklySession]] = defaultdict(list)
    for pathologist_id, weekday, starts, ends in session.execute(_READING_HOURS):
        sessions[pathologist_id].append(WeeklySession(weekday, starts, ends))
    return sessions


def _open_points(session: Session) -> dict[str, float]:
    rows = session.execute(_OPEN_POINTS)
    return {pathologist_id: float(open_points) for pathologist_id, open_points in rows}
