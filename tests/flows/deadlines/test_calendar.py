"""Days as a laboratory counts them, with answers that a calendar on the wall gives."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise
from typing import Final
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.deadlines.calendar import (
    Calendar,
    Span,
    after_calendar_days,
    after_minutes,
    after_working_days,
    after_working_minutes,
    disjoint,
)

LONDON: Final = ZoneInfo("Europe/London")
NEW_YORK: Final = ZoneInfo("America/New_York")
LORD_HOWE: Final = ZoneInfo("Australia/Lord_Howe")
CAIRO: Final = ZoneInfo("Africa/Cairo")
# England and Wales, 2027: Easter Sunday is 28 March; Christmas Day and Boxing Day fall on a weekend.
ENGLAND_2027: Final = frozenset(
    {
        *(date(2027, 1, 1), date(2027, 3, 26), date(2027, 3, 29), date(2027, 5, 3), date(2027, 5, 31)),
        *(date(2027, 8, 30), date(2027, 12, 27), date(2027, 12, 28)),
    }
)
ENGLAND: Final = Calendar(LONDON, ENGLAND_2027)


def at(text: str, zone: ZoneInfo = LONDON) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=zone)


def there(found: datetime, zone: ZoneInfo = LONDON) -> str:
    """Return a moment as the clock on the wall shows it."""
    return f"{found.astimezone(zone):%Y-%m-%dT%H:%M %Z}"


@pytest.mark.parametrize(
    ("starts", "days", "zone", "due"),
    [
        ("2026-11-23T14:00", 10, LONDON, "2026-12-03T14:00 GMT"),
        # The clocks go back on 25 October 2026: the ten days have 241 hours.
        ("2026-10-20T09:30", 10, LONDON, "2026-10-30T09:30 GMT"),
        # They go forward on 28 March 2027: 239 hours.
        ("2027-03-20T09:30", 10, LONDON, "2027-03-30T09:30 BST"),
        # 01:30 is not on that clock: it is counted by the offset before.
        ("2027-03-27T01:30", 1, LONDON, "2027-03-28T02:30 BST"),
        # 01:30 is shown twice: the first is meant.
        ("2026-10-24T01:30", 1, LONDON, "2026-10-25T01:30 BST"),
        ("2027-03-13T02:30", 1, NEW_YORK, "2027-03-14T03:30 EDT"),
        ("2026-11-01T12:00", 1, NEW_YORK, "2026-11-02T12:00 EST"),
        # Half an hour, and the other way round in the year.
        ("2027-04-03T12:00", 1, LORD_HOWE, "2027-04-04T12:00 +1030"),
        ("2028-02-28T08:00", 1, LONDON, "2028-02-29T08:00 GMT"),
        ("2028-02-22T08:00", 10, LONDON, "2028-03-03T08:00 GMT"),
        ("2027-02-22T08:00", 10, LONDON, "2027-03-04T08:00 GMT"),
        ("2026-12-24T16:00", 7.5, LONDON, "2027-01-01T04:00 GMT"),
    ],
)
def test_calendar_days_end_at_the_same_time_by_the_clock_on_the_wall(
    starts: str, days: float, zone: ZoneInfo, due: str
) -> None:
    assert there(after_calendar_days(at(starts, zone), days, Calendar(zone)), zone) == due


@pytest.mark.parametrize(
    ("starts", "days", "due"),
    [
        ("2027-03-22T10:00", 3, "2027-03-25T10:00 GMT"),
        # Good Friday, the weekend in which the clocks change, and Easter Monday.
        ("2027-03-25T10:00", 1, "2027-03-30T10:00 BST"),
        ("2027-03-24T16:00", 5, "2027-04-02T16:00 BST"),
        # Received on Easter Saturday: counted from Tuesday's first hour.
        ("2027-03-27T11:00", 1, "2027-03-31T08:00 BST"),
        # What comes after hours is counted from the next morning, what comes before them from theirs.
        ("2027-03-22T20:00", 1, "2027-03-24T08:00 GMT"),
        ("2027-03-22T06:00", 1, "2027-03-23T08:00 GMT"),
        # The end of a day is the beginning of the next.
        ("2027-03-22T08:00", 4, "2027-03-30T08:00 BST"),
        ("2027-03-22T08:00", 0.5, "2027-03-22T13:00 GMT"),
        ("2027-03-22T16:00", 0.5, "2027-03-23T11:00 GMT"),
        # Christmas: 25 and 26 December are a weekend, Monday and Tuesday are kept instead.
        ("2027-12-23T12:00", 2, "2027-12-29T12:00 GMT"),
        ("2026-10-23T12:00", 1, "2026-10-26T12:00 GMT"),
    ],
)
def test_working_days_leave_out_weekends_and_holidays(starts: str, days: float, due: str) -> None:
    assert there(after_working_days(at(starts), days, ENGLAND)) == due


def test_a_day_of_leap_years_is_worked_on_like_any_other() -> None:
    assert there(after_working_days(at("2028-02-28T09:00"), 2, ENGLAND)) == "2028-03-01T09:00 GMT"


def test_minutes_of_work_stop_at_night_and_go_on_in_the_morning() -> None:
    assert there(after_working_minutes(at("2027-03-25T17:30"), 60, ENGLAND)) == "2027-03-30T08:30 BST"
    assert there(after_working_minutes(at("2027-03-25T17:00"), 60, ENGLAND)) == "2027-03-30T08:00 BST"
    assert there(after_minutes(at("2026-10-25T00:50"), 20)) == "2026-10-25T01:10 BST"
    assert after_minutes(at("2026-10-25T00:50"), 90) - at("2026-10-25T00:50") == timedelta(minutes=90)


def test_a_working_day_that_has_no_end_before_midnight_goes_on_after_it() -> None:
    night = Calendar(LONDON, ENGLAND_2027, (time(22), time(6)))

    assert there(after_working_days(at("2027-03-22T23:00"), 1, night)) == "2027-03-23T23:00 GMT"
    assert there(after_working_days(at("2027-03-23T05:00"), 1, night)) == "2027-03-24T05:00 GMT"
    # Thursday's goes on into Good Friday; the next begins on Tuesday.
    assert there(after_working_minutes(at("2027-03-26T05:00"), 120, night)) == "2027-03-30T23:00 BST"


def test_a_working_day_counts_as_one_although_the_clock_changes_in_it() -> None:
    # Egypt's clocks go forward at the first moment of Friday 30 April 2027.
    whole_day = Calendar(CAIRO, working_day=(time(0), time(0)))

    # Half of 23 hours.
    assert there(after_working_days(at("2027-04-28T12:00", CAIRO), 2, whole_day), CAIRO) == "2027-04-30T12:30 EEST"
    assert there(after_working_days(at("2027-04-29T00:00", CAIRO), 2, whole_day), CAIRO) == "2027-05-03T00:00 EEST"


@pytest.mark.parametrize(
    ("pauses", "calendar", "working"),
    [
        ((), "2027-03-23T14:00 GMT", "2027-03-23T14:00 GMT"),
        ((("2027-03-22T15:00", "2027-03-22T17:00"),), "2027-03-23T16:00 GMT", "2027-03-23T16:00 GMT"),
        # A night costs working time nothing.
        ((("2027-03-22T18:00", "2027-03-23T08:00"),), "2027-03-24T04:00 GMT", "2027-03-23T14:00 GMT"),
        # Twice at once is once.
        (
            (("2027-03-22T15:00", "2027-03-22T17:00"), ("2027-03-22T16:00", "2027-03-22T17:00")),
            "2027-03-23T16:00 GMT",
            "2027-03-23T16:00 GMT",
        ),
        # Over before it began, or begun after it was due.
        ((("2027-03-22T09:00", "2027-03-22T14:00"),), "2027-03-23T14:00 GMT", "2027-03-23T14:00 GMT"),
        ((("2027-03-23T14:30", "2027-03-23T15:00"),), "2027-03-23T14:00 GMT", "2027-03-23T14:00 GMT"),
        # What a pause adds may be paused again.
        (
            (("2027-03-23T10:00", "2027-03-23T16:00"), ("2027-03-23T17:00", "2027-03-24T09:00")),
            "2027-03-24T12:00 GMT",
            "2027-03-24T12:00 GMT",
        ),
    ],
)
def test_the_clock_stands_still_while_it_is_paused(
    pauses: Sequence[tuple[str, str]], calendar: str, working: str
) -> None:
    spans = [Span(at(starts), at(ends)) for starts, ends in pauses]

    assert there(after_calendar_days(at("2027-03-22T14:00"), 1, ENGLAND, spans)) == calendar
    assert there(after_working_days(at("2027-03-22T14:00"), 1, ENGLAND, spans)) == working


def test_a_pause_across_a_weekend_costs_only_the_working_time_in_it() -> None:
    paused = [Span(at("2027-04-09T12:00"), at("2027-04-12T12:00"))]

    assert there(after_working_days(at("2027-04-08T12:00"), 2, ENGLAND)) == "2027-04-12T12:00 BST"
    assert there(after_working_days(at("2027-04-08T12:00"), 2, ENGLAND, paused)) == "2027-04-13T12:00 BST"
    assert there(after_calendar_days(at("2027-04-08T12:00"), 2, ENGLAND, paused)) == "2027-04-13T12:00 BST"


def test_a_calendar_that_knows_nothing_but_holidays_ends_all_the_same() -> None:
    never = Calendar(LONDON, frozenset(date(2027, 1, 1) + number * timedelta(days=1) for number in range(5_000)))

    assert after_working_days(at("2027-03-22T14:00"), 1, never) >= at("2027-03-22T14:00")


INSTANTS: Final = st.datetimes(datetime(2025, 1, 1), datetime(2029, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - hypothesis adds it
ZONES: Final = st.sampled_from([LONDON, NEW_YORK, LORD_HOWE, CAIRO, ZoneInfo("UTC"), ZoneInfo("Asia/Kathmandu")])
DAYS: Final = st.integers(1, 30)
HOLIDAYS: Final = st.frozensets(st.dates(date(2025, 1, 1), date(2029, 2, 1)), max_size=20)


@st.composite
def pausing(draw: st.DrawFn, around: datetime) -> list[Span]:
    hours = draw(st.lists(st.tuples(st.integers(-48, 900), st.integers(0, 400)), max_size=4))
    return [Span(around + timedelta(hours=since), around + timedelta(hours=since + long)) for since, long in hours]


@given(starts=INSTANTS, zone=ZONES, days=DAYS, holidays=HOLIDAYS)
def test_working_days_never_end_before_as_many_calendar_days(
    starts: datetime, zone: ZoneInfo, days: int, holidays: frozenset[date]
) -> None:
    calendar = Calendar(zone, holidays)

    assert after_calendar_days(starts, days, calendar) <= after_working_days(starts, days, calendar)


@given(starts=INSTANTS, zone=ZONES, days=DAYS, holidays=HOLIDAYS, more=st.dates(date(2025, 1, 1), date(2029, 2, 1)))
def test_another_holiday_never_makes_anything_due_earlier(
    starts: datetime, zone: ZoneInfo, days: int, holidays: frozenset[date], more: date
) -> None:
    before = after_working_days(starts, days, Calendar(zone, holidays))

    assert after_working_days(starts, days, Calendar(zone, holidays | {more})) >= before


@given(starts=INSTANTS, zone=ZONES, days=DAYS, data=st.data())
def test_more_of_a_pause_never_makes_anything_due_earlier(
    starts: datetime, zone: ZoneInfo, days: int, data: st.DataObject
) -> None:
    pauses, more = data.draw(pausing(starts)), data.draw(pausing(starts))
    calendar = Calendar(zone)

    for count in (after_calendar_days, after_working_days):
        assert starts < count(starts, days, calendar, pauses) <= count(starts, days, calendar, [*pauses, *more])
    assert after_minutes(starts, days, pauses) <= after_minutes(starts, days, [*pauses, *more])


@given(starts=INSTANTS, data=st.data())
def test_pauses_that_touch_are_one(starts: datetime, data: st.DataObject) -> None:
    found = disjoint(data.draw(pausing(starts)))

    assert all(one.ends < other.starts for one, other in pairwise(found))
    assert all(one.starts < one.ends for one in found)
