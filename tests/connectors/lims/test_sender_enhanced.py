"""The MLLP client in enhanced mode: a commit answer, and then the application's."""

import asyncio
import socket
import time

import pytest

from connectors.lims.answers import acknowledge
from connectors.lims.profile import Profile
from connectors.lims.sender import Answer, MllpSender, SenderLimits
from models.errors import TransientError
from tests.connectors.lims.doors import NOW, listening
from tests.connectors.lims.scripted import ack, hear, message, peer, say

ENHANCED = SenderLimits(connect_seconds=1.0, answer_seconds=0.4, application_seconds=0.8)


def plain(framed: bytes) -> bytes:
    return framed.strip(b"\x0b\x1c\r") + b"\r"


@pytest.mark.parametrize("code", ["AA", "AE", "AR"])
def test_a_commit_answer_is_not_the_last_word_in_enhanced_mode_and_both_are_kept(code: str) -> None:
    commit, application = ack("C1", "CA"), ack("C1", code, "from the application")
    for pieces in ([commit + application], [commit, application], [commit + application[:9], application[9:]]):

        def script(connection: socket.socket, _number: int, pieces: list[bytes] = pieces) -> None:
            for _ in range(2):
                if hear(connection):
                    for piece in pieces:
                        connection.sendall(piece)
                        time.sleep(0.1)

        with peer(script) as (port, connections), MllpSender("127.0.0.1", port, ENHANCED) as sender:
            answers = [sender.send(message("C1"), "C1") for _ in range(2)]
        assert answers == [Answer(code, "from the application", plain(commit) + plain(application))] * 2
        assert len(connections) == 1


def test_an_application_may_take_longer_than_a_commit_answer() -> None:
    def script(connection: socket.socket, _number: int) -> None:
        hear(connection)
        connection.sendall(ack("C1", "CA"))
        time.sleep(0.6)
        connection.sendall(ack("C1"))

    with peer(script) as (port, _), MllpSender("127.0.0.1", port, ENHANCED) as sender:
        assert sender.send(message("C1"), "C1").code == "AA"


@pytest.mark.parametrize("code", ["AA", "AE", "CE", "CR"])
def test_an_answer_other_than_ca_ends_the_wait_at_once(code: str) -> None:
    with peer(say(ack("C1", code))) as (port, _), MllpSender("127.0.0.1", port, ENHANCED) as sender:
        started = time.monotonic()
        assert sender.send(message("C1"), "C1").code == code
        assert time.monotonic() - started < 0.4


def test_an_application_that_never_answers_is_not_waited_for_longer_than_allowed() -> None:
    def script(connection: socket.socket, _number: int) -> None:
        if hear(connection):
            for _ in range(30):  # a peer that says CA again and again
                connection.sendall(ack("C1", "CA"))
                time.sleep(0.1)

    with peer(script) as (port, _), MllpSender("127.0.0.1", port, ENHANCED) as sender:
        started = time.monotonic()
        with pytest.raises(TransientError, match=r"took the message \(CA\), and its application did not answer"):
            sender.send(message("C1"), "C1")
        assert 0.7 < time.monotonic() - started < 2


def test_a_late_application_answer_is_never_taken_for_the_next_messages() -> None:
    def script(connection: socket.socket, number: int) -> None:
        while hear(connection):
            asked = f"C{number}"
            connection.sendall(ack(asked, "CA"))
            if number == 1:
                time.sleep(1.0)
            connection.sendall(ack(asked, "AE" if number == 1 else "AA"))

    with peer(script) as (port, connections), MllpSender("127.0.0.1", port, ENHANCED) as sender:
        with pytest.raises(TransientError, match="CA"):
            sender.send(message("C1"), "C1")
        assert sender.send(message("C2"), "C2").code == "AA"
        assert len(connections) == 2


def test_an_application_answer_that_names_another_message_counts_for_none() -> None:
    def script(connection: socket.socket, _number: int) -> None:
        hear(connection)
        connection.sendall(ack("C1", "CA") + ack("C0"))
        hear(connection)

    with (
        peer(script) as (port, _),
        MllpSender("127.0.0.1", port, ENHANCED) as sender,
        pytest.raises(TransientError, match="answered another message"),
    ):
        sender.send(message("C1"), "C1")


def test_our_own_door_gives_our_own_sender_both_answers() -> None:
    enhanced = Profile(acknowledgement="enhanced")

    async def keep(raw: bytes) -> bytes:
        return acknowledge(raw, enhanced, NOW).payload

    asks = message("C1").replace(b"|2.5.1\r", b"|2.5.1|||AL|AL\r")

    def send(port: int) -> list[Answer]:
        with MllpSender("127.0.0.1", port, ENHANCED) as sender:
            return [sender.send(asks, "C1") for _ in range(3)]

    async def talk() -> list[Answer]:
        async with listening(keep) as listener:
            return await asyncio.to_thread(send, listener.port)

    first, *others = asyncio.run(talk())
    assert first.code == "AA"
    assert [line for line in first.raw.split(b"\r") if line.startswith(b"MSA")] == [b"MSA|CA|C1", b"MSA|AA|C1"]
    assert others == [first] * 2
