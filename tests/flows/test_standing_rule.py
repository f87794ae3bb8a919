"""Where a scan, a slide and a case stand, by the rule alone."""

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from flows.standing import Standing
from flows.standing.rule import OpenStep, standing_of_case, standing_of_scan, standing_of_slide
from models.scan_fold import ScanState
from tests.dashboards.web.laboratory import MINUTE, NOW

LATER = NOW + timedelta(hours=1)
MATCHED = ScanState(identity="matched", slide_id="s", case_id="c")


def waiting(kind: str, waiting_for: str, since: datetime = NOW) -> OpenStep:
    return OpenStep(kind, "waiting", NOW, 1, waiting_for, since, since + MINUTE, "raised", "why")


@pytest.mark.parametrize(
    ("scan", "steps", "state", "waiting_for"),
    [
        (ScanState(), (OpenStep("slide_qc", "ready", NOW),), "received", None),
        (ScanState(), (OpenStep("slide_qc", "running", NOW, 1),), "being checked", None),
        (ScanState(quality="pass"), (OpenStep("barcode_matching", "ready", NOW),), "being matched", None),
        (ScanState(quality="pass"), (waiting("barcode_matching", "the LIMS"),), "waiting for the LIMS", "the LIMS"),
        (ScanState(quality="review"), (waiting("slide_qc", "a person"),), "waiting for a person", "a person"),
        (replace(MATCHED, quality="review"), (), "waiting for a person", "a person"),
        (ScanState(quality="pass", identity="unmatched"), (), "waiting for a person", "a person"),
        (replace(MATCHED, quality="rescan"), (), "waiting for a rescan", "a rescan"),
        (replace(MATCHED, quality="pass"), (OpenStep("convert", "running", NOW, 1),), "converting", None),
        (replace(MATCHED, quality="pass"), (OpenStep("correct", "running", NOW, 1),), "correcting", None),
        (replace(MATCHED, quality="pass"), (OpenStep("store", "ready", NOW),), "storing", None),
        (replace(MATCHED, quality="pass"), (waiting("store", "another try"),), "storing", "another try"),
        (replace(MATCHED, quality="pass", storage="stored"), (OpenStep("prove", "ready", NOW),), "proving", None),
        (replace(MATCHED, quality="pass", storage="proven"), (), "archived", None),
        (ScanState(outcome="set aside", reason="truncated"), (), "set aside", None),
        (ScanState(outcome="superseded"), (), "superseded", None),
        (ScanState(outcome="cancelled"), (), "cancelled", None),
        (ScanState(outcome="withdrawn"), (), "withdrawn", None),
    ],
)  # fmt: skip
def test_a_scan_stands_where_its_facets_and_open_steps_say(
    scan: ScanState, steps: tuple[OpenStep, ...], state: str, waiting_for: str | None
) -> None:
    standing = standing_of_scan(scan, NOW, steps)
    assert (standing.state, standing.waiting_for) == (state, waiting_for)


def test_a_person_s_turn_is_said_before_the_lims_s_and_before_what_goes_on_by_itself() -> None:
    steps = (OpenStep("slide_qc", "running", NOW, 1), waiting("barcode_matching", "a person", LATER))
    assert standing_of_scan(ScanState(), NOW, steps) == Standing(
        "waiting for a person", "a person", LATER, LATER + MINUTE, "raised", "why"
    )


def test_an_archived_scan_is_assigned_once_somebody_has_its_case() -> None:
    scan = replace(MATCHED, quality="pass", storage="proven")
    assert standing_of_scan(scan, NOW, assigned=True).state == "assigned"


def test_a_scan_to_be_done_again_says_until_when_its_slide_waits() -> None:
    standing = standing_of_scan(
        replace(MATCHED, quality="rescan", reason="blurred"), NOW, rescan=waiting("expect_scan", "a rescan", LATER)
    )
    assert (standing.since, standing.until, standing.then) == (LATER, LATER + MINUTE, "raised")
    assert standing.reason == "blurred"


def test_a_slide_without_a_scan_waits_for_the_scanner_even_between_two_turns_of_its_wait() -> None:
    assert standing_of_slide("scan", NOW).waiting_for == "the scanner"
    assert standing_of_slide("scan", NOW, OpenStep("expect_scan", "ready", NOW)).waiting_for == "the scanner"
    assert standing_of_slide("scan", NOW, waiting("expect_scan", "a rescan")).state == "waiting for a rescan"
    assert standing_of_slide("glass only", NOW).waiting_for is None
    assert standing_of_slide("scan", NOW, cancelled=True).state == "cancelled"


def test_a_case_with_an_open_set_says_that_its_orders_have_not_settled() -> None:
    assert standing_of_case("awaiting", "none", NOW, closed=False).waiting_for == "slides, and for its orders to settle"
    assert standing_of_case("incomplete", "none", NOW, closed=True) == Standing("incomplete", "slides", NOW)


def test_a_case_that_nobody_may_read_waits_for_somebody_by_name_of_the_wait() -> None:
    step = waiting("case_assignment", "an eligible pathologist")
    standing = standing_of_case("ready", "unassigned", NOW, closed=True, assigning=step)
    assert (standing.state, standing.waiting_for) == ("being assigned", "an eligible pathologist")
