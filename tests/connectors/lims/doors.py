"""A listener on a free port, and peers that behave as badly as real ones."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime

from connectors.lims import answers
from connectors.lims.answers import acknowledge
from connectors.lims.door_terms import Keep, ListenerLimits, Say
from connectors.lims.framing import FrameRefused
from connectors.lims.listener import MllpListener
from connectors.lims.profile import Profile

PROFILE = Profile()
NOW = datetime(2026, 11, 22, 9, 15, tzinfo=UTC)
Peer = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Store:
    """A store that keeps messages in a list; ``away`` while it is."""

    def __init__(self) -> None:
        self.kept: list[bytes] = []
        self.away = False
        self.delay_seconds = 0.0

    async def keep(self, raw: bytes) -> bytes | None:
        if self.delay_seconds:
            await asyncio.sleep(self.delay_seconds)
        if self.away:
            return None
        self.kept.append(raw)
        return acknowledge(raw, PROFILE, NOW).payload


def refused(frame: FrameRefused) -> bytes:
    return answers.refuse(frame, PROFILE, NOW).payload


@asynccontextmanager
async def listening(
    keep: Callable[[bytes], Awaitable[bytes | None]],
    limits: ListenerLimits | None = None,
    tls: ssl.SSLContext | None = None,
    refuse: Callable[[FrameRefused], bytes] = refused,
    away: Callable[[bytes], bytes] | None = None,
) -> AsyncIterator[MllpListener]:
    listener = MllpListener(_saying(keep), refuse, limits, away)
    await listener.start("127.0.0.1", 0, tls)
    try:
        yield listener
    finally:
        await listener.stop(grace_seconds=1.0)


def _saying(keep: Callable[[bytes], Awaitable[bytes | None]]) -> Keep:
    """What keeps a message and then says its answer, made from what returns it."""
    underway: set[asyncio.Task[None]] = set()

    async def keep_and_say(raw: bytes, say: Say) -> None:
        say(await keep(raw))

    def start(raw: bytes, say: Say) -> None:
        task = asyncio.get_running_loop().create_task(keep_and_say(raw, say))
        underway.add(task)
        task.add_done_callback(underway.discard)

    return start


@asynccontextmanager
async def connected(port: int) -> AsyncIterator[Peer]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield reader, writer
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()


async def answer_from(reader: asyncio.StreamReader) -> bytes:
    """Return the next answer without its frame, empty when the connection ended instead."""
    with suppress(asyncio.IncompleteReadError, ConnectionError):
        async with asyncio.timeout(5):
            return (await reader.readuntil(b"\x1c\r")).strip(b"\x0b\x1c\r")
    return b""
