"""The MLLP door: bytes are kept first, and answered then.

The listener knows nothing of HL7 but where a message ends. ``Keep`` is its whole contract: it
stores a message durably and then says the answer, and whoever crashes in between has promised nothing.
"""

import asyncio
import logging
import ssl
from time import monotonic

from connectors.lims.connection import Connection, House
from connectors.lims.door_terms import Away, Keep, ListenerLimits, Refuse
from connectors.lims.tls import tell_handshake_faults

_log = logging.getLogger(__name__)


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
        self._house = House(keep, refuse, away, limits or ListenerLimits())
        self.counts = self._house.counts
        self.port = 0
        self._server: asyncio.Server | None = None
        self._looking: asyncio.TimerHandle | None = None
        self._fault = ""

    @property
    def open_connections(self) -> int:
        """How many peers are connected now."""
        return len(self._house.connections)

    async def start(self, host: str, port: int, tls: ssl.SSLContext | None = None) -> None:
        """Listen; port 0 takes a free one. ``OSError`` when the port is taken or not ours to open."""
        house = self._house
        handshake = house.limits.handshake_seconds if tls else None
        if tls is not None:
            tell_handshake_faults(tls, self._handshake_failed)
        self._server = await asyncio.get_running_loop().create_server(
            lambda: Connection(house), host, port, ssl=tls, backlog=128, ssl_handshake_timeout=handshake
        )
        self.port = self._server.sockets[0].getsockname()[1]
        self._look()

    async def stop(self, grace_seconds: float = 5.0) -> None:
        """Take no more; let messages that are being stored be answered; then close every connection."""
        self._house.stopping = True
        if self._server is not None:
            self._server.close()
        for connection in tuple(self._house.connections):
            if not connection.answering:
                connection.close("by us")
        await self._house.emptied(grace_seconds)
        for connection in tuple(self._house.connections):
            connection.abort("by us")
        await self._house.emptied(grace_seconds)
        if self._looking is not None:
            self._looking.cancel()

    def _look(self) -> None:
        """End what has lasted too long, and look again in a while: cheaper than a timer for each message."""
        now = monotonic()
        for connection in tuple(self._house.connections):
            if connection.until < now:
                connection.too_late()
        self._looking = asyncio.get_running_loop().call_later(self._house.limits.look_seconds, self._look)

    def _handshake_failed(self, fault: str) -> None:
        """Count it, and say it once until something else is wrong: a peer that can't come in tries again and again."""
        self.counts["handshakes failed"] += 1
        if fault != self._fault:
            self._fault = fault
            _log.warning("MLLP port %d: TLS with a peer failed: %s", self.port, fault)
