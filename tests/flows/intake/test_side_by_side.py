"""Messages about one patient that are applied at the same moment, as several workers do on PostgreSQL."""

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from threading import Event

import pytest
from sqlalchemy import select, text

from connectors.wiring import Lab
from flows.books import Cause
from flows.intake.patients import patient_stated
from flows.intake.saying import Said
from flows.journey import INTAKE, STAGES
from models.statements import Identifier, PatientStated
from models.tables.case import Patient
from tests.flows.looking import LATER, A, books_balance, says, the_case
from tests.lims_says import merged
from tests.small_lab import message_arrives, order, run_until_calm

pytestmark = pytest.mark.postgres
NOON = datetime(2025, 1, 1, 12, tzinfo=UTC)
_LONGEST_S = 20


@pytest.fixture
def beside() -> Iterator[ThreadPoolExecutor]:
    """Somebody who works at the same time."""
    with ThreadPoolExecutor(1) as pool:
        yield pool


def said_of(lab: Lab, number: str, minute: int, *, first: Event | None = None, then: Event | None = None) -> None:
    """Have a message name a patient, in a transaction that says when it did and ends only when it may."""
    patient = PatientStated(identifiers=(Identifier(value=number, issuer="NET", kind="MR"),), family_name=f"N{minute}")
    said = Said("lims-a", Cause("a test"), NOON + timedelta(minutes=minute), NOON, None)
    with lab.database.write("said") as session:
        patient_stated(session, lab.ids, patient, said)
        if first is not None and then is not None:
            first.set()
            assert then.wait(_LONGEST_S)


def is_held_up(lab: Lab, work: Future[None]) -> bool:
    """Wait until somebody waits for a lock; say so, or that the work ended without."""
    for _ in range(_LONGEST_S * 50):
        if work.done():
            return False
        with lab.database.read() as session:
            waiting = (
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
            )
            if session.scalar(text(waiting)):
                return True
        Event().wait(0.02)
    raise AssertionError("it neither ended nor waited")


def test_two_first_messages_about_one_patient_both_count(lab_on_postgres: Lab, beside: ThreadPoolExecutor) -> None:
    lab, named, go_on = lab_on_postgres, Event(), Event()
    first = beside.submit(said_of, lab, "A1", 1, first=named, then=go_on)
    assert named.wait(_LONGEST_S)
    with ThreadPoolExecutor(1) as pool:
        second = pool.submit(said_of, lab, "A1", 2)
        assert is_held_up(lab, second)
        go_on.set()
        first.result(_LONGEST_S)
        second.result(_LONGEST_S)

    with lab.database.read() as session:
        assert session.scalars(select(Patient.family_name)).all() == ["N2"]
    books_balance(lab)


def test_a_case_that_becomes_a_patient_s_does_not_wait_for_who_speaks_of_them(
    lab_on_postgres: Lab, beside: ThreadPoolExecutor
) -> None:
    lab, named, go_on = lab_on_postgres, Event(), Event()
    says(lab, order("26H1", A, patient="P"), merged("STAYS", "GOES"))
    first = beside.submit(said_of, lab, "STAYS", 1, first=named, then=go_on)
    assert named.wait(_LONGEST_S)
    message_arrives(lab, order("26H1", A, patient="GOES", sent_at=LATER, control_id="M2"))
    with ThreadPoolExecutor(1) as pool:
        work = pool.submit(run_until_calm, lab, [one for one in STAGES if one.name == INTAKE])
        held_up = is_held_up(lab, work)
        go_on.set()
        first.result(_LONGEST_S)
        work.result(_LONGEST_S)

    # Whoever holds the patient waits for the case next: held up here, both would wait for ever.
    assert not held_up
    assert the_case(lab).patient_id == lab.ids.of("patient", "NET", "STAYS")
    books_balance(lab)
