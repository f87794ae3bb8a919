from dataclasses import replace
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.facets import Identity, Outcome, Purpose, Quality, Storage
from models.scan_fold import (
    EditionRaised,
    Ended,
    MatchWithdrawn,
    ObjectsProven,
    ObjectsStored,
    QualityJudged,
    QualityReviewed,
    ReplacementFound,
    Resumed,
    ScanFact,
    ScanReceived,
    ScanState,
    SlideMatched,
    SlideUnmatched,
    fold,
)

RECEIVED = ScanReceived(site_id="site-a", scanner="scanner-a", digests=("d",))
MATCHED = SlideMatched(slide_id="slide", case_id="case")
BLURRED = QualityJudged(quality=Quality.RESCAN, reasons=("It is blurred.",))
SHARP = QualityJudged(quality=Quality.PASS, reasons=("It is sharp.",))

facts = st.one_of(
    st.just(RECEIVED),
    st.builds(QualityJudged, quality=st.sampled_from(Quality), reasons=st.sampled_from([(), ("It is dim.",)])),
    st.builds(QualityReviewed, quality=st.sampled_from([Quality.PASS, Quality.RESCAN])),
    st.builds(SlideMatched, slide_id=st.sampled_from(["one", "two"]), case_id=st.just("case")),
    st.just(SlideUnmatched(reasons=("No code could be read.",))),
    st.just(MatchWithdrawn()),
    st.just(EditionRaised()),
    st.builds(ObjectsStored, edition=st.integers(1, 3)),
    st.builds(ObjectsProven, edition=st.integers(1, 3)),
    st.just(ReplacementFound()),
    st.builds(Ended, outcome=st.sampled_from([Outcome.SET_ASIDE, Outcome.CANCELLED]), reason=st.just("why")),
    st.just(Resumed()),
)


@given(st.lists(facts), st.lists(facts))
def test_a_row_kept_fact_by_fact_is_what_all_facts_make(earlier: list[ScanFact], later: list[ScanFact]) -> None:
    assert fold(later, fold(earlier)) == fold(earlier + later)


@given(st.lists(facts))
def test_a_slide_comes_with_its_case_and_only_when_matched(story: list[ScanFact]) -> None:
    state = fold(story)

    assert (state.slide_id is None) == (state.case_id is None)
    assert (state.slide_id is not None) == (state.identity == Identity.MATCHED)


def test_every_kind_of_fact_has_a_rule() -> None:
    examples: list[ScanFact] = [RECEIVED, SHARP, QualityReviewed(quality=Quality.PASS), MATCHED]
    examples += [SlideUnmatched(reasons=()), MatchWithdrawn(), EditionRaised(), ObjectsStored(edition=1)]
    examples += [
        ObjectsProven(edition=1),
        ReplacementFound(),
        Ended(outcome=Outcome.CANCELLED, reason="why"),
        Resumed(),
    ]

    assert {type(one) for one in examples} == set(get_args(ScanFact))
    assert isinstance(fold(examples), ScanState)


def test_a_person_outranks_the_machine_before_and_after() -> None:
    person = QualityReviewed(quality=Quality.PASS)

    assert fold([person, BLURRED]).quality == Quality.PASS
    assert fold([BLURRED, person]).quality == Quality.PASS
    assert fold([person, QualityReviewed(quality=Quality.RESCAN), SHARP]).quality == Quality.RESCAN


def test_the_reason_is_kept_as_long_as_the_quality_needs_one() -> None:
    assert fold([BLURRED]).reason == "It is blurred."
    assert fold([SHARP]).reason is None
    assert fold([BLURRED, QualityReviewed(quality=Quality.RESCAN)]).reason == "It is blurred."
    assert fold([BLURRED, QualityReviewed(quality=Quality.PASS)]).reason is None


def test_a_scan_that_takes_part_again_has_the_reason_that_it_had() -> None:
    ended = Ended(outcome=Outcome.CANCELLED, reason="the LIMS cancelled its slide")

    assert fold([BLURRED, ended]).reason == "the LIMS cancelled its slide"
    assert fold([BLURRED, ended, Resumed(reason="It is blurred.")]) == fold([BLURRED])


def test_withdrawing_a_match_begins_the_next_edition_without_a_slide() -> None:
    archived = fold([RECEIVED, SHARP, MATCHED, ReplacementFound(), ObjectsStored(edition=1), ObjectsProven(edition=1)])

    withdrawn = fold([MatchWithdrawn()], archived)

    assert (archived.storage, archived.purpose) == (Storage.PROVEN, Purpose.REPLACEMENT)
    assert withdrawn == replace(
        archived,
        edition=2,
        storage=Storage.RECEIVED,
        identity=Identity.UNMATCHED,
        slide_id=None,
        case_id=None,
        purpose=Purpose.PRIMARY,
    )


def test_raising_the_edition_keeps_the_match_and_begins_storing_anew() -> None:
    state = fold([MATCHED, ObjectsStored(edition=1), EditionRaised()])

    assert (state.edition, state.storage, state.slide_id) == (2, Storage.RECEIVED, "slide")


@pytest.mark.parametrize("late", [ObjectsStored(edition=1), ObjectsProven(edition=1)])
def test_objects_of_an_edition_that_is_over_prove_nothing(late: ScanFact) -> None:
    assert fold([MATCHED, EditionRaised(), late]).storage == Storage.RECEIVED
    assert fold([MATCHED, late]).storage != Storage.RECEIVED


def test_a_superseded_scan_names_its_successor_until_it_takes_part_again() -> None:
    superseded = fold([Ended(outcome=Outcome.SUPERSEDED, reason="scanned again", successor_id="next")])

    assert (superseded.outcome, superseded.superseded_by_id) == (Outcome.SUPERSEDED, "next")
    assert fold([Resumed()], superseded).superseded_by_id is None
