"""The connections of one MLLP door: what each peer is doing, and what all may ask for together."""

import asyncio
import socket
from collections import Counter, deque
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from time import monotonic
from typing import Literal, cast

from connectors.lims.answers import separate
from connectors.lims.door_terms import Away, Keep, ListenerLimits, Refuse
from connectors.lims.framing import Deframer, FrameRefused, frame
from models.failpoint import failpoint

# More than one read of a connection.
_SMALL_BYTES = 65_536
# A browser or a port scanner, not a laboratory's system.
_JUNK_BYTES = 65_536
_CLOSE_SECONDS = 2.0
# A peer whose cable was pulled is noticed after two and a half minutes (Linux names).
_PROBES = {socket.TCP_KEEPIDLE: 60, socket.TCP_KEEPINTVL: 30, socket.TCP_KEEPCNT: 3}


@dataclass(eq=False)
class House:
    """What all connections of one door share: who is in, and what they may ask for together."""

    keep: Keep
    refuse: Refuse
    away: Away | None
    limits: ListenerLimits
    counts: Counter[str] = field(default_factory=Counter)
    connections: "set[Connection]" = field(default_factory=set)
    empty: asyncio.Event = field(default_factory=asyncio.Event)
    stopping: bool = False
    paused_until: float = 0.0

    def enter(self, connection: "Connection") -> bool:
        """Let one more connection in if it may be served, making room for it where one is idle."""
        if self.stopping or monotonic() < self.paused_until:
            self.counts["connections refused: store away"] += 1
            return False
        same_host = [other for other in self.connections if other.host == connection.host]
        if len(same_host) >= self.limits.connections_a_host:
            if not self._make_room(same_host):
                return False
        elif len(self.connections) >= self.limits.connections and not self._make_room(list(self.connections)):
            return False
        self.counts["connections opened"] += 1
        self.connections.add(connection)
        self.empty.clear()
        return True

    def _make_room(self, among: "list[Connection]") -> bool:
        """Close the connection that was idle longest; false when none was idle for long."""
        long_ago = monotonic() - self.limits.spare_seconds
        idle = [one for one in among if one.idle and one.since <= long_ago]
        if not idle:
            self.counts["connections refused: full"] += 1
            return False
        min(idle, key=lambda one: one.since).close("by us")
        return True

    def overfull(self, connection: "Connection") -> bool:
        """Whether this connection's unfinished message takes more memory than is left."""
        # Small messages pass without looking at all the others.
        if connection.deframer.held <= _SMALL_BYTES:
            return False
        return sum(other.deframer.held for other in self.connections) > self.limits.unfinished_bytes

    def leave(self, connection: "Connection") -> None:
        """Forget a connection that has ended."""
        self.connections.discard(connection)
        if not self.connections:
            self.empty.set()

    async def emptied(self, seconds: float) -> None:
        """Wait until nobody is left, but not for long."""
        if self.connections:
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self.empty.wait()


class Connection(asyncio.Protocol):
    """One peer. It reads, then has a message kept, then sends its answer, and only then takes the next.

    Attributes
    ----------
    since
        When it last began a message or fell silent.
    until
        When what it does now has lasted too long.
    """

    def __init__(self, house: House) -> None:
        self.host = ""
        self.deframer = Deframer(house.limits.frame_bytes)
        self.since = self.until = 0.0
        self._house = house
        self._transport: asyncio.Transport
        self._doing: Literal["reading", "keeping", "sending", "closing"] = "closing"
        self._ended: deque[bytes | FrameRefused] = deque()
        self._in_hand = b""
        self._number = 0
        self._blocked = self._heard_all = False

    @property
    def idle(self) -> bool:
        """Whether closing it now would cut no message."""
        return self._doing == "reading" and not self.deframer.partial

    @property
    def answering(self) -> bool:
        """Whether a message is being stored or answered."""
        return self._doing in {"keeping", "sending"}

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to read, if this one may come in."""
        self._transport = cast("asyncio.Transport", transport)
        self.host = (transport.get_extra_info("peername") or ("",))[0]
        if not self._house.enter(self):
            self._transport.abort()
            return
        _prepare(self._transport)
        self._read_on()

    def data_received(self, data: bytes) -> None:
        """Take the next bytes; who sends on before its answer is read no further until then."""
        if self._doing == "closing":
            return
        was_idle = self.idle
        self._ended += self.deframer.feed(data)
        if self._doing != "reading":
            self._transport.pause_reading()
        elif self._ended:
            self._go_on()
        else:
            self._read_on(is_new=was_idle)

    def eof_received(self) -> bool:
        """Answer what came, and then close; TLS knows no half of a connection."""
        self._heard_all = True
        if self._doing == "reading":
            self.close("by the peer")
        return self._transport.get_extra_info("sslcontext") is None

    def pause_writing(self) -> None:
        """Note that the network has not taken all of an answer."""
        self._blocked = True

    def resume_writing(self) -> None:
        """Note that it has."""
        self._blocked = False
        if self._doing == "sending":
            self._sent()
            self._go_on()

    def connection_lost(self, error: Exception | None) -> None:
        """Leave; what is being stored is stored."""
        if self not in self._house.connections:
            return
        self._end("cut off" if error else "by the peer")
        self._house.counts["junk bytes"] += self.deframer.junk
        self._house.counts["frames torn"] += self.deframer.torn + self.deframer.partial
        self._house.leave(self)

    def close(self, reason: str) -> None:
        """Close politely, and a little later without manners when the peer does not let us."""
        self._end(reason)
        self._transport.close()

    def abort(self, reason: str) -> None:
        """Close at once."""
        self._end(reason)
        self._transport.abort()

    def too_late(self) -> None:
        """End what has lasted too long."""
        if self._doing == "reading":
            self.close("idle" if self.idle else "message too slow")
        elif self._doing == "keeping":
            self._not_stored()
        elif self._doing == "sending":
            self.close("answer not taken")
        else:
            self._transport.abort()

    def _end(self, reason: str) -> None:
        if self._doing != "closing":
            self._house.counts[f"connections closed: {reason}"] += 1
            self._doing, self.until = "closing", monotonic() + _CLOSE_SECONDS
            self._ended.clear()

    def _read_on(self, *, is_new: bool = True) -> None:
        """Wait for more bytes, now that nothing is to be answered; ``is_new``: of another message than before."""
        self._doing = "reading"
        if is_new:
            limits = self._house.limits
            self.since = monotonic()
            self.until = self.since + (limits.frame_seconds if self.deframer.partial else limits.idle_seconds)
        if self._house.stopping:
            self.close("by us")
        elif self.deframer.junk > _JUNK_BYTES:
            self.close("not MLLP")
        elif self._house.overfull(self):
            self.close("memory full")
        elif self._heard_all:
            self.close("by the peer")
        else:
            self._transport.resume_reading()

    def _go_on(self) -> None:
        """Keep or refuse the next message that has ended; read on when there is none."""
        while self._ended:
            ended = self._ended.popleft()
            if isinstance(ended, FrameRefused):
                self._house.counts["frames refused: too large"] += 1
                if not self._send(self._house.refuse(ended)):
                    return
                continue
            self._house.counts["frames received"] += 1
            self._doing, self.until = "keeping", monotonic() + self._house.limits.keep_seconds
            self._in_hand = ended
            self._number += 1
            self._house.keep(ended, partial(self._kept, self._number))
            return
        self._read_on()

    def _kept(self, number: int, answer: bytes | None) -> None:
        """Answer the message in hand; a word that comes after it was given up is nobody's."""
        if self._doing != "keeping" or number != self._number:
            return
        if answer is None:
            self._not_stored()
        elif self._send(answer):
            self._go_on()

    def _not_stored(self) -> None:
        """Say so to a peer that wants to hear it, and close to any other, and to all for a while."""
        house = self._house
        house.counts["frames not stored"] += 1
        if house.away is None:
            house.paused_until = monotonic() + house.limits.pause_seconds
            self.close("store away")
        elif self._send(house.away(self._in_hand)):
            self._go_on()

    def _send(self, answer: bytes) -> bool:
        """Write one answer; false when the network has not taken it."""
        self._in_hand = b""
        if not answer:
            return True
        failpoint("listener.before_answer")
        self._transport.write(b"".join(map(frame, separate(answer))))
        if self._transport.is_closing():
            self.close("cut off")
        elif self._blocked:
            self._doing, self.until = "sending", monotonic() + self._house.limits.answer_seconds
        else:
            self._sent()
            return True
        return False

    def _sent(self) -> None:
        failpoint("listener.after_answer")
        self._house.counts["frames answered"] += 1


def _prepare(transport: asyncio.Transport) -> None:
    """Notice peers that vanished, and hear of it when the last byte of an answer has left."""
    transport.set_write_buffer_limits(high=0)
    connected = transport.get_extra_info("socket")
    connected.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in _PROBES.items():
        connected.setsockopt(socket.IPPROTO_TCP, option, value)
