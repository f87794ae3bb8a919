"""What one peer may ask of the MLLP door, and what it does with whoever asks for more."""

import asyncio
import socket
from collections import Counter

from connectors.lims.door_terms import ListenerLimits
from connectors.lims.framing import frame
from tests.connectors.lims.doors import Store, answer_from, connected, listening
from tests.connectors.lims.orders import ORDER, numbered


def test_a_store_that_hangs_is_given_up_without_an_answer() -> None:
    store = Store()
    store.delay_seconds = 30

    async def talk() -> bytes:
        limits = ListenerLimits(keep_seconds=0.2)
        async with listening(store.keep, limits) as listener, connected(listener.port) as (reader, writer):
            writer.write(frame(ORDER.encode()))
            return await answer_from(reader)

    assert asyncio.run(talk()) == b""


def test_a_slow_peer_is_closed_and_hurts_nobody() -> None:
    store = Store()

    async def talk() -> int:
        limits = ListenerLimits(frame_seconds=0.3, idle_seconds=0.6)
        async with listening(store.keep, limits) as listener:
            async with connected(listener.port) as (slow, drip), connected(listener.port) as (idle, _):
                drip.write(b"\x0bMSH|")
                async with connected(listener.port) as (reader, writer):
                    writer.write(frame(ORDER.encode()))
                    assert b"MSA|AA|M1" in await answer_from(reader)
                for _ in range(5):
                    await asyncio.sleep(0.1)
                    drip.write(b"x")
                assert await answer_from(slow) == b""
                assert await answer_from(idle) == b""
            return listener.counts["connections closed: message too slow"] + listener.counts["connections closed: idle"]

    assert asyncio.run(talk()) == 2


def test_a_peer_that_never_takes_its_answers_is_closed() -> None:
    async def keep(_raw: bytes) -> bytes:
        return b"MSA|AA|" + b"x" * 1_000_000

    async def talk() -> int:
        limits = ListenerLimits(answer_seconds=0.3)
        async with listening(keep, limits) as listener, connected(listener.port) as (_, writer):
            writer.write(frame(b"MSH|1") * 20)
            async with asyncio.timeout(10):
                while not listener.counts["connections closed: answer not taken"]:  # noqa: ASYNC110 (a count is no event)
                    await asyncio.sleep(0.05)
            return listener.counts["connections closed: answer not taken"]

    assert asyncio.run(talk()) == 1


def test_when_the_door_is_full_the_longest_idle_connection_makes_room() -> None:
    store = Store()

    async def talk() -> None:
        limits = ListenerLimits(connections=3, connections_a_host=3, spare_seconds=0)
        async with listening(store.keep, limits) as listener:
            peers = [await asyncio.open_connection("127.0.0.1", listener.port) for _ in range(3)]
            for reader, writer in (peers[2], peers[0]):
                writer.write(frame(ORDER.encode()))
                await answer_from(reader)
            async with connected(listener.port) as (reader, writer):
                writer.write(frame(ORDER.encode()))
                assert b"MSA|AA|M1" in await answer_from(reader)
                assert await answer_from(peers[1][0]) == b""
                peers[2][1].write(frame(ORDER.encode()))
                assert b"MSA|AA|M1" in await answer_from(peers[2][0])
            for _, other in peers:
                other.close()

    asyncio.run(talk())


def test_a_door_full_of_busy_peers_refuses_one_more() -> None:
    async def talk() -> None:
        limits = ListenerLimits(connections=2, spare_seconds=0)
        async with listening(Store().keep, limits) as listener:
            peers = [await asyncio.open_connection("127.0.0.1", listener.port) for _ in range(2)]
            for _, writer in peers:
                writer.write(b"\x0bMSH|half a message")
            await asyncio.sleep(0.1)
            async with connected(listener.port) as (reader, _):
                assert await answer_from(reader) == b""
            assert listener.counts["connections refused: full"] == 1
            for _, writer in peers:
                writer.close()

    asyncio.run(talk())


def test_a_peer_that_just_spoke_keeps_its_place() -> None:
    async def talk() -> None:
        limits = ListenerLimits(connections_a_host=1)
        async with listening(Store().keep, limits) as listener, connected(listener.port) as (reader, writer):
            writer.write(frame(ORDER.encode()))
            await answer_from(reader)
            async with connected(listener.port) as (late, _):
                assert await answer_from(late) == b""
            writer.write(frame(ORDER.encode()))
            assert b"MSA|AA|M1" in await answer_from(reader)

    asyncio.run(talk())


def test_unfinished_messages_together_take_no_more_memory_than_allowed() -> None:
    async def talk() -> None:
        limits = ListenerLimits(unfinished_bytes=1_000_000)
        async with listening(Store().keep, limits) as listener:
            peers = [await asyncio.open_connection("127.0.0.1", listener.port) for _ in range(3)]
            for _, writer in peers:
                writer.write(b"\x0bMSH|" + b"x" * 400_000)
            reads = [asyncio.create_task(reader.read(1)) for reader, _ in peers]
            await asyncio.wait(reads, timeout=5, return_when=asyncio.FIRST_COMPLETED)
            assert listener.counts["connections closed: memory full"] == 1
            assert sum(read.done() for read in reads) == 1
            for _, writer in peers:
                writer.close()
            await asyncio.gather(*reads, return_exceptions=True)

    asyncio.run(talk())


def test_a_browser_at_the_wrong_door_is_sent_away() -> None:
    async def talk() -> int:
        async with listening(Store().keep) as listener, connected(listener.port) as (reader, writer):
            writer.write(b"GET / HTTP/1.1\r\n" * 10_000)
            assert await answer_from(reader) == b""
            return listener.counts["connections closed: not MLLP"]

    assert asyncio.run(talk()) == 1


def test_the_network_is_asked_whether_a_silent_peer_still_lives() -> None:
    async def talk() -> list[int]:
        async with listening(Store().keep) as listener, connected(listener.port) as (reader, writer):
            writer.write(frame(numbered(1)))
            await answer_from(reader)
            [held] = listener._house.connections
            served = held._transport.get_extra_info("socket")
            return [
                served.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE),
                served.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE),
            ]

    assert asyncio.run(talk()) == [1, 60]


def test_bytes_that_only_ask_whether_we_are_there_are_answered_by_nothing_and_hurt_nothing() -> None:
    async def talk() -> Counter[str]:
        async with listening(Store().keep) as listener, connected(listener.port) as (reader, writer):
            for probe in (b"\0", b"\r\n", b"\x0b\x1c\r", b" ", b"\x1c\r"):
                writer.write(probe)
                await writer.drain()
                await asyncio.sleep(0.02)
            writer.write(frame(ORDER.encode()))
            assert b"MSA|AA|M1" in await answer_from(reader)
            await listener.stop()
            return listener.counts

    counts = asyncio.run(talk())
    assert (counts["frames answered"], counts["junk bytes"], counts["frames torn"]) == (1, 0, 0)
