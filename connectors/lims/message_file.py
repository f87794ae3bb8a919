"""What a file of HL7 holds: one message or many, framed or bare, in a batch or not; or no HL7 at all.

A file is read in portions, so its size costs time and no memory; only one message at a time is held.
"""

import codecs
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import chain
from typing import BinaryIO, Final

from connectors.lims.framing import END, FRAME_BYTES_MOST, START, Deframer, FrameRefused

_PORTION: Final = 1024 * 1024
_BLANK: Final = b"\r\n\t \0"
_BOM: Final = b"\xef\xbb\xbf"
_NAMES: Final = rb"(?:MSH|FHS|BHS|BTS|FTS)[^A-Za-z0-9\r\n]"
# A header at the beginning of a line, whatever ended the line before it.
_HEADER: Final = re.compile(rb"(?:\A[\r\n\t \0]*|[\r\n\0\x0b\x1c])(?:\xef\xbb\xbf)?(?=" + _NAMES + rb")")
_FRAME: Final = re.compile(START + rb"(?:\xef\xbb\xbf)?(?=" + _NAMES + rb")")
_LINE_END: Final = re.compile(rb"\r\n|\r|\n")
_NAME_BYTES: Final = 3
_LONGEST_HEADER: Final = 16
_OPENING_BYTES: Final = 4096
_FILLING: Final = b"\r\n\t \0" + START + END
_NO_HL7: Final = "The file is no HL7 version 2: no line in it begins with MSH."
_WIDE: Final = "The text is 16-bit Unicode, which no HL7 is in: save the file as UTF-8."
_WIDE_BEGINS: Final = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE, "MSH".encode("utf-16-le"), "MSH".encode("utf-16-be"))
_ONLY_A_BATCH: Final = "The file holds no message: only the header or the trailer of a batch."
_BATCH_BEGINS: Final = (b"FHS", b"BHS")
_BATCH_ENDS: Final = (b"BTS", b"FTS")


@dataclass(frozen=True, slots=True)
class Piece:
    """One message of a file, as a door would get it; or, with a ``fault``, what could not be got out of the file.

    ``batch`` says that it stood between FHS or BHS and their trailers; ``framed_batch``, that the whole batch stood in
    one MLLP frame. ``left_out`` counts the bytes before it, or after the last one, that belong to no message.
    """

    raw: bytes
    framed: bool = False
    batch: bool = False
    framed_batch: bool = False
    left_out: int = 0
    refused: FrameRefused | None = None
    fault: str = ""


def pieces(stream: BinaryIO) -> Iterator[Piece]:
    """Yield every message of a file, in order; exactly one piece, with a fault, when there is none.

    Framed if an MLLP frame begins before any bare header does. Time is linear in the size.
    """
    opening = stream.read(_PORTION)
    if not opening.strip(_BLANK):
        yield Piece(b"", fault="The file is empty.")
        return
    frame, header = _FRAME.search(opening), _HEADER.search(opening)
    # A VT before a header is found by both.
    framed = frame is not None and (header is None or frame.start() <= header.start())
    count = 0
    for piece in _framed(_portions(opening, stream)) if framed else _bare(_portions(opening, stream)):
        count += 1
        yield piece
    if count == 0:
        no_hl7 = _WIDE if opening.startswith(_WIDE_BEGINS) else _NO_HL7
        yield Piece(b"", framed=framed, fault=no_hl7 if header is None else _ONLY_A_BATCH)


def _portions(opening: bytes, stream: BinaryIO) -> Iterator[bytes]:
    yield opening
    while portion := stream.read(_PORTION):
        yield portion


def _framed(portions: Iterable[bytes]) -> Iterator[Piece]:
    """Yield what a door would hear if the file came in at it."""
    deframer, junk, held = Deframer(FRAME_BYTES_MOST), 0, None
    # A last frame without an end is ended by the end of the file.
    for portion in chain(portions, (END,)):
        for piece in chain.from_iterable(map(_of_frame, deframer.feed(portion))):
            if held is not None:
                yield held
            held = replace(piece, left_out=deframer.junk - junk)
            junk = deframer.junk
    if held is not None:
        # What stands after the last message is told with it.
        yield replace(held, left_out=held.left_out + deframer.junk - junk)
    if deframer.torn:
        often = "once" if deframer.torn == 1 else f"{deframer.torn} times"
        cut = f"The next frame cut off the one before it, {often}. A door never answers what was cut."
        yield Piece(b"", framed=True, fault=cut)


def _of_frame(found: bytes | FrameRefused) -> Iterator[Piece]:
    if isinstance(found, FrameRefused):
        yield Piece(b"", framed=True, refused=found)
    elif found.lstrip(_BLANK).removeprefix(_BOM).lstrip(_BLANK)[:3] in _BATCH_BEGINS:
        for piece in _bare((found,)):
            yield replace(piece, framed=True, framed_batch=True)
    else:
        yield Piece(found, framed=True)


def _bare(portions: Iterable[bytes]) -> Iterator[Piece]:
    """Yield the messages of a text, cut before each line that begins with a header."""
    buffer, searched, begun, sorter = bytearray(), 0, False, _Sorter()
    for portion in portions:
        buffer += portion
        while found := _HEADER.search(buffer, searched):
            yield from sorter.sort(bytes(buffer[: found.start()]), begun=begun)
            # From here on the buffer begins with a header's own name.
            del buffer[: found.end()]
            searched, begun = _NAME_BYTES, True
        if len(buffer) > FRAME_BYTES_MOST:
            # Too large to be kept by any door: only its beginning is, and its size.
            sorter.drop(bytes(buffer[:-_LONGEST_HEADER]))
            del buffer[:-_LONGEST_HEADER]
        searched = max(min(searched, _NAME_BYTES), len(buffer) - _LONGEST_HEADER)
    yield from sorter.sort(bytes(buffer), begun=begun)


class _Sorter:
    """Tell messages from a batch's own lines and from what stands before the first of either."""

    def __init__(self) -> None:
        self._in_batch = False
        self._left_out = 0
        self._dropped = 0
        self._opening = b""

    def drop(self, text: bytes) -> None:
        """Take the beginning of something that is larger than any message may be."""
        self._opening = self._opening or text[:_OPENING_BYTES]
        self._dropped += len(text)

    def sort(self, text: bytes, *, begun: bool) -> Iterator[Piece]:
        """Yield the message that this is, if it has begun with a header's name."""
        size, opening = self._dropped + len(text), self._opening or text[:_OPENING_BYTES]
        self._dropped, self._opening = 0, b""
        name = opening[:_NAME_BYTES] if begun else b""
        if name in _BATCH_BEGINS or name in _BATCH_ENDS:
            self._in_batch = name in _BATCH_BEGINS
        elif name != b"MSH":
            self._left_out += len(text.strip(_BLANK))
        elif size > FRAME_BYTES_MOST:
            yield Piece(b"", batch=self._in_batch, refused=FrameRefused(size, FRAME_BYTES_MOST, opening))
        else:
            end = _LINE_END.search(text)
            whole = text.rstrip(_FILLING) + (end.group() if end else b"\r")
            yield Piece(whole, batch=self._in_batch, left_out=self._left_out)
            self._left_out = 0
