"""Several listeners, each with its own peer: what its settings say is what its peer meets."""

import asyncio
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import event, select

from connectors.lims.framing import frame
from connectors.lims.header import read_header
from connectors.lims.listener import MllpListener
from connectors.lims.message import Message
from connectors.lims.reading import read
from connectors.settings_doors import Listener
from connectors.wiring import Lab
from flows.intake.doors import away_door, hl7_door, limits_of, refusal_door
from flows.intake.inbox import InboxWriter
from flows.intake.profiles import profile_of
from models.tables.books import InboxMessage
from tests.connectors.lims.doors import answer_from, connected
from tests.connectors.lims.orders import PID, orc, slide, text
from tests.small_lab import run_until_calm

ORDER = text("OML^O33^OML_O33", PID, slide("26H1-A1-1"), orc(), rest="|||AL|AL").encode()


def said(lab: Lab, **settings: Any) -> Lab:  # noqa: ANN401 - any field of Listener
    """The laboratory whose first listener says this; the second says nothing."""
    first, second = lab.settings.listeners
    changed = Listener(**{**first.model_dump(), **settings})
    return replace(lab, settings=lab.settings.model_copy(update={"listeners": (changed, second)}))


def tell(lab: Lab, *messages: bytes) -> tuple[list[bytes], list[bytes]]:
    """Tell both doors the same, over a connection each; return all the answers of each."""

    async def talk() -> tuple[list[bytes], list[bytes]]:
        inbox = InboxWriter(lab.database, lab.ids)
        found = []
        for listener in lab.settings.listeners:
            door = MllpListener(
                hl7_door(lab.settings, listener, inbox, lab.telemetry),
                refusal_door(lab.settings, listener),
                limits_of(listener),
                away_door(lab.settings, listener),
            )
            await door.start(listener.host, 0)
            async with AsyncExitStack() as stack:
                stack.push_async_callback(door.stop)
                reader, writer = await stack.enter_async_context(connected(door.port))
                writer.write(b"".join(map(frame, messages)))
                writer.write_eof()
                answers = []
                while answer := await answer_from(reader):
                    answers.append(answer)
                found.append(answers)
        inbox.close()
        return found[0], found[1]

    return asyncio.run(talk())


def codes(answers: list[bytes]) -> list[str]:
    return [answer.split(b"\rMSA|")[1][:2].decode() for answer in answers]


def states(lab: Lab) -> dict[str, tuple[str, str | None]]:
    with lab.database.read() as session:
        rows = session.execute(select(InboxMessage.peer, InboxMessage.state, InboxMessage.problem)).all()
    return {row.peer: (row.state, row.problem) for row in rows}


def test_one_peer_is_answered_in_enhanced_mode_and_the_other_is_not(lab: Lab) -> None:
    lab = said(lab, acknowledgement="enhanced", answer_with="ACK")
    first, second = tell(lab, ORDER, ORDER)
    assert (codes(first), codes(second)) == (["CA", "AA", "CA", "AA"], ["AA", "AA"])
    assert read_header(first[1]).raw(9) == b"ACK^O33^ACK"
    assert read_header(second[0]).raw(9) == b"ORL^O34^ORL_O34"
    # A repeat gets what the first got.
    assert (first[2:], second[1]) == (first[:2], second[0])


def test_a_type_that_hl7_does_not_know_is_answered_as_its_listener_says(lab: Lab) -> None:
    lab = said(lab, unknown_type_answer="AR")
    first, second = tell(lab, text("ZZZ^Z01", PID).encode())
    assert (codes(first), codes(second)) == (["AR"], ["AA"])


def test_a_message_for_training_is_answered_and_kept_aside_where_production_is_taken(lab: Lab) -> None:
    lab = said(lab, processing_id="any")
    first, second = tell(lab, ORDER.replace(b"|P|2.5.1", b"|T|2.5.1"))
    assert (codes(first), codes(second)) == (["AA"], ["AR"])
    run_until_calm(lab)
    found = states(lab)
    assert found["lims-a"][0] == "applied"
    state, problem = found["lims-b"]
    assert state == "set aside"
    assert problem is not None
    assert "MSH-11 (processing id) is T (training); here P is taken" in problem


def test_the_character_set_of_one_peer_is_not_the_others(lab: Lab) -> None:
    lab = said(lab, charset="8859/15")
    tell(lab, ORDER.replace(b"Example^Ada", b"Exampl\xa6^Ada"))
    with lab.database.read() as session:
        kept = session.execute(select(InboxMessage.peer, InboxMessage.payload)).all()
    names = {}
    for peer, payload in kept:
        profile = profile_of(lab.settings, peer)
        patient = read(Message(payload, profile.limits, profile.charset), profile).patient
        names[peer] = patient.family_name if patient is not None else None
    assert names == {"lims-a": "Exampl\N{LATIN CAPITAL LETTER S WITH CARON}", "lims-b": "Exampl\N{BROKEN BAR}"}


def test_each_listener_has_its_own_limits(lab: Lab) -> None:
    lab = said(lab, segments=3, frame_bytes=2048, idle_time=timedelta(seconds=7), connections=5)
    limits = limits_of(lab.settings.listeners[0])
    assert (limits.frame_bytes, limits.idle_seconds, limits.connections) == (2048, 7.0, 5)
    first, second = tell(lab, ORDER.replace(b"Ada", b"A" * 2048))
    assert (codes(first), codes(second)) == (["AE"], ["AA"])
    tell(lab, ORDER)
    run_until_calm(lab)
    assert "segments; 3 are allowed" in str(states(lab)["lims-a"][1])


@pytest.mark.parametrize(("chosen", "heard"), [("close", []), ("AE", ["CE"]), ("AR", ["CR"])])
def test_what_a_peer_hears_when_the_store_is_away_is_its_own_choice(lab: Lab, chosen: str, heard: list[str]) -> None:
    lab = said(lab, when_the_store_is_away=chosen, acknowledgement="enhanced")

    @event.listens_for(lab.database.engine, "checkout")
    def refuse(*_: object) -> None:
        raise OSError("no space left on device")

    first, second = tell(lab, ORDER)
    event.remove(lab.database.engine, "checkout", refuse)
    assert (codes(first), codes(second)) == (heard, [])
    assert states(lab) == {}


def test_a_restarted_count_of_control_ids_is_no_repeat(lab: Lab) -> None:
    tomorrow = ORDER.replace(b"20261122091500", b"20261123091500")
    twin = ORDER.replace(b"Ada", b"Eve")
    first, _ = tell(lab, ORDER, tomorrow, twin, ORDER)
    assert codes(first) == ["AA"] * 4
    assert first[3] == first[0]
    assert len({read_header(answer).raw(10) for answer in first}) == 3
    run_until_calm(lab)
    with lab.database.read() as session:
        rows = session.scalars(select(InboxMessage).where(InboxMessage.peer == "lims-a")).all()
    flagged = {row.payload for row in rows if row.problem and "same MSH-10 and MSH-7" in row.problem}
    assert len(rows) == 3
    assert flagged <= {ORDER, twin}
    assert len(flagged) == 1
