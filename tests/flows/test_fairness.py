"""How even loads are: a number that is published of others, and each one's due of what is large and urgent."""

from datetime import UTC, datetime, timedelta
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.fairness import Able, Did, compare, gini, how_even

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
WEEK = timedelta(days=7)


def able(name: str, capacity: float = 100.0, *by_period: float) -> Able:
    return Able(name, f"Dr {name}", "site-a", capacity, by_period)


def did(name: str, points: float, *, large: bool = False, urgent: bool = False, at: datetime | None = None) -> Did:
    return Did(name, points, large, urgent, at)


@pytest.mark.parametrize(
    ("values", "expected"),
    [([1, 1, 1, 1], 0.0), ([0, 0, 0, 1], 0.75), ([1, 2, 3], 2 / 9), ([5], 0.0), ([], None), ([0, 0], None)],
)
def test_the_gini_coefficient_is_nothing_for_the_same_and_near_one_when_one_has_all(
    values: list[float], expected: float | None
) -> None:
    assert gini(values) == (expected if expected is None else pytest.approx(expected))


_values = st.lists(st.integers(0, 1_000).map(float), min_size=1, max_size=12).filter(any)


@given(_values)
def test_it_is_the_mean_difference_of_all_pairs_over_twice_the_mean(values: list[float]) -> None:
    pairs = sum(abs(one - other) for one, other in product(values, repeat=2))
    assert gini(values) == pytest.approx(pairs / (2 * len(values) * sum(values)))


@given(_values, st.floats(0.001, 1_000))
def test_neither_the_order_nor_the_unit_matters(values: list[float], unit: float) -> None:
    assert gini([unit * one for one in reversed(values)]) == pytest.approx(gini(values), abs=1e-12)


def test_half_the_work_in_half_the_time_is_even() -> None:
    found = compare(
        [able("full", 100), able("half", 50)],
        [did("full", 40, at=NOW), did("full", 20), did("half", 30, at=NOW), did("stranger", 500)],
    )
    assert [(one.pathologist_id, one.relative, one.reported, one.open) for one in found.people] == [
        ("full", 0.6, 40, 20),
        ("half", 0.6, 30, 0),
    ]
    assert (found.gini, found.mean, found.highest) == (0.0, 0.6, 1.0)


def test_the_due_share_of_large_and_urgent_reads_is_by_capacity() -> None:
    found = compare(
        [able("full", 100), able("half", 50)],
        [did("full", 30, large=True), did("half", 15, large=True, urgent=True), did("full", 5)],
    )
    assert {one.pathologist_id: one.large for one in found.people} == pytest.approx({"full": 1.0, "half": 1.0})
    assert {one.pathologist_id: one.urgent for one in found.people} == pytest.approx({"full": 0.0, "half": 3.0})


def test_somebody_who_was_away_all_the_time_is_shown_and_not_compared() -> None:
    found = compare([able("here"), able("too"), able("away", 0.0)], [did("here", 10), did("too", 10), did("away", 3)])
    assert [(one.pathologist_id, one.relative) for one in found.people] == [
        ("here", 0.1),
        ("too", 0.1),
        ("away", None),
    ]
    assert (found.able, found.gini, found.mean) == (2, 0.0, 0.1)


def test_the_series_says_what_was_reported_in_each_stretch_and_how_evenly() -> None:
    periods = [(NOW - 2 * WEEK, NOW - WEEK), (NOW - WEEK, NOW)]
    work = [did("one", 10, at=NOW - WEEK - timedelta(seconds=1)), did("one", 5, at=NOW - WEEK), did("two", 5)]
    first, second = compare([able("one", 50, 20, 10), able("two", 50, 20, 0)], work, periods).series
    assert (first.reported, first.capacity, first.relative, first.gini) == (10, 40, 0.25, 0.5)
    assert (second.reported, second.capacity, second.relative, second.gini) == (5, 10, 0.5, 0.0)


@pytest.mark.parametrize(
    ("points", "word"), [((10, 10), "very even"), ((10, 14), "even"), ((10, 24), "uneven"), ((1, 40), "very uneven")]
)
def test_the_sentence_says_how_even_that_is(points: tuple[float, float], word: str) -> None:
    found = compare([able("one"), able("two")], [did("one", points[0]), did("two", points[1])])
    assert f"of 2 people are {word}: Gini" in how_even(found)


def test_where_nothing_can_be_compared_the_sentence_says_so() -> None:
    assert "Fewer than two people" in how_even(compare([able("one")], [did("one", 5)]))
    assert "Nobody has reported anything" in how_even(compare([able("one"), able("two")], []))
