"""What is still to do of some cases, as the database has it: as many queries for all of them as for one."""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from itertools import accumulate
from typing import Any, Final

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from flows.case_assignment.candidate import Absence, WeeklySession
from flows.completeness import READABLE, standing_of
from flows.deadlines.forecast import CaseAhead, ReadAhead, ReaderAhead, SlideAhead
from flows.expected import slides_of_cases
from models.facets import Images
from models.tables.books import Alert, History
from models.tables.case import Case
from models.tables.deadline import Holiday
from models.tables.place import Site
from models.tables.reading import Assignment, Leave, Pathologist, Read, ReadingSession
from models.tables.scan import Scan

# What the report waits for: an opinion and a meeting are beside it.
_REPORTED: Final = ("primary", "second", "trainee", "intra-operative")
_NOBODY_ELIGIBLE: Final = "nobody eligible"

_NEVER: Final = datetime.max.replace(tzinfo=UTC)
_DAY: Final = timedelta(days=1)

_Rank = tuple[int, datetime, str]
"""What somebody's reads are taken in the order of: lane, due time, id."""


@dataclass(frozen=True)
class _OnDesk:
    """What somebody has, in the order in which they take it, and the points of all up to each."""

    ranks: Sequence[_Rank]
    points: Sequence[float]

    def before(self, rank: _Rank) -> float:
        place = bisect_left(self.ranks, rank)
        return self.points[place - 1] if place else 0.0


def cases_ahead(session: Session, case_ids: Collection[str], now: datetime) -> dict[str, CaseAhead]:
    """Return what is still to do of these cases, by their ids."""
    rows = session.execute(
        select(Case.id, Case.lane, Case.images, Case.registered_at, Site.zone)
        .join(Site, Site.id == Case.site_id)
        .where(Case.id.in_(case_ids))
    ).all()
    registered = {row.id: row.registered_at for row in rows if row.images != Images.READY}
    slides, reads = _slides(session, registered), _reads(session, case_ids, now)
    return {
        row.id: CaseAhead(row.lane, row.zone, tuple(slides.get(row.id, ())), tuple(reads.get(row.id, ())))
        for row in rows
    }


def _slides(session: Session, registered: Mapping[str, datetime]) -> dict[str, list[SlideAhead]]:
    """Return the slides that can't be read; one waits since its last scan came, or since it was registered."""
    missing = {
        case_id: [(slide, where) for slide in slides if (where := standing_of(slide)) not in READABLE]
        for case_id, slides in slides_of_cases(session, registered).items()
    }
    ids = [slide.slide_id for slides in missing.values() for slide, _ in slides]
    new = select(History.subject_id, History.at).where(History.subject_id.in_(ids), History.what == "slide")
    since = dict(_times(session, new.where(History.after == "registered")))
    came = select(Scan.slide_id, func.max(Scan.received_at)).where(Scan.slide_id.in_(ids)).group_by(Scan.slide_id)
    since |= dict(_times(session, came))
    return {
        case_id: [SlideAhead(where, since.get(slide.slide_id, registered[case_id])) for slide, where in slides]
        for case_id, slides in missing.items()
    }


def _times(session: Session, query: Any) -> list[tuple[str, datetime]]:  # noqa: ANN401 - a SELECT of an id and a time
    return [(one, at) for one, at in session.execute(query) if one is not None]


def _reads(session: Session, case_ids: Collection[str], now: datetime) -> dict[str, list[ReadAhead]]:
    owned = (Assignment.read_id == Read.id) & Assignment.ended_at.is_(None)
    rows = session.execute(
        select(Read, Case.lane, Case.due_at, Assignment.pathologist_id, Assignment.started_at)
        .join(Case, (Case.id == Read.case_id) & (Case.round == Read.round))
        .outerjoin(Assignment, owned)
        .where(Read.case_id.in_(case_ids), Read.closed_at.is_(None), Read.role.in_(_REPORTED))
        .order_by(Read.id)
    ).all()
    people = _people(session, {row.pathologist_id for row in rows if row.pathologist_id}, now)
    desks = _desks(session, people.keys())
    in_vain = set(
        session.scalars(
            select(Alert.subject_id).where(
                Alert.subject_id.in_(case_ids), Alert.kind == _NOBODY_ELIGIBLE, Alert.cleared_at.is_(None)
            )
        )
    )
    found: dict[str, list[ReadAhead]] = defaultdict(list)
    for read, lane, due_at, owner, started_at in rows:
        rank = (lane, due_at or _NEVER, read.id)
        reader = replace(people[owner], points_before=desks[owner].before(rank)) if owner else None
        nobody_may = reader is None and read.case_id in in_vain
        since = started_at if owner else read.created_at
        found[read.case_id].append(ReadAhead(read.points, since, reader, nobody_may=nobody_may))
    return found


def _people(session: Session, ids: Collection[str], now: datetime) -> dict[str, ReaderAhead]:
    sessions: dict[str, list[WeeklySession]] = defaultdict(list)
    for held in session.scalars(select(ReadingSession).where(ReadingSession.pathologist_id.in_(ids))):
        sessions[held.pathologist_id].append(WeeklySession(held.weekday, held.starts, held.ends))
    absences: dict[str, list[Absence]] = defaultdict(list)
    # In no zone is it earlier than the day before yesterday.
    still = Leave.last_day >= now.date() - 2 * _DAY
    for leave in session.scalars(select(Leave).where(Leave.pathologist_id.in_(ids), still)):
        absences[leave.pathologist_id].append(Absence(leave.first_day, leave.last_day))
    holidays: dict[str, set[date]] = defaultdict(set)
    of_sites = select(Site.id, Holiday.day).join(Holiday, Holiday.calendar == Site.calendar)
    for site_id, day in session.execute(of_sites.where(Holiday.day >= now.date() - 2 * _DAY)):
        holidays[site_id].add(day)
    rows = session.execute(
        select(Pathologist, Site.zone).join(Site, Site.id == Pathologist.site_id).where(Pathologist.id.in_(ids))
    )
    return {
        person.id: ReaderAhead(
            id=person.id,
            name=person.name,
            zone=zone,
            points_a_week=person.points_a_week,
            sessions=tuple(sessions[person.id]),
            absences=tuple(absences[person.id]),
            holidays=frozenset(holidays[person.site_id]),
        )
        for person, zone in rows
    }


def _desks(session: Session, ids: Collection[str]) -> dict[str, _OnDesk]:
    rows = session.execute(
        select(Assignment.pathologist_id, Case.lane, Case.due_at, Read.id, Read.points)
        .join(Read, Read.id == Assignment.read_id)
        .join(Case, Case.id == Read.case_id)
        .where(Assignment.pathologist_id.in_(ids), Assignment.ended_at.is_(None), Read.closed_at.is_(None))
    )
    held: dict[str, list[tuple[_Rank, float]]] = {one: [] for one in ids}
    for owner, lane, due_at, read_id, points in rows:
        held[owner].append(((lane, due_at or _NEVER, read_id), points))
    return {
        owner: _OnDesk([rank for rank, _ in sorted(reads)], list(accumulate(points for _, points in sorted(reads))))
        for owner, reads in held.items()
    }
