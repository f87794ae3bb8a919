from datetime import timedelta

import pytest
from sqlalchemy import event, select, update

from connectors.wiring import Lab
from flows import ledger
from flows.actions import Desk, Person, rerun
from flows.books import Subject, raise_alert
from flows.ledger import NewStep, Wait, Wanted
from flows.sweep import sweep, tidy
from models.database import database_now
from models.facets import Outcome
from models.tables.books import Alert
from models.tables.step import Step, Worker
from tests.flows.looking import LONG_AGO, A, alerts, books_balance, scan_of, steps, the_scan, time_passes
from tests.small_lab import ON_BOTH, SmallSlide, begin_worker, message_arrives, order, run_until_calm, scan_arrives

HOUR = timedelta(hours=1)


def add(lab: Lab, *subjects: str, kind: str = "send", subject_kind: str = "message") -> None:
    with lab.database.write("add") as session:
        now = database_now(session)
        ledger.add(session, [NewStep(kind, "stage", subject_kind, subject, now) for subject in subjects])


def claim(lab: Lab, worker_id: str, limit: int = 10, *kinds: str) -> tuple[ledger.Claim, ...]:
    with lab.database.write("claim") as session:
        return ledger.claim(session, worker_id, Wanted("stage", kinds or ("send",), limit, HOUR))


def states(lab: Lab) -> list[str]:
    with lab.database.read() as session:
        return [str(state) for state in session.scalars(select(Step.state).order_by(Step.id))]


def test_nothing_due_writes_nothing(lab: Lab) -> None:
    add(lab, "one")
    written: list[str] = []
    event.listen(
        lab.database.engine,
        "before_cursor_execute",
        lambda _connection, _cursor, statement, *_: written.append(statement),
    )

    assert sweep(lab) == 0
    assert not [statement for statement in written if not statement.lstrip().startswith(("SELECT", "BEGIN"))]


@ON_BOTH
def test_what_a_dead_worker_held_comes_back_and_its_late_finish_fails(lab: Lab) -> None:
    add(lab, "one", "two")
    worker_id = begin_worker(lab)
    held = claim(lab, worker_id)
    assert sweep(lab) == 0
    with lab.database.write("silence") as session:
        session.execute(update(Worker).where(Worker.id == worker_id).values(heartbeat_at=LONG_AGO))

    assert sweep(lab) == 2
    assert states(lab) == ["ready", "ready"]
    with pytest.raises(ledger.LostClaimError), lab.database.write("late") as session:
        ledger.finish(session, held[0])
    assert states(lab) == ["ready", "ready"]


@pytest.mark.postgres
def test_a_step_whose_worker_ends_it_while_the_sweeper_looks_is_left_alone(lab_on_postgres: Lab) -> None:
    """On SQLite the sweeper can't look between: there is one writer."""
    lab = lab_on_postgres
    add(lab, "one")
    worker_id = begin_worker(lab)
    (held,) = claim(lab, worker_id)
    with lab.database.write("silence") as session:
        session.execute(update(Worker).where(Worker.id == worker_id).values(heartbeat_at=LONG_AGO))
    with lab.database.write("finish") as session:
        ledger.finish(session, held)
        assert sweep(lab) == 0
    assert sweep(lab) == 0

    assert states(lab) == ["done"]


@ON_BOTH
def test_a_wait_that_ends_by_its_time_says_so_and_is_raised_when_people_should_know(lab: Lab) -> None:
    add(lab, "one", "two", "three")
    worker_id = begin_worker(lab)
    one, two, three = claim(lab, worker_id)
    with lab.database.write("wait") as session:
        now = database_now(session)
        ledger.wait(session, one, Wait("a person", "k", now, "then"))
        ledger.wait(session, two, Wait("the order to settle", "k", now, "then"))
        ledger.give_back(session, three, retry_after=timedelta(0), waiting_for="the LIMS", problem="silent")

    assert sweep(lab) == 3
    assert [one.expired for one in claim(lab, worker_id)] == [True, True, True]
    with lab.database.read() as session:
        raised = session.execute(select(Alert.subject_id, Alert.kind)).all()
    assert [tuple(row) for row in raised] == [("one", "waits too long")]


def test_a_step_that_stopped_its_workers_sets_its_scan_aside_and_tells_people(lab: Lab) -> None:
    message_arrives(lab, order("26H1", A))
    scan_id = scan_arrives(lab, SmallSlide(codes=(A,), quality="review"))
    run_until_calm(lab)
    with lab.database.write("three deaths") as session:
        stuck = {"state": "set aside", "alerted": False, "problem": "stopped its worker", "waiting_for": None}
        session.execute(update(Step).where(Step.kind == "slide_qc").values(**stuck))
    sweep(lab)

    assert (scan_of(lab, scan_id).outcome, scan_of(lab, scan_id).reason) == (Outcome.SET_ASIDE, "stopped its worker")
    assert alerts(lab) == ["set aside"]
    assert sweep(lab) == 0
    books_balance(lab)


@ON_BOTH
def test_a_rerun_that_comes_before_the_sweeper_is_not_undone(lab: Lab) -> None:
    message_arrives(lab, order("26H1", A))
    scan_id = scan_arrives(lab, SmallSlide(codes=(A,), quality="review"))
    run_until_calm(lab)
    with lab.database.write("three deaths, and a quick person") as session:
        stuck = {"state": "set aside", "alerted": False, "problem": "stopped its worker", "waiting_for": None}
        session.execute(update(Step).where(Step.kind == "slide_qc").values(**stuck))
        now = database_now(session)
        ledger.rerun(session, NewStep("slide_qc", "slide_qc", "scan", scan_id, now))
    run_until_calm(lab)

    assert scan_of(lab, scan_id).outcome == Outcome.ACTIVE
    assert steps(lab, "slide_qc") == ["set aside", "waiting for a person"]
    assert alerts(lab) == []


@ON_BOTH
def test_a_step_set_aside_by_its_end_and_rerun_at_once_is_not_undone_by_the_sweeper(lab: Lab) -> None:
    message_arrives(lab, order("26H1", A))
    scan_arrives(lab, SmallSlide(codes=(A,), trouble="rejected"))
    run_until_calm(lab)
    assert the_scan(lab).outcome == Outcome.SET_ASIDE
    assert alerts(lab) == ["set aside"]
    rerun(Desk(lab.database, lab.settings, lab.ids), the_scan(lab).id, Person("Rosa", "look again"))
    sweep(lab)

    assert the_scan(lab).outcome == Outcome.ACTIVE


def test_an_alert_is_cleared_when_what_it_told_of_is_over(lab: Lab) -> None:
    scan_id = scan_arrives(lab, SmallSlide(codes=(A,)))
    run_until_calm(lab)
    time_passes(lab, "barcode_matching")
    run_until_calm(lab)
    assert (steps(lab, "barcode_matching"), alerts(lab)) == (["waiting for a person"], ["waits too long"])
    message_arrives(lab, order("26H1", A))
    run_until_calm(lab)
    time_passes(lab, "barcode_matching")
    run_until_calm(lab)

    # The person never came, the order did: when the wait was over it was tried again.
    assert scan_of(lab, scan_id).storage == "proven"
    assert alerts(lab) == []
    books_balance(lab)


def test_an_alert_about_failing_is_cleared_when_the_step_gets_through(lab: Lab) -> None:
    add(lab, "one")
    (held,) = claim(lab, begin_worker(lab))
    with lab.database.write("trouble") as session:
        now = database_now(session)
        raise_alert(session, Subject("message", "one"), "send keeps failing", "the LIMS is away", now)
        ledger.give_back(session, held, retry_after=timedelta(0), problem="away")
    sweep(lab)
    assert alerts(lab) == ["send keeps failing"]
    with lab.database.write("through") as session:
        ledger.finish(session, ledger.claim(session, held.worker_id, Wanted("stage", ("send",), 1, HOUR))[0])
    sweep(lab)

    assert alerts(lab) == []


def test_work_folders_go_when_nothing_needs_them_and_not_before(lab: Lab) -> None:
    message_arrives(lab, order("26H1", A))
    moving = scan_arrives(lab, SmallSlide(codes=(A,), quality="review"))
    archived = scan_arrives(lab, SmallSlide(codes=("26H000001-A1-9",)))
    message_arrives(lab, order("26H1", "26H000001-A1-9", control_id="M2"))
    run_until_calm(lab)
    for scan_id in (moving, archived):
        lab.spool.work_folder(scan_id, 1).joinpath("made").write_bytes(b"x")
    orphan = "00000000-0000-0000-0000-000000000000"
    lab.spool.work_folder(orphan, 1)

    tidy(lab)
    assert {held.id for held in lab.spool.files() if held.what == "work"} == {moving}
