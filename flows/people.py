"""The laboratory's people and places in the database: brought in line with the settings, and read for assignment."""

from collections import defaultdict
from datetime import datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from connectors.settings import Reader, Settings
from flows.case_assignment.candidate import Absence, Candidate, WeeklySession
from models.database import database_now, insert_unless_there
from models.errors import TransientError
from models.tables.place import Site
from models.tables.reading import Assignment, Competence, Leave, Pathologist, Pool, Read, ReadingSession
from models.tables.step import Slot

# One network shares its cases so far; its row is what assignment is serial by.
_POOL: Final = "network"
_DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_LEADS: Final = 1
_MAY_READ: Final = 2


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


def load_candidates(session: Session, now: datetime, *, lock_pool: bool = True) -> tuple[Candidate, ...]:
    """Return everybody who may be thought of for a read, with what is on their desk now, by id.

    The pool's row is locked before the loads are read, and until the caller's transaction ends: so whoever decides
    next sees this decision. A preview, which decides nothing, needs no lock.

    Raises
    ------
    TransientError
        The settings were never brought into this database.
    """
    pool = select(Pool.id).where(Pool.id == _POOL)
    if session.scalar(pool.with_for_update() if lock_pool else pool) is None:
        raise TransientError("the laboratory's people are not in the database yet: tried again once they are")
    levels, absences = _levels(session, now), _absences(session, now)
    sessions, loads = _weekly_sessions(session), _open_points(session)
    people = session.execute(
        select(Pathologist, Site.zone)
        .join(Site, Site.id == Pathologist.site_id)
        .where(Pathologist.pool_id == _POOL)
        .order_by(Pathologist.id)
    )
    return tuple(
        Candidate(
            pathologist_id=person.id,
            name=person.name,
            site_id=person.site_id,
            zone=zone,
            points_a_week=person.points_a_week,
            levels=levels[person.id],
            sessions=tuple(sessions[person.id]),
            absences=tuple(absences[person.id]),
            open_points=loads.get(person.id, 0.0),
            active=person.active,
        )
        for person, zone in people
    )


def _open_pool(session: Session) -> None:
    """Make the pool's row and lock it: two processes that start together take turns from here on."""
    insert_unless_there(session, Pool, [{"id": _POOL}])
    session.execute(select(Pool.id).where(Pool.id == _POOL).with_for_update())


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
    present = {(name, number) for name, number in session.execute(select(Slot.name, Slot.number))}
    for name, most in wanted.items():
        session.add_all(Slot(name=name, number=n) for n in range(1, most + 1) if (name, n) not in present)
        session.execute(delete(Slot).where(Slot.name == name, Slot.number > most, Slot.step_id.is_(None)))


def _levels(session: Session, now: datetime) -> dict[str, dict[str, int]]:
    """Return each one's competences that are valid on the civil day of their site."""
    rows = session.execute(
        select(Competence, Site.zone)
        .join(Pathologist, Pathologist.id == Competence.pathologist_id)
        .join(Site, Site.id == Pathologist.site_id)
        .where(Competence.digital.is_(True))
    )
    levels: dict[str, dict[str, int]] = defaultdict(dict)
    for row, zone in rows:
        today = now.astimezone(ZoneInfo(zone)).date()
        if row.valid_from <= today and (row.valid_to is None or today < row.valid_to):
            mine = levels[row.pathologist_id]
            mine[row.subspecialty] = min(row.level, mine.get(row.subspecialty, row.level))
    return levels


def _absences(session: Session, now: datetime) -> dict[str, list[Absence]]:
    """Return each one's leave that may still matter: in no zone is it earlier than the day before yesterday."""
    matters = now.date() - timedelta(days=2)
    absences: dict[str, list[Absence]] = defaultdict(list)
    for row in session.scalars(select(Leave).where(Leave.last_day >= matters).order_by(Leave.first_day)):
        absences[row.pathologist_id].append(Absence(row.first_day, row.last_day))
    return absences


def _weekly_sessions(session: Session) -> dict[str, list[WeeklySession]]:
    rows = session.scalars(select(ReadingSession).order_by(ReadingSession.weekday, ReadingSession.starts))
    sessions: dict[str, list[WeeklySession]] = defaultdict(list)
    for row in rows:
        sessions[row.pathologist_id].append(WeeklySession(row.weekday, row.starts, row.ends))
    return sessions


def _open_points(session: Session) -> dict[str, float]:
    rows = session.execute(
        select(Assignment.pathologist_id, func.sum(Read.points))
        .join(Read, Read.id == Assignment.read_id)
        .where(Assignment.ended_at.is_(None), Read.closed_at.is_(None))
        .group_by(Assignment.pathologist_id)
    )
    return {pathologist_id: float(open_points) for pathologist_id, open_points in rows}
