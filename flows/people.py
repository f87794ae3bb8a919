"""The laboratory's people and places in the database: brought in line with the settings, and read for assignment."""

from collections import defaultdict
from collections.abc import Mapping
from datetime import date, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from sqlalchemy import bindparam, delete, func, select
from sqlalchemy.orm import Session

from connectors.settings import Reader, Settings
from flows.case_assignment.candidate import Absence, Candidate, WeeklySession
from flows.sending.publish import THE_LOG
from models.base import table_of
from models.database import database_now, insert_unless_there
from models.errors import TransientError
from models.tables.place import Site
from models.tables.reading import Assignment, Competence, Leave, Pathologist, Pool, Read, ReadingSession
from models.tables.step import Slot

# One network shares its cases so far; its row is what assignment is serial by.
_POOL: Final = "network"
_DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_LEADS: Final = 1
# Each waits for all replicas, a few milliseconds: four keep up with any laboratory.
_EVENTS_AT_ONCE: Final = 4
_MAY_READ: Final = 2

_SITE, _PERSON, _COMPETENCE, _LEAVE, _HOURS, _ASSIGNMENT, _READ = (
    table_of(entity) for entity in (Site, Pathologist, Competence, Leave, ReadingSession, Assignment, Read)
)
_THE_POOL = select(Pool.id).where(Pool.id == _POOL)
_THE_POOL_LOCKED = _THE_POOL.with_for_update()
_PEOPLE = (
    select(
        *(_PERSON.c.id, _PERSON.c.name, _PERSON.c.site_id, _PERSON.c.points_a_week, _PERSON.c.active, _SITE.c.zone),
    )
    .select_from(_PERSON.join(_SITE, _SITE.c.id == _PERSON.c.site_id))
    .where(_PERSON.c.pool_id == _POOL)
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


def sync_people(session: Session, settings: Settings) -> None:
    """Bring sites, readers and slots in line with the settings; doing it again changes nothing.

    Nobody is deleted: a reader whom the settings no longer name is inactive, a competence ends today. A site and a
    LIMS that are no longer named stay, since their slides and messages do.
    """
    _open_pool(session)
    _sites(session, settings)
    now = database_now(session)
    zones = {site.id: ZoneInfo(site.zone) for site in settings.sites}
    rows = {row.id: row for row in session.scalars(select(Pathologist))}
    for row in rows.values():
        row.active = False
    for reader in settings.readers:
        row = rows.get(reader.id) or Pathologist(id=reader.id, pool_id=_POOL)
        row.name, row.site_id, row.points_a_week, row.active = reader.name, reader.site, reader.points_a_week, True
        session.add(row)
    session.flush()
    for reader in settings.readers:
        _competences(session, reader, now.astimezone(zones[reader.site]))
        _sessions(session, reader)
    _slots(session, settings)
    session.flush()


def event_slots(settings: Settings) -> int:
    """Return how many messages may be on their way to the event log at once."""
    if settings.kafka is None:
        return 0
    # A gateway's few streams are long after an outage: looking beyond the head of one would be looking through it all.
    return 1 if settings.forwards else _EVENTS_AT_ONCE


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


def _open_pool(session: Session) -> None:
    """Make the pool's row and lock it: two processes that start together take turns from here on."""
    insert_unless_there(session, Pool, [{"id": _POOL}])
    session.execute(_THE_POOL_LOCKED)


def _sites(session: Session, settings: Settings) -> None:
    rows = {row.id: row for row in session.scalars(select(Site))}
    for site in settings.sites:
        row = rows.get(site.id) or Site(id=site.id)
        row.name, row.zone = site.name, site.zone
        session.add(row)
    session.flush()


def _competences(session: Session, reader: Reader, now: datetime) -> None:
    """End what is no longer so and begin what is new, with the civil day of the reader's site."""
    today = now.date()
    wanted = dict.fromkeys(reader.may_read, _MAY_READ) | dict.fromkeys(reader.leads, _LEADS)
    rows = session.scalars(
        select(Competence).where(
            Competence.pathologist_id == reader.id,
            Competence.digital.is_(True),
            Competence.valid_to.is_(None) | (Competence.valid_from == today),
        )
    ).all()
    for row in rows:
        if row.valid_to is None and wanted.get(row.subspecialty) == row.level:
            wanted.pop(row.subspecialty)
        elif row.valid_from == today and row.subspecialty in wanted:
            # A day has one row: it holds what was said last.
            row.level, row.valid_to = wanted.pop(row.subspecialty), None
        elif row.valid_to is None:
            row.valid_to = today
    for subspecialty, level in sorted(wanted.items()):
        new = Competence(pathologist_id=reader.id, subspecialty=subspecialty, level=level, valid_from=today)
        session.add(new)


def _sessions(session: Session, reader: Reader) -> None:
    wanted = {(_DAYS.index(day), hours.starts): hours.ends for hours in reader.hours for day in hours.days}
    for row in session.scalars(select(ReadingSession).where(ReadingSession.pathologist_id == reader.id)):
        ends = wanted.pop((row.weekday, row.starts), None)
        if ends is None:
            session.delete(row)
        else:
            row.ends = ends
    for (weekday, starts), ends in sorted(wanted.items()):
        session.add(ReadingSession(pathologist_id=reader.id, weekday=weekday, starts=starts, ends=ends))


def _slots(session: Session, settings: Settings) -> None:
    """Have as many slots as the settings say; a surplus one that a step holds goes another time."""
    wanted = {f"lims:{peer.name}": 1 for peer in settings.lims} | {"archive": settings.work.archive_upload}
    if settings.kafka is not None:
        wanted[THE_LOG] = event_slots(settings)
    present = {(name, number) for name, number in session.execute(select(Slot.name, Slot.number))}
    for name, most in wanted.items():
        session.add_all(Slot(name=name, number=n) for n in range(1, most + 1) if (name, n) not in present)
        session.execute(delete(Slot).where(Slot.name == name, Slot.number > most, Slot.step_id.is_(None)))


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
