"""The laboratory's people and places in the database: brought in line with the settings."""

from datetime import datetime
from typing import Final
from zoneinfo import ZoneInfo

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from connectors.settings import Settings
from connectors.settings_readers import Reader
from flows.case_assignment.again import look_again
from flows.people.pools import THE_POOL, keep_pools, lock_pools
from flows.people.roster.lines import IMPORT
from flows.sending.publish import THE_LOG
from models.database import database_now
from models.tables.place import Site
from models.tables.reading import Competence, Pathologist, ReadingSession
from models.tables.step import Slot

_DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_LEADS: Final = 1
# Each waits for all replicas, a few milliseconds: four keep up with any laboratory.
_EVENTS_AT_ONCE: Final = 4
_MAY_READ: Final = 2


def sync_people(session: Session, settings: Settings) -> None:
    """Bring sites, readers and slots in line with the settings; doing it again changes nothing.

    Nobody is deleted: a reader whom the settings no longer name is inactive, a competence ends today. A site and a
    LIMS that are no longer named stay, since their slides and messages do. Whoever was imported is left alone.
    """
    # Two processes that start together take turns from here on.
    lock_pools(session)
    _sites(session, settings)
    now = database_now(session)
    zones = {site.id: ZoneInfo(site.zone) for site in settings.sites}
    rows = {row.id: row for row in session.scalars(select(Pathologist))}
    read_so_far = {row.id for row in rows.values() if row.active}
    imported = {row.id for row in rows.values() if row.source == IMPORT}
    readers = [reader for reader in settings.readers if reader.id not in imported]
    for row in rows.values():
        row.active = row.active and row.id in imported
    for reader in readers:
        row = rows.get(reader.id) or Pathologist(id=reader.id, pool_id=THE_POOL)
        row.name, row.site_id, row.points_a_week, row.active = reader.name, reader.site, reader.points_a_week, True
        row.known_as = list(reader.known_as) or None
        session.add(row)
    session.flush()
    keep_pools(session)
    for reader in readers:
        _competences(session, reader, now.astimezone(zones[reader.site]))
        _sessions(session, reader)
    _slots(session, settings)
    session.flush()
    if any(not rows[one].active for one in read_so_far):
        # What lies with whoever is gone goes to others, or people are told.
        look_again(session, "the settings name a reader no more", now)


def kept_as_data(session: Session, settings: Settings) -> tuple[str, ...]:
    """Return the readers of the settings of whom they say nothing any more, since they were imported."""
    imported = set(session.scalars(select(Pathologist.id).where(Pathologist.source == IMPORT)))
    return tuple(sorted(imported.intersection(reader.id for reader in settings.readers)))


def event_slots(settings: Settings) -> int:
    """Return how many messages may be on their way to the event log at once."""
    if settings.kafka is None:
        return 0
    # A gateway's few streams are long after an outage: looking beyond the head of one would be looking through it all.
    return 1 if settings.forwards else _EVENTS_AT_ONCE


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
