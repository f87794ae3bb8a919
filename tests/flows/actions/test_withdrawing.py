from dataclasses import replace

import pytest
from sqlalchemy import select, update

from connectors.wiring import Lab
from flows.actions import Desk, match, preview_rerun, release, rerun, review, withdraw
from flows.journey import STAGES
from flows.ledger import LostClaimError
from flows.steps import STEPS
from flows.sweep import sweep
from models.errors import RefusedError
from models.tables.reading import Assignment
from models.tables.step import Slot, Step
from tests.flows.actions.life import (
    ANN,
    NOBODY,
    ONE,
    TWO,
    FailsAtFirst,
    case_of,
    claim,
    finish,
    offered,
    open_alerts,
    ordered,
    scanned,
    slide_of,
    standing,
    told,
    waits,
)
from tests.small_lab import ON_BOTH, SmallSlide, message_arrives, order, run_until_calm, scan_arrives


@ON_BOTH
def test_a_withdrawn_match_is_hidden_told_and_waits_for_a_person(lab: Lab, desk: Desk) -> None:
    ordered(lab, ONE, TWO)
    wrong, right = scanned(lab, ONE), scanned(lab, TWO)
    assert case_of(lab).reading == "assigned"
    withdraw(desk, wrong, ANN)
    run_until_calm(lab)
    assert standing(lab, wrong) == ("pass", "unmatched", "received", "active", 2)
    assert offered(lab, wrong) == {1: 0}
    assert offered(lab, right) == {1: 2}
    assert waits(lab) == {
        ("barcode_matching", "a person"),
        ("expect_scan", "the scanner"),
        ("hold", "its missing slides"),
    }
    assert case_of(lab).images == "incomplete"
    assert open_alerts(lab) == ["late slide"]
    assert told(lab)[-1] == "withdrawn"


def test_a_withdrawn_scan_is_archived_anew_under_what_it_really_shows(lab: Lab, desk: Desk) -> None:
    ordered(lab, ONE, TWO)
    scan_id = scanned(lab, ONE)
    withdraw(desk, scan_id, ANN)
    run_until_calm(lab)
    match(desk, scan_id, slide_of(lab, TWO), ANN)
    run_until_calm(lab)
    assert standing(lab, scan_id) == ("pass", "matched", "proven", "active", 2)
    assert offered(lab, scan_id) == {1: 0, 2: 2}
    assert told(lab) == ["archived", "withdrawn", "archived"]


def test_a_withdrawn_scan_is_never_matched_by_itself_again(lab: Lab, desk: Desk) -> None:
    """Its label is as readable as before, and its order as open."""
    ordered(lab)
    scan_id = scanned(lab, ONE)
    withdraw(desk, scan_id, ANN)
    with lab.database.write("test") as session:
        waiting = (Step.subject_id == scan_id, Step.state == "waiting")
        session.execute(update(Step).where(*waiting).values(waiting_until=Step.waiting_since))
    assert sweep(lab) == 1
    run_until_calm(lab)
    message_arrives(lab, order("26B0001", ONE, sent_at="20250103120000+0000", control_id="M3"))
    run_until_calm(lab)
    assert standing(lab, scan_id)[1] == "unmatched"
    assert ("barcode_matching", "a person") in waits(lab)


@ON_BOTH
def test_a_match_is_withdrawn_while_its_objects_are_being_stored(lab: Lab, desk: Desk) -> None:
    ordered(lab)
    scan_id = scan_arrives(lab, SmallSlide(codes=(ONE,)))
    run_until_calm(lab, [stage for stage in STAGES if stage.name != "archive_upload"])
    finish(lab, STEPS["convert"](lab, claim(lab, "convert")))
    end = STEPS["store"](lab, claim(lab, "store"))
    withdraw(desk, scan_id, ANN)
    with pytest.raises(LostClaimError):
        finish(lab, end)
    run_until_calm(lab)
    assert standing(lab, scan_id) == ("pass", "unmatched", "received", "active", 2)
    assert offered(lab, scan_id) == {1: 0}
    with lab.database.read() as session:
        assert session.scalars(select(Slot.step_id).where(Slot.step_id.is_not(None))).all() == []


@pytest.mark.parametrize("kind", ["convert", "prove"])
def test_a_match_is_withdrawn_before_and_after_its_objects_left(lab: Lab, desk: Desk, kind: str) -> None:
    ordered(lab)
    scan_id = scan_arrives(lab, SmallSlide(codes=(ONE,)))
    run_until_calm(lab, [stage for stage in STAGES if stage.name != "archive_upload"])
    for earlier in ("convert", "store", "prove"):
        claimed = claim(lab, earlier)
        if earlier == kind:
            break
        finish(lab, STEPS[earlier](lab, claimed))
    end = STEPS[kind](lab, claimed)
    withdraw(desk, scan_id, ANN)
    with pytest.raises(LostClaimError):
        finish(lab, end)
    run_until_calm(lab)
    assert standing(lab, scan_id) == ("pass", "unmatched", "received", "active", 2)
    assert sum(offered(lab, scan_id).values()) == 0


def test_a_scan_of_a_cancelled_slide_is_withdrawn_when_it_shows_another(lab: Lab, desk: Desk) -> None:
    ordered(lab, ONE, TWO)
    scan_id = scanned(lab, ONE, quality="review")
    message_arrives(lab, order("26B0001", cancel=(ONE,), sent_at="20250102120000+0000", control_id="M2"))
    run_until_calm(lab)
    assert standing(lab, scan_id)[3] == "cancelled"
    withdraw(desk, scan_id, ANN)
    match(desk, scan_id, slide_of(lab, TWO), ANN)
    run_until_calm(lab)
    review(desk, scan_id, "pass", ANN)
    run_until_calm(lab)
    assert standing(lab, scan_id) == ("pass", "matched", "proven", "active", 2)


def test_a_scan_that_was_set_aside_is_withdrawn_and_judged_anew(lab: Lab, desk: Desk) -> None:
    lab = replace(lab, decoder=FailsAtFirst("convert"))
    ordered(lab, ONE, TWO)
    scan_id = scanned(lab, ONE)
    withdraw(desk, scan_id, ANN)
    match(desk, scan_id, slide_of(lab, TWO), ANN)
    run_until_calm(lab)
    assert standing(lab, scan_id) == ("pass", "matched", "proven", "active", 2)


def test_the_reader_of_a_released_case_hears_of_a_withdrawn_slide(lab: Lab, desk: Desk) -> None:
    ordered(lab, ONE, TWO)
    scan_id = scanned(lab, ONE)
    release(desk, case_of(lab).id, ANN)
    run_until_calm(lab)
    withdraw(desk, scan_id, ANN)
    run_until_calm(lab)
    assert case_of(lab).images == "ready"
    assert open_alerts(lab) == ["late slide"]


@ON_BOTH
def test_a_scan_that_a_person_closes_takes_no_part_until_it_is_taken_up_again(lab: Lab, desk: Desk) -> None:
    ordered(lab)
    archived = scanned(lab, ONE)
    stranger = scanned(lab)
    withdraw(desk, stranger, ANN, close=True)
    withdraw(desk, archived, ANN, close=True)
    run_until_calm(lab)
    assert standing(lab, stranger) == ("pass", "unmatched", "received", "withdrawn", 1)
    assert standing(lab, archived) == ("pass", "unmatched", "received", "withdrawn", 2)
    assert offered(lab, archived) == {1: 0}
    assert waits(lab) == {("expect_scan", "the scanner")}
    with pytest.raises(RefusedError, match="'coverslip rerun' takes it up again"):
        withdraw(desk, archived, ANN)
    assert preview_rerun(desk, archived).start == "barcode_matching"
    rerun(desk, archived, ANN)
    run_until_calm(lab)
    assert standing(lab, archived) == ("pass", "unmatched", "received", "active", 2)
    assert ("barcode_matching", "a person") in waits(lab)


def test_there_is_nothing_to_withdraw_without_a_match(lab: Lab, desk: Desk) -> None:
    scan_id = scanned(lab)
    with pytest.raises(RefusedError, match="has no match to take back; with --close"):
        withdraw(desk, scan_id, ANN)
    with pytest.raises(RefusedError, match="there is no scan"):
        withdraw(desk, NOBODY, ANN)


def test_only_one_assignment_was_made_of_a_case_whose_slide_was_withdrawn_and_matched_again(
    lab: Lab, desk: Desk
) -> None:
    ordered(lab)
    scan_id = scanned(lab, ONE)
    withdraw(desk, scan_id, ANN)
    run_until_calm(lab)
    match(desk, scan_id, slide_of(lab, ONE), ANN)
    run_until_calm(lab)
    with lab.database.read() as session:
        assert len(session.scalars(select(Assignment.id)).all()) == 1
    assert (case_of(lab).images, case_of(lab).reading) == ("ready", "assigned")
    assert open_alerts(lab) == ["late slide"]
