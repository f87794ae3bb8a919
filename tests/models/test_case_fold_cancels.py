"""What is cancelled and replaced in a case, and what comes back."""

import pytest

from models.case_fold import CaseState, fold
from models.statements import BlockStated, SlideStated, SpecimenStated
from tests.models.case_facts import order, told


def standing(state: CaseState) -> dict[str, bool]:
    """Return each slide with whether it is expected."""
    return {identifier: not one.cancelled for (_, identifier), one in state.slides.items()}


def test_cancelling_one_slide_leaves_its_case_and_the_other_slides() -> None:
    state = fold([told(order(slides=("A", "B"))), told(order("cancel", cancelled=("A",)), 1)])

    assert not state.cancelled
    assert standing(state) == {"A": False, "B": True}


def test_a_cancel_that_names_nothing_cancels_the_case() -> None:
    assert fold([told(order(slides=("A",))), told(order("cancel"), 1)]).cancelled


def test_a_change_does_not_bring_back_what_was_cancelled_and_a_new_order_does() -> None:
    cancelled = [told(order(slides=("A",))), told(order("cancel", cancelled=("A",)), 1)]

    assert standing(fold([*cancelled, told(order("change", slides=("A",)), 2)])) == {"A": False}
    assert standing(fold([*cancelled, told(order("register", slides=("A",)), 2)])) == {"A": True}


def test_an_order_brings_a_cancelled_case_back_and_a_change_does_not() -> None:
    cancelled = [told(order(slides=("A",))), told(order("cancel"), 1)]

    assert fold([*cancelled, told(order("change"), 2)]).cancelled
    assert not fold([*cancelled, told(order("register"), 2)]).cancelled


def test_a_cancel_that_arrives_before_its_order_still_cancels_it() -> None:
    assert standing(fold([told(order("cancel", cancelled=("A",)), 1)])) == {"A": False}
    assert standing(fold([told(order("cancel", cancelled=("A",)), 1), told(order(slides=("A",)))])) == {"A": False}


def test_a_cancel_names_a_container_of_another_issuer_when_only_that_is_called_so() -> None:
    elsewhere = order().model_copy(update={"slides": (SlideStated(container_identifier="A", issuer="OTHER"),)})

    state = fold([told(elsewhere), told(order("cancel", cancelled=("A",)), 1)])

    assert {key: one.cancelled for key, one in state.slides.items()} == {("OTHER", "A"): True}


def test_a_cancel_never_chooses_between_two_issuers() -> None:
    elsewhere = order().model_copy(
        update={"slides": tuple(SlideStated(container_identifier="A", issuer=one) for one in ("X", "Y"))}
    )

    state = fold([told(elsewhere), told(order("cancel", cancelled=("A",)), 1)])

    assert not state.slides["X", "A"].cancelled
    assert not state.slides["Y", "A"].cancelled


@pytest.mark.parametrize("kind", ["specimens", "blocks"])
def test_a_cancelled_specimen_or_block_becomes_no_slide(kind: str) -> None:
    stated = {"specimens": SpecimenStated, "blocks": BlockStated}[kind](container_identifier="X", issuer="NET")
    registered = order().model_copy(update={kind: (stated,)})

    state = fold([told(registered), told(order("cancel", cancelled=("X",)), 1)])

    assert getattr(state, kind)["NET", "X"].cancelled
    assert state.slides == {}


def test_an_order_that_replaces_another_cancels_what_it_does_not_name() -> None:
    first = told(order(slides=("A", "B"), placer_order_numbers=("P1",)))
    second = told(order("replace", slides=("B", "C"), placer_order_numbers=("P1",)), 1)

    for arrival in ((first, second), (second, first)):
        assert standing(fold(arrival)) == {"A": False, "B": True, "C": True}


def test_an_order_that_replaces_another_leaves_what_a_third_one_ordered() -> None:
    first = told(order(slides=("A",), placer_order_numbers=("P1",)))
    other = told(order(slides=("A", "B"), placer_order_numbers=("P2",)), 1)
    instead = told(order("replace", slides=("C",), placer_order_numbers=("P1", "P3")), 2)

    assert standing(fold([first, other, instead])) == {"A": True, "B": True, "C": True}


def test_an_order_without_a_number_replaces_all_of_its_case() -> None:
    assert standing(fold([told(order(slides=("A",))), told(order("replace", slides=("B",)), 1)])) == {
        "A": False,
        "B": True,
    }


def test_an_order_that_replaces_another_brings_a_cancelled_case_back() -> None:
    assert not fold([told(order("cancel")), told(order("replace", slides=("A",)), 1)]).cancelled
