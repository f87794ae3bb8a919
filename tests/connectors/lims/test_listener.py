"""The MLLP door, over real sockets."""

import asyncio
import os
import signal
import socket
import ssl
import struct
import subprocess
import sys
from pathlib import Path

import hl7.client
import hl7.mllp
import pytest

from connectors.lims.answers import acknowledge, unavailable
from connectors.lims.door_terms import ListenerLimits
from connectors.lims.framing import frame
from connectors.lims.profile import Profile
from tests.connectors.lims.doors import NOW, PROFILE, Store, answer_from, connected, listening
from tests.connectors.lims.orders import ORDER, PID, numbered, text


def test_an_independent_client_gets_its_answer_after_the_message_was_kept() -> None:
    store = Store()

    async def talk() -> str:
        async with listening(store.keep) as listener:
            reader, writer = await hl7.mllp.open_hl7_connection("127.0.0.1", listener.port)
            writer.writemessage(hl7.parse(ORDER))
            await writer.drain()
            answered = await asyncio.wait_for(reader.readmessage(), 5)
            writer.close()
            return str(answered.segment("MSA"))

    assert asyncio.run(talk()) == "MSA|AA|M1"
    assert [raw.decode().split("\r")[0] for raw in store.kept] == [ORDER.split("\r")[0]]


def test_the_blocking_client_of_python_hl7_is_answered_twice_on_one_connection() -> None:
    store = Store()

    def send(port: int) -> list[bytes]:
        with hl7.client.MLLPClient("127.0.0.1", port) as client:
            return [client.send_message(ORDER), client.send_message(ORDER)]

    async def talk() -> list[bytes]:
        async with listening(store.keep) as listener:
            return await asyncio.to_thread(send, listener.port)

    first, second = asyncio.run(talk())
    assert b"MSA|AA|M1" in first
    assert first == second
    assert store.kept == [ORDER.encode()] * 2


def test_pipelined_messages_are_answered_in_order() -> None:
    store = Store()

    async def talk() -> list[bytes]:
        async with listening(store.keep) as listener, connected(listener.port) as (reader, writer):
            writer.write(b"".join(frame(numbered(number)) for number in range(50)))
            return [await answer_from(reader) for _ in range(50)]

    answers = asyncio.run(talk())
    assert [answer.rsplit(b"|", 1)[1] for answer in answers] == [f"M{number}".encode() for number in range(50)]
    assert store.kept == [numbered(number) for number in range(50)]


def test_a_message_cut_anywhere_is_kept_whole_or_not_at_all() -> None:
    wire = frame(ORDER.encode())

    async def talk() -> None:
        store = Store()
        async with listening(store.keep) as listener:
            for place in range(0, len(wire) - 1, 7):
                async with connected(listener.port) as (_, writer):
                    writer.write(wire[:place])
                    await writer.drain()
            async with connected(listener.port) as (reader, writer):
                for place in range(len(wire)):
                    writer.write(wire[place : place + 1])
                    await writer.drain()
                assert b"MSA|AA|M1" in await answer_from(reader)
            await listener.stop()
            assert store.kept == [ORDER.encode()]
            assert listener.counts["frames torn"] == len(range(0, len(wire) - 1, 7)) - 1
            assert listener.open_connections == 0

    asyncio.run(talk())


@pytest.mark.parametrize(
    ("raw", "code", "kept"),
    [
        (text("OML^O33", PID, control_id="").encode(), b"MSA|AE|", True),
        (ORDER.replace("\r", "\n").encode(), b"MSA|AA|M1", True),
        (b"\xef\xbb\xbf" + ORDER.encode(), b"MSA|AA|M1", True),
        (text("OML^O33", "OBX|1|ED|1||" + "QUJD" * 1_300_000).encode(), b"MSA|AA|M1", True),
        (text("ZZZ^Z99", PID).encode(), b"MSA|AA|M1", True),
        (b"this is no HL7", b"MSA|AE|", True),
        (b"MSH|^~\\&|" + b"x" * 7_000_000, b"MSA|AE|", False),
    ],
    ids=["no MSH-10", "LF separators", "BOM", "5 MB field", "unknown type", "no HL7", "too large"],
)
def test_bad_input_is_kept_and_answered(raw: bytes, code: bytes, kept: bool) -> None:  # noqa: FBT001
    store = Store()

    async def talk() -> bytes:
        limits = ListenerLimits(frame_bytes=6_000_000)
        async with listening(store.keep, limits) as listener, connected(listener.port) as (reader, writer):
            writer.write(frame(raw))
            answer = await answer_from(reader)
            writer.write(frame(ORDER.encode()))
            assert b"MSA|AA|M1" in await answer_from(reader)
            return answer

    answer = asyncio.run(talk())
    assert code in answer
    assert store.kept == ([raw] if kept else []) + [ORDER.encode()]


def test_a_message_that_can_not_be_stored_is_not_answered_and_the_door_pauses() -> None:
    store = Store()
    store.away = True

    async def talk() -> tuple[bytes, bytes, bytes]:
        limits = ListenerLimits(pause_seconds=0.3)
        async with listening(store.keep, limits) as listener:
            found = []
            for away, wait in ((True, 0.0), (False, 0.0), (False, 0.4)):
                store.away = away
                await asyncio.sleep(wait)
                async with connected(listener.port) as (reader, writer):
                    writer.write(frame(ORDER.encode()))
                    found.append(await answer_from(reader))
            assert listener.counts["frames not stored"] == 1
            assert listener.counts["connections refused: store away"] == 1
            return found[0], found[1], found[2]

    first, second, third = asyncio.run(talk())
    assert (first, second) == (b"", b"")
    assert b"MSA|AA|M1" in third
    assert store.kept == [ORDER.encode()]


def test_nothing_is_sent_when_the_peer_wants_no_answer() -> None:
    async def keep(raw: bytes) -> bytes:
        return b"MSA|AA|last" if raw == b"MSH|2" else b""

    async def talk() -> bytes:
        async with listening(keep) as listener, connected(listener.port) as (reader, writer):
            writer.write(frame(b"MSH|1") + frame(b"MSH|2"))
            return await answer_from(reader)

    assert asyncio.run(talk()) == b"MSA|AA|last"


def test_a_stop_with_many_connections_is_quick_and_logs_no_error(caplog: pytest.LogCaptureFixture) -> None:
    async def talk() -> None:
        async with listening(Store().keep) as listener:
            peers = [await asyncio.open_connection("127.0.0.1", listener.port) for _ in range(100)]
            peers[0][1].write(b"\x0bMSH|half")
            await asyncio.sleep(0.05)
            await listener.stop(grace_seconds=0.0)
            await listener.stop(grace_seconds=2.0)
            assert listener.open_connections == 0
            for _, writer in peers:
                writer.close()

    asyncio.run(talk())
    assert caplog.records == []


def test_a_stop_lets_the_message_in_hand_be_answered() -> None:
    store = Store()
    store.delay_seconds = 0.3

    async def talk() -> bytes:
        async with listening(store.keep) as listener, connected(listener.port) as (reader, writer):
            writer.write(frame(ORDER.encode()))
            await asyncio.sleep(0.1)
            await listener.stop()
            return await answer_from(reader)

    assert b"MSA|AA|M1" in asyncio.run(talk())


def test_a_port_that_is_taken_is_an_error_at_the_start() -> None:
    async def talk() -> None:
        async with listening(Store().keep) as listener:
            with pytest.raises(OSError, match="in use"):
                await listener.start("127.0.0.1", listener.port)

    asyncio.run(talk())


def test_the_door_speaks_tls_when_it_is_given_a_context(tmp_path: Path) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    command = (
        "openssl req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=localhost -addext subjectAltName=IP:127.0.0.1"
    )
    subprocess.run([*command.split(), "-keyout", key, "-out", certificate], check=True, capture_output=True)
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server.load_cert_chain(certificate, key)

    async def talk() -> bytes:
        async with listening(Store().keep, tls=server) as listener:
            trusting = ssl.create_default_context(cafile=str(certificate))
            reader, writer = await asyncio.open_connection("127.0.0.1", listener.port, ssl=trusting)
            writer.write(frame(ORDER.encode()))
            answer = await answer_from(reader)
            writer.close()
            return answer

    assert b"MSA|AA|M1" in asyncio.run(talk())


DOOR = """
import asyncio, sys
from pathlib import Path
from tests.connectors.lims.doors import NOW, PROFILE, acknowledge, listening

async def keep(raw):
    with Path(sys.argv[1]).open("ab") as file:
        file.write(raw)
    return acknowledge(raw, PROFILE, NOW).payload

async def serve():
    async with listening(keep) as listener:
        print(listener.port, flush=True)
        await asyncio.sleep(60)

asyncio.run(serve())
"""


@pytest.mark.parametrize(("place", "answered"), [("before", False), ("after", True)])
def test_a_door_killed_around_its_answer_has_kept_the_message(tmp_path: Path, place: str, answered: bool) -> None:  # noqa: FBT001
    kept = tmp_path / "kept"
    environment = os.environ | {"COVERSLIP_FAILPOINT": f"listener.{place}_answer"}
    root = Path(__file__).parents[3]
    door = subprocess.Popen(
        [sys.executable, "-c", DOOR, str(kept)], cwd=root, env=environment, stdout=subprocess.PIPE, text=True
    )
    with door:
        assert door.stdout is not None
        port = int(door.stdout.readline())

        async def talk() -> bytes:
            async with connected(port) as (reader, writer):
                writer.write(frame(ORDER.encode()))
                return await answer_from(reader)

        answer = asyncio.run(talk())
        assert door.wait(10) == -signal.SIGKILL
    assert kept.read_bytes() == ORDER.encode()
    assert bool(answer) == answered


def test_a_peer_that_has_said_all_it_will_still_gets_its_answers() -> None:
    store = Store()
    store.delay_seconds = 0.1

    async def talk() -> list[bytes]:
        async with listening(store.keep) as listener, connected(listener.port) as (reader, writer):
            writer.write(frame(numbered(1)) + frame(numbered(2)))
            writer.write_eof()
            return [await answer_from(reader) for _ in range(3)]

    first, second, end = asyncio.run(talk())
    assert (b"MSA|AA|M1" in first, b"MSA|AA|M2" in second, end) == (True, True, b"")


def test_a_peer_that_resets_before_its_answer_finds_its_message_kept() -> None:
    store = Store()
    store.delay_seconds = 0.2

    async def talk() -> None:
        async with listening(store.keep) as listener:
            with socket.create_connection(("127.0.0.1", listener.port)) as peer:
                peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                peer.sendall(frame(numbered(1)))
                await asyncio.sleep(0.1)
            async with asyncio.timeout(5):
                while listener.open_connections or not store.kept:  # noqa: ASYNC110 (a count is no event)
                    await asyncio.sleep(0.01)
            assert store.kept == [numbered(1)]
            async with connected(listener.port) as (reader, writer):
                writer.write(frame(numbered(2)))
                assert b"MSA|AA|M2" in await answer_from(reader)

    asyncio.run(talk())


@pytest.mark.parametrize("hangs", [False, True])
def test_a_peer_that_chose_it_hears_that_the_store_is_away_and_may_stay(hangs: bool) -> None:  # noqa: FBT001
    store = Store()

    async def talk() -> list[bytes]:
        def away(raw: bytes) -> bytes:
            return unavailable(raw, PROFILE, NOW, "AE").payload

        limits = ListenerLimits(keep_seconds=0.2)
        async with (
            listening(store.keep, limits, away=away) as listener,
            connected(listener.port) as (reader, writer),
        ):
            answers = []
            for is_away in (False, True, False):
                store.away, store.delay_seconds = is_away and not hangs, 5.0 if is_away and hangs else 0.0
                writer.write(frame(ORDER.encode()))
                answers.append(await answer_from(reader))
            assert listener.counts["frames not stored"] == 1
            return answers

    found = [answer.split(b"MSA|")[1][:5] for answer in asyncio.run(talk())]
    assert found == [b"AA|M1", b"AE|M1", b"AA|M1"]
    assert store.kept == [ORDER.encode()] * 2


def test_both_answers_of_enhanced_mode_come_in_frames_of_their_own_before_the_next_messages() -> None:
    enhanced = Profile(acknowledgement="enhanced")

    async def keep(raw: bytes) -> bytes:
        return acknowledge(raw, enhanced, NOW).payload

    def asking(number: int) -> bytes:
        return numbered(number).replace(b"|2.5.1\r", b"|2.5.1|||AL|AL\r")

    async def talk() -> list[bytes]:
        async with listening(keep) as listener, connected(listener.port) as (reader, writer):
            writer.write(frame(asking(1)) + frame(asking(2)))
            return [(await answer_from(reader)).split(b"\rMSA|")[1].strip() for _ in range(4)]

    assert asyncio.run(talk()) == [b"CA|M1", b"AA|M1", b"CA|M2", b"AA|M2"]
