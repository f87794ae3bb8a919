"""What people edit of a message changes in it, and nothing else; and what differs is told place by place."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.lims.differences import Difference, differences
from connectors.lims.editable_text import from_readable, readable, with_value
from connectors.lims.message import Message
from models.errors import RefusedError
from tests.connectors.lims.hl7_files import ORDER


@pytest.mark.parametrize(
    ("place", "value", "line"),
    [
        ("PID-3.1", "A9", b"PID|1||A9^^^SITEA^MR||Example^Ada^^^^^L||19640229|F"),
        ("PID-3", "A9^^^X^MR~B1", b"PID|1||A9^^^X^MR~B1||Example^Ada^^^^^L||19640229|F"),
        ("PID-3(2).1", "B1", b"PID|1||A100234^^^SITEA^MR~B1||Example^Ada^^^^^L||19640229|F"),
        ("PID-3.4.2", "X", b"PID|1||A100234^^^SITEA&X^MR||Example^Ada^^^^^L||19640229|F"),
        ("PID-7", "", b"PID|1||A100234^^^SITEA^MR||Example^Ada^^^^^L|||F"),
        ("OBR[1]-7.2", "x", b"OBR|1|P1|26B0001|SLIDE|||^x"),
        ("MSH-10", "MSG2", ORDER.split(b"\r")[0].replace(b"MSG1", b"MSG2")),
    ],
)
def test_one_value_is_set_where_it_was_meant(place: str, value: str, line: bytes) -> None:
    changed = with_value(ORDER, place, value).split(b"\r")
    before = ORDER.split(b"\r")
    assert [new for new, old in zip(changed, before, strict=True) if new != old] == [line]


@pytest.mark.parametrize(
    ("place", "value"),
    [
        *(("PID3", "x"), ("PID-0", "x"), ("", "x"), ("MSH-1", "#"), ("MSH-2", "x")),
        *(("PV1-2", "x"), ("PID[2]-3", "x"), ("PID-5", "a|b"), ("PID-5.1", "a^b"), ("PID-5", "a\rZZZ|b")),
    ],
)
def test_what_would_change_more_than_its_place_is_refused(place: str, value: str) -> None:
    with pytest.raises(RefusedError):
        with_value(ORDER, place, value)


def test_a_letter_is_written_in_the_messages_own_character_set_or_refused() -> None:
    latin = ORDER.replace(b"UNICODE UTF-8", b"8859/1")
    assert b"\xe4^Ada" in with_value(latin, "PID-5.1", "ä")
    assert "ä".encode() in with_value(ORDER, "PID-5.1", "ä")
    with pytest.raises(RefusedError, match="character set"):
        with_value(latin, "PID-5.1", "阿")


@pytest.mark.parametrize("end", [b"\r", b"\n", b"\r\n"])
def test_an_editor_shows_a_segment_a_line_and_gives_back_the_same_bytes(end: bytes) -> None:
    raw = ORDER.replace(b"\r", end).replace(b"Ada", b"A\x0bda\x1b")
    text = readable(raw)
    assert text.count("\n") == ORDER.count(b"\r")
    assert text.replace("\n", "").isprintable()
    assert from_readable(text, raw) == raw
    assert from_readable(text.replace("A100234", "Ä1"), raw) == raw.replace(b"A100234", "Ä1".encode())


@given(st.binary(max_size=200))
def test_whatever_is_shown_comes_back_as_it_was_or_is_not_shown(noise: bytes) -> None:
    for raw in (noise, ORDER + noise, ORDER[:90] + noise + ORDER[90:]):
        try:
            text = readable(raw)
        except RefusedError:
            continue
        assert from_readable(text, raw) == raw


def test_what_differs_is_named_by_its_place() -> None:
    changed = with_value(with_value(ORDER, "PID-3.1", "A9"), "SPM-27", "CASSETTE")
    assert differences(ORDER, changed) == (
        Difference("PID-3.1", "A100234", "A9"),
        Difference("SPM-27", "GLASS", "CASSETTE"),
    )
    assert differences(ORDER, ORDER) == ()
    second = b"SPM|2|26B0001-A1-2\r"
    assert differences(ORDER, ORDER + second) == (Difference("SPM[2]", None, "SPM|2|26B0001-A1-2"),)
    assert differences(ORDER + second, ORDER) == (Difference("SPM[2]", "SPM|2|26B0001-A1-2", None),)
    without = ORDER.replace(b"ORC|NW|P1|26B0001\r", b"")
    assert [one.place for one in differences(ORDER, without)] == ["ORC"]


@given(
    st.lists(st.sampled_from(ORDER.split(b"\r")), max_size=12),
    st.lists(st.sampled_from(ORDER.split(b"\r")), max_size=12),
)
def test_two_messages_differ_exactly_when_something_is_told(one: list[bytes], other: list[bytes]) -> None:
    head = ORDER.split(b"\r")[0]
    before, after = (b"\r".join([head, *lines]) for lines in (one, other))
    lines = [[segment.line for segment in Message(raw).segments] for raw in (before, after)]
    in_order = lines[0] == lines[1]
    assert bool(differences(before, after)) != in_order or sorted(lines[0]) == sorted(lines[1])


def test_a_segment_that_is_not_there_is_called_so() -> None:
    with pytest.raises(RefusedError, match="the message has no segment PV1"):
        with_value(ORDER, "PV1-2", "x")
    with pytest.raises(RefusedError, match="the message has only 1 of the segment PID"):
        with_value(ORDER, "PID[2]-3", "x")
