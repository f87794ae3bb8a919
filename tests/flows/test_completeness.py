from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.completeness import ExpectedSlide, ScanOfSlide, judge, standing_of
from models.facets import Images, Outcome, Quality, Storage

PROVEN = ScanOfSlide("s", Quality.PASS, Storage.PROVEN, Outcome.ACTIVE)
MOVING = ScanOfSlide("s", Quality.PENDING, Storage.RECEIVED, Outcome.ACTIVE)
BLURRED = ScanOfSlide("s", Quality.RESCAN, Storage.RECEIVED, Outcome.ACTIVE)
SET_ASIDE = ScanOfSlide("s", Quality.PENDING, Storage.RECEIVED, Outcome.SET_ASIDE)
SUPERSEDED = ScanOfSlide("s", Quality.RESCAN, Storage.RECEIVED, Outcome.SUPERSEDED)
CANCELLED = ScanOfSlide("s", Quality.PASS, Storage.PROVEN, Outcome.CANCELLED)
WITHDRAWN = ScanOfSlide("s", Quality.PASS, Storage.RECEIVED, Outcome.WITHDRAWN)

scans = st.builds(
    ScanOfSlide, st.just("s"), st.sampled_from(Quality), st.sampled_from(Storage), st.sampled_from(Outcome)
)
slides = st.builds(
    ExpectedSlide,
    st.uuids().map(str),
    st.sampled_from(["scan", "glass only"]),
    st.lists(scans, max_size=3).map(tuple),
)


@pytest.mark.parametrize(
    ("found", "standing"),
    [
        ((), "waiting for a scan"),
        ((MOVING,), "moving"),
        ((PROVEN,), "archived"),
        ((BLURRED,), "waiting for a rescan"),
        ((BLURRED, MOVING), "moving"),
        ((MOVING, PROVEN), "archived"),
        ((SET_ASIDE,), "set aside"),
        ((SET_ASIDE, MOVING), "moving"),
        ((SET_ASIDE, BLURRED), "waiting for a rescan"),
        ((SUPERSEDED, PROVEN), "archived"),
        ((SUPERSEDED,), "waiting for a scan"),
        ((WITHDRAWN,), "waiting for a scan"),
        ((CANCELLED,), "waiting for a scan"),
    ],
)
def test_a_slide_stands_where_its_best_active_scan_is(found: tuple[ScanOfSlide, ...], standing: str) -> None:
    for one in permutations(found):
        assert standing_of(ExpectedSlide("slide", "scan", one)) == standing


def test_a_glass_only_slide_is_ready_without_a_scan_and_archived_with_one() -> None:
    assert standing_of(ExpectedSlide("slide", "glass only")) == "glass only"
    assert standing_of(ExpectedSlide("slide", "glass only", (PROVEN,))) == "archived"


@given(st.lists(slides, max_size=4, unique_by=lambda one: one.slide_id), st.booleans())
def test_an_open_set_is_never_ready_unless_a_person_released_it(expected: list[ExpectedSlide], released: bool) -> None:  # noqa: FBT001 - hypothesis fills it by name
    verdict = judge(expected, closed=False, released=released)

    assert (verdict.images == Images.READY) == released


@given(st.lists(slides, max_size=4, unique_by=lambda one: one.slide_id))
def test_a_closed_set_is_ready_when_every_slide_is_and_there_is_one(expected: list[ExpectedSlide]) -> None:
    verdict = judge(expected, closed=True, released=False)
    standing = [standing_of(one) for one in expected]

    assert (verdict.images == Images.READY) == (
        bool(standing) and all(one in ("archived", "glass only") for one in standing)
    )


@given(st.lists(slides, max_size=4, unique_by=lambda one: one.slide_id), st.booleans(), st.booleans())
def test_every_expected_slide_is_either_ready_or_missing_by_name(
    expected: list[ExpectedSlide],
    closed: bool,  # noqa: FBT001 - hypothesis fills them by name
    released: bool,  # noqa: FBT001
) -> None:
    verdict = judge(expected, closed=closed, released=released)

    assert sorted((*verdict.ready, *(slide_id for slide_id, _ in verdict.missing))) == sorted(
        one.slide_id for one in expected
    )


def test_a_case_with_nothing_to_show_awaits_and_one_with_something_is_incomplete() -> None:
    waiting, ready = ExpectedSlide("a", "scan"), ExpectedSlide("b", "scan", (PROVEN,))

    assert judge([], closed=True, released=False).images == Images.AWAITING
    assert judge([waiting], closed=True, released=False).images == Images.AWAITING
    assert judge([waiting, ready], closed=True, released=False).images == Images.INCOMPLETE
