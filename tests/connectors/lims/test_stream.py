"""Streams that were split, merged, corrupted and reordered on their way: every message is answered once or told of."""

import asyncio
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import pairwise

from hypothesis import example, given, settings
from hypothesis import strategies as st

from connectors.lims.answers import acknowledge
from connectors.lims.door_terms import ListenerLimits
from connectors.lims.framing import Deframer, FrameRefused, frame
from connectors.lims.header import read_header
from tests.connectors.lims.doors import NOW, PROFILE, answer_from, connected, listening
from tests.connectors.lims.reference_framer import read_stream

LIMIT = 220

HEADER = "MSH|^~\\&|LIMS|SITEA|COVERSLIP|NET|20261122||{}|M{}|P|2.5.1"
BODIES = st.sampled_from(
    [
        "PID|1||A1\r",
        "OBX|1|TX|||a\x0bb\r",
        "NTE|1||" + "x" * 200 + "\r",
        "\r\rZZZ|1\r",
        "PID|1||A1",
        "OBX|1|TX|||C:\\temp\r",
    ]
)
TYPES = st.sampled_from(["OML^O33", "ADT^A08", "ORU^R01", "ZZZ^Z01"])


@dataclass
class Wire:
    """What one message becomes on its way, and whether it is still whole."""

    raw: bytes
    sent: bytes
    whole: bool = True


def _as_sent(raw: bytes) -> Wire:
    return Wire(raw, frame(raw))


def _without_cr(raw: bytes) -> Wire:
    return Wire(raw, frame(raw)[:-1])


def _with_nul(raw: bytes) -> Wire:
    return Wire(raw, frame(raw)[:-1] + b"\0")


def _twice(raw: bytes) -> Wire:
    return Wire(raw, frame(raw) * 2)


def _after_junk(raw: bytes) -> Wire:
    return Wire(raw, b"\r\nhello\x1c\r" + frame(raw))


def _after_probe(raw: bytes) -> Wire:
    return Wire(raw, b"\0\x0b\x1c\r" + frame(raw))


def _behind_half_of_itself(raw: bytes) -> Wire:
    return Wire(raw, b"\x0b" + raw[: len(raw) // 2] + frame(raw))


def _without_fs(raw: bytes) -> Wire:
    return Wire(raw, b"\x0b" + raw, whole=False)


def _cut(raw: bytes) -> Wire:
    return Wire(raw, frame(raw)[:-7], whole=False)


def _without_vt(raw: bytes) -> Wire:
    return Wire(raw, frame(raw)[1:], whole=False)


def _damaged(raw: bytes) -> Wire:
    return Wire(raw, frame(raw.replace(b"|", b"\0\xff", 3)), whole=False)


DAMAGES = (
    *(_as_sent, _without_cr, _with_nul, _twice, _after_junk, _after_probe),
    *(_behind_half_of_itself, _without_fs, _cut, _without_vt, _damaged),
)
MESSAGES = st.lists(st.tuples(TYPES, BODIES, st.sampled_from(DAMAGES)), min_size=1, max_size=8)
PLACES = st.lists(st.integers(min_value=0, max_value=4000), max_size=12)


@st.composite
def wires(draw: st.DrawFn) -> list[Wire]:
    said = draw(MESSAGES)
    made = [
        damage(f"{HEADER.format(kind, number)}\r{body}".encode()) for number, (kind, body, damage) in enumerate(said)
    ]
    return draw(st.permutations(made))


def pieces(stream: bytes, places: list[int]) -> list[bytes]:
    at = sorted({0, len(stream), *(place % (len(stream) + 1) for place in places)})
    return [stream[a:b] for a, b in pairwise(at)]


@settings(max_examples=300)
@given(wires(), PLACES)
def test_a_stream_is_read_as_the_reference_reads_it(sent: list[Wire], places: list[int]) -> None:
    stream = b"".join(wire.sent for wire in sent)
    deframer = Deframer(LIMIT)
    found = [ended for piece in pieces(stream, places) for ended in deframer.feed(piece)]
    frames, junk, torn = read_stream(stream, LIMIT)
    assert [one.size if isinstance(one, FrameRefused) else one for one in found] == frames
    assert (deframer.junk, deframer.torn + deframer.partial) == (junk, torn)


@settings(max_examples=300)
@given(
    st.lists(
        st.sampled_from([b"\x0b", b"\x1c", b"\r", b"\n", b"\0", b"MSH|", b"FHS", b"BHS|", b"\xef\xbb\xbf", b"x" * 120])
    )
)
@example([b"\x0b", b"\r", b"\x0b", b"MSH|", b"\x1c"])
def test_any_bytes_are_read_as_the_reference_reads_them(said: list[bytes]) -> None:
    stream = b"".join(said)
    deframer = Deframer(LIMIT)
    found = deframer.feed(stream)
    frames, junk, torn = read_stream(stream, LIMIT)
    assert [one.size if isinstance(one, FrameRefused) else one for one in found] == frames
    assert (deframer.junk, deframer.torn + deframer.partial) == (junk, torn)


@dataclass
class Books:
    """What the door kept and what it refused."""

    kept: list[bytes] = field(default_factory=list)
    refused: list[FrameRefused] = field(default_factory=list)

    async def keep(self, raw: bytes) -> bytes:
        self.kept.append(raw)
        return acknowledge(raw, PROFILE, NOW).payload

    def refuse(self, refused: FrameRefused) -> bytes:
        self.refused.append(refused)
        return b"MSH|^~\\&|||||||ACK|R|P|2.5.1\rMSA|AE|refused"


@settings(max_examples=80)
@given(wires(), PLACES)
def test_every_message_is_answered_once_or_refused_with_a_reason_and_none_is_lost(
    sent: list[Wire], places: list[int]
) -> None:
    books = Books()

    async def talk() -> tuple[list[bytes], Counter[str]]:
        limits = ListenerLimits(frame_bytes=LIMIT)
        async with (
            listening(books.keep, limits, refuse=books.refuse) as listener,
            connected(listener.port) as (reader, writer),
        ):
            answers = asyncio.create_task(_all(reader))
            for piece in pieces(b"".join(wire.sent for wire in sent), places):
                writer.write(piece)
                await writer.drain()
                await asyncio.sleep(0)
            writer.write_eof()
            said = await answers
            await listener.stop()
            return said, listener.counts

    answers, counts = asyncio.run(talk())
    frames, junk, torn = read_stream(b"".join(wire.sent for wire in sent), LIMIT)

    # Each frame was kept or refused, in its order, and answered in that order and once.
    assert books.kept == [one for one in frames if isinstance(one, bytes)]
    assert [one.size for one in books.refused] == [one for one in frames if isinstance(one, int)]
    expected = [b"refused" if isinstance(one, int) else read_header(one).control_id for one in frames]
    assert [answer.split(b"\rMSA|", 1)[1].split(b"|")[1].strip() for answer in answers] == expected
    assert all(answer.split(b"\rMSA|", 1)[1][:2] in {b"AA", b"AE"} for answer in answers)

    # What came whole is among them, and what did not is counted.
    whole = Counter(wire.raw for wire in sent if wire.whole and len(wire.raw) <= LIMIT)
    assert whole <= Counter(books.kept)
    assert (counts["junk bytes"], counts["frames torn"]) == (junk, torn)
    assert counts["frames received"] + counts["frames refused: too large"] == counts["frames answered"] == len(answers)


async def _all(reader: asyncio.StreamReader) -> list[bytes]:
    found = []
    with suppress(ConnectionError):
        while answer := await answer_from(reader):
            found.append(answer)
    return found
