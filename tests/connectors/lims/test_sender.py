"""The MLLP client, against peers that behave as badly as real ones."""

import asyncio
import socket
import time
from contextlib import suppress

import hl7
import hl7.mllp
import pytest

from connectors.lims.framing import frame
from connectors.lims.sender import Answer, MllpSender, SenderLimits
from models.errors import RejectedError, TransientError
from tests.connectors.lims.doors import Store, listening
from tests.connectors.lims.scripted import ack, hear, message, peer, say

QUICK = SenderLimits(connect_seconds=1.0, answer_seconds=0.4)


def test_many_messages_go_over_one_connection() -> None:
    with peer(say(*(ack(f"C{number}") for number in range(20)))) as (port, connections):
        with MllpSender("127.0.0.1", port, QUICK) as sender:
            assert [sender.send(message(f"C{number}"), f"C{number}").code for number in range(20)] == ["AA"] * 20
        assert len(connections) == 1


@pytest.mark.parametrize("code", ["AA", "AE", "AR", "CA", "CE", "CR"])
def test_whatever_the_peer_answers_is_a_value(code: str) -> None:
    with peer(say(ack("C1", code, "no such slide"))) as (port, _), MllpSender("127.0.0.1", port, QUICK) as sender:
        answer = sender.send(message("C1"), "C1")
    assert (answer.code, answer.text, answer.accepted) == (code, "no such slide", code in {"AA", "CA"})


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (b"\x0bMSH|^~\\&|||||||ACK|1|P|2.3\rMSA|AE|C1|why\x1c", "why"),
        (
            b"\x0bMSH|^~\\&|||||||ACK|1|P|2.8\rMSA|AE|C1\rERR||PID^1|204^Unknown key^HL70357|E||||not here\x1c\r",
            "not here",
        ),
        (b"\x0bMSH|^~\\&|||||||ACK|1|P|2.5\nMSA|AE|C1\nERR||PID^1|204^Unknown key^HL70357|E\n\x1c\r", "Unknown key"),
        (b"\x0bMSH|^~\\&|||||||ACK|1|P|2.3\rMSA|AE|C1\rERR|PID^1^3^204&Unknown key\r\x1c\0", "Unknown key"),
        (b"\x0b\xef\xbb\xbfMSH|^~\\&\rMSA|AE|C1||\x1c\r", ""),
    ],
    ids=["no final CR", "2.8", "LF", "2.3", "bare"],
)
def test_answers_of_other_versions_and_shapes_are_understood(raw: bytes, text: str) -> None:
    with peer(say(raw)) as (port, _), MllpSender("127.0.0.1", port, QUICK) as sender:
        answer = sender.send(message("C1"), "C1")
    assert (answer.code, answer.text) == ("AE", text)


def test_a_silent_peer_is_not_waited_for_longer_than_allowed() -> None:
    with peer(say(b"")) as (port, _), MllpSender("127.0.0.1", port, QUICK) as sender:
        started = time.monotonic()
        with pytest.raises(TransientError, match=rf"127.0.0.1:{port} did not answer within 0.4 s"):
            sender.send(message("C1"), "C1")
        assert time.monotonic() - started < 2


def test_an_answer_that_drips_is_not_waited_for_longer_than_allowed() -> None:
    def drip(connection: socket.socket, _number: int) -> None:
        hear(connection)
        for byte in ack("C1"):
            time.sleep(0.05)
            connection.send(bytes([byte]))

    with peer(drip) as (port, _), MllpSender("127.0.0.1", port, QUICK) as sender:
        started = time.monotonic()
        with pytest.raises(TransientError, match="did not answer"):
            sender.send(message("C1"), "C1")
        assert time.monotonic() - started < 1


def test_a_late_answer_is_never_taken_for_the_next_messages() -> None:
    def late(connection: socket.socket, number: int) -> None:
        while hear(connection):
            if number == 1:
                time.sleep(0.6)
            connection.sendall(ack("C1" if number == 1 else "C2", "AE" if number == 1 else "AA"))

    with peer(late) as (port, connections), MllpSender("127.0.0.1", port, QUICK) as sender:
        with pytest.raises(TransientError):
            sender.send(message("C1"), "C1")
        time.sleep(0.4)
        assert sender.send(message("C2"), "C2").code == "AA"
        assert len(connections) == 2


@pytest.mark.parametrize(
    "answers", [ack("C9"), ack("C1~C9"), ack("C1") + ack("C2"), frame(b"MSH|^~\\&|||||||QBP^Q11|1")]
)
def test_an_answer_to_something_else_drops_the_connection(answers: bytes) -> None:
    def script(connection: socket.socket, number: int) -> None:
        if hear(connection):
            connection.sendall(answers if number == 1 else ack("C1"))
            hear(connection)

    with peer(script) as (port, connections), MllpSender("127.0.0.1", port, QUICK) as sender:
        with pytest.raises(TransientError, match="answered another message"):
            sender.send(message("C1"), "C1")
        assert sender.send(message("C1"), "C1").code == "AA"
        assert len(connections) == 2


def test_something_said_between_two_messages_drops_the_connection_but_a_late_cr_does_not() -> None:
    def script(connection: socket.socket, number: int) -> None:
        while hear(connection):
            connection.sendall(ack("C1").removesuffix(b"\r"))
            time.sleep(0.05)
            connection.sendall(b"\r" if number > 1 else ack("C1"))

    with peer(script) as (port, connections), MllpSender("127.0.0.1", port, QUICK) as sender:
        for _ in range(3):
            assert sender.send(message("C1"), "C1").code == "AA"
            time.sleep(0.15)
        assert len(connections) == 2


def test_a_connection_that_the_peer_closed_while_idle_is_opened_again() -> None:
    def script(connection: socket.socket, _number: int) -> None:
        hear(connection)
        connection.sendall(ack("C1"))

    with peer(script) as (port, connections), MllpSender("127.0.0.1", port, QUICK) as sender:
        for _ in range(3):
            assert sender.send(message("C1"), "C1").code == "AA"
            time.sleep(0.1)
        assert len(connections) == 3


def test_a_peer_that_closes_instead_of_answering_is_tried_again_later() -> None:
    def script(connection: socket.socket, number: int) -> None:
        if hear(connection) and number > 1:
            connection.sendall(ack("C1"))

    with peer(script) as (port, _), MllpSender("127.0.0.1", port, QUICK) as sender:
        with pytest.raises(TransientError, match="closed the connection instead of answering"):
            sender.send(message("C1"), "C1")
        assert sender.send(message("C1"), "C1").code == "AA"


def test_an_answer_cut_at_any_byte_is_asked_for_again() -> None:
    whole = ack("C1")

    def script(connection: socket.socket, number: int) -> None:
        if hear(connection):
            connection.sendall(whole[: number - 1])

    with peer(script) as (port, connections), MllpSender("127.0.0.1", port, QUICK) as sender:
        found: list[Answer] = []
        while not found:
            with suppress(TransientError):
                found.append(sender.send(message("C1"), "C1"))
    # FS ends the frame; only the CR after it may be missing.
    assert found == [Answer("AA", "", whole.strip(b"\x0b\x1c\r") + b"\r")]
    assert len(connections) == len(whole)


def test_an_endless_answer_is_refused() -> None:
    endless = b"\x0bMSH|" + b"x" * 2_000_000 + b"\x1c\r"
    with (
        peer(say(endless)) as (port, _),
        MllpSender("127.0.0.1", port) as sender,
        pytest.raises(TransientError, match="answered another message"),
    ):
        sender.send(message("C1"), "C1")


def test_nobody_there_is_said_with_the_address() -> None:
    with socket.create_server(("127.0.0.1", 0)) as door:
        port = door.getsockname()[1]
    with (
        MllpSender("127.0.0.1", port, QUICK) as sender,
        pytest.raises(TransientError, match=f"127.0.0.1:{port}: Connection refused"),
    ):
        sender.send(message("C1"), "C1")


def test_a_message_that_would_end_its_own_frame_never_leaves() -> None:
    with MllpSender("127.0.0.1", 1, QUICK) as sender, pytest.raises(RejectedError, match="1C"):
        sender.send(message("C1") + b"\x1c", "C1")


def test_no_error_shows_what_was_sent() -> None:
    with (
        peer(say(ack("C9"))) as (port, _),
        MllpSender("127.0.0.1", port, QUICK) as sender,
        pytest.raises(TransientError) as error,
    ):
        sender.send(message("C1"), "C1")
    assert "S1" not in str(error.value)


def test_our_own_door_answers_our_own_sender() -> None:
    def send(port: int) -> list[Answer]:
        with MllpSender("127.0.0.1", port) as sender:
            return [sender.send(message(f"C{number}"), f"C{number}") for number in range(3)]

    async def talk() -> list[Answer]:
        async with listening(Store().keep) as listener:
            return await asyncio.to_thread(send, listener.port)

    assert [answer.code for answer in asyncio.run(talk())] == ["AA"] * 3


def test_python_hl7s_server_answers_our_sender() -> None:
    async def serve(reader: hl7.mllp.HL7StreamReader, writer: hl7.mllp.HL7StreamWriter) -> None:
        for _ in range(2):
            writer.writemessage((await reader.readmessage()).create_ack())
            await writer.drain()
        writer.close()

    def send(port: int) -> list[str]:
        with MllpSender("127.0.0.1", port) as sender:
            return [sender.send(message(f"C{number}"), f"C{number}").code for number in range(2)]

    async def talk() -> list[str]:
        server = await hl7.mllp.start_hl7_server(serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        found = await asyncio.to_thread(send, port)
        server.close()
        return found

    assert asyncio.run(talk()) == ["AA", "AA"]


def test_a_commit_answer_is_the_last_word_in_original_mode() -> None:
    with peer(say(ack("C1", "CA"))) as (port, _), MllpSender("127.0.0.1", port, QUICK) as sender:
        answer = sender.send(message("C1"), "C1")
    assert (answer.code, answer.accepted) == ("CA", True)
