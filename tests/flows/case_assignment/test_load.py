"""How much somebody can report: of the hours that the clock really leaves them, less their leave."""

from datetime import UTC, date, datetime, time, timedelta

import pytest

from flows.case_assignment.candidate import Absence, WeeklySession
from flows.case_assignment.load import CLASS_ENDS, Load, class_of, load_of
from tests.flows.case_assignment.people import MONDAY, OFFICE_HOURS, somebody

WINDOW = 28
DAY, TWO_DAYS, TEN_DAYS = 1, 2, 5
SATURDAY_NIGHT = (WeeklySession(5, time(22), time(6)),)


def load(now: datetime = MONDAY, **changes: object) -> Load:
    return load_of(somebody(**changes), now, WINDOW)


@pytest.mark.parametrize(
    ("now", "hours"),
    [
        (datetime(2026, 3, 21, 12, tzinfo=UTC), 8.0),
        (datetime(2026, 3, 28, 12, tzinfo=UTC), 7.0),
        (datetime(2026, 10, 24, 12, tzinfo=UTC), 9.0),
    ],
)
def test_a_night_in_which_the_clock_changes_is_as_long_as_it_is(now: datetime, hours: float) -> None:
    # Eight points in eight hours of a usual week.
    night = load(now, sessions=SATURDAY_NIGHT, points_a_week=8.0)
    assert night.room[DAY] == pytest.approx(hours)


def test_a_session_over_midnight_counts_on_both_sides_of_it() -> None:
    midnight = datetime(2026, 11, 22, 0, 0, tzinfo=UTC)
    running = load(midnight, sessions=SATURDAY_NIGHT, points_a_week=8.0)
    assert running.room[DAY] == pytest.approx(6.0)
    before = load(midnight - timedelta(hours=4), sessions=SATURDAY_NIGHT, points_a_week=8.0)
    assert before.room[0] == pytest.approx(2.0)


def test_the_clock_of_the_site_counts_and_not_that_of_the_laboratory() -> None:
    # Monday, 9 to 17 in Auckland is Sunday, 20 to Monday, 4 in UTC.
    sunday = datetime(2026, 11, 22, 20, 0, tzinfo=UTC)
    assert load(sunday, zone="Pacific/Auckland").room[0] == pytest.approx(10.0)
    assert load(sunday).room[0] == 0.0


def test_sessions_that_overlap_are_read_once() -> None:
    twice = (*OFFICE_HOURS, WeeklySession(0, time(12), time(17)))
    assert load(sessions=twice, points_a_week=40.0).room[DAY] == pytest.approx(8.0)


def test_room_is_what_is_left_beside_what_falls_due_by_then() -> None:
    tomorrow, later = MONDAY + timedelta(hours=20), MONDAY + timedelta(days=4)
    busy = load(open_points=70.0, due=((tomorrow, 5.0), (later, 65.0)))
    # A hundred points in forty hours: seven today and one tomorrow before ten o'clock.
    assert busy.room[DAY] == pytest.approx(20.0 - 5.0)
    assert busy.room[TWO_DAYS] == pytest.approx(40.0 - 5.0)
    assert busy.room[4] == pytest.approx(97.5 - 70.0)


def test_what_is_overdue_takes_room_now_and_can_not_take_more_than_there_is() -> None:
    overdue = load(open_points=300.0, due=((MONDAY - timedelta(days=9), 300.0),))
    assert overdue.room == (0.0,) * len(CLASS_ENDS)


def test_leave_lowers_the_capacity_behind_and_ahead() -> None:
    last_week = (Absence(date(2026, 11, 16), date(2026, 11, 20)),)
    this_week = (Absence(date(2026, 11, 24), date(2026, 11, 27)),)
    everything = load().capacity
    assert everything == pytest.approx(440.0)
    assert load(absences=last_week).capacity == pytest.approx(340.0)
    away = load(absences=this_week)
    assert away.capacity == pytest.approx(440.0 - 0.4 * 80.0)
    assert away.room[TWO_DAYS] == pytest.approx(17.5)


def test_who_began_last_week_has_had_a_week() -> None:
    assert load(since=date(2026, 11, 16)).capacity == pytest.approx(100.0 + 2.5 + 40.0)


def test_who_never_reads_can_do_nothing() -> None:
    never = load(sessions=())
    assert (never.capacity, never.room) == (0.0, (0.0,) * len(CLASS_ENDS))


def test_a_deadline_lies_in_the_first_class_that_ends_no_earlier() -> None:
    assert class_of(MONDAY - timedelta(days=3), MONDAY) == 0
    assert class_of(MONDAY + CLASS_ENDS[DAY], MONDAY) == DAY
    assert class_of(MONDAY + CLASS_ENDS[DAY] + timedelta(seconds=1), MONDAY) == TWO_DAYS
    assert class_of(MONDAY + timedelta(days=300), MONDAY) == TEN_DAYS


def test_a_public_holiday_leaves_nothing_that_could_be_reported_on_it() -> None:
    sunday = datetime(2026, 11, 22, 12, tzinfo=UTC)
    usual, holiday = load(sunday), load(sunday, holidays=(date(2026, 11, 23),))
    assert (usual.room[TWO_DAYS] - holiday.room[TWO_DAYS]) == pytest.approx(20.0)
    assert usual.capacity - holiday.capacity == pytest.approx(0.4 * 20.0)
