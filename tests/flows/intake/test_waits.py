from sqlalchemy import select

from connectors.wiring import Lab
from flows import ledger
from flows.actions import Desk, Person, review
from flows.expectations import A_RESCAN, THE_SCANNER
from flows.journey import INTAKE, STAGES
from flows.steps import STEPS
from flows.sweep import sweep
from models.facets import Outcome
from models.tables.books import Alert
from models.tables.scan import Scan
from tests.flows.looking import LATER, A, B, alerts, books_balance, scan_of, steps, the_case, time_passes
from tests.small_lab import ON_BOTH, SmallSlide, begin_worker, message_arrives, order, run_until_calm, scan_arrives

BLURRED = SmallSlide(codes=(A,), quality="rescan")
AGAIN = SmallSlide(codes=(A,), made=2)


def test_an_ordered_slide_waits_for_its_scan_and_is_raised_when_it_does_not_come(lab: Lab) -> None:
    message_arrives(lab, order("26H1", A))
    run_until_calm(lab)
    assert steps(lab, "expect_scan") == [f"waiting for {THE_SCANNER}"]
    time_passes(lab, "expect_scan")
    run_until_calm(lab)

    assert (steps(lab, "expect_scan"), alerts(lab)) == ([f"waiting for {THE_SCANNER}"], ["no scan"])
    time_passes(lab, "expect_scan")
    run_until_calm(lab)
    assert alerts(lab) == ["no scan"]
    books_balance(lab)

    scan_arrives(lab, SmallSlide(codes=(A,)))
    run_until_calm(lab)
    assert (steps(lab, "expect_scan"), alerts(lab)) == (["done"], [])
    books_balance(lab)


@ON_BOTH
def test_a_scan_to_be_made_again_is_waited_for_as_such(lab: Lab) -> None:
    message_arrives(lab, order("26H1", A))
    scan_arrives(lab, BLURRED)
    run_until_calm(lab)
    assert steps(lab, "expect_scan")[-1] == f"waiting for {A_RESCAN}"
    time_passes(lab, "expect_scan")
    run_until_calm(lab)

    assert steps(lab, "expect_scan")[-1] == f"waiting for {A_RESCAN}"
    with lab.database.read() as session:
        assert "scanned again" in session.scalars(select(Alert.sentence).where(Alert.cleared_at.is_(None))).one()
    books_balance(lab)


def test_a_slide_that_is_being_raised_keeps_its_alert_when_its_case_changes_that_moment(lab: Lab) -> None:
    message_arrives(lab, order("26H1", A))
    run_until_calm(lab)
    time_passes(lab, "expect_scan")
    sweep(lab)
    held = _claim(lab, "expect_scan")
    message_arrives(lab, order("26H1", B, sent_at=LATER, control_id="M2"))
    _do(lab, _claim(lab, "apply"))
    _do(lab, held)

    assert alerts(lab) == ["no scan"]
    assert steps(lab, "expect_scan") == [f"waiting for {THE_SCANNER}"] * 2


def test_a_slide_whose_scan_comes_while_it_is_being_raised_is_not_raised(lab: Lab) -> None:
    message_arrives(lab, order("26H1", A))
    run_until_calm(lab)
    scan_arrives(lab, SmallSlide(codes=(A,), quality="review"))
    time_passes(lab, "expect_scan")
    run_until_calm(lab)

    assert (steps(lab, "expect_scan"), alerts(lab)) == (["done"], [])


def test_a_cancelled_slide_is_waited_for_no_more_and_its_alert_goes(lab: Lab) -> None:
    message_arrives(lab, order("26H1", A, B))
    run_until_calm(lab)
    time_passes(lab, "expect_scan")
    run_until_calm(lab)
    assert alerts(lab) == ["no scan", "no scan"]
    message_arrives(lab, order("26H1", cancel=(A,), sent_at=LATER, control_id="M2"))
    run_until_calm(lab)

    assert sorted(steps(lab, "expect_scan")) == ["cancelled", f"waiting for {THE_SCANNER}"]
    assert alerts(lab) == ["no scan"]
    books_balance(lab)


def test_a_glass_only_slide_waits_for_no_scan(lab: Lab) -> None:
    message_arrives(lab, order("26H1", A, route="OTH"))
    run_until_calm(lab)

    assert steps(lab, "expect_scan") == []
    assert the_case(lab).images == "ready"


def test_a_rescan_is_superseded_by_its_replacement(lab: Lab) -> None:
    message_arrives(lab, order("26H1", A))
    blurred = scan_arrives(lab, BLURRED)
    run_until_calm(lab)
    assert (scan_of(lab, blurred).outcome, scan_of(lab, blurred).storage) == (Outcome.ACTIVE, "received")
    again = scan_arrives(lab, AGAIN)
    run_until_calm(lab)

    old, new = scan_of(lab, blurred), scan_of(lab, again)
    assert (old.outcome, old.superseded_by_id) == (Outcome.SUPERSEDED, again)
    assert (new.outcome, new.purpose, new.storage) == (Outcome.ACTIVE, "replacement", "proven")
    assert steps(lab, "expect_scan") == ["superseded", "done"] or steps(lab, "expect_scan")[-1] == "done"
    books_balance(lab)


@ON_BOTH
def test_a_rescan_that_a_person_overrules_is_archived_and_supersedes_nothing(lab: Lab) -> None:
    message_arrives(lab, order("26H1", A))
    blurred = scan_arrives(lab, BLURRED)
    run_until_calm(lab)
    review(Desk(lab.database, lab.settings, lab.ids), blurred, "pass", Person("Rosa", "good enough to read"))
    run_until_calm(lab)

    assert scan_of(lab, blurred).storage == "proven"
    with lab.database.read() as session:
        assert session.scalars(select(Scan.superseded_by_id)).all() == [None]
    assert steps(lab, "expect_scan")[-1] == "done"
    books_balance(lab)


def test_a_second_scan_that_nobody_asked_for_goes_to_a_person(lab: Lab) -> None:
    message_arrives(lab, order("26H1", A))
    scan_arrives(lab, SmallSlide(codes=(A,)))
    run_until_calm(lab)
    second = scan_arrives(lab, AGAIN)
    run_until_calm(lab)

    assert scan_of(lab, second).identity == "unmatched"
    assert steps(lab, "barcode_matching") == ["done", "waiting for a person"]


def _claim(lab: Lab, kind: str) -> ledger.Claim:
    worker_id = begin_worker(lab)
    with lab.database.write("claim") as session:
        return ledger.claim(session, worker_id, ledger.Wanted(INTAKE, (kind,), 1, STAGES[0].deadline))[0]


def _do(lab: Lab, claimed: ledger.Claim) -> None:
    end = STEPS[claimed.kind](lab, claimed)
    with lab.database.write("end") as session:
        end(session)
