"""The simulated LIMS says what it means, and hears us as it was told to."""

import asyncio
import time
from datetime import UTC, date, datetime

import hl7
import pytest

from connectors.lims.message import Message
from connectors.lims.reading import read
from connectors.lims.sender import Answer, MllpSender, SenderLimits
from connectors.lims.simulated_orders import (
    SimulatedBlock,
    SimulatedCase,
    SimulatedPatient,
    SimulatedSlide,
    SimulatedSpecimen,
    order_by_case,
    order_by_specimen,
)
from connectors.lims.simulator import Behaviour, SimulatedLims, send_orders
from models.errors import TransientError
from models.statements import Coded, OrderStated
from tests.connectors.lims.doors import Store, listening
from tests.connectors.lims.orders import PROFILE

NOW = datetime(2026, 11, 22, 9, 15, tzinfo=UTC)
QUICK = SenderLimits(answer_seconds=0.3)
CASE = SimulatedCase(
    accession_number="26H1",
    site="north",
    patient=SimulatedPatient(
        record_number="A1",
        nhs_number="9990048215",
        family_name="Example",
        given_name="Ada",
        birth_date=date(1964, 2, 29),
        sex="F",
    ),
    request=Coded(code="BREAST", meaning="Breast histology", scheme="L"),
    priority="S",
    due=datetime(2026, 11, 30, 17, tzinfo=UTC),
    received_at=datetime(2026, 11, 20, 10, tzinfo=UTC),
    specimens=(
        SimulatedSpecimen(
            container_identifier="26H1-A",
            anatomic_site=Coded(code="76752008", meaning="Breast structure", scheme="SCT"),
            laterality=Coded(code="7771000", meaning="Left", scheme="SCT"),
        ),
    ),
    blocks=(SimulatedBlock(container_identifier="26H1-A1", specimen="26H1-A"),),
    slides=(
        SimulatedSlide(container_identifier="26H1-A1-1", block="26H1-A1"),
        SimulatedSlide(container_identifier="26H1-A1-2", block="26H1-A1", stains=(), scanned=False),
    ),
)
EVENT = b"MSH|^~\\&|COVERSLIP|NET|LIMS|SITEA|20261122||OUL^R22|%s|P|2.5.1\r"


def ordered(raw: bytes) -> OrderStated:
    found = read(Message(raw), PROFILE)
    assert found.problems == ()
    assert found.order is not None
    return found.order


@pytest.mark.parametrize("written", [order_by_specimen(CASE, "L1", NOW), order_by_case(CASE, "L1", NOW)])
def test_both_forms_of_an_order_mean_the_same_case(written: bytes) -> None:
    found = ordered(written)
    assert (found.control, found.accession_number, found.site) == ("register", "26H1", "north")
    assert (found.priority, found.subspecialty) == ("urgent", "breast")
    assert found.due is not None
    assert found.due.at == CASE.due
    (specimen,) = found.specimens
    assert specimen.received_at is not None
    assert specimen.received_at.at == CASE.received_at
    assert (specimen.anatomic_site, specimen.laterality) == (
        CASE.specimens[0].anatomic_site,
        CASE.specimens[0].laterality,
    )
    assert [(one.container_identifier, one.parents) for one in found.blocks] == [("26H1-A1", ("26H1-A",))]
    assert [(one.container_identifier, one.parents, one.stains, one.route) for one in found.slides] == [
        ("26H1-A1-1", ("26H1-A1",), CASE.slides[0].stains, "scan"),
        ("26H1-A1-2", ("26H1-A1",), (), "glass only"),
    ]


def test_a_cancel_names_the_case() -> None:
    cancelled = ordered(order_by_case(CASE, "L2", NOW, "CA"))
    assert (cancelled.control, cancelled.cancelled) == ("cancel", ())
    containers = ordered(order_by_specimen(CASE, "L3", NOW, "CA"))
    assert containers.cancelled == ("26H1-A", "26H1-A1", "26H1-A1-1", "26H1-A1-2")


def test_python_hl7_reads_what_it_sends() -> None:
    parsed = hl7.parse(order_by_specimen(CASE, "L1", NOW).decode())
    assert len(list(parsed.segments("SPM"))) == 4
    assert len(list(parsed.segments("ORC"))) == 4


def test_orders_go_over_one_connection_until_each_is_answered() -> None:
    store = Store()

    def send(port: int) -> list[Answer]:
        return send_orders("127.0.0.1", port, [order_by_case(CASE, f"L{number}", NOW) for number in range(5)])

    async def talk() -> list[Answer]:
        async with listening(store.keep) as listener:
            answers = await asyncio.to_thread(send, listener.port)
            assert listener.counts["connections opened"] == 1
            return answers

    assert [answer.code for answer in asyncio.run(talk())] == ["AA"] * 5
    assert len(store.kept) == 5


def test_an_order_that_nobody_answers_is_given_up_after_its_patience() -> None:
    with pytest.raises(TransientError, match="Nobody can be reached"):
        send_orders("127.0.0.1", 1, [order_by_case(CASE, "L1", NOW)], patience_seconds=0.1, pause_seconds=0.05)


@pytest.mark.parametrize("behaviour", ["AA", "AE", "AR"])
def test_it_answers_as_told_and_keeps_what_it_heard(behaviour: Behaviour) -> None:
    with SimulatedLims(behaviour) as lims, MllpSender("127.0.0.1", lims.port, QUICK) as sender:
        assert [sender.send(EVENT % name, name.decode()).code for name in (b"C1", b"C2")] == [behaviour] * 2
        assert lims.wait_for(2, 1.0) == [EVENT % b"C1", EVENT % b"C2"]


def test_it_can_change_its_mind_from_one_message_to_the_next() -> None:
    with SimulatedLims() as lims, MllpSender("127.0.0.1", lims.port, QUICK) as sender:
        lims.behave("AR", "close", "silent", "AE", "AA")
        said = []
        for _ in range(6):
            try:
                said.append(sender.send(EVENT % b"C1", "C1").code)
            except TransientError as error:
                said.append("closed" if "closed" in str(error) else "nothing")
        assert said == ["AR", "closed", "nothing", "AE", "AA", "AA"]
        assert len(lims.received) == 6


def test_it_can_be_slow_and_still_accept() -> None:
    with SimulatedLims("slow", "AA", slow_seconds=0.5) as lims, MllpSender("127.0.0.1", lims.port, QUICK) as sender:
        with pytest.raises(TransientError):
            sender.send(EVENT % b"C1", "C1")
        assert sender.send(EVENT % b"C1", "C1").code == "AA"
        assert lims.received == [EVENT % b"C1"] * 2


def test_it_stops_at_once_whoever_is_connected() -> None:
    lims = SimulatedLims("slow", slow_seconds=30)
    lims.start()
    with MllpSender("127.0.0.1", lims.port, QUICK) as sender, pytest.raises(TransientError):
        sender.send(EVENT % b"C1", "C1")
    started = time.monotonic()
    lims.stop()
    assert time.monotonic() - started < 1
