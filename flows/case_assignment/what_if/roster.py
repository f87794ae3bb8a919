"""Who reads when, in ticks of half an hour: what somebody can report until any moment is a difference of two sums."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt

from flows.case_assignment.hours import session_instants
from flows.case_assignment.what_if.history import Staff, today_at

TICK = timedelta(minutes=30)
_DAY = timedelta(days=1)
_MINUTE = timedelta(minutes=1)
_NOTHING = 1e-12


@dataclass(frozen=True)
class Roster:
    """``until`` has shape (P, ticks + 1): the points that each person can report before the beginning of a tick."""

    begins: datetime
    until: npt.NDArray[np.float64]

    @property
    def ticks(self) -> int:
        """How many ticks it reaches."""
        return int(self.until.shape[1]) - 1

    def moment(self, tick: int) -> datetime:
        """Return when a tick begins."""
        return self.begins + tick * TICK

    def in_tick(self, tick: int) -> npt.NDArray[np.float64]:
        """Return how many points each person can report in one tick."""
        points: npt.NDArray[np.float64] = self.until[:, tick + 1] - self.until[:, tick]
        return points

    def days_to_wait(self, tick: int) -> npt.NDArray[np.float64]:
        """Return in how many days, from the beginning of a tick, each person reads next; or the days that are left."""
        later = self.until[:, tick:] > self.until[:, [tick]] + _NOTHING
        ticks = np.where(later.any(axis=1), later.argmax(axis=1) - 1, later.shape[1])
        days: npt.NDArray[np.float64] = ticks * (TICK / _DAY)
        return days

    def between(self, first: int, last: int) -> npt.NDArray[np.float64]:
        """Return how many points each person can report from one tick up to another, or up to the roster's end."""
        points: npt.NDArray[np.float64] = self.until[:, min(last, self.ticks)] - self.until[:, first]
        return points


def roster_of(staff: Sequence[Staff], begins: datetime, ends: datetime) -> Roster:
    """Return the roster of some people; everybody reports at an even pace, their week's points in a week's hours."""
    ticks = -(-(ends - begins) // TICK)
    minutes = np.zeros((len(staff), ticks))
    for row, one in enumerate(staff):
        week = sum(_length(one, number) for number in range(len(one.sessions)))
        if week:
            _fill(minutes[row], one, begins, ticks)
            minutes[row] *= one.points_a_week / week
    return Roster(begins, np.concatenate((np.zeros((len(staff), 1)), minutes.cumsum(axis=1)), axis=1))


def _length(one: Staff, number: int) -> float:
    """Return the minutes of a session on a day without a change of the clock."""
    session = one.sessions[number]
    minutes = (session.ends.hour - session.starts.hour) * 60 + session.ends.minute - session.starts.minute
    return float(minutes if minutes > 0 else minutes + 24 * 60)


def _fill(row: npt.NDArray[np.float64], one: Staff, begins: datetime, ticks: int) -> None:
    zone = ZoneInfo(one.zone)
    day, last = today_at(begins, one.zone) - _DAY, today_at(begins + ticks * TICK, one.zone)
    while day <= last:
        if not any(away.first_day <= day <= away.last_day for away in one.absences):
            for session in one.sessions:
                if session.weekday == day.weekday():
                    _spread(row, *session_instants(session, day, zone), begins)
        day += _DAY


def _spread(row: npt.NDArray[np.float64], starts: datetime, ends: datetime, begins: datetime) -> None:
    at = max(starts, begins).astimezone(UTC)
    while at < ends and (tick := (at - begins) // TICK) < len(row):
        until = min(ends, begins + (tick + 1) * TICK)
        row[tick] += (until - at) / _MINUTE
        at = until
