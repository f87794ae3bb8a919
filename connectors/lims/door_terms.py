"""The terms of an MLLP door: who keeps what comes in and gives the answers, and how much one peer may ask."""

from collections.abc import Callable
from dataclasses import dataclass

from connectors.lims.framing import FRAME_BYTES, FrameRefused

Say = Callable[[bytes | None], None]
"""Hear the answer to a message: empty for none, ``None`` when the message could not be stored."""

Keep = Callable[[bytes, Say], None]
"""Store one message durably and say its answer, in the loop's own thread and never before this call has returned."""

Refuse = Callable[[FrameRefused], bytes]
"""Return the answer to a message that was too large to keep, empty for none."""

Away = Callable[[bytes], bytes]
"""Return the answer to a message that could not be stored, for a peer that is to hear it."""

_LOOK_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class ListenerLimits:
    """How much one peer may ask of the door; times are looked at twice a second, or as often as the shortest needs.

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

    @property
    def look_seconds(self) -> float:
        """How often to look whether somebody's time is over."""
        shortest = min(self.idle_seconds, self.frame_seconds, self.keep_seconds, self.answer_seconds)
        return min(_LOOK_SECONDS, shortest / 4)
