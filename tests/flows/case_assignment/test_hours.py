from datetime import UTC, date, datetime, time, timedelta

import pytest

from flows.case_assignment.candidate import Absence, WeeklySession
from flows.case_assignment.hours import absence_at, first_reading
from tests.flows.case_assignment.people import MONDAY, OFFICE_HOURS, somebody

SUNDAY = 6


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def in_a_week(now: datetime) -> datetime:
    return now + timedelta(days=7)


def test_a_session_that_is_running_counts_from_now() -> None:
    assert first_reading(somebody(), MONDAY, in_a_week(MONDAY)) == MONDAY


def test_after_hours_the_next_day_counts() -> None:
    now = utc("2026-11-23T17:00")
    assert first_reading(somebody(), now, in_a_week(now)) == utc("2026-11-24T09:00")


def test_of_two_sessions_of_a_day_the_earlier_counts() -> None:
    halves = (WeeklySession(0, time(14), time(17)), WeeklySession(0, time(11), time(12)))
    assert first_reading(somebody(sessions=halves), MONDAY, in_a_week(MONDAY)) == utc("2026-11-23T11:00")


def test_a_session_that_begins_at_the_deadline_is_too_late() -> None:
    now = utc("2026-11-23T17:00")
    assert first_reading(somebody(), now, utc("2026-11-24T09:00")) is None
    assert first_reading(somebody(), now, utc("2026-11-24T09:01")) == utc("2026-11-24T09:00")


def test_who_has_no_sessions_reads_never() -> None:
    assert first_reading(somebody(sessions=()), MONDAY, datetime.max.replace(tzinfo=UTC)) is None


def test_a_night_that_began_yesterday_is_still_running_after_midnight() -> None:
    nights = (WeeklySession(SUNDAY, time(22), time(6)),)
    now = utc("2026-11-23T02:00")
    assert first_reading(somebody(sessions=nights), now, now + timedelta(hours=1)) == now
    assert first_reading(somebody(sessions=nights), utc("2026-11-23T06:00"), utc("2026-11-23T07:00")) is None


def test_midnight_to_midnight_is_a_whole_day() -> None:
    whole = (WeeklySession(0, time(0), time(0)),)
    assert first_reading(somebody(sessions=whole), utc("2026-11-23T23:59"), utc("2026-11-24T00:30")) is not None
    assert first_reading(somebody(sessions=whole), utc("2026-11-24T00:00"), utc("2026-11-24T00:30")) is None


@pytest.mark.parametrize(
    ("zone", "now", "starts", "ends", "reads_from"),
    [
        # London skips 01:00 to 02:00 on 29 March 2026, and shows it twice on 25 October 2026.
        ("Europe/London", "2026-03-29T00:30", time(9), time(17), "2026-03-29T08:00"),
        ("Europe/London", "2026-10-25T00:30", time(9), time(17), "2026-10-25T09:00"),
        ("Europe/London", "2026-03-29T00:30", time(1, 30), time(6), "2026-03-29T01:30"),
        ("Europe/London", "2026-10-25T00:00", time(1, 30), time(6), "2026-10-25T00:30"),
        # The hour that the clock shows twice belongs to a session around it, both times.
        ("Europe/London", "2026-10-25T01:40", time(1), time(3), "2026-10-25T01:40"),
        # Lord Howe Island moves by half an hour only: 02:00 becomes 02:30 on 4 October 2026.
        ("Australia/Lord_Howe", "2026-10-03T14:00", time(9), time(17), "2026-10-03T22:00"),
    ],
)
def test_hours_are_civil_time_on_days_of_23_and_25_hours(
    zone: str, now: str, starts: time, ends: time, reads_from: str
) -> None:
    candidate = somebody(zone=zone, sessions=(WeeklySession(SUNDAY, starts, ends),))
    assert first_reading(candidate, utc(now), utc(now) + timedelta(days=1)) == utc(reads_from)


def test_a_session_that_the_clock_skips_does_not_take_place() -> None:
    candidate = somebody(sessions=(WeeklySession(SUNDAY, time(1, 30), time(2, 15)),))
    now = utc("2026-03-29T00:30")
    assert first_reading(candidate, now, now + timedelta(days=1)) is None


def test_a_night_over_the_end_of_summer_time_ends_by_the_clock() -> None:
    night = somebody(sessions=(WeeklySession(5, time(22), time(6)),))
    assert first_reading(night, utc("2026-10-25T05:59"), utc("2026-10-25T07:00")) is not None
    assert first_reading(night, utc("2026-10-25T06:00"), utc("2026-10-25T07:00")) is None


def test_weekdays_are_those_of_the_site() -> None:
    # Monday 10:00 in Auckland is Sunday 21:00 in UTC.
    candidate = somebody(zone="Pacific/Auckland", sessions=(WeeklySession(0, time(9), time(17)),))
    now = utc("2026-11-22T21:00")
    assert first_reading(candidate, now, now + timedelta(minutes=1)) == now


def test_sessions_on_days_of_leave_do_not_count() -> None:
    candidate = somebody(absences=(Absence(date(2026, 11, 23), date(2026, 11, 25)),))
    assert first_reading(candidate, MONDAY, in_a_week(MONDAY)) == utc("2026-11-26T09:00")
    assert first_reading(candidate, MONDAY, utc("2026-11-26T09:00")) is None


def test_a_public_holiday_is_kept_as_a_sunday() -> None:
    holiday = (date(2026, 11, 23),)
    assert first_reading(somebody(holidays=holiday), MONDAY, in_a_week(MONDAY)) == utc("2026-11-24T09:00")
    on_sundays = (*OFFICE_HOURS, WeeklySession(SUNDAY, time(12), time(13)))
    reads_then = somebody(sessions=on_sundays, holidays=holiday)
    assert first_reading(reads_then, MONDAY, in_a_week(MONDAY)) == utc("2026-11-23T12:00")


def test_a_night_that_would_begin_on_leave_does_not_count_after_midnight_either() -> None:
    nights = (WeeklySession(SUNDAY, time(22), time(6)),)
    on_leave = somebody(sessions=nights, absences=(Absence(date(2026, 11, 22), date(2026, 11, 22)),))
    now = utc("2026-11-23T02:00")
    assert first_reading(on_leave, now, now + timedelta(hours=1)) is None


@pytest.mark.parametrize(
    ("zone", "at", "away"),
    [
        ("Europe/London", "2026-11-22T23:59", False),
        ("Europe/London", "2026-11-23T00:00", True),
        ("Europe/London", "2026-11-24T23:59", True),
        ("Europe/London", "2026-11-25T00:00", False),
        ("Pacific/Auckland", "2026-11-22T11:00", True),
        ("Pacific/Auckland", "2026-11-24T11:00", False),
        ("America/Los_Angeles", "2026-11-25T07:59", True),
    ],
)
def test_leave_is_whole_days_of_the_sites_own_calendar(zone: str, at: str, *, away: bool) -> None:
    candidate = somebody(zone=zone, absences=(Absence(date(2026, 11, 23), date(2026, 11, 24)),))
    assert (absence_at(candidate, utc(at)) is not None) == away


def test_of_two_leaves_that_overlap_the_longer_is_told() -> None:
    short, long = (Absence(date(2026, 11, 23), date(2026, 11, last)) for last in (23, 30))
    assert absence_at(somebody(absences=(long, short)), MONDAY) == long
