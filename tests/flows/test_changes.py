from collections import Counter

import pytest
from sqlalchemy import select

from connectors.wiring import Lab
from flows import ledger
from flows.actions import Desk, Person, rerun, review, withdraw
from flows.books import Cause
from flows.changes import change_scan, follow, is_leaving, lock_scan, rerun_scan
from flows.journey import ARCHIVE_UPLOAD, BARCODE_MATCHING, SLIDE_QC, STAGES, Stage
from flows.steps import STEPS
from models.database import database_now
from models.facets import Outcome, Quality, Storage
from models.scan_fold import EditionRaised, Ended, QualityJudged, Resumed
from models.tables.books import Fact, History, OutboxMessage
from models.tables.scan import Instance
from models.tables.step import Slot, Step
from tests.flows.looking import LATER, A, B, alerts, books_balance, scan_of, steps, the_case, the_scan, told
from tests.small_lab import (
    ON_BOTH,
    PLACE,
    SmallLims,
    SmallSlide,
    begin_worker,
    event_again,
    message_arrives,
    order,
    run_until_calm,
    scan_arrives,
)

CAUSE = Cause("test")
SHARP = SmallSlide(codes=(A,))
ROSA = Person("Rosa Example", "because")


def without(*names: str) -> list[Stage]:
    return [one for one in STAGES if one.name not in names]


def desk(lab: Lab) -> Desk:
    return Desk(lab.database, lab.settings, lab.ids)


@ON_BOTH
@pytest.mark.parametrize("first", [SLIDE_QC, BARCODE_MATCHING])
def test_convert_waits_for_both_quality_and_identity(lab: Lab, first: str) -> None:
    message_arrives(lab, order("26H1", A))
    scan_arrives(lab, SHARP)
    run_until_calm(lab, [one for one in STAGES if one.name in ("intake", first)])
    assert (the_scan(lab).quality == "pass") == (first == SLIDE_QC)
    assert (the_scan(lab).identity == "matched") == (first == BARCODE_MATCHING)
    assert steps(lab, "convert") == []

    run_until_calm(lab)
    assert steps(lab, "convert") == ["done"]
    assert the_scan(lab).storage == Storage.PROVEN


@pytest.mark.parametrize("quality", ["review", "rescan", "cannot judge"])
def test_a_picture_in_doubt_is_not_archived_until_a_person_passes_it(lab: Lab, quality: str) -> None:
    message_arrives(lab, order("26H1", A))
    scan_arrives(lab, SmallSlide(codes=(A,), quality=quality))
    run_until_calm(lab)
    assert (the_scan(lab).outcome, the_scan(lab).storage) == (Outcome.ACTIVE, Storage.RECEIVED)
    assert steps(lab, "convert") == []
    books_balance(lab)

    review(desk(lab), the_scan(lab).id, "pass", ROSA)
    run_until_calm(lab)
    assert the_scan(lab).storage == Storage.PROVEN
    books_balance(lab)


@ON_BOTH
def test_asking_what_follows_as_often_as_one_likes_adds_nothing(lab: Lab) -> None:
    message_arrives(lab, order("26H1", A))
    scan_id = scan_arrives(lab, SHARP)
    run_until_calm(lab)
    with lab.database.read() as session:
        before = session.scalars(select(Step.id)).all()
    for _ in range(3):
        with lab.database.write("follow") as session:
            follow(session, lock_scan(session, scan_id))
            change_scan(session, lab.settings, lock_scan(session, scan_id), [], CAUSE)
    run_until_calm(lab)

    with lab.database.read() as session:
        assert session.scalars(select(Step.id)).all() == before


def test_every_change_of_a_scan_is_in_its_history_with_cause_and_who_made_it(lab: Lab) -> None:
    message_arrives(lab, order("26H1", A))
    scan_id = scan_arrives(lab, SHARP)
    run_until_calm(lab)
    review(desk(lab), scan_id, "rescan", Person("Rosa Example", "it is out of focus after all"))
    with lab.database.read() as session:
        rows = session.scalars(select(History).where(History.subject_id == scan_id).order_by(History.id)).all()

    by_machine = [(row.what, row.before, row.after, row.cause) for row in rows if row.actor is None]
    assert by_machine.count(("quality", "pending", "pass", "slide_qc 1.1")) == 1
    assert by_machine.count(("identity", "pending", "matched", "barcode_matching 1.1")) == 1
    assert by_machine.count(("storage", "stored", "proven", "prove 1.1")) == 1
    by_rosa = {(row.what, row.after, row.cause, row.reason) for row in rows if row.actor == "Rosa Example"}
    assert ("quality", "rescan", "review", "it is out of focus after all") in by_rosa


@ON_BOTH
def test_a_change_that_fails_leaves_no_part_of_itself(lab: Lab) -> None:
    message_arrives(lab, order("26H1", A))
    scan_id = scan_arrives(lab, SmallSlide(codes=(A,), quality="review"))
    run_until_calm(lab)
    with lab.database.read() as session:
        facts = session.scalars(select(Fact.id)).all()
        histories = session.scalars(select(History.id)).all()

    def judge_and_fail() -> None:
        with lab.database.write("fails") as session:
            scan = lock_scan(session, scan_id)
            change_scan(session, lab.settings, scan, [QualityJudged(quality=Quality.PASS)], CAUSE)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        judge_and_fail()

    assert scan_of(lab, scan_id).quality == "review"
    assert steps(lab, "convert") == []
    with lab.database.read() as session:
        assert session.scalars(select(Fact.id)).all() == facts
        assert session.scalars(select(History.id)).all() == histories


@ON_BOTH
def test_an_end_cancels_what_was_open_and_frees_the_slot_that_it_held(lab: Lab) -> None:
    message_arrives(lab, order("26H1", A))
    scan_id = scan_arrives(lab, SHARP)
    run_until_calm(lab, without(ARCHIVE_UPLOAD))
    storing = _storing(lab)
    with lab.database.read() as session:
        assert session.scalars(select(Slot.step_id).where(Slot.step_id.is_not(None))).all() == [storing.id]
        assert is_leaving(session, scan_of(lab, scan_id))
    with lab.database.write("a person closes it") as session:
        ended = Ended(outcome=Outcome.WITHDRAWN, reason="not ours")
        change_scan(session, lab.settings, lock_scan(session, scan_id), [ended], CAUSE)

    with lab.database.read() as session:
        assert session.scalars(select(Slot.step_id).where(Slot.step_id.is_not(None))).all() == []
    assert steps(lab, "store") == ["cancelled"]
    with pytest.raises(ledger.LostClaimError), lab.database.write("late") as session:
        ledger.finish(session, storing)


@ON_BOTH
def test_a_new_edition_makes_and_stores_its_objects_anew(lab: Lab) -> None:
    message_arrives(lab, order("26H1", A))
    scan_id = scan_arrives(lab, SHARP)
    run_until_calm(lab)
    with lab.database.write("raise") as session:
        change_scan(session, lab.settings, lock_scan(session, scan_id), [EditionRaised()], CAUSE)
    assert the_case(lab).images != "ready"
    run_until_calm(lab)

    assert (the_scan(lab).edition, the_scan(lab).storage) == (2, Storage.PROVEN)
    with lab.database.read() as session:
        uids = session.scalars(select(Instance.sop_instance_uid)).all()
        editions = Counter(session.scalars(select(Instance.edition)))
    assert len(set(uids)) == len(uids)
    assert editions == {1: 2, 2: 2}
    assert steps(lab, "slide_qc") == ["done"]


def test_an_edition_that_is_over_while_it_is_stored_is_not_stored(lab: Lab) -> None:
    message_arrives(lab, order("26H1", A))
    scan_id = scan_arrives(lab, SHARP)
    run_until_calm(lab, without(ARCHIVE_UPLOAD))
    storing = _storing(lab)
    end = STEPS["store"](lab, storing)
    with lab.database.write("raise") as session:
        change_scan(session, lab.settings, lock_scan(session, scan_id), [EditionRaised()], CAUSE)
    with pytest.raises(ledger.LostClaimError), lab.database.write("late") as session:
        end(session)
    run_until_calm(lab)

    assert (the_scan(lab).edition, the_scan(lab).storage) == (2, Storage.PROVEN)


@ON_BOTH
def test_a_rerun_makes_again_what_was_made_of_the_older_result_and_tells_nobody_twice(lab: Lab) -> None:
    message_arrives(lab, order("26H1", A))
    scan_id = scan_arrives(lab, SHARP)
    run_until_calm(lab)
    assert told(lab) == ["archived", "released", "assigned"]
    with lab.database.write("rerun") as session:
        rerun_scan(session, lock_scan(session, scan_id), "convert")
    run_until_calm(lab)

    assert steps(lab, "convert") == ["done", "done"]
    assert steps(lab, "store") == steps(lab, "prove") == ["superseded", "done"]
    assert (the_scan(lab).edition, the_scan(lab).storage) == (1, Storage.PROVEN)
    assert told(lab) == ["archived", "released", "assigned"]
    books_balance(lab)


@ON_BOTH
def test_each_domain_event_leaves_once(lab: Lab) -> None:
    lims = lab.senders["lims-a"]
    assert isinstance(lims, SmallLims)
    lims.answers += ["silent", "AR", "AA", "silent"]
    first = order("26H1", A, B)
    message_arrives(lab, first)
    for name, quality in ((A, "rescan"), (B, "pass")):
        scan_id = scan_arrives(lab, SmallSlide(codes=(name,), quality=quality))
        event_again(lab, scan_id)
    run_until_calm(lab, threads=2)
    message_arrives(lab, first)
    message_arrives(lab, order("26H1", control="XO", sent_at=LATER, control_id="M2"))
    scan_arrives(lab, SmallSlide(codes=(A,), made=2))
    _run_through_pauses(lab)

    assert Counter(told(lab)) == {"archived": 2, "to be rescanned": 1, "released": 1, "assigned": 1}
    with lab.database.read() as session:
        rows = session.scalars(select(OutboxMessage)).all()
    assert {row.state for row in rows} == {"answered"}
    heard = Counter(lims.heard)
    assert heard.keys() == {row.payload for row in rows}
    # What the LIMS asked to have again (AR) was the same to the last byte.
    assert sorted(heard.values()) == [1, 1, 1, 1, 2]
    books_balance(lab)


def test_a_withdrawn_match_tells_the_lims_and_is_never_made_again_by_itself(lab: Lab) -> None:
    message_arrives(lab, order("26H1", A))
    scan_id = scan_arrives(lab, SHARP)
    run_until_calm(lab)
    withdraw(desk(lab), scan_id, ROSA)
    run_until_calm(lab)

    scan = scan_of(lab, scan_id)
    assert (scan.outcome, scan.identity, scan.edition) == (Outcome.ACTIVE, "unmatched", 2)
    assert steps(lab, "barcode_matching")[-1] == "waiting for a person"
    assert Counter(told(lab))["withdrawn"] == 1
    assert "late slide" in alerts(lab)
    books_balance(lab)


def test_a_scan_that_is_set_aside_comes_back_where_it_was(lab: Lab) -> None:
    message_arrives(lab, order("26H1", A))
    scan_id = scan_arrives(lab, SmallSlide(codes=(A,), quality="review"))
    run_until_calm(lab)
    with lab.database.write("set aside") as session:
        ended = Ended(outcome=Outcome.SET_ASIDE, reason="the file is damaged")
        change_scan(session, lab.settings, lock_scan(session, scan_id), [ended], CAUSE)
    assert steps(lab, "slide_qc") == ["cancelled"]
    assert the_case(lab).images == "awaiting"
    rerun(desk(lab), scan_id, ROSA)
    run_until_calm(lab)

    assert scan_of(lab, scan_id).outcome == Outcome.ACTIVE
    assert steps(lab, "slide_qc") == ["cancelled", "waiting for a person"]
    books_balance(lab)


@ON_BOTH
def test_a_fact_written_twice_in_one_moment_is_still_two_changes_that_the_facts_explain(lab: Lab) -> None:
    scan_id = scan_arrives(lab, SmallSlide(codes=("unknown",), quality="review"))
    run_until_calm(lab)
    for _ in range(3):
        with lab.database.write("back and forth") as session:
            ended = Ended(outcome=Outcome.SET_ASIDE, reason="why")
            change_scan(session, lab.settings, lock_scan(session, scan_id), [ended], CAUSE)
            change_scan(session, lab.settings, lock_scan(session, scan_id), [Resumed()], CAUSE)
    run_until_calm(lab)

    books_balance(lab)


def _storing(lab: Lab) -> ledger.Claim:
    """Convert, and claim the store step that follows."""
    for kind in ("convert", "store"):
        worker_id = begin_worker(lab)
        wanted = ledger.Wanted(ARCHIVE_UPLOAD, (kind,), 1, STAGES[3].deadline, places=("", PLACE), slotted=True)
        with lab.database.write("claim") as session:
            (claimed,) = ledger.claim(session, worker_id, wanted)
        if kind == "convert":
            end = STEPS[kind](lab, claimed)
            with lab.database.write("end") as session:
                end(session)
    return claimed


def _run_through_pauses(lab: Lab) -> None:
    """Run until nothing waits for a neighbour to answer either."""
    for _ in range(10):
        with lab.database.write("no pause") as session:
            now = database_now(session)
            for slot in session.scalars(select(Slot)):
                slot.paused_until = None
            for step in session.scalars(select(Step).where(Step.kind == "send", Step.state == "waiting")):
                step.waiting_until = now
        run_until_calm(lab)
