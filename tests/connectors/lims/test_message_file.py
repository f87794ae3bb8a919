"""Every message of a file is found, however the file was written; what is no message is said."""

from io import BytesIO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.lims.framing import FRAME_BYTES_MOST
from connectors.lims.message_file import Piece, pieces
from tests.connectors.lims.hl7_files import ORDER, framed


def found(data: bytes) -> list[Piece]:
    return list(pieces(BytesIO(data)))


@pytest.mark.parametrize(
    "written",
    [
        pytest.param(ORDER * 3, id="bare"),
        pytest.param(ORDER.replace(b"\r", b"\n") * 3, id="LF"),
        pytest.param(ORDER.replace(b"\r", b"\r\n") * 3, id="CRLF"),
        pytest.param((ORDER + b"\r\r\n") * 3, id="blank lines between"),
        pytest.param(b"\xef\xbb\xbf" + ORDER * 3, id="BOM"),
        pytest.param(ORDER + b"\x1c\r" + ORDER + b"\x1c\0" + ORDER, id="FS and no VT"),
        pytest.param(ORDER * 2 + ORDER.rstrip(b"\r"), id="no last CR"),
        pytest.param(framed(ORDER, ORDER, ORDER), id="framed"),
        pytest.param(framed(ORDER, ORDER, ORDER)[:-2], id="no last FS"),
        pytest.param(b"\r\n" + framed(ORDER, ORDER) + b"\0\0" + framed(ORDER), id="framed, with filling"),
    ],
)
def test_three_messages_are_three_however_they_are_written(written: bytes) -> None:
    assert [piece.raw.replace(b"\r\n", b"\r").replace(b"\n", b"\r").rstrip() for piece in found(written)] == [
        ORDER.rstrip()
    ] * 3
    assert all(piece.fault == "" and piece.left_out == 0 and not piece.batch for piece in found(written))


def test_a_batch_is_taken_apart_and_each_message_says_that_it_came_in_one() -> None:
    batch = b"FHS|^~\\&|A\rBHS|^~\\&|B\r" + ORDER * 2 + b"BTS|2\rFTS|1\r"
    assert [(piece.raw, piece.batch, piece.framed_batch) for piece in found(batch)] == [(ORDER, True, False)] * 2
    assert [(piece.raw, piece.batch, piece.framed_batch) for piece in found(framed(batch))] == [(ORDER, True, True)] * 2
    assert [piece.batch for piece in found(batch + ORDER)] == [True, True, False]
    (nothing,) = found(b"FHS|^~\\&|A\rFTS|0\r")
    assert "only the header" in nothing.fault


def test_what_is_no_hl7_is_one_piece_with_one_sentence() -> None:
    assert [piece.fault for piece in found(b"\r\n \0")] == ["The file is empty."]
    for other in (b"%PDF-1.7 and so on", b"PID|1||A1\r", b"\x0b\x1c\r", b"MSHX is no header\r", bytes(range(256))):
        (piece,) = found(other)
        assert "no HL7" in piece.fault


def test_bytes_beside_messages_are_counted_and_a_torn_frame_is_said() -> None:
    assert [(one.raw, one.left_out) for one in found(b"Dear Ann,\r\n\r\n" + ORDER)] == [(ORDER, 9)]
    assert [(one.raw, one.left_out) for one in found(b"hello" + framed(ORDER) + b"bye")] == [(ORDER, 8)]
    whole, torn = found(b"\x0b" + ORDER[:90] + framed(ORDER))
    assert (whole.raw, torn.raw) == (ORDER, b"")
    assert "cut off" in torn.fault


@pytest.mark.parametrize("write", [lambda large: large + ORDER, lambda large: framed(large, ORDER)])
def test_a_message_beyond_every_limit_is_measured_not_held_and_the_next_is_read(write: object) -> None:
    large = ORDER + b"OBX|2|ED|X||" + b"A" * FRAME_BYTES_MOST + b"\r"
    assert callable(write)
    refused, next_one = found(write(large))
    assert refused.refused is not None
    assert refused.refused.size >= FRAME_BYTES_MOST
    assert refused.refused.opening.startswith(b"MSH|")
    assert len(refused.refused.opening) <= 4096
    assert next_one.raw == ORDER


@given(st.lists(st.one_of(st.binary(max_size=40), st.sampled_from([ORDER, b"\x0b", b"\x1c", b"\r", b"\n", b"FHS|"]))))
def test_noise_never_stops_it_and_something_is_always_said(parts: list[bytes]) -> None:
    written = b"".join(parts)
    seen = found(written)
    assert seen
    assert sum(len(piece.raw) for piece in seen) <= len(written) + len(seen)
    assert all(piece.raw or piece.fault for piece in seen)
