from itertools import permutations

import pytest
from pydantic import ValidationError

from models.case_fold import CaseReleased, ImagesFact, ReleasedByPolicy, ReportFact, Told, UpdateFact, fold
from models.facets import Lane, Route
from models.statements import (
    CaseUpdateStated,
    ImagesStated,
    ReportPart,
    ReportStated,
    SlideStated,
    SpecimenStated,
    Stamp,
)
from tests.models.case_facts import HE, KI67, MEANT, MINUTE, NOON, order, slide, told


def test_of_two_issuers_that_mean_one_slide_the_last_word_about_its_images_holds() -> None:
    story = [
        Told(
            ImagesFact(images=ImagesStated(case=MEANT, container_identifier="A", issuer=issuer, available=available)),
            effective_at=NOON + minutes * MINUTE,
            received_at=NOON,
            digest=str(minutes),
        )
        for minutes, (issuer, available) in enumerate([("X", True), ("Y", False), ("X", True)], start=1)
    ]
    said = fold([told(order(slides=("A",))), *story]).images

    assert {key: one.images.available for key, one in said.items()} == {("NET", "A"): True}


def test_what_a_message_does_not_state_leaves_what_an_earlier_one_stated() -> None:
    full = order(
        slides=(),
        priority="urgent",
        due=Stamp(at=NOON, raw="", zone_assumed=False),
        subspecialty="breast",
        study_instance_uid="1.2.3",
        placer_order_numbers=("P1",),
    ).model_copy(update={"slides": (slide("A", parents=("P",), stains=(HE,), stain_text="HE", route="glass only"),)})
    bare = order("change", slides=("A",), placer_order_numbers=("P2",))

    state = fold([told(full, patient_id="one"), told(bare, 1)])

    assert state.due is not None
    assert (state.lane, state.due.at, state.subspecialty) == (Lane.URGENT, NOON, "breast")
    assert (state.study_instance_uid, state.patient_id) == ("1.2.3", "one")
    assert state.placer_order_numbers == {"P1", "P2"}
    known = state.slides["NET", "A"]
    assert (known.parents, known.stains, known.stain_text, known.route) == (("P",), (HE,), "HE", Route.GLASS_ONLY)


def test_the_later_message_wins_whenever_it_comes() -> None:
    early = told(order(slides=("A",), subspecialty="skin", priority="urgent"), patient_id="one")
    late = told(order("change", subspecialty="breast", priority="routine"), 1, patient_id="two")

    for arrival in ((early, late), (late, early)):
        state = fold(arrival)
        assert (state.subspecialty, state.lane, state.patient_id) == ("breast", Lane.ROUTINE, "two")


def test_at_one_moment_the_sequence_number_decides_before_what_is_asked() -> None:
    first = told(order("cancel", slides=()), sequence_number=1)
    second = told(order("register", slides=("A",)), sequence_number=2)

    assert not fold([second, first]).cancelled


def test_at_one_moment_register_goes_before_change_and_change_before_cancel() -> None:
    register = told(order("register", slides=("A",), subspecialty="skin"), digest="z")
    change = told(order("change", subspecialty="breast"), digest="m")
    cancel = told(order("cancel", subspecialty="gi"), digest="a")

    for arrival in permutations((register, change, cancel)):
        state = fold(arrival)
        assert state.cancelled
        assert state.subspecialty == "gi"
    assert fold([change, register]).subspecialty == "breast"


def test_at_one_moment_two_that_contradict_are_decided_by_their_digests_and_not_by_arrival() -> None:
    one = told(order("change", subspecialty="skin"), digest="1")
    other = told(order("change", subspecialty="gi"), digest="2")

    assert fold([one, other]).subspecialty == fold([other, one]).subspecialty == "gi"


def test_a_change_for_a_slide_never_registered_makes_it_and_a_later_order_makes_no_second() -> None:
    change = told(order("change").model_copy(update={"slides": (slide("A", stains=(KI67,)),)}))
    register = told(order(slides=("A",)), 1)

    assert fold([change]).slides["NET", "A"].stains == (KI67,)
    assert fold([change, register]).slides.keys() == {("NET", "A")}
    assert fold([change, register]).slides["NET", "A"].stains == (KI67,)


def test_a_parent_that_nobody_registered_gets_a_stub_until_it_is() -> None:
    child = told(order().model_copy(update={"slides": (slide("A", parents=("P",)),)}))
    parent = order("change").model_copy(update={"specimens": (SpecimenStated(container_identifier="P", issuer="NET"),)})

    assert fold([child]).blocks.keys() == {("NET", "P")}
    whole = fold([child, told(parent, 1)])
    assert not whole.blocks
    assert whole.specimens.keys() == {("NET", "P")}


def test_two_issuers_that_use_one_identifier_name_two_slides() -> None:
    both = order().model_copy(
        update={"slides": tuple(SlideStated(container_identifier="A", issuer=one) for one in ("X", "Y"))}
    )

    assert fold([told(both)]).slides.keys() == {("X", "A"), ("Y", "A")}


def test_completeness_counts_from_when_orders_reached_us_not_from_the_senders_clock() -> None:
    far_ahead = told(order(slides=("A",)), at=500, received_at=NOON)
    older = told(order("change", slides=("B",)), at=-500, received_at=NOON + MINUTE)

    state = fold([far_ahead, older])

    assert (state.registered_at, state.orders_changed_at) == (NOON, NOON + MINUTE)


def test_a_release_holds_whatever_the_lims_says_later_but_not_for_a_cancelled_case() -> None:
    released = [told(order(slides=("A",))), told(CaseReleased(), 1)]

    assert fold([*released, told(order("change", slides=("B",)), 2)]).released
    final = ReportFact(report=ReportStated(case=MEANT, parts=(ReportPart(status="final"),)))
    closed = Told(final, NOON + 2 * MINUTE, received_at=NOON, digest="a")
    assert fold([*released, closed]).released
    # Who let it be read meant what there was then: what comes after the report is another round.
    assert not fold([*released, closed, told(order("change", slides=("B",)), 3)]).released
    assert not fold([*released, told(order("cancel"), 2)]).released
    assert fold([*released, told(order("cancel"), 2), told(order("register"), 3)]).released


def test_a_person_s_release_outranks_the_policy_s_in_whatever_order_they_come() -> None:
    ordered, by_policy = told(order(slides=("A",))), ReleasedByPolicy(version=1, after_hours=24.0, slide_ids=("a",))
    policy = Told(by_policy, NOON + MINUTE, received_at=NOON, digest="a")

    assert (fold([ordered, policy]).released, fold([ordered, policy]).released_how) == (True, "policy")
    for at in (0, 2):
        assert fold([ordered, policy, told(CaseReleased(), at)]).released_how == "a person"
    assert fold([ordered, policy, told(order("cancel"), 3)]).released_how is None


def test_the_identity_changes_with_patient_and_accession_and_with_nothing_else() -> None:
    registered = told(order(slides=("A",)), patient_id="one")
    same = told(order("change", slides=("B",), priority="urgent"), 1, patient_id="one")
    other = told(order("change"), 1, patient_id="two")

    assert fold([registered, same]).identity_digest == fold([registered]).identity_digest
    assert fold([registered, other]).identity_digest != fold([registered]).identity_digest


def test_what_was_ordered_at_the_moment_of_a_report_is_in_it() -> None:
    report = ReportFact(report=ReportStated(case=MEANT, parts=(ReportPart(status="final"),)))
    state = fold([told(order(slides=("A",))), Told(report, NOON, NOON, "0")])

    assert (state.round.number, state.round.is_closed) == (1, True)


def test_what_is_said_of_a_case_makes_none_before_its_order() -> None:
    report = ReportFact(report=ReportStated(case=MEANT, parts=(ReportPart(status="final"),)))

    assert not fold([Told(report, NOON, NOON, "0")]).is_ordered


def test_the_laboratory_s_word_that_the_set_is_closed_counts_until_more_is_ordered() -> None:
    closed = UpdateFact(update=CaseUpdateStated(case=MEANT, set_closed=True))
    before, after = told(order(slides=("A",))), told(order(slides=("B",)), 2)

    assert fold([before, Told(closed, NOON + MINUTE, NOON, "0")]).set_closed
    assert not fold([after, before, Told(closed, NOON + MINUTE, NOON, "0")]).set_closed


def specimen(identifier: str, subspecialty: str | None = None) -> SpecimenStated:
    return SpecimenStated(container_identifier=identifier, issuer="NET", subspecialty=subspecialty)


def test_a_specimen_keeps_the_subspecialty_of_its_own_order() -> None:
    first = order(specimens=(specimen("A", "skin"), specimen("B", "neuro")), subspecialty="skin")
    state = fold([told(first), told(order("change", specimens=(specimen("B"),)), 1)])

    assert {name: one.subspecialty for (_, name), one in state.specimens.items()} == {"A": "skin", "B": "neuro"}


@pytest.mark.parametrize("arrival", list(permutations(range(3))))
def test_what_is_said_of_another_specimen_than_the_first_says_nothing_of_the_case(arrival: tuple[int, ...]) -> None:
    story = (
        told(order(specimens=(specimen("A", "skin"),), subspecialty="skin")),
        told(order(specimens=(specimen("B", "neuro"),), subspecialty="neuro"), 1, "b"),
        told(order("change", slides=(), specimens=(specimen("A", "breast"),), subspecialty="breast"), 2, "c"),
    )
    assert fold([story[number] for number in arrival if number < 2]).subspecialty == "skin"
    assert fold([story[number] for number in arrival]).subspecialty == "breast"


def test_what_the_lims_says_that_a_case_weighs_counts_until_it_says_otherwise() -> None:
    report = ReportFact(report=ReportStated(case=MEANT, parts=(), points=7.5))
    story = [told(order(points=3.0)), told(order("change"), 1, "b")]

    assert fold(story).stated_points == 3.0
    assert fold([*story, Told(report, NOON + 2 * MINUTE, NOON, "c")]).stated_points == 7.5


@pytest.mark.parametrize("points", [float("nan"), float("inf"), -1.0, 1000.1])
def test_no_fact_holds_points_that_are_no_weight(points: float) -> None:
    with pytest.raises(ValidationError):
        order(points=points)


def test_what_is_not_said_is_not_written_down_so_older_facts_stay_what_they_are() -> None:
    written = order(specimens=(specimen("A"),)).model_dump(mode="json")
    report = ReportStated(case=MEANT, parts=()).model_dump(mode="json")

    assert "points" not in written
    assert "points" not in report
    assert "subspecialty" not in written["specimens"][0]
