"""The laboratory's own weeks, out of its books: who was there to read, and what came to be read."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import date, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from sqlalchemy import Select, func, or_, select
from sqlalchemy.orm import Session

from flows.case_assignment.candidate import GENERAL, Absence, WeeklySession
from flows.case_assignment.what_if.history import History, Region, Staff, Work, today_at
from flows.deadlines.calendar import Calendar, Span
from flows.deadlines.targets import A_MOMENT, Round
from flows.people.conflicts import all_conflicts
from models.database import database_now
from models.errors import RefusedError
from models.tables.case import Case, Specimen
from models.tables.deadline import Deadline, DeadlinePause, Holiday
from models.tables.place import Site
from models.tables.reading import (
    Assignment,
    Competence,
    Leave,
    Network,
    NetworkAid,
    Pathologist,
    Read,
    ReadingSession,
)

FEWEST: Final = 20
"""Of fewer reads nothing can be learnt."""

# A site without a network reads with all others that have none.
_ALONE: Final = "no network"
_ROLES: Final = ("primary", "second")
_MAY_READ: Final = 2


def own_history(session: Session, days: int) -> History:
    """Return the last weeks of this laboratory, up to now: reads that were open in them, with the people of today.

    Raises
    ------
    RefusedError
        There were too few reads to learn from.
    """
    ends = database_now(session)
    begins = ends - timedelta(days=days)
    zones = {row.id: row.zone for row in session.scalars(select(Site))}
    sites = {row.id: row.network_id or _ALONE for row in session.scalars(select(Site))}
    work = tuple(_work(session, begins, ends))
    if len(work) < FEWEST:
        raise RefusedError(
            f"the books hold {len(work)} reads of the last {days} days, too few to learn from: "
            "try --generated, which replays a made-up network"
        )
    return History(begins, ends, sites, _networks(session), _staff(session, begins, zones), work, _calendars(session))


def _networks(session: Session) -> dict[str, Region]:
    aid = defaultdict(list)
    for row in session.scalars(select(NetworkAid)):
        aid[row.network_id].append(row.aiding_id)
    found = {row.id: Region(row.region, tuple(sorted(aid[row.id]))) for row in session.scalars(select(Network))}
    return found | {_ALONE: Region("")}


def _staff(session: Session, begins: datetime, zones: Mapping[str, str]) -> tuple[Staff, ...]:
    people = session.scalars(select(Pathologist).where(Pathologist.active).order_by(Pathologist.id)).all()
    days = {one.id: today_at(begins, zones[one.site_id]) for one in people}
    levels, sessions, absences = _levels(session, days), _sessions(session), _absences(session)
    return tuple(
        Staff(
            pathologist_id=one.id,
            name=one.name,
            site_id=one.site_id,
            zone=zones[one.site_id],
            points_a_week=one.points_a_week,
            levels=levels[one.id],
            sessions=tuple(sessions[one.id]),
            absences=tuple(absences[one.id]),
        )
        for one in people
    )


def _levels(session: Session, days: Mapping[str, date]) -> defaultdict[str, dict[str, int]]:
    """Return what each could ever read from the first day on; trainees' levels do not count."""
    found: defaultdict[str, dict[str, int]] = defaultdict(dict)
    rows = session.scalars(select(Competence).where(Competence.digital.is_(True), Competence.level <= _MAY_READ))
    for row in rows:
        if row.pathologist_id in days and (row.valid_to is None or row.valid_to > days[row.pathologist_id]):
            mine = found[row.pathologist_id]
            mine[row.subspecialty] = min(row.level, mine.get(row.subspecialty, row.level))
    return found


def _sessions(session: Session) -> defaultdict[str, list[WeeklySession]]:
    found: defaultdict[str, list[WeeklySession]] = defaultdict(list)
    for row in session.scalars(select(ReadingSession).order_by(ReadingSession.weekday, ReadingSession.starts)):
        found[row.pathologist_id].append(WeeklySession(row.weekday, row.starts, row.ends))
    return found


def _absences(session: Session) -> defaultdict[str, list[Absence]]:
    found: defaultdict[str, list[Absence]] = defaultdict(list)
    for row in session.scalars(select(Leave).order_by(Leave.first_day)):
        found[row.pathologist_id].append(Absence(row.first_day, row.last_day))
    return found


def _work(session: Session, begins: datetime, ends: datetime) -> Iterable[Work]:
    readers, received = _readers(session), _received(session)
    conflicts, stated, pauses = all_conflicts(session), _stated(session), _pauses(session, ends)
    primary: dict[tuple[str, int], str] = {}
    for read, case in session.execute(_reads(begins, ends)).all():
        key = (read.case_id, read.round)
        if read.role == _ROLES[0]:
            primary.setdefault(key, read.id)
        yield Work(
            read_id=read.id,
            site_id=case.site_id,
            subspecialty=case.subspecialty or GENERAL,
            points=read.points,
            lane=case.lane,
            ready_at=max(read.created_at, begins),
            stated_due_at=stated.get((case.id, read.round)),
            clocks=Round(
                case.lane,
                case.subspecialty,
                registered_at=case.registered_at if read.round == 1 else read.created_at,
                received_at=received.get(case.id),
                ready_at=read.created_at,
            ),
            pauses=tuple(pauses[case.id]),
            after=primary.get(key) if read.role == _ROLES[1] else None,
            patient=case.patient_id,
            conflicts=conflicts[case.id] | conflicts[case.patient_id or ""],
            reported_at=read.closed_at,
            reader=readers.get(read.id),
        )


def _reads(begins: datetime, ends: datetime) -> Select[Read, Case]:
    """Return what was open in these weeks; a primary read comes before the others of its case."""
    return (
        select(Read, Case)
        .join(Case, Case.id == Read.case_id)
        .where(Read.created_at < ends, Read.role.in_(_ROLES), Case.cancelled.is_(False))
        .where(or_(Read.closed_at.is_(None), Read.closed_at >= begins))
        .order_by(Read.role, Read.created_at, Read.id)
    )


def _readers(session: Session) -> dict[str, str]:
    """Return who had each read last."""
    latest = select(func.max(Assignment.id)).group_by(Assignment.read_id)
    rows = session.execute(select(Assignment.read_id, Assignment.pathologist_id).where(Assignment.id.in_(latest)))
    return dict(rows.all())


def _received(session: Session) -> dict[str, datetime | None]:
    """Return when the first specimen of each case came."""
    first = select(Specimen.case_id, func.min(Specimen.received_at)).group_by(Specimen.case_id)
    return {case_id: at for case_id, at in session.execute(first)}  # noqa: C416 - rows are no pairs to mypy


def _stated(session: Session) -> dict[tuple[str, int], datetime]:
    """Return the earliest moment that somebody asked for, of each round of each case."""
    rows = session.execute(
        select(Deadline.case_id, Deadline.round, func.min(Deadline.due_at))
        .where(Deadline.basis == A_MOMENT)
        .group_by(Deadline.case_id, Deadline.round)
    )
    return {(case_id, number): due_at for case_id, number, due_at in rows}


def _pauses(session: Session, now: datetime) -> defaultdict[str, list[Span]]:
    found: defaultdict[str, list[Span]] = defaultdict(list)
    for row in session.scalars(select(DeadlinePause).order_by(DeadlinePause.began_at)):
        found[row.case_id].append(Span(row.began_at, row.ended_at or max(now, row.began_at)))
    return found


def _calendars(session: Session) -> dict[str, Calendar]:
    holidays = defaultdict(set)
    for row in session.scalars(select(Holiday)):
        holidays[row.calendar].add(row.day)
    return {
        row.id: Calendar(ZoneInfo(row.zone), frozenset(holidays[row.calendar or ""]))
        for row in session.scalars(select(Site))
    }
