import logging
import threading
from datetime import timedelta

import pytest
from sqlalchemy import event, select, update

from connectors.wiring import Lab
from flows import ledger
from flows.ledger import Claim, LostClaimError, NewStep, Wanted
from flows.sweep import sweep
from flows.trouble import in_trouble
from models.database import database_now
from models.errors import NeedsPersonError, RefusedError, RejectedError, TransientError
from models.facets import Outcome
from models.tables.books import Alert, InboxMessage
from models.tables.case import Case
from models.tables.step import Step
from tests.flows.looking import LONG_AGO, A, alerts, books_balance, inbox, steps, the_scan
from tests.small_lab import (
    PLACE,
    SmallSlide,
    begin_worker,
    message_arrives,
    order,
    run_until_calm,
    scan_arrives,
)

HOUR = timedelta(hours=1)


def claimed(lab: Lab, *, subject_kind: str = "message", kind: str = "send") -> Claim:
    worker_id = begin_worker(lab)
    with lab.database.write("claim") as session:
        now = database_now(session)
        ledger.add(session, [NewStep(kind, "stage", subject_kind, "subject", now)])
        session.execute(update(Step).where(Step.state == "waiting").values(waiting_until=now))
        return ledger.claim(session, worker_id, Wanted("stage", (kind,), 1, HOUR))[0]


def judged_again(lab: Lab) -> Claim:
    """Have a doubtful scan that waited for a person long enough; return the claim of who looks again."""
    message_arrives(lab, order("26H1", A))
    scan_arrives(lab, SmallSlide(codes=(A,), quality="review"))
    run_until_calm(lab)
    with lab.database.write("claim") as session:
        session.execute(update(Step).where(Step.kind == "slide_qc").values(waiting_until=LONG_AGO))
    sweep(lab)
    worker_id = begin_worker(lab)
    with lab.database.write("claim") as session:
        return ledger.claim(session, worker_id, Wanted("slide_qc", ("slide_qc",), 1, HOUR, places=("", PLACE)))[0]


def end_in(lab: Lab, claim: Claim, error: Exception) -> Step:
    with lab.database.write("end") as session:
        in_trouble(lab, claim, error)(session)
    with lab.database.read() as session:
        return session.scalars(select(Step).where(Step.id == claim.id)).one()


def test_a_transient_error_is_tried_again_after_a_pause_that_grows_and_is_capped(lab: Lab) -> None:
    claim, longest = claimed(lab), []
    for tries in range(20):
        step = end_in(lab, claim, TransientError("the LIMS is away"))
        assert (step.state, step.waiting_for, step.tries) == ("waiting", "another try", tries + 1)
        assert step.waiting_until is not None
        assert step.waiting_since is not None
        longest.append((step.waiting_until - step.waiting_since).total_seconds())
        with lab.database.write("again") as session:
            session.execute(update(Step).values(waiting_until=LONG_AGO, state="ready", waiting_for=None))
            (claim,) = ledger.claim(session, claim.worker_id, Wanted("stage", ("send",), 1, HOUR))

    assert all(0.5 * min(2**n, 60) <= pause <= min(2**n, 60) for n, pause in enumerate(longest))
    assert alerts(lab) == ["send keeps failing"]


def test_a_rejected_error_sets_aside_and_tells_people_once(lab: Lab) -> None:
    step = end_in(lab, claimed(lab), RejectedError("the file is empty: have it scanned again"))

    assert (step.state, step.problem) == ("set aside", "the file is empty: have it scanned again")
    assert alerts(lab) == ["set aside"]
    run_until_calm(lab)
    assert alerts(lab) == ["set aside"]


def test_what_the_state_forbids_sets_aside_too(lab: Lab) -> None:
    assert end_in(lab, claimed(lab), RefusedError("put the listener back")).state == "set aside"


def test_what_only_a_person_can_decide_waits_for_one_and_is_on_the_list(lab: Lab) -> None:
    step = end_in(lab, claimed(lab), NeedsPersonError("restore the spool from its backup"))

    assert (step.state, step.waiting_for) == ("waiting", "a person")
    assert alerts(lab) == ["needs a person"]


def test_a_bug_is_set_aside_without_its_words_which_may_be_a_patients(
    lab: Lab, caplog: pytest.LogCaptureFixture
) -> None:
    said = f"Example^Ada^{A}"
    with caplog.at_level(logging.DEBUG):
        with pytest.raises(ValueError, match="Ada") as caught:
            int(said)
        step = end_in(lab, claimed(lab), caught.value)
    with lab.database.read() as session:
        sentence = session.scalars(select(Alert.sentence)).one()

    assert (step.state, step.problem) == ("set aside", sentence)
    assert "ValueError" in sentence
    assert "test_trouble.py" in caplog.text
    for text in (sentence, caplog.text):
        assert "Ada" not in text
        assert A not in text


def test_a_lost_claim_changes_nothing(lab: Lab) -> None:
    claim = claimed(lab)

    assert end_in(lab, claim, LostClaimError("taken over")).state == "running"
    assert alerts(lab) == []


def test_a_scan_that_can_not_be_read_is_set_aside_with_its_reason_and_what_it_waited_for_ends(lab: Lab) -> None:
    message_arrives(lab, order("26H1", A))
    scan_arrives(lab, SmallSlide(codes=(A,), trouble="rejected"))
    run_until_calm(lab)

    scan = the_scan(lab)
    assert (scan.outcome, scan.reason) == (Outcome.SET_ASIDE, "this slide is a test of rejected")
    assert set(steps(lab, "slide_qc") + steps(lab, "barcode_matching")) == {"set aside", "cancelled"}
    assert alerts(lab) == ["set aside"]
    books_balance(lab)


def test_a_slide_whose_scan_was_set_aside_is_waited_for(lab: Lab) -> None:
    claim = judged_again(lab)
    with lab.database.write("end") as session:
        in_trouble(lab, claim, RejectedError("the file is damaged"))(session)
    run_until_calm(lab)

    assert the_scan(lab).outcome == Outcome.SET_ASIDE
    assert steps(lab, "expect_scan")[-1] == "waiting for a rescan"
    books_balance(lab)


def test_a_message_that_can_not_be_applied_is_set_aside_with_its_reason(lab: Lab) -> None:
    message_arrives(lab, order("26H1", A), peer="nobody")
    run_until_calm(lab)
    with lab.database.read() as session:
        problem = session.scalars(select(InboxMessage.problem)).one()

    assert inbox(lab) == ["set aside"]
    assert "no listener of the settings is named nobody" in str(problem)
    books_balance(lab)


@pytest.mark.postgres
def test_a_case_is_locked_before_the_step_that_is_set_aside(lab_on_postgres: Lab) -> None:
    """Whoever cancels a slide holds its case and waits for its steps: the other way round both would wait for ever."""
    lab = lab_on_postgres
    claim = judged_again(lab)
    waits = threading.Event()

    @event.listens_for(lab.database.engine, "before_cursor_execute")
    def asked(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        if "FOR UPDATE" in statement and 'FROM "case"' in statement and threading.current_thread() is setting_aside:
            waits.set()

    def set_it_aside() -> None:
        with lab.database.write("set aside") as session:
            in_trouble(lab, claim, RejectedError("damaged"))(session)

    setting_aside = threading.Thread(target=set_it_aside)
    with lab.database.write("cancel") as session:
        session.scalars(select(Case).with_for_update()).all()
        setting_aside.start()
        assert waits.wait(30)
        free = session.scalars(select(Step.id).where(Step.id == claim.id).with_for_update(skip_locked=True)).all()
    setting_aside.join(30)

    assert free == [claim.id]
