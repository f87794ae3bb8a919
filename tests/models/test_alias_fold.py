"""Who stays when patients are merged and visits move: the same in whatever order it was heard."""

from datetime import UTC, datetime, timedelta
from itertools import permutations
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.alias_fold import Merge, VisitMovedTo, last, moved, who_stays

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
PEOPLE = ("a", "b", "c", "d")


def merge(into: str, minute: int, digest: str = "") -> Merge:
    return Merge(into, NOON + timedelta(minutes=minute), None, digest)


# A digest is of what is said, so no two merges of one moment share one.
merges = st.dictionaries(st.sampled_from(PEOPLE), st.tuples(st.sampled_from(PEOPLE), st.integers(0, 3))).map(
    lambda said: {one: merge(into, minute, f"{one}{into}") for one, (into, minute) in said.items()}
)


def test_who_was_merged_with_nobody_stays() -> None:
    assert who_stays("a", {}) == "a"


def test_a_chain_is_followed_to_its_end() -> None:
    chain = {"a": merge("b", 0), "b": merge("c", 0), "c": merge("d", 0)}

    assert {who_stays(one, chain) for one in PEOPLE} == {"d"}


@pytest.mark.parametrize(("first", "second", "stays"), [(0, 1, "a"), (1, 0, "b")])
def test_of_two_merged_into_each_other_the_later_merge_says_who_stays(first: int, second: int, stays: str) -> None:
    both = {"a": merge("b", first), "b": merge("a", second)}

    assert {who_stays(one, both) for one in ("a", "b")} == {stays}


def test_a_cycle_that_others_lead_into_ends_for_them_as_for_its_own() -> None:
    told = {"a": merge("b", 0), "b": merge("c", 1), "c": merge("a", 2), "d": merge("b", 3)}

    assert {who_stays(one, told) for one in PEOPLE} == {"a"}


@given(merges)
def test_everybody_of_one_chain_or_cycle_stays_as_the_same_person(told: dict[str, Merge]) -> None:
    for patient, one in told.items():
        if one.survivor_id != patient:
            assert who_stays(patient, told) == who_stays(one.survivor_id, told)


@given(merges)
def test_who_stays_stays_when_it_is_asked_again(told: dict[str, Merge]) -> None:
    for patient in PEOPLE:
        stays = who_stays(patient, told)
        assert who_stays(stays, told) == stays


@given(
    st.lists(
        st.builds(merge, st.sampled_from(PEOPLE), st.integers(0, 3), st.integers(0, 99).map(str)),
        max_size=4,
        unique_by=lambda one: one.digest,
    )
)
def test_of_several_merges_of_one_patient_the_last_said_counts_however_they_came(several: list[Merge]) -> None:
    assert len({last(arrival) for arrival in permutations(several)}) <= 1


def _nobody_was_merged(patient: str) -> str:
    return patient


@pytest.mark.parametrize(
    ("named", "moves", "whose"),
    [
        ("a", [("a", "b")], "b"),
        ("a", [("c", "b")], "a"),
        ("a", [("a", "b"), ("b", "c")], "c"),
        ("a", [("b", "c"), ("a", "b")], "b"),
        ("a", [("a", "b"), ("b", "a")], "a"),
        (None, [("a", "b")], None),
    ],
)
def test_a_visit_takes_its_case_from_whom_it_left(named: str | None, moves: list[Any], whose: str | None) -> None:
    told = [VisitMovedTo(from_patient_id=one, to_patient_id=other) for one, other in moves]

    assert moved(named, told, _nobody_was_merged) == whose


def test_a_move_from_somebody_merged_is_a_move_from_whoever_stays() -> None:
    told = [VisitMovedTo(from_patient_id="s", to_patient_id="b")]

    assert moved("a", told, lambda patient: {"a": "s"}.get(patient, patient)) == "b"
