"""The MLLP door: bytes are kept first, and answered then.

The listener knows nothing of HL7 but where a message ends. ``Keep`` is its whole contract: it
stores a message durably and returns the answer, and whoever crashes in between has promised nothing.
"""

import asyncio
import logging
import socket
import ssl
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from time import monotonic

from connectors.lims.answers import separate
from connectors.lims.framing import FRAME_BYTES, Deframer, FrameRefused, frame
from connectors.lims.tls import tell_handshake_faults
from models.errors import CoverslipError
from models.failpoint import failpoint

_log = logging.getLogger(__name__)

Keep = Callable[[bytes], Awaitable[bytes | None]]
"""Store one message durably and return its answer: empty for none, ``None`` when it could not be stored."""

Refuse = Callable[[FrameRefused], bytes]
"""Return the answer to a message that was too large to keep, empty for none."""

Away = Callable[[bytes], bytes]
"""Return the answer to a message that could not be stored, for a peer that is to hear it."""

_READ_BYTES = 65_536
# A browser or a port scanner, not a laboratory's system.
_JUNK_BYTES = 65_536
_CLOSE_SECONDS = 2.0
# A peer whose cable was pulled is noticed after two and a half minutes (Linux names).
_PROBES = {socket.TCP_KEEPIDLE: 60, socket.TCP_KEEPINTVL: 30, socket.TCP_KEEPCNT: 3}


@dataclass(frozen=True, slots=True)
class ListenerLimits:
    """How much one peer may ask of the door.

    Attributes
    ----------
    unfinished_bytes
        Of all messages together that have not ended; whoever goes beyond is closed and sends again later.
    idle_seconds
        A connection that says nothing for so long is closed; its peer opens another when it needs one.
    frame_seconds
        From the first byte of a message to its last.
    answer_seconds
        For a peer to take its answer.
    keep_seconds
        For a message to be stored.
    pause_seconds
        After a message could not be stored, new connections are closed at once for so long.
    connections, connections_a_host
        When one more comes, the connection that was idle longest is closed for it; if none was idle for
        ``spare_seconds``, the new one is.
    """

    frame_bytes: int = FRAME_BYTES
    unfinished_bytes: int = 8 * FRAME_BYTES
    idle_seconds: float = 3600.0
    frame_seconds: float = 60.0
    keep_seconds: float = 30.0
    answer_seconds: float = 30.0
    handshake_seconds: float = 10.0
    pause_seconds: float = 1.0
    spare_seconds: float = 10.0
    connections: int = 256
    connections_a_host: int = 128


@dataclass(eq=False, slots=True)
class _Connection:
    """One peer, and when it last began a message or fell silent."""

    host: str
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    deframer: Deframer
    answering: bool = False
    since: float = field(default_factory=monotonic)

    @property
    def idle(self) -> bool:
        """Whether closing it now would cut no message."""
        return not self.answering and not self.deframer.partial


class MllpListener:
    """Serve MLLP until stopped; one message at a time per connection, any number of connections.

    Attributes
    ----------
    counts
        What happened, by name: for metrics, since the start.
    port
        The port listened on, once started.
    """

    def __init__(
        self, keep: Keep, refuse: Refuse, limits: ListenerLimits | None = None, away: Away | None = None
    ) -> None:
        self.counts: Counter[str] = Counter()
        self.port = 0
        self._keep = keep
        self._refuse = refuse
        self._away = away
        self._limits = limits or ListenerLimits()
        self._connections: dict[asyncio.Task[None], _Connection] = {}
        self._server: asyncio.Server | None = None
        self._paused_until = 0.0
        self._stopping = False
        self._fault = ""

    @property
    def open_connections(self) -> int:
        """How many peers are connected now."""
        return len(self._connections)

    async def start(self, host: str, port: int, tls: ssl.SSLContext | None = None) -> None:
        """Listen; port 0 takes a free one. ``OSError`` when the port is taken or not ours to open."""
        handshake = self._limits.handshake_seconds if tls else None
        if tls is not None:
            tell_handshake_faults(tls, self._handshake_failed)
        self._server = await asyncio.start_server(
            self._serve, host, port, ssl=tls, limit=_READ_BYTES, backlog=128, ssl_handshake_timeout=handshake
        )
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self, grace_seconds: float = 5.0) -> None:
        """Take no more; let messages that are being stored be answered; then close every connection."""
        self._stopping = True
        if self._server is not None:
            self._server.close()
        for task, connection in list(self._connections.items()):
            if not connection.answering:
                task.cancel()
        if self._connections:
            await asyncio.wait(list(self._connections), timeout=grace_seconds)
        for task in list(self._connections):
            task.cancel()
        if self._connections:
            await asyncio.wait(list(self._connections), timeout=grace_seconds)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one peer from its first byte to its last."""
        host = writer.get_extra_info("peername")[0]
        task = asyncio.current_task()
        if task is None or not self._admits(host):
            writer.transport.abort()
            return
        self.counts["connections opened"] += 1
        connection = _Connection(host, reader, writer, Deframer(self._limits.frame_bytes))
        self._connections[task] = connection
        _prepare(writer)
        try:
            reason = await self._converse(connection)
            self.counts[f"connections closed: {reason}"] += 1
        except asyncio.CancelledError:
            # Only we cancel: a stop, or a place needed by another. Swallowed, since the task ends here.
            self.counts["connections closed: by us"] += 1
        finally:
            self.counts["junk bytes"] += connection.deframer.junk
            self.counts["frames torn"] += connection.deframer.torn + connection.deframer.partial
            await _close(writer)
            del self._connections[task]

    def _handshake_failed(self, fault: str) -> None:
        """Count it, and say it once until something else is wrong: a peer that can't come in tries again and again."""
        self.counts["handshakes failed"] += 1
        if fault != self._fault:
            self._fault = fault
            _log.warning("MLLP port %d: TLS with a peer failed: %s", self.port, fault)

    def _admits(self, host: str) -> bool:
        """Whether one more connection may be served, making room for it where one is idle."""
        if self._stopping or monotonic() < self._paused_until:
            self.counts["connections refused: store away"] += 1
            return False
        same_host = [task for task, other in self._connections.items() if other.host == host]
        if len(same_host) >= self._limits.connections_a_host:
            return self._make_room(same_host)
        if len(self._connections) >= self._limits.connections:
            return self._make_room(list(self._connections))
        return True

    def _make_room(self, among: list["asyncio.Task[None]"]) -> bool:
        """Close the connection that was idle longest; false when none was idle for long."""
        long_ago = monotonic() - self._limits.spare_seconds
        idle = [
            task
            for task in among
            if self._connections[task].idle and self._connections[task].since <= long_ago and not task.cancelling()
        ]
        if not idle:
            self.counts["connections refused: full"] += 1
            return False
        min(idle, key=lambda task: self._connections[task].since).cancel()
        return True

    async def _converse(self, connection: _Connection) -> str:
        """Read and answer until the conversation ends, and return why it did."""
        while not self._stopping:
            try:
                data = await self._read(connection)
            except TimeoutError:
                return "idle" if connection.idle else "message too slow"
            except OSError:
                return "cut off"
            if not data:
                return "by the peer"
            reason = await self._take(connection, data)
            if reason:
                return reason
        return "by us"

    async def _read(self, connection: _Connection) -> bytes:
        """Return the next bytes, none at the end; ``TimeoutError`` when a message or a silence lasts too long."""
        seconds = self._limits.idle_seconds if connection.idle else self._limits.frame_seconds
        async with asyncio.timeout(connection.since + seconds - monotonic()):
            return await connection.reader.read(_READ_BYTES)

    async def _take(self, connection: _Connection, data: bytes) -> str:
        """Answer every message that these bytes end, in order; return why to stop, or an empty text."""
        was_idle = connection.idle
        found = connection.deframer.feed(data)
        connection.answering = True
        for ended in found:
            reason = await self._answer(connection, ended)
            if reason:
                return reason
        connection.answering = False
        if found or was_idle:
            connection.since = monotonic()
        if connection.deframer.junk > _JUNK_BYTES:
            return "not MLLP"
        return "memory full" if self._overfull(connection) else ""

    def _overfull(self, connection: _Connection) -> bool:
        """Whether this connection's unfinished message takes more memory than is left."""
        # Small messages pass without looking at all the others.
        if connection.deframer.held <= _READ_BYTES:
            return False
        held = sum(other.deframer.held for other in self._connections.values())
        return held > self._limits.unfinished_bytes

    async def _answer(self, connection: _Connection, ended: bytes | FrameRefused) -> str:
        """Keep one message and answer it; return why to stop, or an empty text."""
        if isinstance(ended, FrameRefused):
            self.counts["frames refused: too large"] += 1
            answer: bytes | None = self._refuse(ended)
        else:
            self.counts["frames received"] += 1
            answer = await self._kept(ended)
        if answer is None:
            return "store away"
        return await self._send(connection.writer, b"".join(map(frame, separate(answer)))) if answer else ""

    async def _kept(self, payload: bytes) -> bytes | None:
        """Return the answer to a message that is stored by now, or what its peer is to hear when it is not."""
        try:
            async with asyncio.timeout(self._limits.keep_seconds):
                answer = await self._keep(payload)
        except (TimeoutError, CoverslipError):
            answer = None
        if answer is not None:
            return answer
        self.counts["frames not stored"] += 1
        if self._away is not None:
            return self._away(payload)
        self._paused_until = monotonic() + self._limits.pause_seconds
        return None

    async def _send(self, writer: asyncio.StreamWriter, answer: bytes) -> str:
        """Write one answer until the network has it; return why it could not be, or an empty text."""
        failpoint("listener.before_answer")
        writer.write(answer)
        # Mostly the network has it at once, and nothing is to be waited for.
        if writer.transport.is_closing() or writer.transport.get_write_buffer_size():
            try:
                async with asyncio.timeout(self._limits.answer_seconds):
                    await writer.drain()
            except TimeoutError:
                return "answer not taken"
            except OSError:
                return "cut off"
        failpoint("listener.after_answer")
        self.counts["frames answered"] += 1
        return ""


def _prepare(writer: asyncio.StreamWriter) -> None:
    """Notice peers that vanished, and let ``drain`` wait until the last byte left."""
    writer.transport.set_write_buffer_limits(high=0)
    connected = writer.get_extra_info("socket")
    connected.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in _PROBES.items():
        connected.setsockopt(socket.IPPROTO_TCP, option, value)


async def _close(writer: asyncio.StreamWriter) -> None:
    """Close politely, and without manners when the peer does not let us."""
    try:
        async with asyncio.timeout(_CLOSE_SECONDS):
            writer.close()
            await writer.wait_closed()
    except (TimeoutError, OSError, asyncio.CancelledError):
        # A second cancel means hurry, and a task that ends as cancelled is logged as an error by Python 3.11.
        writer.transport.abort()
