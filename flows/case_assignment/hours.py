"""When somebody reads: civil sessions, whole days of leave and public holidays, as instants in UTC."""

from bisect import bisect_right
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from itertools import accumulate
from typing import Final
from zoneinfo import ZoneInfo

from flows.case_assignment.candidate import Absence, Candidate, WeeklySession

_DAY: Final = timedelta(days=1)
_AHEAD: Final = 15
"""So many days ahead times are worked out beforehand: no deadline class ends later."""
_ROSTERS_KEPT: Final = 2_048
_SUNDAY: Final = 6
_ANY_ZONE: Final = ZoneInfo("UTC")


@dataclass(frozen=True)
class _Week:
    """What somebody's days are made of."""

    sessions: tuple[WeeklySession, ...]
    absences: tuple[Absence, ...] = ()
    holidays: tuple[date, ...] = ()


@dataclass(frozen=True)
class Roster:
    """When somebody reads, in seconds since 1970: stretches in order that never touch.

    ``read_before`` is how many seconds they read before each stretch begins.
    """

    begins: tuple[float, ...]
    ends: tuple[float, ...]
    read_before: tuple[float, ...]

    def seconds_until(self, at: float) -> float:
        """Return how long they read before a moment, since the roster begins."""
        last = bisect_right(self.begins, at) - 1
        return 0.0 if last < 0 else self.read_before[last] + min(at, self.ends[last]) - self.begins[last]

    def next_reading(self, at: float) -> float | None:
        """Return when they read next; a stretch that is running counts from now."""
        following = bisect_right(self.ends, at)
        return max(at, self.begins[following]) if following < len(self.ends) else None


def roster_of(candidate: Candidate, now: datetime, days_back: int) -> Roster:
    """Return when a candidate read so many days back, and reads within the next two weeks."""
    return _roster(_week_of(candidate), candidate.zone, now.astimezone(UTC).date(), days_back)


def absence_at(candidate: Candidate, at: datetime) -> Absence | None:
    """Return the leave that covers the civil day of ``at`` at the candidate's site; of several, the longest."""
    if not candidate.absences:
        return None
    day = at.astimezone(ZoneInfo(candidate.zone)).date()
    covering = [absence for absence in candidate.absences if absence.first_day <= day <= absence.last_day]
    return max(covering, key=lambda absence: absence.last_day, default=None)


def first_reading(candidate: Candidate, now: datetime, before: datetime) -> datetime | None:
    """Return when the candidate reads next, from ``now`` on and before ``before``; ``None`` when they don't.

    A session that is running counts from now. A session that begins on a day of leave does not take place, nor
    does its part after midnight; on a public holiday those of a Sunday do.

    Returns
    -------
    datetime
        In UTC.
    """
    if not candidate.sessions or before <= now:
        return None
    soon = roster_of(candidate, now, 0).next_reading(now.timestamp())
    if soon is not None:
        return datetime.fromtimestamp(soon, UTC) if soon < before.timestamp() else None
    zone = ZoneInfo(candidate.zone)
    for day in _days(now.astimezone(zone).date() - _DAY, before.astimezone(zone).date()):
        begins = [
            max(starts, now)
            for starts, ends in _held_on(day, _week_of(candidate), zone)
            if now < ends and starts < min(ends, before)
        ]
        if begins:
            return min(begins).astimezone(UTC)
    return None


def session_instants(session: WeeklySession, day: date, zone: ZoneInfo) -> tuple[datetime, datetime]:
    """Return when a session of this civil day begins and ends, in UTC.

    A time that the clock shows twice is its first showing, one that it skips is counted by the offset before: both
    keep a session as long as it is on other days, unless the change falls inside it.
    """
    ends_on = day if session.starts < session.ends else day + _DAY
    starts = datetime.combine(day, session.starts, tzinfo=zone).astimezone(UTC)
    return starts, datetime.combine(ends_on, session.ends, tzinfo=zone).astimezone(UTC)


def weekday_of(day: date, holidays: Collection[date]) -> int:
    """Return whose sessions a day has, Monday being 0: a public holiday is kept as a Sunday, by who reads on those."""
    return _SUNDAY if day in holidays else day.weekday()


@lru_cache(_ROSTERS_KEPT)
def seconds_a_week(sessions: tuple[WeeklySession, ...]) -> float:
    """Return how long somebody reads in a week without leave or a change of the clock."""
    anywhere = date(2024, 1, 1)  # A Monday.
    days = (anywhere + timedelta(days=number) for number in range(7))
    held = [one for day in days for one in _held_on(day, _Week(sessions), _ANY_ZONE)]
    return sum(end - begin for begin, end in _merged(held))


@lru_cache(_ROSTERS_KEPT)
def _roster(week: _Week, zone_name: str, today: date, days_back: int) -> Roster:
    """Work a roster out: the same for everybody who asks on a day."""
    zone = ZoneInfo(zone_name)
    # Yesterday's session may still be running after midnight, and today is tomorrow in some zones.
    days = _days(today - (days_back + 2) * _DAY, today + (_AHEAD + 1) * _DAY)
    stretches = _merged([one for day in days for one in _held_on(day, week, zone)])
    begins, ends = tuple(begin for begin, _ in stretches), tuple(end for _, end in stretches)
    lengths = (end - begin for begin, end in stretches)
    return Roster(begins, ends, tuple(accumulate(lengths, initial=0.0))[: len(begins)])


def _week_of(candidate: Candidate) -> _Week:
    return _Week(candidate.sessions, candidate.absences, candidate.holidays)


def _held_on(day: date, week: _Week, zone: ZoneInfo) -> Iterator[tuple[datetime, datetime]]:
    if any(absence.first_day <= day <= absence.last_day for absence in week.absences):
        return
    weekday = weekday_of(day, week.holidays)
    for session in week.sessions:
        if session.weekday == weekday:
            yield session_instants(session, day, zone)


def _merged(held: list[tuple[datetime, datetime]]) -> list[tuple[float, float]]:
    """Return stretches in order, those that overlap or touch as one, those that the clock leaves nothing of dropped."""
    stretches: list[tuple[float, float]] = []
    for starts, ends in sorted((starts.timestamp(), ends.timestamp()) for starts, ends in held if starts < ends):
        if stretches and starts <= stretches[-1][1]:
            begun, over = stretches[-1]
            stretches[-1] = (begun, max(over, ends))
        else:
            stretches.append((starts, ends))
    return stretches


def _days(first: date, last: date) -> Iterator[date]:
    for ordinal in range(first.toordinal(), last.toordinal() + 1):
        yield date.fromordinal(ordinal)
