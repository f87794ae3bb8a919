from datetime import UTC, date, datetime, time, timedelta

import pytest

from flows.case_assignment.candidate import Absence, WeeklySession
from flows.case_assignment.what_if.roster import roster_of
from tests.flows.case_assignment.what_if.weeks import MONDAY, person


def total(begins: datetime, days: int, **more: object) -> float:
    roster = roster_of([person("ann", **more)], begins, begins + timedelta(days=days))  # type: ignore[arg-type]
    return float(roster.between(0, roster.ticks)[0])


def test_a_week_holds_what_somebody_reports_in_a_week() -> None:
    assert total(MONDAY, 7) == pytest.approx(50)
    assert total(MONDAY, 28) == pytest.approx(200)


def test_a_day_of_leave_takes_its_session_away() -> None:
    assert total(MONDAY, 7, away=[Absence(date(2026, 1, 6), date(2026, 1, 7))]) == pytest.approx(30)


def test_a_session_over_midnight_belongs_to_the_day_on_which_it_begins() -> None:
    night = (WeeklySession(0, time(22), time(2)),)
    assert total(MONDAY, 2, sessions=night, points_a_week=4.0) == pytest.approx(4)
    assert total(MONDAY + timedelta(days=1), 1, sessions=night, points_a_week=4.0) == pytest.approx(2)


@pytest.mark.parametrize(
    ("day", "hours"), [(datetime(2026, 3, 29, tzinfo=UTC), 23), (datetime(2026, 10, 25, tzinfo=UTC), 25)]
)
def test_a_day_on_which_the_clock_changes_is_shorter_or_longer_and_nothing_else(day: datetime, hours: int) -> None:
    whole_days = (WeeklySession(6, time(0), time(0)),)
    begins = day - timedelta(hours=4)
    assert total(begins, 2, sessions=whole_days, points_a_week=24.0) == pytest.approx(hours)


def test_whoever_never_reads_can_report_nothing() -> None:
    assert total(MONDAY, 7, sessions=()) == 0
