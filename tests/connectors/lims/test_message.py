"""A message is read as it was sent, and a broken one is kept."""

import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.lims.header import Delimiters, read_header
from connectors.lims.message import DELETED, Message, MessageLimits, Notation, unescape

HEADER = b"MSH|^~\\&|LIMS|SITEA|COVERSLIP|NET|20261122091500+0000||OML^O33^OML_O33|M1|P|2.5.1"
HL7 = Path(__file__).parents[4] / "shared" / "hl7"


def message(*lines: bytes, charset: bytes = b"", end: bytes = b"\r") -> Message:
    return Message(end.join([HEADER + b"|" * 6 + charset, *lines]) + end)


@pytest.mark.parametrize("end", [b"\r", b"\n", b"\r\n", b"\r\r", b"\n\n", b"\r\n\r\n"])
def test_segments_are_found_whatever_ends_them(end: bytes) -> None:
    read = message(b"PID|1||A1", b"ZZZ|rack 7", end=end)
    assert [segment.name for segment in read.segments] == ["MSH", "PID", "ZZZ"]
    assert read.segments[1].value(3) == "A1"


def test_a_line_feed_inside_a_text_ends_no_segment() -> None:
    read = message(b"OBX|1|TX|1||first\nsecond", b"SAC|||S1")
    assert [segment.name for segment in read.segments] == ["MSH", "OBX", "SAC"]
    assert read.named("OBX")[0].value(5) == "first\nsecond"


def test_a_carriage_return_that_a_framer_left_does_not_hide_line_feeds() -> None:
    read = Message(HEADER + b"\nPID|1||A1\n\r")
    assert [segment.name for segment in read.segments] == ["MSH", "PID"]


@pytest.mark.parametrize("before", [b"\xef\xbb\xbf", b"\r\n\r\n", b" \t", b"\r\n\xef\xbb\xbf\r\n"])
def test_a_byte_order_mark_and_blank_lines_before_msh_are_no_part_of_it(before: bytes) -> None:
    read = Message(before + HEADER)
    assert not read.problem
    assert (read.header.message_type, read.header.control_id) == ("OML^O33", b"M1")


def test_a_message_needs_no_last_separator() -> None:
    assert Message(HEADER + b"\rSAC|||S1").named("SAC")[0].value(3) == "S1"


def test_other_delimiters_are_the_senders_right() -> None:
    read = Message(b"MSH#*!?%#LIMS#S###2026##OML*O33#M1#P#2.5\rPID#1##A1*x%y!A2*?F?z")
    first, second = read.named("PID")[0].repetitions(3)
    assert (first.value(), first.value(2, 2), second.value(2)) == ("A1", "y", "#z")


def test_a_value_that_must_go_is_not_an_empty_one() -> None:
    (pid,) = message(b'PID|1||""^""^x||""').named("PID")
    assert pid.value(5) == DELETED
    assert pid.value(3, 2) == DELETED
    assert pid.value(3, 3) == "x"
    assert pid.value(4) is None
    assert pid.value(50) is None
    assert pid.repetitions(4) == ()


ESCAPES = [
    (r"a\F\b\S\c\T\d\R\e\E\f\P\g", "a|b^c&d~e\\f#g"),
    (r"\X41C3A9\ \H\bold\N\ ", "Aé bold "),
    (r"one\.br\two\.sp2\three\.in+4\ four", "one\ntwo\nthree four"),
    (r"C:\temp\new", r"C:\temp\new"),
    (r"C:\temp\F\x", r"C:\temp|x"),
    (r"\X4\ and \Z12\ and \\", r"\X4\ and \Z12\ and \\"),
    (r"\E\X41\E\ ", "\\X41\\ "),
    (r"\X00\x", "x"),
    (r"\XE9\ ", "é "),
]


@pytest.mark.parametrize(("written", "meant"), ESCAPES)
def test_escapes_mean_what_the_standard_says_and_all_else_stays(written: str, meant: str) -> None:
    assert unescape(written, Notation(Delimiters(), "utf-8")) == meant


@given(st.text(alphabet="\\XFSTE41.br ", max_size=40))
def test_no_run_of_backslashes_stops_the_reading(written: str) -> None:
    meant = unescape(written, Notation(Delimiters(), "utf-8"))
    assert meant == written or "\\" in written


@pytest.mark.parametrize(
    ("charset", "name", "expected"),
    [
        (b"UNICODE UTF-8", "Zoë".encode(), "Zoë"),
        (b"utf8", "Zoë".encode(), "Zoë"),
        (b"8859/1", "Zoë".encode("latin-1"), "Zoë"),
        (b"ISO 8859-1", "Zoë".encode("latin-1"), "Zoë"),
        (b"ISO_IR 100", "Zoë".encode("latin-1"), "Zoë"),
        (b"8859/15~UNICODE UTF-8", "Zo€".encode("iso8859-15"), "Zo€"),
        (b"", "Zoë".encode(), "Zoë"),
        (b"", "Zoë".encode("latin-1"), "Zoë"),
        (b"", "Zoë’".encode("cp1252"), "Zoë’"),
        (b"ASCII", "Zoë".encode(), "Zoë"),
        (b"UNICODE UTF-8", "Zoë".encode("latin-1"), "Zoë"),
        (b"8859/12", "Zoë".encode(), "Zoë"),
        (b"KLINGON", "Zoë".encode(), "Zoë"),
        (b"", b"Zo\x81\xeb", "Zo\x81ë"),
        (b"UNICODE UTF-8", b"Z\0o\0e", "Zoe"),
    ],
)
def test_text_is_read_in_the_character_set_it_is_really_in(charset: bytes, name: bytes, expected: str) -> None:
    assert message(b"PID|1||||" + name, charset=charset).named("PID")[0].value(5) == expected


@pytest.mark.parametrize(
    ("charset", "declared", "expected"),
    [
        ("8859/15", b"", "Zo€"),
        ("8859/1", b"", "Zo¤"),
        ("UNICODE UTF-8", b"8859/15", "Zo€"),
        ("KLINGON", b"", "Zo¤"),
    ],
)
def test_a_sender_that_names_no_character_set_may_have_one_all_the_same(
    charset: str, declared: bytes, expected: str
) -> None:
    raw = message("PID|1||||Zo€".encode("iso8859-15"), charset=declared).raw
    assert Message(raw, charset=charset).named("PID")[0].value(5) == expected


def test_a_wrong_character_set_is_noted_without_quoting_the_text() -> None:
    (note,) = message(b"PID|1||||Zo\xeb", charset=b"UNICODE UTF-8").notes
    assert "MSH-18" in note
    assert "Zo" not in note
    assert "do not know" in message(b"PID|1", charset=b"KLINGON").notes[0]
    assert message("PID|1||||Zoë".encode(), charset=b"UNICODE UTF-8").notes == ()


def test_a_line_break_inside_a_text_loses_nothing() -> None:
    read = message(b"OBX|1|TX|1||first", b"and the second line", b"SAC|||S1")
    assert [segment.name for segment in read.segments] == ["MSH", "OBX", "", "SAC"]
    assert "1 lines are no segments" in read.notes[0]


@pytest.mark.parametrize(
    ("raw", "says", "field"),
    [
        (b"", "begin with MSH", None),
        (b"\x00\xff\xfe", "begin with MSH", None),
        (b"PID|1||A1\r", "begin with MSH", None),
        (b"FHS|^~\\&|LIMS\rBHS|^~\\&\rMSH|", "batch", None),
        (b"MSH", "delimiters", 2),
        (b"MSHX^~\\&X", "delimiters", 2),
        (HEADER.replace(b"|", b"\0"), "delimiters", 2),
        (HEADER.replace(b"^~", b"^\x7f"), "delimiters", 2),
        (b"MSH|^^~\\&|LIMS", "delimiters", 2),
        (b"MSH||LIMS|SITEA|||2026||OML^O33|M1", "", None),
        (HEADER.replace(b"|M1|", b"||"), "MSH-10", 10),
        (HEADER.replace(b"|M1|P|2.5.1", b""), "MSH-10", 10),
        (HEADER.replace(b"|M1|", b"|" + b"x" * 200 + b"|"), "MSH-10", 10),
        (HEADER.replace(b"OML^O33^OML_O33", b""), "MSH-9", 9),
        (HEADER + b"|" + b"x" * 20_000, "separators", None),
        (HEADER + b"\r" + HEADER, "2 messages", None),
    ],
)
def test_a_broken_message_is_still_one_that_can_be_kept(raw: bytes, says: str, field: int | None) -> None:
    read = Message(raw)
    assert read.raw == raw
    assert says in read.problem
    assert bool(read.problem) == bool(says)
    assert read.header.problem_field == field


@given(st.binary(max_size=200))
def test_no_bytes_at_all_raise_at_the_door(raw: bytes) -> None:
    assert isinstance(Message(raw).problem, str)
    assert isinstance(read_header(b"MSH" + raw).message_type, str)


@given(st.binary(max_size=200))
def test_no_body_at_all_raises_when_it_is_read(body: bytes) -> None:
    read = message(body)
    if not read.problem:
        assert all(isinstance(segment.stated(3, 2, 1), str) for segment in read.segments)
        assert isinstance(read.notes, tuple)


@pytest.mark.parametrize(
    ("nine", "expected"),
    [
        (b"OML^O33^OML_O33", "OML^O33"),
        (b"OML^O33", "OML^O33"),
        (b"OML^^OML_O33", "OML^O33"),
        (b"ACK", "ACK"),
        (b"zzz", ""),
        (b"EXAMPLE^ADA", ""),
    ],
)
def test_the_message_type_is_one_or_nothing(nine: bytes, expected: str) -> None:
    assert read_header(HEADER.replace(b"OML^O33^OML_O33", nine)).message_type == expected


@pytest.mark.parametrize(
    "body",
    [
        b"OBX|1|ED|1||" + b"QUJD" * 1_300_000,
        b"OBX|1|ED|1||" + b"\\" * 5_000_000,
        b"OBX|1|ED|1||\\X" + b"41" * 2_500_000,
        b"OBX|1|ED|1||" + b"\\F" * 2_500_000,
    ],
    ids=["base64", "backslashes", "one long escape", "half escapes"],
)
def test_five_megabytes_in_one_field_are_quick(body: bytes) -> None:
    started = time.process_time()
    read = message(body)
    assert read.header.control_id == b"M1"
    at_the_door = time.process_time() - started
    assert not read.problem
    assert len(read.named("OBX")[0].value(5) or "") > 2_400_000
    assert at_the_door < 0.05
    assert time.process_time() - started < 5


def test_more_structure_than_a_laboratory_sends_is_refused_before_it_is_split() -> None:
    few = MessageLimits(segments=3, fields_a_segment=12, parts_a_segment=6)
    assert "4 segments; 3 are" in Message(HEADER + b"\rZZ1\rZZ1\rZZ1", few).problem
    assert "Segment 2 has 13 fields; 12 are" in Message(HEADER + b"\rPID" + b"|" * 13, few).problem
    assert (
        "Segment 2 has 4 repetitions; 3 are"
        in Message(HEADER + b"\rPID|~~~~", MessageLimits(repetitions_a_segment=3)).problem
    )
    assert not Message(HEADER + b"\rPID|~~~", MessageLimits(repetitions_a_segment=3)).problem
    assert "Segment 2 has 7 repetitions" in Message(HEADER + b"\rPID|~^&~^&~", few).problem
    assert not Message(HEADER + b"\rPID|~^&~^&", few).problem


@pytest.mark.parametrize("body", [b"|" * 5_000_000, b"PID|" + b"~" * 5_000_000, b"PID|\r" * 1_000_000])
def test_attacks_by_structure_end_quickly(body: bytes) -> None:
    started = time.process_time()
    assert "allowed" in message(body).problem
    assert time.process_time() - started < 5


@pytest.mark.skipif(not HL7.is_dir(), reason="the shared example messages are not here")
def test_every_segment_of_a_message_is_kept() -> None:
    read = Message((HL7 / "oml_o33_plain.hl7").read_bytes())
    assert len(read.segments) == 24
    assert len(read.named("ZSP")) == 1
    assert read.notes == ()
