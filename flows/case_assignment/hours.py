"""When somebody reads: civil sessions and whole days of leave, as instants in UTC."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

from flows.case_assignment.candidate import Absence, Candidate, WeeklySession

_DAY = timedelta(days=1)


def absence_at(candidate: Candidate, at: datetime) -> Absence | None:
    """Return the leave that covers the civil day of ``at`` at the candidate's site; of several, the longest."""
    day = at.astimezone(ZoneInfo(candidate.zone)).date()
    covering = [absence for absence in candidate.absences if absence.first_day <= day <= absence.last_day]
    return max(covering, key=lambda absence: absence.last_day, default=None)


def first_reading(candidate: Candidate, now: datetime, before: datetime) -> datetime | None:
    """Return when the candidate reads next, from ``now`` on and before ``before``; ``None`` when they don't.

    A session that is running counts from now. A session that begins on a day of leave does not take place, nor
    does its part after midnight.

    Returns
    -------
    datetime
        In UTC.
    """
    if not candidate.sessions:
        return None
    zone = ZoneInfo(candidate.zone)
    # Yesterday's session may still be running after midnight.
    for day in _days(now.astimezone(zone).date() - _DAY, before.astimezone(zone).date()):
        if any(absence.first_day <= day <= absence.last_day for absence in candidate.absences):
            continue
        held = (session_instants(session, day, zone) for session in candidate.sessions if session.weekday == day.weekday())
        begins = [max(starts, now) for starts, ends in held if now < ends and starts < min(ends, before)]
        if begins:
            return min(begins).astimezone(UTC)
    return None


def _days(first: date, last: date) -> Iterator[date]:
    for ordinal in range(first.toordinal(), last.toordinal() + 1):
        yield date.fromordinal(ordinal)


def session_instants(session: WeeklySession, day: date, zone: ZoneInfo) -> tuple[datetime, datetime]:
    """Return when a session of this civil day begins and ends, in UTC.

    A time that the clock shows twice is its first showing, one that it skips is counted by the offset before: both
    keep a session as long as it is on other days, unless the change falls inside it.
    """
    ends_on = day if session.starts < session.ends else day + _DAY
    starts = datetime.combine(day, session.starts, tzinfo=zone).astimezone(UTC)
    return starts, datetime.combine(ends_on, session.ends, tzinfo=zone).astimezone(UTC)
