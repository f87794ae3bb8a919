from datetime import UTC, datetime, timedelta

import pytest

from dashboards.web.words import age, exact_moment, moment, size, took

AT = datetime(2026, 7, 2, 9, 5, 7, tzinfo=UTC)


@pytest.mark.parametrize(
    ("zone", "said"),
    [
        ("Europe/London", "2 Jul, 10:05 BST"),
        ("Asia/Kolkata", "2 Jul, 14:35 IST"),
        ("UTC", "2 Jul, 09:05 UTC"),
        ("America/Sao_Paulo", "2 Jul, 06:05 UTC-03"),
    ],
)
def test_a_time_is_told_in_its_zone_by_name(zone: str, said: str) -> None:
    assert moment(AT, zone, AT) == said


def test_another_year_is_said_and_history_has_seconds() -> None:
    assert moment(AT, "UTC", AT.replace(year=2028)) == "2 Jul 2026, 09:05 UTC"
    assert exact_moment(AT, "Europe/London") == "2 Jul 2026, 10:05:07 BST"


def test_the_same_clock_time_in_the_hour_that_comes_twice_is_told_apart_by_its_zone_name() -> None:
    first, second = datetime(2026, 10, 25, 0, 30, tzinfo=UTC), datetime(2026, 10, 25, 1, 30, tzinfo=UTC)
    assert moment(first, "Europe/London", AT) == "25 Oct, 01:30 BST"
    assert moment(second, "Europe/London", AT) == "25 Oct, 01:30 GMT"


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(-3, "0 s"), (59, "59 s"), (60, "1 min"), (3_599, "59 min"), (7_500, "2 h 5 min"), (180_000, "2 d 2 h")],
)
def test_an_age_has_at_most_two_units(seconds: int, said: str) -> None:
    assert age(timedelta(seconds=seconds)) == said


def test_what_a_step_took_is_told_to_the_tenth_when_it_was_short() -> None:
    assert (took(None), took(timedelta(seconds=3.44)), took(timedelta(seconds=61))) == ("", "3.4 s", "1 min")


@pytest.mark.parametrize(
    ("number", "said"), [(0, "0 bytes"), (1_023, "1023 bytes"), (1_938_955, "1.8 MiB"), (5 << 40, "5.0 TiB")]
)
def test_a_size_is_told_in_a_unit_that_fits(number: int, said: str) -> None:
    assert size(number) == said
