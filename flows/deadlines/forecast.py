"""When a case will probably be reported, and what most of that time is spent on. Rules only.

What is still to do comes one after the other: its slides must be readable (they are made side by side, so the slowest
counts), somebody must have each read, reach it on their desk, and read it, in their sessions and not on leave. Whoever
must wait for another's read of the same case is not foreseen: the slowest read counts.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from flows.case_assignment.candidate import Absence, WeeklySession
from flows.case_assignment.hours import session_instants, weekday_of
from flows.completeness import SlideStanding
from flows.deadlines.usual import Stage, Usual
from models.facets import Lane

_DAY: Final = timedelta(days=1)
_WEEK: Final = timedelta(days=7)
_NOTHING: Final = timedelta(0)
_NEVER: Final = datetime.max.replace(tzinfo=UTC)
# No roster is worth searching further ahead.
_FURTHEST_DAYS: Final = 92

#   where a slide stands       what it waits for  in words, of one and of several
_MISSING: Final[Mapping[SlideStanding, tuple[Stage, str, str]]] = {
    "waiting for a scan": ("scan", "a slide that is not scanned yet", "{} slides that are not scanned yet"),
    "waiting for a rescan": ("rescan", "a slide that must be scanned again", "{} slides that must be scanned again"),
    "being made": ("work", "a slide that is being made", "{} slides that are being made"),
    "moving": ("archive", "a slide on its way to the archive", "{} slides on their way to the archive"),
    "set aside": ("person", "a scan that was set aside", "{} scans that were set aside"),
    "images gone": ("person", "a slide whose images are gone", "{} slides whose images are gone"),
}


@dataclass(frozen=True)
class SlideAhead:
    """A slide that can't be read yet: where it stands, and since when."""

    standing: SlideStanding
    since: datetime


@dataclass(frozen=True)
class ReaderAhead:
    """Whoever has a read: when they read, how fast, and how many points lie before it on their desk."""

    id: str
    name: str
    zone: str
    points_a_week: float
    sessions: tuple[WeeklySession, ...]
    absences: tuple[Absence, ...] = ()
    points_before: float = 0.0
    holidays: frozenset[date] = frozenset()


@dataclass(frozen=True)
class ReadAhead:
    """A read that is not reported, since when it waits for what it waits for, and who has it, if anybody.

    ``nobody_may`` says that it was looked for a reader in vain.
    """

    points: float
    since: datetime
    reader: ReaderAhead | None = None
    nobody_may: bool = False


@dataclass(frozen=True)
class CaseAhead:
    """What is still to do of a case; without slides its images can be read."""

    lane: int
    zone: str
    slides: tuple[SlideAhead, ...] = ()
    reads: tuple[ReadAhead, ...] = ()


@dataclass(frozen=True)
class Wait:
    """A part of the time until a case is reported: what it is spent on, and how much it is."""

    what: str
    span: timedelta


@dataclass(frozen=True)
class Forecast:
    """When a case will probably be reported; ``None`` when nobody can say, since nobody may read it or ever does.

    ``waits`` are the parts of the time until then. ``readable_at`` is when its slides will be; ``reader_id`` is whose
    read comes last, if somebody has it.
    """

    at: datetime | None
    waits: tuple[Wait, ...]
    readable_at: datetime
    reader_id: str | None = None

    @property
    def longest(self) -> Wait:
        """The part that most of the time is spent on."""
        return max(self.waits, key=lambda wait: wait.span)

    def is_late(self, due_at: datetime) -> bool:
        """Whether the case will probably not be reported by then."""
        return self.at is None or self.at > due_at

    def is_late_by_its_reader(self, due_at: datetime, quickest: timedelta) -> bool:
        """Whether it will be late although its slides come in time for somebody who reads it at once."""
        return self.reader_id is not None and self.is_late(due_at) and self.readable_at + quickest <= due_at


def forecast(case: CaseAhead, usual: Usual, now: datetime) -> Forecast:
    """Return when a case will probably be reported."""
    slides = _slides(case.slides, usual, now)
    readable_at = now + slides.span
    # Without a read yet, one comes as soon as the case can be read.
    ends = [_read(read, case, usual, readable_at, now) for read in case.reads or (ReadAhead(0.0, readable_at),)]
    last = max(ends, key=lambda end: end.at or _NEVER)
    return Forecast(last.at, (slides, *last.waits), readable_at, last.reader_id)


def quickest(case: CaseAhead, usual: Usual) -> timedelta:
    """Return how long it takes somebody to read a case who does nothing else."""
    if case.lane == Lane.INTRA_OPERATIVE:
        return usual.still("frozen section")
    return max((_own(read.points, read.reader) for read in case.reads if read.reader), default=_NOTHING)


def _slides(slides: Sequence[SlideAhead], usual: Usual, now: datetime) -> Wait:
    """Return the slowest kind of wait for slides."""
    waits: dict[SlideStanding, list[timedelta]] = {}
    for slide in slides:
        stage = _MISSING[slide.standing][0]
        waits.setdefault(slide.standing, []).append(usual.still(stage, max(now - slide.since, _NOTHING)))
    if not waits:
        return Wait("its slides", _NOTHING)
    slowest = max(waits, key=lambda standing: max(waits[standing]))
    count, (_stage, one, several) = len(waits[slowest]), _MISSING[slowest]
    return Wait(one if count == 1 else several.format(count), max(waits[slowest]))


def _read(read: ReadAhead, case: CaseAhead, usual: Usual, readable_at: datetime, now: datetime) -> Forecast:
    """Return when one read will be reported, by the waits after its slides."""
    if read.nobody_may:
        return Forecast(None, (Wait("nobody who may read it", timedelta.max),), readable_at)
    if read.reader is None:
        waited = max(now - read.since, _NOTHING)
        given = Wait("somebody to have it", usual.still("assignment", waited))
        reading = Wait("its reading", usual.still(_reading(case)))
        return Forecast(readable_at + given.span + reading.span, (given, reading), readable_at)
    if not read.reader.sessions:
        waited = max(now - max(read.since, readable_at), _NOTHING)
        reading = Wait(f"the reading by {read.reader.name}", usual.still(_reading(case), waited))
        return Forecast(readable_at + reading.span, (reading,), readable_at, read.reader.id)
    return _on_desk(read, read.reader, case, usual, readable_at)


def _on_desk(read: ReadAhead, reader: ReaderAhead, case: CaseAhead, usual: Usual, readable_at: datetime) -> Forecast:
    """Return when somebody will have read what lies on their desk, one thing after the other in their sessions."""
    own = usual.still("frozen section") if case.lane == Lane.INTRA_OPERATIVE else _own(read.points, reader)
    before = _own(reader.points_before, reader)
    begins = _after_hours(reader, readable_at, _NOTHING)
    reached = _after_hours(reader, readable_at, before)
    ends = _after_hours(reader, readable_at, before + own)
    if begins is None or reached is None or ends is None:
        return Forecast(
            None, (Wait(f"{reader.name}, who has no session for it", timedelta.max),), readable_at, reader.id
        )
    waits = (
        Wait(_not_there(reader, begins, case.zone), begins - readable_at),
        Wait(f"what lies before it with {reader.name} ({reader.points_before:g} points)", reached - begins),
        Wait(f"the reading by {reader.name}", ends - reached),
    )
    return Forecast(ends, waits, readable_at, reader.id)


def _reading(case: CaseAhead) -> Stage:
    return "frozen section" if case.lane == Lane.INTRA_OPERATIVE else "reading"


def _not_there(reader: ReaderAhead, begins: datetime, zone: str) -> str:
    there = begins.astimezone(ZoneInfo(zone))
    return f"{reader.name}, who reads next on {there.day} {there:%b %H:%M}"


def _own(points: float, reader: ReaderAhead | None) -> timedelta:
    """Return how much of a reader's session time so many points take."""
    if reader is None or not reader.sessions:
        return _NOTHING
    return _weekly(reader.sessions) * (points / reader.points_a_week)


def _weekly(sessions: Sequence[WeeklySession]) -> timedelta:
    # Any week without a change of clocks: how long the sessions are on the wall.
    monday = date(2024, 1, 1)
    spans = (session_instants(one, monday + one.weekday * _DAY, ZoneInfo("UTC")) for one in sessions)
    return min(sum((ends - starts for starts, ends in spans), _NOTHING), _WEEK)


def _after_hours(reader: ReaderAhead, since: datetime, hours: timedelta) -> datetime | None:
    """Return when somebody has read for so long; ``None`` when they do not within three months."""
    reached = since.astimezone(UTC)
    for starts, ends in _held(reader, since):
        # Sessions that overlap are read once.
        begins = max(starts, reached)
        if ends <= begins:
            continue
        if hours <= ends - begins:
            return begins + hours
        hours -= ends - begins
        reached = ends
    return None


def _held(reader: ReaderAhead, since: datetime) -> Iterator[tuple[datetime, datetime]]:
    """Yield when somebody reads, by when it begins; not what begins on a day of leave, even after midnight."""
    zone = ZoneInfo(reader.zone)
    # Yesterday's session may still be running after midnight.
    first = since.astimezone(zone).date() - _DAY
    for day in (first + number * _DAY for number in range(_FURTHEST_DAYS)):
        if any(absence.first_day <= day <= absence.last_day for absence in reader.absences):
            continue
        weekday = weekday_of(day, reader.holidays)
        yield from sorted(session_instants(one, day, zone) for one in reader.sessions if one.weekday == weekday)
