"""The people who may be thought of for a read, as the database has them now."""

from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from datetime import date, datetime, timedelta
from functools import lru_cache
from typing import Any, Final, TypeAlias
from zoneinfo import ZoneInfo

from sqlalchemy import bindparam, func, select
from sqlalchemy.orm import Session

from flows.case_assignment.candidate import Absence, Candidate, ReadToAssign, WeeklySession
from flows.people.pools import hold_pools, pool_of
from models.base import table_of
from models.errors import TransientError
from models.tables.case import Case
from models.tables.deadline import Holiday
from models.tables.place import Site
from models.tables.reading import (
    Assignment,
    Competence,
    Credit,
    Leave,
    Network,
    Pathologist,
    Pool,
    Read,
    ReadingSession,
)

# What no case weighs: points beyond it, or none at all, are a fault of the books, and count as nothing on a desk.
_MOST_POINTS: Final = 1e6
_PEOPLE_KEPT: Final = 8_192

_Fixed: TypeAlias = tuple[tuple[str, int], ...]
_Levels: TypeAlias = defaultdict[str, dict[str, int]]

_SITE, _NETWORK, _PERSON, _COMPETENCE, _LEAVE = (
    table_of(one) for one in (Site, Network, Pathologist, Competence, Leave)
)
_HOLIDAY = table_of(Holiday)
_HOURS, _ASSIGNMENT, _READ, _CASE, _CREDIT = (table_of(one) for one in (ReadingSession, Assignment, Read, Case, Credit))
_ANY_POOL = select(Pool.id).limit(1)
_NETWORKS_OF_REGION = select(_NETWORK.c.id).where(_NETWORK.c.region == bindparam("region"))
_PEOPLE = (
    select(
        *(_PERSON.c.id, _PERSON.c.name, _PERSON.c.site_id, _PERSON.c.points_a_week, _PERSON.c.active, _PERSON.c.fte),
        *(_PERSON.c.max_points, _SITE.c.zone, _SITE.c.network_id, _NETWORK.c.region),
    )
    .select_from(
        _PERSON.join(_SITE, _SITE.c.id == _PERSON.c.site_id).outerjoin(_NETWORK, _NETWORK.c.id == _SITE.c.network_id)
    )
    .order_by(_PERSON.c.id)
)
_COMPETENCES = select(
    *(_COMPETENCE.c.pathologist_id, _COMPETENCE.c.subspecialty, _COMPETENCE.c.level),
    *(_COMPETENCE.c.valid_from, _COMPETENCE.c.valid_to, _COMPETENCE.c.digital, _COMPETENCE.c.glass),
)
_COMPETENCES_IN_ONE = _COMPETENCES.where(_COMPETENCE.c.subspecialty == bindparam("subspecialty"))
_SINCE = (
    select(_COMPETENCE.c.pathologist_id, func.min(_COMPETENCE.c.valid_from))
    .where(_COMPETENCE.c.pathologist_id.in_(bindparam("people", expanding=True)))
    .group_by(_COMPETENCE.c.pathologist_id)
)
_LEAVE_SINCE = (
    select(_LEAVE.c.pathologist_id, _LEAVE.c.first_day, _LEAVE.c.last_day)
    .where(_LEAVE.c.pathologist_id.in_(bindparam("people", expanding=True)))
    .where(_LEAVE.c.last_day >= bindparam("since"))
    .order_by(_LEAVE.c.first_day)
)
_READING_HOURS = (
    select(_HOURS.c.pathologist_id, _HOURS.c.weekday, _HOURS.c.starts, _HOURS.c.ends)
    .where(_HOURS.c.pathologist_id.in_(bindparam("people", expanding=True)))
    .order_by(_HOURS.c.weekday, _HOURS.c.starts)
)
_HOLIDAYS = (
    select(_SITE.c.id, _HOLIDAY.c.day)
    .join(_HOLIDAY, _HOLIDAY.c.calendar == _SITE.c.calendar)
    .where(_HOLIDAY.c.day >= bindparam("since"))
    .order_by(_HOLIDAY.c.day)
)
_OPEN_READS = (
    select(_ASSIGNMENT.c.pathologist_id, _READ.c.points, _CASE.c.due_at)
    .join(_READ, _READ.c.id == _ASSIGNMENT.c.read_id)
    .join(_CASE, _CASE.c.id == _READ.c.case_id)
    .where(_ASSIGNMENT.c.pathologist_id.in_(bindparam("people", expanding=True)))
    .where(_ASSIGNMENT.c.ended_at.is_(None), _READ.c.closed_at.is_(None))
    .where(_READ.c.points > 0, _READ.c.points < _MOST_POINTS)
)
_REPORTED = (
    select(_CREDIT.c.pathologist_id, func.sum(_CREDIT.c.points))
    .where(_CREDIT.c.pathologist_id.in_(bindparam("people", expanding=True)))
    .where(_CREDIT.c.credited_at >= bindparam("since"))
    .where(_CREDIT.c.points > 0, _CREDIT.c.points < _MOST_POINTS)
    .group_by(_CREDIT.c.pathologist_id)
)


def pools_of(session: Session, read: ReadToAssign) -> tuple[str, ...] | None:
    """Return the pools whose people may be thought of for a read; ``None`` stands for all."""
    if read.scope == "national":
        return None
    near = {pool_of(read.network_id), *read.aided_by}
    if read.scope == "region" and read.region is not None:
        near |= set(session.scalars(_NETWORKS_OF_REGION, {"region": read.region}))
    return tuple(sorted(near))


def load_candidates(  # noqa: PLR0913 - what a caller may leave out
    session: Session,
    now: datetime,
    *,
    pools: Collection[str] | None = None,
    subspecialty: str | None = None,
    among: Callable[[Candidate], bool] | None = None,
    window_days: int = 28,
    cut_off: Collection[str] = frozenset(),
    lock_pool: bool = True,
) -> tuple[Candidate, ...]:
    """Return everybody who may be thought of for a read, with what is on their desk now, by id.

    The rows of these pools, of all without any, are locked in the order of their ids before the loads are read, and
    until the caller's transaction ends: so whoever decides next sees this decision. A preview, which decides nothing,
    needs no lock. Whom ``among`` does not want is returned without hours, leave, holidays and load; with a
    ``subspecialty`` nobody's levels in others are there. ``cut_off`` are sites that are so for now.

    Raises
    ------
    TransientError
        The settings were never brought into this database.
    """
    there = hold_pools(session, pools) if lock_pool else session.scalar(_ANY_POOL)
    if not there:
        raise TransientError("the laboratory's people are not in the database yet: tried again once they are")
    rows = session.execute(_PEOPLE).all()
    today = {zone: now.astimezone(ZoneInfo(zone)).date() for zone in {row.zone for row in rows}}
    digital, glass = _levels(session, {row.id: today[row.zone] for row in rows}, subspecialty)
    everybody = [
        _plain(tuple(row), _fixed(digital[row.id]), _fixed(glass[row.id]), row.site_id in cut_off) for row in rows
    ]
    wanted = [one.pathologist_id for one in everybody if among is None or among(one)]
    if not wanted:
        return tuple(everybody)
    desks = _Desks(session, wanted, now, window_days)
    chosen = frozenset(wanted)
    return tuple(desks.with_desk(one) if one.pathologist_id in chosen else one for one in everybody)


@lru_cache(_PEOPLE_KEPT)
def _plain(row: tuple[Any, ...], digital: _Fixed, glass: _Fixed, is_cut_off: bool) -> Candidate:  # noqa: FBT001 - a key of the cache
    """Return somebody without a desk; made once for all decisions, as long as nothing about them changes."""
    person, name, site_id, points_a_week, active, fte, max_points, zone, network_id, region = row
    return Candidate(
        pathologist_id=person,
        name=name,
        site_id=site_id,
        zone=zone,
        points_a_week=points_a_week,
        levels=dict(digital),
        glass_levels=dict(glass),
        sessions=(),
        active=active,
        network_id=network_id,
        region=region,
        fte=fte,
        max_points=max_points,
        cut_off=is_cut_off,
    )


def _fixed(levels: Mapping[str, int]) -> _Fixed:
    return tuple(sorted(levels.items()))


def _levels(session: Session, today: Mapping[str, date], subspecialty: str | None) -> tuple[_Levels, _Levels]:
    """Return each one's competences that are valid on the civil day of their site: on a screen, and on glass."""
    digital: _Levels = defaultdict(dict)
    glass: _Levels = defaultdict(dict)
    rows = (
        session.execute(_COMPETENCES)
        if subspecialty is None
        else session.execute(_COMPETENCES_IN_ONE, {"subspecialty": subspecialty})
    )
    for row in rows:
        day = today.get(row.pathologist_id)
        if day and row.valid_from <= day and (row.valid_to is None or day < row.valid_to):
            for reads_so, levels in ((row.digital, digital), (row.glass, glass)):
                if reads_so:
                    mine = levels[row.pathologist_id]
                    mine[row.subspecialty] = min(row.level, mine.get(row.subspecialty, row.level))
    return digital, glass


class _Desks:
    """When some people read, and what lies on their desks."""

    def __init__(self, session: Session, people: Sequence[str], now: datetime, window_days: int) -> None:
        these = {"people": people}
        since = now - timedelta(days=window_days)
        self._since = {person: day for person, day in session.execute(_SINCE, these)}  # noqa: C416 - rows, not pairs
        rows = session.execute(_REPORTED, these | {"since": since})
        self._reported = {person: float(points) for person, points in rows}
        self._sessions: dict[str, list[WeeklySession]] = defaultdict(list)
        for pathologist_id, weekday, starts, ends in session.execute(_READING_HOURS, these):
            self._sessions[pathologist_id].append(WeeklySession(weekday, starts, ends))
        self._absences: dict[str, list[Absence]] = defaultdict(list)
        # In no zone is it earlier than the day before.
        since_day = since.date() - timedelta(days=2)
        for row in session.execute(_LEAVE_SINCE, these | {"since": since_day}):
            self._absences[row.pathologist_id].append(Absence(row.first_day, row.last_day))
        self._holidays: dict[str, list[date]] = defaultdict(list)
        for site_id, day in session.execute(_HOLIDAYS, {"since": since_day}):
            self._holidays[site_id].append(day)
        self._open: dict[str, float] = defaultdict(float)
        self._due: dict[str, list[tuple[datetime, float]]] = defaultdict(list)
        for pathologist_id, points, due_at in session.execute(_OPEN_READS, these):
            self._open[pathologist_id] += points
            if due_at is not None:
                self._due[pathologist_id].append((due_at, points))

    def with_desk(self, one: Candidate) -> Candidate:
        person = one.pathologist_id
        return replace(
            one,
            sessions=tuple(self._sessions[person]),
            absences=tuple(self._absences[person]),
            holidays=tuple(self._holidays[one.site_id]),
            open_points=self._open[person],
            due=tuple(sorted(self._due[person])),
            carry=self._reported.get(person, 0.0),
            since=self._since.get(person),
        )
