from dataclasses import replace
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.completeness import READABLE, ExpectedSlide, ScanOfSlide, judge, standing_of
from models.facets import Images, Outcome, Quality, Storage

PROVEN = ScanOfSlide("s", Quality.PASS, Storage.PROVEN, Outcome.ACTIVE)
MOVING = ScanOfSlide("s", Quality.PENDING, Storage.RECEIVED, Outcome.ACTIVE)
PURGED = ScanOfSlide("s", Quality.PASS, Storage.PURGED, Outcome.ACTIVE)
STORED = ScanOfSlide("s", Quality.PASS, Storage.STORED, Outcome.ACTIVE)
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
    imaged_elsewhere=st.booleans(),
    images_gone=st.booleans(),
    before_proof=st.booleans(),
    being_made=st.sampled_from([None, None, None, "recut"]),
)


@pytest.mark.parametrize(
    ("found", "standing"),
    [
        ((), "waiting for a scan"),
        ((MOVING,), "moving"),
        ((PROVEN,), "archived"),
        ((PURGED,), "archived"),
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
    standing = [standing_of(one) for one in expected if one.being_made is None]

    assert (verdict.images == Images.READY) == (bool(standing) and all(one in READABLE for one in standing))


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


def test_a_stored_scan_is_read_before_its_proof_only_where_that_is_let() -> None:
    assert standing_of(ExpectedSlide("slide", "scan", (STORED,))) == "moving"
    assert standing_of(ExpectedSlide("slide", "scan", (STORED,), before_proof=True)) == "not proven yet"
    assert standing_of(ExpectedSlide("slide", "scan", (STORED, PROVEN), before_proof=True)) == "archived"
    blurred = ScanOfSlide("s", Quality.RESCAN, Storage.STORED, Outcome.ACTIVE)
    assert standing_of(ExpectedSlide("slide", "scan", (blurred,), before_proof=True)) == "waiting for a rescan"


@given(slides)
def test_to_let_a_slide_be_read_before_its_proof_only_ever_adds_to_what_can_be_read(slide: ExpectedSlide) -> None:
    without, with_it = replace(slide, before_proof=False), replace(slide, before_proof=True)

    if standing_of(without) in READABLE:
        assert standing_of(with_it) in READABLE
    if standing_of(with_it) != standing_of(without):
        assert standing_of(with_it) == "not proven yet"
        assert any((scan.storage, scan.outcome) == (Storage.STORED, Outcome.ACTIVE) for scan in slide.scans)


@given(st.lists(slides, max_size=4, unique_by=lambda one: one.slide_id), st.booleans(), st.booleans())
def test_what_is_not_proven_is_read_and_named_so(expected: list[ExpectedSlide], closed: bool, released: bool) -> None:  # noqa: FBT001 - hypothesis fills them by name
    verdict = judge(expected, closed=closed, released=released)

    assert set(verdict.unproven) <= set(verdict.ready)
    assert all(standing_of(one) == "not proven yet" for one in expected if one.slide_id in verdict.unproven)


@given(st.lists(slides, max_size=4, unique_by=lambda one: one.slide_id), st.booleans())
def test_what_is_still_being_made_is_missing_and_holds_up_no_closed_set(
    expected: list[ExpectedSlide],
    released: bool,  # noqa: FBT001 - hypothesis fills it by name
) -> None:
    made = ExpectedSlide("work", "scan", being_made="stain")
    verdict = judge([*expected, made], closed=True, released=released)

    assert verdict.images == judge(expected, closed=True, released=released).images
    assert ("work", "being made") in verdict.missing
