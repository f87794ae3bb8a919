"""The orders of the simulated LIMS say what the script says, to the code that reads real ones."""

from datetime import UTC, datetime

import pytest

from connectors.lims.message import Message
from connectors.lims.profile import Profile
from connectors.lims.reading import read
from flows.simulate.orders import order_messages
from flows.simulate.script import CASES, ScriptedCase
from models.statements import MessageStated

NOW = datetime(2026, 11, 22, 9, 30, tzinfo=UTC)
ORDERED = [case for case in CASES if case.ends is not None]


def stated(case: ScriptedCase) -> list[MessageStated]:
    profile = Profile(site=case.site, issuer=case.site.upper())
    return [read(Message(message), profile) for message in order_messages(case, NOW)]


@pytest.mark.parametrize("case", ORDERED, ids=lambda case: case.accession_number)
def test_an_order_is_read_as_the_script_means_it(case: ScriptedCase) -> None:
    for message in stated(case):
        assert message.problems == ()
        assert message.message_type == case.form
        assert message.order is not None
        assert message.order.accession_number == case.accession_number
        assert message.order.subspecialty == case.subspecialty
        assert message.order.priority == ("urgent" if case.urgent else "routine")
        assert message.patient is not None
        assert {one.value for one in message.patient.identifiers} >= {case.nhs_number}


@pytest.mark.parametrize("case", ORDERED, ids=lambda case: case.accession_number)
def test_the_last_message_names_every_slide_below_its_block_and_specimen(case: ScriptedCase) -> None:
    order = stated(case)[-1].order
    assert order is not None
    assert [one.container_identifier for one in order.slides] == [one.container_identifier for one in case.slides]
    blocks = {one.container_identifier: one.parents for one in order.blocks}
    specimens = {one.container_identifier for one in order.specimens}
    for slide in order.slides:
        (block,) = slide.parents
        (specimen,) = blocks[block]
        assert specimen in specimens
        assert slide.stains


def test_slides_that_are_added_come_with_a_later_change() -> None:
    case = next(case for case in ORDERED if case.added)
    first, second = stated(case)
    assert first.order is not None
    assert second.order is not None
    assert (first.order.control, second.order.control) == ("register", "change")
    assert len(first.order.slides) == len(case.slides) - case.added
    assert first.sent_at is not None
    assert second.sent_at is not None
    assert first.sent_at.at < second.sent_at.at


def test_a_repeated_delivery_is_the_same_bytes() -> None:
    case = next(case for case in ORDERED if case.sent_twice)
    first, second = order_messages(case, NOW)
    assert first == second


def test_every_message_has_a_control_id_of_its_own() -> None:
    messages = {message for case in ORDERED for message in order_messages(case, NOW)}
    assert len({Message(message).header.control_id for message in messages}) == len(messages)
