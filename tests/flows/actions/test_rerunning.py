from dataclasses import replace

import pytest
from sqlalchemy import select, update

from connectors.wiring import Lab
from flows.actions import Desk, match, preview_rerun, rerun, review
from flows.journey import STAGES
from flows.ledger import LostClaimError
from flows.steps import STEPS
from flows.sweep import sweep
from models.errors import RefusedError
from models.tables.books import History
from models.tables.step import Step
from tests.flows.actions.life import (
    ANN,
    NOBODY,
    ONE,
    TWO,
    FailsAtFirst,
    claim,
    finish,
    open_alerts,
    ordered,
    scanned,
    slide_of,
    standing,
    told,
)
from tests.small_lab import ON_BOTH, SmallLims, SmallSlide, run_until_calm, scan_arrives


@ON_BOTH
def test_a_scan_that_was_set_aside_takes_part_again_from_where_it_stopped(lab: Lab, desk: Desk) -> None:
    lab = replace(lab, decoder=FailsAtFirst("convert"))
    ordered(lab)
    scan_id = scanned(lab, ONE)
    assert standing(lab, scan_id)[2:4] == ("received", "set aside")
    plan = preview_rerun(desk, scan_id)
    assert (plan.start, plan.kept) == ("convert", ("slide_qc", "barcode_matching"))
    assert plan.redone == ("convert", "store", "prove")
    rerun(desk, scan_id, ANN, seen=plan)
    assert open_alerts(lab) == []
    run_until_calm(lab)
    assert standing(lab, scan_id) == ("pass", "matched", "proven", "active", 1)
    assert told(lab) == ["set aside", "archived", "released", "assigned"]


def test_a_scan_set_aside_at_its_first_look_comes_back_with_both_first_steps(lab: Lab, desk: Desk) -> None:
    lab = replace(lab, decoder=FailsAtFirst("examine"))
    ordered(lab)
    scan_id = scanned(lab, ONE)
    plan = preview_rerun(desk, scan_id)
    assert plan.start == "slide_qc"
    rerun(desk, scan_id, ANN)
    run_until_calm(lab)
    assert standing(lab, scan_id) == ("pass", "matched", "proven", "active", 1)


def test_a_step_that_stopped_its_workers_is_not_set_aside_anew_after_a_rerun(lab: Lab, desk: Desk) -> None:
    """The sweeper had no time to raise it before a person acted."""
    ordered(lab)
    scan_id = scanned(lab, ONE, quality="review")
    with lab.database.write("test") as session:
        waiting = (Step.subject_id == scan_id, Step.state == "waiting")
        no_wait = dict.fromkeys(("waiting_for", "waiting_key", "waiting_since", "waiting_until", "waiting_then"))
        session.execute(update(Step).where(*waiting).values(state="set aside", problem="stopped its worker", **no_wait))
    rerun(desk, scan_id, ANN, "slide_qc")
    assert sweep(lab) == 0
    run_until_calm(lab)
    assert standing(lab, scan_id)[3] == "active"


def test_an_archived_scan_is_converted_again_to_the_same_bytes(lab: Lab, desk: Desk) -> None:
    ordered(lab)
    scan_id = scanned(lab, ONE)
    held = sorted(holding.sop_instance_uid for holding in lab.archive.holdings())
    plan = preview_rerun(desk, scan_id, "convert")
    assert "byte for byte" in plan.outside[0]
    rerun(desk, scan_id, ANN, "convert")
    run_until_calm(lab)
    assert standing(lab, scan_id) == ("pass", "matched", "proven", "active", 1)
    assert sorted(holding.sop_instance_uid for holding in lab.archive.holdings()) == held
    assert told(lab).count("archived") == 1


def test_a_rerun_keeps_who_asked_for_it_and_from_where(lab: Lab, desk: Desk) -> None:
    ordered(lab)
    scan_id = scanned(lab, ONE)
    rerun(desk, scan_id, ANN, "prove")
    with lab.database.read() as session:
        change = session.scalars(select(History).where(History.actor.is_not(None))).one()
    assert (change.what, change.after, change.cause, change.reason) == (
        *("steps", "again from prove", "rerun prove"),
        "looked at the glass",
    )
    run_until_calm(lab)


def test_a_rerun_that_would_do_something_else_than_was_shown_is_refused(lab: Lab, desk: Desk) -> None:
    ordered(lab)
    scan_id = scanned(lab)
    plan = preview_rerun(desk, scan_id)
    match(desk, scan_id, slide_of(lab, ONE), ANN)
    run_until_calm(lab)
    with pytest.raises(RefusedError, match=r"is matched|has changed since you looked"):
        rerun(desk, scan_id, ANN, seen=plan)


@ON_BOTH
def test_a_rerun_takes_the_place_of_a_step_that_runs(lab: Lab, desk: Desk) -> None:
    ordered(lab)
    scan_id = scan_arrives(lab, SmallSlide(codes=(ONE,)))
    run_until_calm(lab, [stage for stage in STAGES if stage.name != "archive_upload"])
    claimed = claim(lab, "convert")
    end = STEPS["convert"](lab, claimed)
    rerun(desk, scan_id, ANN, "slide_qc")
    with pytest.raises(LostClaimError):
        finish(lab, end)
    run_until_calm(lab)
    assert standing(lab, scan_id) == ("pass", "matched", "proven", "active", 1)


def test_a_rerun_that_the_state_forbids_is_refused(lab: Lab, desk: Desk) -> None:
    ordered(lab, ONE, TWO)
    archived, unmatched = scanned(lab, ONE), scanned(lab)
    replaced = scanned(lab, TWO, quality="rescan")
    with pytest.raises(RefusedError, match=r"'coverslip review .* pass' comes before convert"):
        preview_rerun(desk, replaced)
    scanned(lab, TWO, made=2)
    for scan_id, start, said in (
        (NOBODY, None, "there is no scan"),
        (archived, None, "every step of scan .* is done"),
        (archived, "polish", "choose one of slide_qc, barcode_matching, convert, correct, store, prove, send"),
        (archived, "barcode_matching", "'coverslip withdraw' takes the match back"),
        (archived, "send", "was refused: there is nothing to send again"),
        (unmatched, "convert", "'coverslip match' comes before convert"),
        (unmatched, "send", "has no case"),
        (replaced, None, "was replaced by scan"),
    ):
        with pytest.raises(RefusedError, match=said):
            preview_rerun(desk, scan_id, start)
        with pytest.raises(RefusedError, match=said):
            rerun(desk, scan_id, ANN, start)


def test_a_persons_verdict_is_not_judged_again_by_a_rerun(lab: Lab, desk: Desk) -> None:
    ordered(lab)
    scan_id = scanned(lab, ONE, quality="review")
    review(desk, scan_id, "pass", ANN)
    run_until_calm(lab)
    with pytest.raises(RefusedError, match="was judged by a person, which stands"):
        rerun(desk, scan_id, ANN, "slide_qc")


@ON_BOTH
def test_a_message_that_the_lims_refused_is_sent_again_with_the_same_bytes(lab: Lab, desk: Desk) -> None:
    lims = lab.senders["lims-a"]
    assert isinstance(lims, SmallLims)
    lims.answers.append("AE")
    ordered(lab)
    scan_id = scanned(lab, ONE)
    assert len(lims.heard) == 1
    assert open_alerts(lab) == ["refused"]
    plan = preview_rerun(desk, scan_id, "send")
    assert len(plan.outside) == 1
    rerun(desk, scan_id, ANN, seen=plan)
    assert open_alerts(lab) == []
    run_until_calm(lab)
    assert lims.heard[1] == lims.heard[0]
    assert told(lab) == ["archived", "released", "assigned"]
    assert len(lims.heard) == 4
