"""What people are told of a deadline that will be missed, or was: sentences."""

from datetime import UTC, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from flows.deadlines.forecast import Forecast
from flows.deadlines.targets import MDT, ORDERED

_CALLED: Final = {MDT: "MDT", ORDERED: "asked for by the LIMS"}
_SOON: Final = timedelta(hours=4)


def called(kind: str) -> str:
    """Return what people call a kind of deadline."""
    return _CALLED.get(kind, kind)


def at_in_words(at: datetime, zone: str, now: datetime) -> str:
    """Return a moment in a site's civil time, with the name of its zone: who reads it may sit in another.

    The year is said only when it is not this one.
    """
    try:
        there = at.astimezone(ZoneInfo(zone))
    except OverflowError:
        # What a LIMS wrote may lie at the very end of what a calendar holds.
        return at.isoformat()
    year = "" if there.year == now.astimezone(ZoneInfo(zone)).year else f" {there.year}"
    name = there.tzname() or "UTC"
    return f"{there.day} {there:%b}{year}, {there:%H:%M} {'UTC' if name[0] in '+-' else ''}{name}"


def will_be_missed(kind: str, due_at: datetime, seen: Forecast, zone: str, now: datetime) -> str:
    """Say which deadline will be missed, when the report is expected, and what most of the time goes to."""
    which = f"its deadline of {at_in_words(due_at, zone, now)} ({called(kind)}) will probably be missed"
    if seen.at is None:
        return f"{which}: nobody can say when it will be reported, for it waits for {seen.longest.what}"
    expected = at_in_words(_rounded(seen.at, now), zone, now)
    return f"{which}: a report is expected by {expected}, and most of the time goes to {seen.longest.what}"


def was_missed(kind: str, due_at: datetime, zone: str, now: datetime) -> str:
    """Say which deadline has passed."""
    return f"its deadline of {at_in_words(due_at, zone, now)} ({called(kind)}) has passed, and it is not reported"


def _rounded(at: datetime, now: datetime) -> datetime:
    """Return a moment that nobody knows to the minute, so that a sentence does not change with every look."""
    unit = timedelta(minutes=5) if at - now < _SOON else timedelta(hours=1)
    beyond = (at - datetime.min.replace(tzinfo=UTC)) % unit
    return at if not beyond else at + (unit - beyond)
