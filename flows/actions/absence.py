"""Somebody is away from now on, or back before they were to be: their unopened reads move at once.

Every read moves in a transaction of its own, the most urgent first, so that nobody's case waits for all of them, and
whoever opens one meanwhile keeps it. Killed half-way, the same action again does the rest.
"""

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from sqlalchemy import select
from sqlalchemy.orm import Session

from flows import allocation
from flows.actions.desk import Desk, Person
from flows.actions.reading import pass_on
from flows.actions.reads_held import hold_any
from flows.actions.reads_named import Seen, seen_now
from flows.alerts import READER_ABSENT
from flows.books import Subject, clear_alert, note_changes, raise_alert
from flows.case_assignment.again import look_again, try_again
from flows.people.pools import lock_pools
from models.database import database_now
from models.errors import RefusedError, TransientError
from models.tables.case import Case
from models.tables.place import Site
from models.tables.reading import Assignment, Leave, Pathologist, Read

_SICK: Final = "sick"
_LONGEST: Final = timedelta(days=366)
_LEFT: Final = "its reader had opened it and is away now: 'coverslip assign override' gives it to somebody else"


@dataclass(frozen=True)
class Away:
    """What became of the reads of somebody who is away."""

    pathologist: str
    name: str
    until: date
    moved: int
    waiting: int
    """Nobody else may have them: they are raised."""
    left_open: int
    """Opened before, so only a person hands them on."""
    elsewhere: int
    """The LIMS or the PACS says who reads them."""
    later: int = 0
    """Somebody else held them for too long: the look at all open reads moves them."""


@dataclass(frozen=True)
class AwayNow:
    """Somebody who is away, and how many reads they have that nobody may move but a person."""

    pathologist: str
    name: str
    zone: str
    """Of the site where they work, in which their days are meant."""
    until: date
    kind: str
    left_open: tuple["LeftOpen", ...]


@dataclass(frozen=True)
class LeftOpen:
    """A read that somebody had opened who is away now."""

    case_id: str
    read_id: str
    role: str
    opened_at: datetime
    due_at: datetime | None


def absent_now(desk: Desk, pathologist_id: str, until: date, person: Person) -> Away:
    """Have somebody away from today up to and including a day, and their unopened reads read by others.

    Saying it again with another day changes until when.

    Raises
    ------
    RefusedError
        There is no such pathologist, the day is over, or more than a year ahead.
    """
    with desk.database.write("people.absent_now") as session:
        away = _is_away(session, pathologist_id, until, person)
    became = move_unopened(desk, pathologist_id, person)
    counts = {name: became[name] for name in ("moved", "waiting", "left_open", "elsewhere", "later")}
    return Away(pathologist_id, away, until, **counts)


def off_sick(session: Session, people: Collection[str], now: datetime) -> list[str]:
    """Return who of these people is off sick today, where they work."""
    known = select(Pathologist.id, Site.zone).join(Site, Site.id == Pathologist.site_id)
    rows = session.execute(known.where(Pathologist.id.in_(people), Pathologist.active).order_by(Pathologist.id)).all()
    return [
        one for one, zone in rows if any(leave.kind == _SICK for leave in _leave_at(session, one, _day_at(zone, now)))
    ]


def move_unopened(desk: Desk, pathologist_id: str, person: Person) -> Counter[str]:
    """Have the unopened reads of somebody who is away read by others; return what became of how many."""
    became: Counter[str] = Counter()
    for read_id in _theirs(desk, pathologist_id):
        try:
            with desk.database.write("people.move_absent") as session:
                one = _move(session, desk, read_id, pathologist_id, person)
        except TransientError:
            # The others need not wait for it.
            one = "later"
        became[one] += 1
    return became


def back_early(desk: Desk, pathologist_id: str, person: Person) -> str:
    """End somebody's leave: from now on they read again. What was moved stays where it is; return what they are called.

    Raises
    ------
    RefusedError
        There is no such pathologist, or they are not away.
    """
    with desk.database.write("people.back_early") as session:
        lock_pools(session)
        row, today, now = _known(session, pathologist_id)
        covering = _leave_at(session, pathologist_id, today)
        if not covering:
            raise RefusedError(f"{row.name} is not away: 'coverslip assign absent' lists who is")
        cause = person.cause("back")
        for leave in covering:
            changes = [("away until", leave.last_day, None)]
            note_changes(session, Subject("pathologist", pathologist_id), changes, cause, now)
            _until_yesterday(session, leave, today)
        for read_id in _open_reads(session, pathologist_id):
            clear_alert(session, read_id, READER_ABSENT, now)
        try_again(session)
        look_again(session, f"{row.name} is back", now)
        return row.name


def who_is_away(session: Session, now: datetime) -> list[AwayNow]:
    """Return who is away now, by name, and what they had opened, the most urgent first."""
    people = (
        select(Pathologist, Site.zone)
        .join(Site, Site.id == Pathologist.site_id)
        .where(Pathologist.active, Pathologist.id.in_(select(Leave.pathologist_id)))
        .order_by(Pathologist.name, Pathologist.id)
    )
    found = []
    for one, zone in session.execute(people).all():
        covering = _leave_at(session, one.id, _day_at(zone, now))
        if covering:
            last = max(covering, key=lambda leave: leave.last_day)
            opened = _left_open(session, one.id)
            found.append(AwayNow(one.id, one.name, zone, last.last_day, last.kind, opened))
    return found


def _left_open(session: Session, pathologist_id: str) -> tuple[LeftOpen, ...]:
    rows = session.execute(
        select(Read, Assignment.opened_at, Case.due_at)
        .join(Assignment, Assignment.read_id == Read.id)
        .join(Case, Case.id == Read.case_id)
        .where(Assignment.pathologist_id == pathologist_id, Assignment.ended_at.is_(None), Read.closed_at.is_(None))
        .where(Assignment.opened_at.is_not(None))
        .order_by(Case.lane, Case.due_at.is_(None), Case.due_at, Read.id)
    )
    return tuple(LeftOpen(read.case_id, read.id, read.role, at, due) for read, at, due in rows if at is not None)


def _is_away(session: Session, pathologist_id: str, until: date, person: Person) -> str:
    """Keep until when somebody is away; whoever decides next knows it, since the pools are locked."""
    lock_pools(session)
    row, today, now = _known(session, pathologist_id)
    if until < today:
        raise RefusedError(f"{until:%d %b %Y} is over where {row.name} works: say the last day of the absence")
    if until - today > _LONGEST:
        raise RefusedError("an absence of more than a year: take them off the list of readers instead")
    of_today = select(Leave).where(Leave.pathologist_id == pathologist_id, Leave.first_day == today)
    ours = select(Leave).where(Leave.pathologist_id == pathologist_id, Leave.kind == _SICK, Leave.last_day >= today)
    known = session.scalars(ours.where(Leave.first_day <= today)).first() or session.scalars(of_today).one_or_none()
    before = known.last_day if known is not None else None
    if known is None:
        known = Leave(pathologist_id=pathologist_id, first_day=today)
        session.add(known)
    known.last_day, known.kind = until, _SICK
    changes = [("away until", before, until)]
    note_changes(session, Subject("pathologist", pathologist_id), changes, person.cause("absent"), now)
    look_again(session, f"{row.name} is away", now)
    return row.name


def _known(session: Session, pathologist_id: str) -> tuple[Pathologist, date, datetime]:
    """Return a pathologist, and the day and the time where they work."""
    row = session.get(Pathologist, pathologist_id)
    if row is None:
        raise RefusedError("there is no such pathologist: the settings name them, or 'coverslip people import'")
    now = database_now(session)
    zone = session.get_one(Site, row.site_id).zone
    return row, _day_at(zone, now), now


def _day_at(zone: str, now: datetime) -> date:
    return now.astimezone(ZoneInfo(zone)).date()


def _theirs(desk: Desk, pathologist_id: str) -> Sequence[str]:
    with desk.database.read() as session:
        return _open_reads(session, pathologist_id)


def _open_reads(session: Session, pathologist_id: str) -> Sequence[str]:
    return session.scalars(
        select(Read.id)
        .join(Assignment, Assignment.read_id == Read.id)
        .join(Case, Case.id == Read.case_id)
        .where(Assignment.pathologist_id == pathologist_id, Assignment.ended_at.is_(None), Read.closed_at.is_(None))
        .order_by(Case.lane, Case.due_at.is_(None), Case.due_at, Read.id)
    ).all()


def _move(session: Session, desk: Desk, read_id: str, pathologist_id: str, person: Person) -> str:
    """Have somebody else read what is unopened, by the decision of today; say which count it belongs to."""
    read = session.get_one(Read, read_id)
    seen: Seen = seen_now(session, read)
    try:
        held = hold_any(session, seen)
    except RefusedError:
        # It was reported, or cancelled, a moment ago.
        return "gone"
    if held.seen.pathologist_id != pathologist_id:
        # Somebody was faster: a person, or the look at all open reads that this absence called for.
        return "moved" if held.seen.pathologist_id else "waiting"
    if held.seen.opened_at is not None:
        raise_alert(session, Subject("read", read_id), READER_ABSENT, _LEFT, held.now)
        return "left_open"
    if held.read.role == "primary" and allocation.authority_of(desk.settings, held.case) != "coverslip":
        return "elsewhere"
    pass_on(session, desk, held, "you are away", person.cause("absent"))
    return "moved" if seen_now(session, held.read).pathologist_id else "waiting"


def _leave_at(session: Session, pathologist_id: str, day: date) -> Sequence[Leave]:
    of_theirs = select(Leave).where(Leave.pathologist_id == pathologist_id)
    return session.scalars(of_theirs.where(Leave.first_day <= day, Leave.last_day >= day)).all()


def _until_yesterday(session: Session, leave: Leave, today: date) -> None:
    if leave.first_day == today:
        session.delete(leave)
    else:
        leave.last_day = today - timedelta(days=1)
