"""Days as a laboratory counts them, in the civil time of a site, without what is paused. Rules only.

*Calendar* days end at the same time by the clock on the wall, so one of them has 23 or 25 hours when the clocks
change. *Working* days are Monday to Friday without holidays: time passes only within the hours of a working day, each
of which counts as one day however long it is, and what ends with the last of them is due when the next one begins.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from fractions import Fraction
from math import ceil
from typing import Final
from zoneinfo import ZoneInfo

_DAY: Final = timedelta(days=1)
_MICROSECOND: Final = timedelta(microseconds=1)
_SATURDAY: Final = 5
# No target takes longer, whatever was imported as a holiday.
_MOST_DAYS: Final = 3_660


@dataclass(frozen=True)
class Calendar:
    """When a site works; a working day that does not end after it begins goes on until the next day."""

    zone: ZoneInfo
    holidays: frozenset[date] = frozenset()
    working_day: tuple[time, time] = (time(8), time(18))


@dataclass(frozen=True)
class Span:
    """From one instant up to another one."""

    starts: datetime
    ends: datetime


def after_calendar_days(starts: datetime, days: float, calendar: Calendar, pauses: Sequence[Span] = ()) -> datetime:
    """Return the instant so many civil days after another; a part of a day is that part of 24 hours.

    A time that the clock skips is counted by the offset before, of one that it shows twice the first is meant.
    """
    whole = int(days)
    there = starts.astimezone(calendar.zone).replace(tzinfo=None) + whole * _DAY
    until = there.replace(tzinfo=calendar.zone).astimezone(UTC) + (days - whole) * _DAY
    return _beyond(starts, until, pauses)


def after_minutes(starts: datetime, minutes: float, pauses: Sequence[Span] = ()) -> datetime:
    """Return the instant so many minutes after another."""
    return _beyond(starts, starts.astimezone(UTC) + timedelta(minutes=minutes), pauses)


def after_working_days(starts: datetime, days: float, calendar: Calendar, pauses: Sequence[Span] = ()) -> datetime:
    """Return the instant so many working days after another; a part of a day is that part of its hours."""
    return _worked(starts, Fraction(days), calendar, pauses, None)


def after_working_minutes(
    starts: datetime, minutes: float, calendar: Calendar, pauses: Sequence[Span] = ()
) -> datetime:
    """Return the instant so many minutes of working time after another."""
    return _worked(starts, Fraction(minutes) * 60_000_000, calendar, pauses, _MICROSECOND)


def disjoint(pauses: Sequence[Span]) -> list[Span]:
    """Return the same time as spans in their order, none of which touches another."""
    found: list[Span] = []
    for pause in sorted(pauses, key=lambda one: one.starts):
        if pause.ends <= pause.starts:
            continue
        if found and pause.starts <= found[-1].ends:
            found[-1] = Span(found[-1].starts, max(found[-1].ends, pause.ends))
        else:
            found.append(pause)
    return found


def _beyond(starts: datetime, until: datetime, pauses: Sequence[Span]) -> datetime:
    """Return the first instant by which as much time has passed, without pauses, as lies between these two."""
    for pause in disjoint(pauses):
        if pause.starts >= until:
            break
        until += max(pause.ends - max(pause.starts, starts), timedelta(0))
    return until


def _worked(
    starts: datetime, wanted: Fraction, calendar: Calendar, pauses: Sequence[Span], unit: timedelta | None
) -> datetime:
    """Return when so much working time has passed: counted in units, or in days each as long as its own hours."""
    paused = disjoint(pauses)
    last = starts.astimezone(UTC)
    for hours in _working_hours(starts, calendar):
        # The part of what is wanted that one microsecond is.
        worth = Fraction(1, (unit or (hours.ends - hours.starts)) // _MICROSECOND)
        for free in _without(Span(max(hours.starts, starts), hours.ends), paused):
            passes = (free.ends - free.starts) // _MICROSECOND * worth
            if wanted < passes:
                return free.starts.astimezone(UTC) + ceil(wanted / worth) * _MICROSECOND
            wanted -= passes
            last = free.ends
    return last


def _working_hours(starts: datetime, calendar: Calendar) -> Iterator[Span]:
    """Yield the hours of each working day that end after an instant."""
    opens, closes = calendar.working_day
    # A working day that began yesterday may go on after midnight.
    first = starts.astimezone(calendar.zone).date() - _DAY
    for day in (first + number * _DAY for number in range(_MOST_DAYS)):
        if day.weekday() >= _SATURDAY or day in calendar.holidays:
            continue
        ends_on = day if opens < closes else day + _DAY
        hours = Span(_instant(day, opens, calendar.zone), _instant(ends_on, closes, calendar.zone))
        if hours.ends > starts and hours.ends > hours.starts:
            yield hours


def _without(span: Span, paused: Sequence[Span]) -> Iterator[Span]:
    starts = span.starts
    for pause in paused:
        if pause.ends <= starts or pause.starts >= span.ends:
            continue
        if pause.starts > starts:
            yield Span(starts, pause.starts)
        starts = pause.ends
    if starts < span.ends:
        yield Span(starts, span.ends)


def _instant(day: date, at: time, zone: ZoneInfo) -> datetime:
    return datetime.combine(day, at, tzinfo=zone).astimezone(UTC)
