import pytest

from connectors.wiring import Lab
from flows.actions import Desk, review
from flows.journey import STAGES
from flows.steps import STEPS
from models.errors import RefusedError
from tests.flows.actions.life import (
    ANN,
    NOBODY,
    ONE,
    TWO,
    case_of,
    claim,
    finish,
    offered,
    open_alerts,
    ordered,
    row,
    scanned,
    standing,
    told,
    waits,
)
from tests.small_lab import ON_BOTH, SmallSlide, run_until_calm, scan_arrives


def test_a_doubtful_scan_goes_on_once_a_person_passed_it(lab: Lab, desk: Desk) -> None:
    ordered(lab)
    scan_id = scanned(lab, ONE, quality="review")
    assert ("slide_qc", "a person") in waits(lab)
    review(desk, scan_id, "pass", ANN)
    run_until_calm(lab)
    assert standing(lab, scan_id) == ("pass", "matched", "proven", "active", 1)
    assert row(lab, scan_id).quality_by_person


@ON_BOTH
def test_a_scan_that_a_person_wants_again_waits_for_its_successor(lab: Lab, desk: Desk) -> None:
    ordered(lab)
    scan_id = scanned(lab, ONE, quality="review")
    assert review(desk, scan_id, "rescan", ANN).follows == ("its slide waits for a rescan",)
    run_until_calm(lab)
    assert standing(lab, scan_id) == ("rescan", "matched", "received", "active", 1)
    assert waits(lab) == {("expect_scan", "a rescan")}
    assert told(lab) == ["to be rescanned"]
    successor = scanned(lab, ONE, made=2)
    assert standing(lab, scan_id)[3] == "superseded"
    assert standing(lab, successor) == ("pass", "matched", "proven", "active", 1)


def test_a_rescan_is_overruled_by_passing_the_scan_after_all(lab: Lab, desk: Desk) -> None:
    ordered(lab)
    scan_id = scanned(lab, ONE, quality="rescan")
    review(desk, scan_id, "pass", ANN)
    run_until_calm(lab)
    assert standing(lab, scan_id) == ("pass", "matched", "proven", "active", 1)
    assert waits(lab) == set()


@ON_BOTH
def test_the_machine_does_not_overrule_a_persons_verdict(lab: Lab, desk: Desk) -> None:
    ordered(lab)
    scan_id = scan_arrives(lab, SmallSlide(codes=(ONE,), quality="rescan"))
    run_until_calm(lab, [stage for stage in STAGES if stage.name == "intake"])
    claimed = claim(lab, "slide_qc")
    end = STEPS["slide_qc"](lab, claimed)
    review(desk, scan_id, "pass", ANN)
    finish(lab, end)
    run_until_calm(lab)
    assert standing(lab, scan_id) == ("pass", "matched", "proven", "active", 1)


def test_a_scan_to_be_made_again_is_not_archived_by_a_step_that_was_ready(lab: Lab, desk: Desk) -> None:
    ordered(lab)
    scan_id = scan_arrives(lab, SmallSlide(codes=(ONE,)))
    run_until_calm(lab, [stage for stage in STAGES if stage.name != "archive_upload"])
    review(desk, scan_id, "rescan", ANN)
    run_until_calm(lab)
    assert standing(lab, scan_id) == ("rescan", "matched", "received", "active", 1)
    review(desk, scan_id, "pass", ANN)
    run_until_calm(lab)
    assert standing(lab, scan_id) == ("pass", "matched", "proven", "active", 1)


def test_an_archived_scan_that_is_wanted_again_stays_archived_until_its_successor_is_matched(
    lab: Lab, desk: Desk
) -> None:
    ordered(lab)
    scan_id = scanned(lab, ONE)
    acted = review(desk, scan_id, "rescan", ANN)
    assert "stays in the archive until then" in acted.follows[0]
    run_until_calm(lab)
    assert standing(lab, scan_id) == ("rescan", "matched", "proven", "active", 1)
    assert offered(lab, scan_id) == {1: 2}
    assert waits(lab) == {("expect_scan", "a rescan")}
    assert case_of(lab).images == "awaiting"
    assert open_alerts(lab) == ["late slide"]
    assert told(lab)[-1] == "to be rescanned"
    successor = scanned(lab, ONE, made=2)
    assert standing(lab, scan_id)[3] == "superseded"
    assert standing(lab, successor) == ("pass", "matched", "proven", "active", 1)
    assert (case_of(lab).images, waits(lab), open_alerts(lab)) == ("ready", set(), ["late slide"])


def test_a_rescan_of_an_archived_scan_is_overruled(lab: Lab, desk: Desk) -> None:
    ordered(lab)
    scan_id = scanned(lab, ONE)
    review(desk, scan_id, "rescan", ANN)
    run_until_calm(lab)
    review(desk, scan_id, "pass", ANN)
    run_until_calm(lab)
    assert standing(lab, scan_id) == ("pass", "matched", "proven", "active", 1)
    assert (case_of(lab).images, waits(lab)) == ("ready", set())


def test_a_review_that_the_state_forbids_is_refused(lab: Lab, desk: Desk) -> None:
    ordered(lab, ONE, TWO)
    archived, broken = scanned(lab, ONE), scanned(lab, trouble="rejected")
    stored = scan_arrives(lab, SmallSlide(codes=(TWO,)))
    run_until_calm(lab, [stage for stage in STAGES if stage.name != "archive_upload"])
    finish(lab, STEPS["convert"](lab, claim(lab, "convert")))
    storing = claim(lab, "store")
    with pytest.raises(RefusedError, match="is just being stored"):
        review(desk, stored, "rescan", ANN)
    finish(lab, STEPS["store"](lab, storing))
    with pytest.raises(RefusedError, match="is just being stored"):
        review(desk, stored, "rescan", ANN)
    run_until_calm(lab)
    review(desk, stored, "rescan", ANN)
    with pytest.raises(RefusedError, match="was judged rescan by a person already"):
        review(desk, stored, "rescan", ANN)
    with pytest.raises(RefusedError, match="it has passed"):
        review(desk, archived, "pass", ANN)
    with pytest.raises(RefusedError, match="is set aside"):
        review(desk, broken, "pass", ANN)
    with pytest.raises(RefusedError, match="there is no scan"):
        review(desk, NOBODY, "pass", ANN)
