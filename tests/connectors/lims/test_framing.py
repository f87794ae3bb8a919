"""MLLP frames are found however their bytes travel."""

import time
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from connectors.lims.framing import FRAME_BYTES_MOST, Deframer, FrameRefused, frame
from models.errors import RejectedError

LIMIT = 64
PAYLOADS = st.builds(
    lambda body, end: b"MSH|" + body + end,
    st.binary(max_size=40).map(lambda body: body.replace(b"\x1c", b"").replace(b"\x0b", b"\x0b ")),
    st.sampled_from([b"\r", b"\n", b""]),
)
FILLINGS = st.sampled_from([b"", b"\r", b"\0", b"\r\n\r\n", b" ", b"\x1c", b"\x0b\x1c\r"])


def read(chunks: list[bytes], limit: int = LIMIT) -> list[bytes | FrameRefused]:
    deframer = Deframer(limit)
    return [ended for chunk in chunks for ended in deframer.feed(chunk)]


def cut(stream: bytes, places: list[int]) -> list[bytes]:
    at = sorted({0, len(stream), *(place % (len(stream) + 1) for place in places)})
    return [stream[a:b] for a, b in pairwise(at)]


@given(st.lists(st.tuples(PAYLOADS, FILLINGS)), st.lists(st.integers(min_value=0, max_value=2000)))
def test_frames_are_the_same_wherever_the_stream_is_cut(sent: list[tuple[bytes, bytes]], places: list[int]) -> None:
    stream = b"".join(frame(payload) + filling for payload, filling in sent)
    assert read(cut(stream, places)) == [payload for payload, _ in sent]


PIECES = st.lists(
    st.sampled_from(
        [b"\x0b", b"\x1c", b"\r", b"\n", b"\0", b"MSH|", b"M", b"S", b"FHS", b"\xef\xbb\xbf", b"x" * 30, b"|^~\\&"]
    )
)


@given(PIECES, st.lists(st.integers(min_value=0, max_value=2000)))
@example(pieces=[b"\x0b", b"x" * 30, b"x" * 30, b"x" * 30, b"\r", b"\x0b", b"MSH|", b"\x1c"], places=[95, 96, 97])
@example(pieces=[b"\x0b", b"\r" * 100, b"\x1c"], places=[80])
def test_no_garbage_is_read_differently_byte_by_byte(pieces: list[bytes], places: list[int]) -> None:
    stream = b"".join(pieces)
    whole, by_byte, anyhow = Deframer(LIMIT), Deframer(LIMIT), Deframer(LIMIT)
    expected = whole.feed(stream)
    assert [ended for byte in stream for ended in by_byte.feed(bytes([byte]))] == expected
    assert [ended for chunk in cut(stream, places) for ended in anyhow.feed(chunk)] == expected
    assert (whole.junk, whole.torn, whole.partial) == (by_byte.junk, by_byte.torn, by_byte.partial)
    assert (whole.junk, whole.torn, whole.partial) == (anyhow.junk, anyhow.torn, anyhow.partial)


@pytest.mark.parametrize(
    ("stream", "expected"),
    [
        (b"\x0bMSH|a\r\x1c\x0bMSH|b\r\x1c", [b"MSH|a\r", b"MSH|b\r"]),
        (b"\x0bMSH|a\r\x1c\0\x0bMSH|b\r\x1c\0", [b"MSH|a\r", b"MSH|b\r"]),
        (b"hello\r\n\x0bMSH|a\x1c\r", [b"MSH|a"]),
        (b"\x0bMSH|a\r\x0bMSH|b\r\x1c\r", [b"MSH|a\r", b"MSH|b\r"]),
        (b"\x0b\xef\xbb\xbfMSH|a\r\x0b\xef\xbb\xbfMSH|b\x1c\r", [b"\xef\xbb\xbfMSH|a\r", b"\xef\xbb\xbfMSH|b"]),
        (b"\r\n\r\n\0\0  \x0bMSH|a\r\x1c\r\r\r", [b"MSH|a\r"]),
        (b"\x0b\x1c\r\x0b\r\n\x1c\r\x0bMSH|a\x1c\r", [b"MSH|a"]),
        (b"\x0bnot HL7 at all\x1c\r", [b"not HL7 at all"]),
    ],
    ids=["no CR", "NUL for CR", "text before", "no FS", "no FS, BOM", "probes", "empty frames", "not HL7"],
)
def test_a_careless_peer_is_understood(stream: bytes, expected: list[bytes]) -> None:
    assert read([stream]) == expected


def test_a_vertical_tab_inside_text_does_not_split_a_message() -> None:
    payload = b"MSH|\rOBX|1|TX|||first line\x0bsecond line\r"
    assert read([frame(payload)]) == [payload]


def test_a_message_torn_by_the_next_is_counted_and_never_half_read() -> None:
    deframer = Deframer()
    assert deframer.feed(b"\x0bMSH|a\rSPM|1|26H0048\x0bMSH|b\r\x1c\r") == [b"MSH|b\r"]
    assert deframer.torn == 1


def test_a_frame_at_the_limit_passes_and_a_larger_one_is_refused_with_its_beginning() -> None:
    fits, too_large = b"MSH|" + b"x" * 60, b"MSH|" + b"x" * 61
    assert read([frame(fits), frame(too_large), frame(fits)]) == [
        fits,
        FrameRefused(size=65, limit=64, opening=too_large[:64]),
        fits,
    ]


def test_an_endless_frame_does_not_grow_in_memory() -> None:
    deframer = Deframer(limit=100_000)
    chunk = b"x" * 65_536
    deframer.feed(b"\x0bMSH|")
    for _ in range(100):
        deframer.feed(chunk)
    assert deframer.partial
    assert deframer.feed(b"\x1c") == [FrameRefused(4 + 6_553_600, 100_000, b"MSH|" + b"x" * 4092)]


def test_thirty_megabytes_take_linear_time() -> None:
    payload = b"MSH|" + b"QUJD" * 7_000_000
    stream = frame(payload)
    started = time.process_time()
    assert read(cut(stream, list(range(0, len(stream), 65_536))), 2**25) == [payload]
    assert time.process_time() - started < 5


def test_bytes_outside_frames_are_counted_but_probes_are_not() -> None:
    deframer = Deframer()
    deframer.feed(b"\r\n\0GET / HTTP/1.1\r\n")
    assert deframer.junk == len("GET/HTTP/1.1")


@pytest.mark.parametrize("limit", [0, -1, FRAME_BYTES_MOST + 1])
def test_an_impossible_limit_is_named(limit: int) -> None:
    with pytest.raises(RejectedError, match=str(FRAME_BYTES_MOST)):
        Deframer(limit)


def test_a_payload_that_would_end_its_own_frame_is_not_sent() -> None:
    with pytest.raises(RejectedError, match="1C"):
        frame(b"MSH|\x1c")
