from datetime import UTC, date, datetime, timedelta

import pytest

from dashboards.cli.progress import added_up, plain_lines
from dashboards.cli.times import on_day, when

NOW = datetime(2026, 6, 1, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("at", "zone", "said"),
    [
        (NOW - timedelta(minutes=3), "Europe/London", "1 Jun, 12:57 BST (3 min ago)"),
        (NOW + timedelta(hours=30), "America/New_York", "2 Jun, 14:00 EDT (in 1 d 6 h)"),
        (NOW - timedelta(days=365), "Asia/Kathmandu", "1 Jun 2025, 17:45 UTC+0545 (365 d 0 h ago)"),
        (datetime.max.replace(tzinfo=UTC), "Asia/Tokyo", "9999-12-31T23:59:59.999999+00:00 (in "),
    ],
)
def test_a_time_is_told_in_the_sites_zone_and_how_far_away_it_is(at: datetime, zone: str, said: str) -> None:
    assert when(at, zone, NOW).startswith(said)


def test_a_time_of_history_has_its_seconds_and_a_day_its_year() -> None:
    assert when(NOW, "Europe/London", NOW, exactly=True) == "1 Jun 2026, 13:00:00 BST (0 s ago)"
    assert on_day(date(2026, 6, 1)) == "1 Jun 2026"


def test_where_no_terminal_is_long_work_prints_a_line_now_and_then(capsys: pytest.CaptureFixture[str]) -> None:
    add = added_up(plain_lines("Looking", every_s=0), 10)
    add(4)
    add(6)
    assert capsys.readouterr().err == "Looking: 40%\nLooking: 100%\n"
    plain_lines("Looking")(1, 2)
    assert capsys.readouterr().err == ""
