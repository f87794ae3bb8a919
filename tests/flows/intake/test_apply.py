import pytest
from sqlalchemy import func, select

from connectors.wiring import Lab
from flows import ledger
from flows.actions import Desk, Person, review
from flows.barcode_matching.step import READ_LABEL
from flows.journey import ARCHIVE_UPLOAD, INTAKE, STAGES
from flows.slide_qc.step import EXAMINE
from flows.steps import STEPS
from models.facets import Lane, Outcome, Storage
from models.tables.books import Fact, InboxMessage
from models.tables.case import Identifier, Patient
from models.tables.scan import Instance, Scan
from models.tables.step import Step
from tests.flows.looking import (
    LATER,
    LATEST,
    A,
    B,
    alerts,
    archived_names_the_patient,
    books_balance,
    inbox,
    scan_of,
    slides,
    steps,
    the_case,
    the_scan,
    told,
)
from tests.small_lab import (
    ON_BOTH,
    PLACE,
    SmallDecoder,
    SmallSlide,
    begin_worker,
    event_again,
    message_arrives,
    order,
    run_until_calm,
    scan_arrives,
)

NOT_ARCHIVE = [one for one in STAGES if one.name != ARCHIVE_UPLOAD]
DIM = SmallSlide(codes=(A,), quality="review")


def test_a_scan_waits_for_its_order_and_its_label_is_read_once(lab: Lab) -> None:
    scan_id = scan_arrives(lab, SmallSlide(codes=(A,)))
    run_until_calm(lab)
    assert steps(lab, "barcode_matching") == ["waiting for the LIMS"]
    assert scan_of(lab, scan_id).identity == "pending"

    message_arrives(lab, order("26H1", A))
    run_until_calm(lab)

    assert scan_of(lab, scan_id).storage == Storage.PROVEN
    assert isinstance(lab.decoder, SmallDecoder)
    assert lab.decoder.asked.count(READ_LABEL) == 1
    books_balance(lab)


def test_a_scan_event_that_comes_again_registers_no_second_scan(lab: Lab) -> None:
    message_arrives(lab, order("26H1", A))
    scan_id = scan_arrives(lab, SmallSlide(codes=(A,)))
    run_until_calm(lab)
    event_again(lab, scan_id)
    scan_arrives(lab, SmallSlide(codes=(A,)))
    run_until_calm(lab)

    assert the_scan(lab).id == scan_id
    assert told(lab) == ["archived", "released", "assigned"]
    assert isinstance(lab.decoder, SmallDecoder)
    assert lab.decoder.asked.count(EXAMINE) == 1
    books_balance(lab)


@ON_BOTH
def test_the_same_message_twice_is_kept_once_and_a_repeat_with_another_number_changes_nothing(lab: Lab) -> None:
    first = message_arrives(lab, order("26H1", A))
    again = message_arrives(lab, order("26H1", A))
    repeated = message_arrives(lab, order("26H1", A, control_id="M2"))
    run_until_calm(lab)

    assert (first.is_new, again.is_new, repeated.is_new) == (True, False, True)
    assert (again.inbox_id, again.answer) == (first.inbox_id, first.answer)
    assert inbox(lab) == ["applied", "applied"]
    with lab.database.read() as session:
        assert session.scalars(select(func.count()).select_from(Fact).where(Fact.kind == "OrderFact")).one() == 1


@ON_BOTH
def test_a_slide_of_another_case_sets_the_message_aside(lab: Lab) -> None:
    message_arrives(lab, order("26H1", A, parent="26H000001-A1"))
    run_until_calm(lab)
    for number, payload in enumerate(
        (
            order("26H2", A, control_id="M2"),
            order("26H3", "26H000003-A1-1", parent="26H000001-A1", control_id="M3"),
            order("26H4", cancel=(A,), control_id="M4"),
        ),
        start=2,
    ):
        message_arrives(lab, payload)
        run_until_calm(lab)
        assert inbox(lab)[1:] == ["set aside"] * (number - 1)

    assert slides(lab) == {A: True}
    assert the_case(lab).id == lab.ids.of("case", "NET", "26H1")
    assert alerts(lab) == ["set aside"] * 3
    with lab.database.read() as session:
        problems = session.scalars(select(InboxMessage.problem).where(InboxMessage.state == "set aside")).all()
    assert all("belongs to another case already" in str(problem) for problem in problems)
    assert not any(A in str(problem) for problem in problems)
    books_balance(lab)


@ON_BOTH
def test_a_message_that_is_set_aside_is_applied_when_it_is_run_again_after_the_cause_is_gone(lab: Lab) -> None:
    message_arrives(lab, order("26H1", A))
    run_until_calm(lab)
    kept = message_arrives(lab, order("26H2", A, control_id="M2"))
    run_until_calm(lab)
    assert inbox(lab) == ["applied", "set aside"]

    with lab.database.write("replay") as session:
        now = session.scalars(select(InboxMessage.received_at)).first()
        assert now is not None
        again = ledger.NewStep(kind="apply", stage=INTAKE, subject_kind="inbox", subject_id=kept.inbox_id, rank_at=now)
        assert ledger.rerun(session, again) == 2
    run_until_calm(lab)

    # The cause is not gone: it ends where it was, and is told of once.
    assert inbox(lab) == ["applied", "set aside"]
    assert alerts(lab) == ["set aside"]


@ON_BOTH
def test_urgent_order_overtakes(lab: Lab) -> None:
    message_arrives(lab, order("26H1", A))
    scan_arrives(lab, SmallSlide(codes=(A,)))
    run_until_calm(lab, NOT_ARCHIVE)
    assert _lanes(lab, "convert") == [Lane.ROUTINE]
    message_arrives(lab, order("26H1", control="XO", priority="S", due="20250102", sent_at=LATER, control_id="M2"))
    run_until_calm(lab, NOT_ARCHIVE)

    assert _lanes(lab, "convert") == [Lane.URGENT]
    with lab.database.read() as session:
        ranked = session.scalars(select(Step.rank_at).where(Step.kind == "convert")).one()
    assert ranked == the_case(lab).due_at


def test_a_scan_that_finds_its_urgent_case_late_moves_to_its_lane(lab: Lab) -> None:
    scan_arrives(lab, DIM)
    run_until_calm(lab)
    assert _lanes(lab, "slide_qc") == [Lane.ROUTINE]
    message_arrives(lab, order("26H1", A, priority="S"))
    run_until_calm(lab)

    assert _lanes(lab, "slide_qc") == [Lane.URGENT]


def test_a_cancel_ends_a_moving_scan_and_a_new_order_brings_it_back(lab: Lab) -> None:
    message_arrives(lab, order("26H1", A))
    scan_arrives(lab, DIM)
    run_until_calm(lab)
    reason = the_scan(lab).reason
    message_arrives(lab, order("26H1", cancel=(A,), sent_at=LATER, control_id="M2"))
    run_until_calm(lab)
    assert (the_scan(lab).outcome, slides(lab)) == (Outcome.CANCELLED, {A: False})
    assert steps(lab, "slide_qc") == ["cancelled"]
    assert steps(lab, "expect_scan") == ["done"]
    books_balance(lab)

    message_arrives(lab, order("26H1", A, sent_at=LATEST, control_id="M3"))
    run_until_calm(lab)
    assert (the_scan(lab).outcome, the_scan(lab).reason) == (Outcome.ACTIVE, reason)
    assert steps(lab, "slide_qc") == ["cancelled", "waiting for a person"]
    review(Desk(lab.database, lab.settings, lab.ids), the_scan(lab).id, "pass", Person("Rosa", "good enough"))
    run_until_calm(lab)
    assert the_scan(lab).storage == Storage.PROVEN
    books_balance(lab)


def test_cancelling_one_slide_leaves_its_neighbours(lab: Lab) -> None:
    message_arrives(lab, order("26H1", A, B))
    message_arrives(lab, order("26H1", cancel=(A,), sent_at=LATER, control_id="M2"))
    scan_arrives(lab, SmallSlide(codes=(B,)))
    run_until_calm(lab)

    assert slides(lab) == {A: False, B: True}
    assert (the_case(lab).cancelled, the_case(lab).images) == (False, "ready")


def test_a_cancelled_case_stops_what_moves_and_an_order_brings_all_of_it_back(lab: Lab) -> None:
    message_arrives(lab, order("26H1", A, B))
    scan_id = scan_arrives(lab, DIM)
    run_until_calm(lab)
    message_arrives(lab, order("26H1", control="CA", sent_at=LATER, control_id="M2"))
    run_until_calm(lab)
    assert the_case(lab).cancelled
    assert scan_of(lab, scan_id).outcome == Outcome.CANCELLED
    assert steps(lab, "expect_scan") == ["done", "cancelled"] or steps(lab, "expect_scan") == ["cancelled", "done"]
    books_balance(lab)

    message_arrives(lab, order("26H1", sent_at=LATEST, control_id="M3"))
    run_until_calm(lab)
    assert scan_of(lab, scan_id).outcome == Outcome.ACTIVE
    assert steps(lab, "expect_scan")[-1] == "waiting for the scanner"
    books_balance(lab)


def test_a_cancel_for_an_archived_slide_leaves_it_and_tells_a_person(lab: Lab) -> None:
    message_arrives(lab, order("26H1", A))
    scan_arrives(lab, SmallSlide(codes=(A,)))
    run_until_calm(lab)
    message_arrives(lab, order("26H1", cancel=(A,), sent_at=LATER, control_id="M2"))
    run_until_calm(lab)

    assert (the_scan(lab).outcome, the_scan(lab).storage) == (Outcome.ACTIVE, Storage.PROVEN)
    assert "cancelled after archive" in alerts(lab)
    books_balance(lab)


def test_a_cancel_that_comes_while_objects_leave_lets_them_all_arrive(lab: Lab) -> None:
    message_arrives(lab, order("26H1", A))
    scan_arrives(lab, SmallSlide(codes=(A,)))
    run_until_calm(lab, NOT_ARCHIVE)
    deadline = STAGES[3].deadline
    _work(lab, ledger.Wanted("archive_upload", ("convert",), 1, deadline, places=("", PLACE), slotted=True))
    storing = _claim(lab, ledger.Wanted("archive_upload", ("store",), 1, deadline, places=("", PLACE), slotted=True))
    message_arrives(lab, order("26H1", cancel=(A,), sent_at=LATER, control_id="M2"))
    run_until_calm(lab, NOT_ARCHIVE)
    assert the_scan(lab).outcome == Outcome.ACTIVE
    stored = STEPS["store"](lab, storing)
    with lab.database.write("store") as session:
        stored(session)
    run_until_calm(lab)

    assert (the_scan(lab).outcome, the_scan(lab).storage) == (Outcome.ACTIVE, Storage.PROVEN)
    assert alerts(lab) == ["cancelled after archive"]
    books_balance(lab)


@ON_BOTH
def test_archived_objects_that_name_another_patient_are_hidden_and_made_again(lab: Lab) -> None:
    message_arrives(lab, order("26H1", A))
    scan_arrives(lab, SmallSlide(codes=(A,)))
    run_until_calm(lab)
    archived_names_the_patient(lab)
    message_arrives(lab, order("26H1", control="XO", patient="B7", sent_at=LATER, control_id="M2"))
    run_until_calm(lab)

    assert (the_scan(lab).edition, the_scan(lab).storage) == (2, Storage.PROVEN)
    assert the_case(lab).patient_id == lab.ids.of("patient", "NET", "B7")
    archived_names_the_patient(lab)
    with lab.database.read() as session:
        states = session.execute(select(Instance.edition, Instance.state).order_by(Instance.edition, Instance.role))
        assert [tuple(row) for row in states] == [(1, "rejected"), (1, "rejected"), (2, "proven"), (2, "proven")]
    assert told(lab) == ["archived", "released", "assigned", "archived", "released"]
    books_balance(lab)


def test_a_message_that_changes_nothing_about_who_it_is_leaves_the_archive_alone(lab: Lab) -> None:
    message_arrives(lab, order("26H1", A))
    scan_arrives(lab, SmallSlide(codes=(A,)))
    run_until_calm(lab)
    message_arrives(lab, order("26H1", control="XO", priority="S", stain="HE", sent_at=LATER, control_id="M2"))
    run_until_calm(lab)

    assert the_scan(lab).edition == 1


@pytest.mark.parametrize("first", ["scan", "cancel"])
def test_a_scan_and_the_cancel_of_its_slide_end_the_same_whichever_comes_first(lab: Lab, first: str) -> None:
    message_arrives(lab, order("26H1", A))
    run_until_calm(lab)
    for what in ("scan", "cancel") if first == "scan" else ("cancel", "scan"):
        if what == "scan":
            scan_arrives(lab, DIM)
        else:
            message_arrives(lab, order("26H1", cancel=(A,), sent_at=LATER, control_id="M2"))
        run_until_calm(lab)

    scan = the_scan(lab)
    assert (scan.outcome, scan.identity, scan.slide_id) == (Outcome.CANCELLED, "matched", lab.ids.of("slide", "NET", A))
    assert alerts(lab) == ([] if first == "scan" else ["slide cancelled"])
    message_arrives(lab, order("26H1", A, sent_at=LATEST, control_id="M3"))
    run_until_calm(lab)
    assert (the_scan(lab).outcome, alerts(lab)) == (Outcome.ACTIVE, [])
    books_balance(lab)


@ON_BOTH
def test_a_second_scan_of_a_cancelled_slide_goes_to_a_person(lab: Lab) -> None:
    message_arrives(lab, order("26H1", A))
    message_arrives(lab, order("26H1", cancel=(A,), sent_at=LATER, control_id="M2"))
    run_until_calm(lab)
    scan_arrives(lab, DIM)
    run_until_calm(lab)
    second = scan_arrives(lab, SmallSlide(codes=(A,), made=2))
    run_until_calm(lab)
    assert scan_of(lab, second).identity == "unmatched"
    message_arrives(lab, order("26H1", A, sent_at=LATEST, control_id="M3"))
    run_until_calm(lab)

    with lab.database.read() as session:
        slide_id = lab.ids.of("slide", "NET", A)
        active = session.scalars(select(Scan.id).where(Scan.slide_id == slide_id, Scan.outcome == "active")).all()
    assert len(active) == 1


def test_a_message_whose_clock_is_far_ahead_counts_from_when_it_came(lab: Lab) -> None:
    message_arrives(lab, order("26H1", A, sent_at="20990101000000+0000", priority="S"))
    run_until_calm(lab)
    with lab.database.read() as session:
        fact = session.scalars(select(Fact).where(Fact.kind == "OrderFact")).one()
        message = session.scalars(select(InboxMessage)).one()

    assert fact.effective_at == fact.received_at == message.received_at
    assert "clock" in str(message.problem)


def test_a_message_without_a_time_counts_from_when_it_came(lab: Lab) -> None:
    message_arrives(lab, order("26H1", A, sent_at=""))
    run_until_calm(lab)
    with lab.database.read() as session:
        fact = session.scalars(select(Fact).where(Fact.kind == "OrderFact")).one()

    assert fact.effective_at == fact.received_at


def test_two_messages_of_one_number_and_time_are_both_kept_and_flagged(lab: Lab) -> None:
    message_arrives(lab, order("26H1", A))
    message_arrives(lab, order("26H1", B))
    message_arrives(lab, order("26H1", "26H000001-A1-9", sent_at=LATER))
    run_until_calm(lab)
    with lab.database.read() as session:
        problems = session.scalars(select(InboxMessage.problem).order_by(InboxMessage.received_at)).all()

    assert [bool(problem and "both are kept" in problem) for problem in problems] == [False, True, False]
    assert len(slides(lab)) == 3


def test_a_message_that_states_nothing_is_set_aside_with_its_reason(lab: Lab) -> None:
    message_arrives(lab, b"MSH|^~\\&|LIMS|NET|COVERSLIP|NET|20250101||ORU^R01|M1|P|2.5.1\r")
    message_arrives(lab, b"no|message|at|all|x|x|x|x|x|x|x")
    run_until_calm(lab)
    with lab.database.read() as session:
        rows = session.scalars(select(InboxMessage)).all()

    assert [row.state for row in rows] == ["set aside", "set aside"]
    assert all(row.problem for row in rows)
    assert alerts(lab) == ["set aside", "set aside"]
    books_balance(lab)


def test_the_latest_message_about_a_patient_counts_and_all_numbers_are_kept(lab: Lab) -> None:
    late = order("26H1", A, sent_at=LATER, control_id="M2").replace(b"Example^Ada", b"Married^Ada")
    message_arrives(lab, late)
    message_arrives(lab, order("26H1", A))
    other = order("26H1", A, sent_at=LATEST, control_id="M3", patient="B7")
    message_arrives(lab, other)
    run_until_calm(lab)

    with lab.database.read() as session:
        names = {row.id: row.family_name for row in session.scalars(select(Patient))}
        numbers = set(session.scalars(select(Identifier.value).where(Identifier.kind == "MR")))
    first, second = (lab.ids.of("patient", "NET", number) for number in ("A100234", "B7"))
    assert names == {first: "Married", second: "Example"}
    assert the_case(lab).patient_id == second
    assert numbers == {"A100234", "B7"}
    books_balance(lab)


def _lanes(lab: Lab, kind: str) -> list[int]:
    with lab.database.read() as session:
        return list(session.scalars(select(Step.lane).where(Step.kind == kind).order_by(Step.id)))


def _claim(lab: Lab, wanted: ledger.Wanted) -> ledger.Claim:
    worker_id = begin_worker(lab)
    with lab.database.write("claim") as session:
        return ledger.claim(session, worker_id, wanted)[0]


def _work(lab: Lab, wanted: ledger.Wanted) -> None:
    claimed = _claim(lab, wanted)
    end = STEPS[claimed.kind](lab, claimed)
    with lab.database.write("end") as session:
        end(session)
