"""How loaded somebody is, for what they can do, and what room is left on their desk before deadlines."""

from bisect import bisect_left
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from flows.case_assignment.candidate import Candidate
from flows.case_assignment.hours import roster_of, seconds_a_week

CLASS_ENDS: Final = tuple(timedelta(hours=hours) for hours in (4, 24, 48, 72, 120, 240))
"""Deadline classes: each ends so long after the moment of the decision, and holds all that falls due before."""

_WEEK: Final = timedelta(days=7)
# Two working days: about as much as lies on a desk that is neither empty nor late.
_WEEKS_AHEAD: Final = 0.4


@dataclass(frozen=True)
class Load:
    """What somebody can report in the fairness window, and what they still can before each deadline class ends.

    The window reaches a little ahead, and leave lowers the capacity in all of it: whoever returns has no more to do
    than that little, and is not flooded. ``room`` is beyond what falls due by then.
    """

    capacity: float
    room: tuple[float, ...]


def class_of(due_at: datetime, now: datetime) -> int:
    """Return in which deadline class a moment lies; what is overdue is in the first, what is far away in the last."""
    return min(bisect_left(CLASS_ENDS, due_at - now), len(CLASS_ENDS) - 1)


def load_of(candidate: Candidate, now: datetime, window_days: int) -> Load:
    """Return how loaded a candidate is, in a fairness window that began so many days ago."""
    at = now.timestamp()
    week = seconds_a_week(candidate.sessions)
    pace = candidate.points_a_week / week if week else 0.0
    roster = roster_of(candidate, now, window_days)
    until_now = roster.seconds_until(at)
    began = max(at - window_days * 86_400.0, _began(candidate))
    behind = max(0.0, until_now - roster.seconds_until(began))
    next_week = roster.seconds_until(at + _WEEK.total_seconds()) - until_now
    due = [0.0] * len(CLASS_ENDS)
    for due_at, points in candidate.due:
        due[class_of(due_at, now)] += points
    room, due_by_then = [], 0.0
    for end, falls_due in zip(CLASS_ENDS, due, strict=True):
        due_by_then += falls_due
        can = pace * (roster.seconds_until(at + end.total_seconds()) - until_now)
        room.append(max(0.0, can - due_by_then))
    return Load(pace * (behind + _WEEKS_AHEAD * next_week), tuple(room))


def _began(candidate: Candidate) -> float:
    if candidate.since is None:
        return 0.0
    since = candidate.since
    return datetime(since.year, since.month, since.day, tzinfo=ZoneInfo(candidate.zone)).astimezone(UTC).timestamp()
