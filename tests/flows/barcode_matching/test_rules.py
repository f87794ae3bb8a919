from dataclasses import replace

import pytest

from flows.barcode_matching.rules import (
    Evidence,
    Matched,
    NeedsPerson,
    OrderedSlide,
    WaitsForOrder,
    match,
    named_anywhere,
)

SITE = r"(?P<container>\d{2}[A-Z]\d{6}-[A-Z]\d{1,2}-\d{1,3})"
SLIDE = OrderedSlide("slide-1", "26H004821-A1-1", "SITEA", cancelled=False, scanned=False)
NEIGHBOUR = replace(SLIDE, slide_id="slide-2", container_identifier="26H004821-A1-2")
AGREEING = Evidence(("26H004821-A1-1",), "26H004821-A1-1.svs", "26H004821-A1-1")


def test_a_label_that_everything_agrees_with_is_matched_and_says_why() -> None:
    outcome = match(AGREEING, SITE, [NEIGHBOUR, SLIDE])

    assert outcome == Matched(
        "slide-1",
        "26H004821-A1-1",
        (
            "The label's code fits the site's pattern.",
            "The file name says the same.",
            "The scanner read the same.",
            "One open order of SITEA names it.",
        ),
    )


def test_a_label_alone_suffices_when_nothing_contradicts_it() -> None:
    outcome = match(Evidence(("26h004821-a1-1 ",), "scan0001.svs", None), SITE, [SLIDE])

    assert isinstance(outcome, Matched)
    assert outcome.slide_id == "slide-1"
    assert outcome.reasons == ("The label's code fits the site's pattern.", "One open order of SITEA names it.")


def test_the_same_code_printed_twice_and_a_manufacturers_code_beside_it_do_no_harm() -> None:
    codes = ("4210201129820", "26H004821-A1-1", "26H004821-A1-1")

    assert isinstance(match(Evidence(codes, "x.svs", None), SITE, [SLIDE]), Matched)


def test_a_clear_label_without_an_order_waits_for_it() -> None:
    assert match(AGREEING, SITE, [NEIGHBOUR]) == WaitsForOrder("26H004821-A1-1")


@pytest.mark.parametrize(
    ("evidence", "reason"),
    [
        (Evidence((), "26H004821-A1-1.svs", "26H004821-A1-1"), "No code could be read on the label."),
        (
            Evidence(("4210201129820",), "26H004821-A1-1.svs", None),
            "The label's only code does not fit the site's pattern.",
        ),
        (Evidence(("421", "422"), "26H004821-A1-1.svs", None), "None of the label's 2 codes fits the site's pattern."),
    ],
)
def test_an_unreadable_label_goes_to_a_person_whatever_the_file_is_called(evidence: Evidence, reason: str) -> None:
    assert match(evidence, SITE, [SLIDE, NEIGHBOUR]) == NeedsPerson(reason, (SLIDE,))


def test_a_file_name_that_contradicts_the_label_goes_to_a_person_with_both_slides() -> None:
    outcome = match(Evidence(("26H004821-A1-1",), "26H004821-A1-2.svs", None), SITE, [SLIDE, NEIGHBOUR])

    reason = "The label says 26H004821-A1-1, but the file name says 26H004821-A1-2."
    assert outcome == NeedsPerson(reason, (SLIDE, NEIGHBOUR))


def test_a_scanner_that_read_something_else_goes_to_a_person() -> None:
    outcome = match(Evidence(("26H004821-A1-1",), "1.svs", "26H004821-A1-12"), SITE, [SLIDE])

    reason = "The label says 26H004821-A1-1, but the scanner read 26H004821-A1-12."
    assert outcome == NeedsPerson(reason, (SLIDE,))


def test_two_identifiers_on_one_label_go_to_a_person_even_if_only_one_is_ordered() -> None:
    outcome = match(Evidence(("26H004821-A1-1", "26H004821-A1-2"), "1.svs", None), SITE, [SLIDE])

    assert outcome == NeedsPerson("The label holds 2 identifiers: 26H004821-A1-1, 26H004821-A1-2.", (SLIDE,))


def test_a_barcode_on_two_ordered_slides_is_never_guessed() -> None:
    again = replace(SLIDE, slide_id="slide-9")

    assert match(AGREEING, SITE, [SLIDE, again]) == NeedsPerson("2 ordered slides bear 26H004821-A1-1.", (SLIDE, again))


def test_an_identifier_that_two_issuers_use_is_never_guessed() -> None:
    elsewhere = replace(SLIDE, slide_id="slide-9", issuer="SITEB", cancelled=True)

    assert match(AGREEING, SITE, [SLIDE, elsewhere]) == NeedsPerson(
        "2 issuers use 26H004821-A1-1: SITEA, SITEB.", (SLIDE, elsewhere)
    )


@pytest.mark.parametrize("cancelled", [False, True])
def test_a_slide_that_has_a_scan_already_goes_to_a_person(*, cancelled: bool) -> None:
    slide = replace(SLIDE, scanned=True, cancelled=cancelled)

    reason = "26H004821-A1-1 already has a scan, and nobody asked for another."
    assert match(AGREEING, SITE, [slide]) == NeedsPerson(reason, (slide,))


def test_a_scan_of_a_cancelled_slide_is_its_scan_and_says_so() -> None:
    outcome = match(AGREEING, SITE, [replace(SLIDE, cancelled=True)])

    assert isinstance(outcome, Matched)
    assert outcome.reasons[-1] == "One cancelled order of SITEA names it."


def test_a_near_miss_is_not_a_match() -> None:
    nearly = Evidence(("26H004821-A1-11",), "1.svs", None)

    assert match(nearly, SITE, [SLIDE]) == WaitsForOrder("26H004821-A1-11")


def test_all_that_the_evidence_names_is_looked_up_the_label_first() -> None:
    evidence = Evidence(("421", "26H004821-A1-1"), "26H004821-A1-2.svs", "26h004821-a1-3")

    assert named_anywhere(evidence, SITE) == ("26H004821-A1-1", "26H004821-A1-2", "26H004821-A1-3")
