"""MLLP: where one message ends and the next begins in a stream of bytes.

A frame is VT, the message, FS, CR (HL7 Implementation Guide, Transport Specification: MLLP,
release 1). Real peers leave out the CR, write NUL for it, probe with single bytes, or forget the FS:
a stream is read as generously as can be done without ever guessing what a message says.
"""

import re
from dataclasses import dataclass

from models.errors import RejectedError

START = b"\x0b"
END = b"\x1c"
FRAME_BYTES = 32 * 1024 * 1024
FRAME_BYTES_MOST = 64 * 1024 * 1024

# Enough of a refused message to find its MSH and answer it.
_OPENING_BYTES = 4096
# What peers write between frames: the CR of the last one, NUL for CR, blank lines, keep-alive probes.
_FILLING = b"\r\n\0 \t" + END
# A VT may stand in text pasted from a word processor, so only one before a header starts a frame.
_NEXT_START = re.compile(START + rb"(?=(?:\xef\xbb\xbf)?(?:MSH|FHS|BHS))")
_LONGEST_BOUNDARY = len(START + b"\xef\xbb\xbf" + b"MSH")


@dataclass(frozen=True, slots=True)
class FrameRefused:
    """A frame that was too large: read to its end and thrown away, except for its first bytes."""

    size: int
    limit: int
    opening: bytes


class Deframer:
    """Find the frames in a stream, however it was cut on its way; time linear in the bytes.

    A frame ends at FS. When a header follows a VT before any FS came, the earlier text is a
    frame if it ends a line, and otherwise the torn rest of one: thrown away and counted, since its
    sender was never answered and still holds it.

    Attributes
    ----------
    junk
        Bytes outside frames that no peer has a reason to send.
    torn
        Frames that another one cut off.
    """

    def __init__(self, limit: int = FRAME_BYTES) -> None:
        if not 0 < limit <= FRAME_BYTES_MOST:
            message = f"a frame limit of {limit} bytes is not possible: set 1 to {FRAME_BYTES_MOST}"
            raise RejectedError(message)
        self.junk = 0
        self.torn = 0
        self._limit = limit
        self._buffer = bytearray()
        self._scanned = 0
        self._inside = False
        self._dropped = 0
        self._opening = b""

    @property
    def partial(self) -> bool:
        """Whether the stream stands inside a frame."""
        return self._inside

    @property
    def held(self) -> int:
        """Bytes kept in memory of the frame that has not ended."""
        return len(self._buffer)

    def feed(self, data: bytes) -> list[bytes | FrameRefused]:
        """Take the next bytes and return what ended with them, in order; empty frames vanish."""
        self._buffer += data
        found: list[bytes | FrameRefused] = []
        while self._inside or self._enter():
            at = self._boundary()
            if at < 0:
                self._keep_within_limit()
                break
            ended = self._leave(at)
            if ended is not None:
                found.append(ended)
        return found

    def _enter(self) -> bool:
        """Step over what stands between frames; false when no frame has begun."""
        start = self._buffer.find(START)
        between = self._buffer if start < 0 else self._buffer[:start]
        self.junk += len(between.translate(None, _FILLING))
        if start < 0:
            self._buffer.clear()
            return False
        del self._buffer[: start + 1]
        self._inside, self._scanned, self._dropped, self._opening = True, 0, 0, b""
        return True

    def _boundary(self) -> int:
        """Return where the frame ends, at its FS or at the VT of the next; -1 when neither came yet."""
        # A search for one byte is a hundred times as fast as one for either of two.
        end = self._buffer.find(END, self._scanned)
        until = len(self._buffer) if end < 0 else end
        if self._buffer.find(START, self._scanned, until) < 0:
            return end
        start = _NEXT_START.search(self._buffer, self._scanned, until)
        return end if start is None else start.start()

    def _leave(self, at: int) -> bytes | FrameRefused | None:
        """Cut the frame that ends here; None when there is nothing worth handing on."""
        ended = self._buffer[at] == END[0]
        # Copied once.
        with memoryview(self._buffer) as whole:
            payload = bytes(whole[:at])
        del self._buffer[: at + 1]
        # A VT ends one frame and has begun the next.
        self._inside, self._scanned = not ended, 0
        size, opening = self._dropped + len(payload), self._opening or self._first(payload)
        self._dropped, self._opening = 0, b""
        if not ended and payload and not payload.endswith((b"\r", b"\n")):
            self.torn += 1
            return None
        if size > self._limit:
            return FrameRefused(size, self._limit, opening)
        # Stripping copies: the first bytes of a large message tell as much.
        return payload if payload[:_OPENING_BYTES].strip(_FILLING) or payload.strip(_FILLING) else None

    def _keep_within_limit(self) -> None:
        """Remember how far was read, and hold no more than the limit."""
        if self._dropped + len(self._buffer) > self._limit:
            self._opening = self._opening or self._first(self._buffer)
            surplus = len(self._buffer) - _LONGEST_BOUNDARY
            if surplus > 0:
                self._dropped += surplus
                del self._buffer[:surplus]
        self._scanned = max(0, len(self._buffer) - _LONGEST_BOUNDARY)

    def _first(self, text: bytes | bytearray) -> bytes:
        return bytes(text[: min(self._limit, _OPENING_BYTES)])


def frame(payload: bytes) -> bytes:
    """Return the payload as one MLLP frame.

    Raises
    ------
    RejectedError
        When the payload holds the byte that ends a frame: the receiver would read half a message.
    """
    if END in payload:
        message = "an HL7 message holds the byte 1C, which ends an MLLP frame: write it as \\X1C\\"
        raise RejectedError(message)
    return START + payload + END + b"\r"
