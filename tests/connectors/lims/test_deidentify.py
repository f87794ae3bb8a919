"""A copy for a bug report has the structure and the faults of a message, and nothing of its patient."""

import re
from io import BytesIO
from itertools import count
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.lims.deidentify import Copy, Deidentifier
from connectors.lims.header import read_header
from connectors.lims.message_file import pieces
from connectors.lims.nhs_number import is_valid
from models.errors import RejectedError
from tests.connectors.lims.hl7_files import ORDER, shared_hl7

__all__ = ["shared_hl7"]

KEY = b"a key of this test alone"


def copied(raw: bytes, key: bytes = KEY) -> Copy:
    return Deidentifier(key).copy(raw)


def skeleton(raw: bytes) -> list[list[bytes]]:
    """Return what is left of each line when its values are taken out: the name and every delimiter."""
    return [[line[:3], *re.findall(rb"[|^~&]", line)] for line in re.split(rb"[\r\n]+", raw)]


def test_every_sample_keeps_its_structure_and_loses_its_patient(shared_hl7: Path) -> None:
    for sample in sorted(shared_hl7.glob("*.hl7")):
        raw = sample.read_bytes()
        copy = copied(raw).raw
        assert skeleton(copy) == skeleton(raw), sample.name
        for told in (
            b"Example",
            b"Ada",
            b"Theo",
            b"A100234",
            b"9990048215",
            b"26H00482",
            b"19640229",
            b"Rosa",
            b"rack",
        ):
            assert told not in copy, (sample.name, told)
        assert read_header(copy).message_type == read_header(raw).message_type
        assert read_header(copy).raw(18) == read_header(raw).raw(18)


def test_what_belonged_together_still_does(shared_hl7: Path) -> None:
    copy = copied((shared_hl7 / "oml_o33_plain.hl7").read_bytes()).raw.decode()
    named = {line.split("|")[2]: line.split("|")[3] for line in copy.split("\r") if line.startswith("SPM")}
    accession = next(line.split("|")[3].split("^")[0] for line in copy.split("\r") if line.startswith("ORC"))
    specimen = f"{accession}-A"
    assert named == {
        specimen: "",
        f"{specimen}1": specimen,
        f"{specimen}1-1": f"{specimen}1",
        f"{specimen}1-2": f"{specimen}1",
    }
    assert re.fullmatch(r"[0-9]{2}[A-Z][0-9]{6}", accession)


def test_the_same_key_replaces_alike_and_another_does_not() -> None:
    assert copied(ORDER).raw == copied(ORDER).raw
    assert copied(ORDER).raw != copied(ORDER, b"another key altogether").raw
    a, b = (read_header(copied(ORDER, key).raw).raw(10) for key in (KEY, b"another key altogether"))
    assert a != b != b"MSG1"


def test_a_valid_national_number_stays_one_and_is_nobodys() -> None:
    number = Deidentifier(KEY).identifier("9434765919")
    assert is_valid(number)
    assert number.startswith("999")
    assert Deidentifier(KEY).identifier("943 476 5919") == number


def test_dates_move_together_and_what_is_no_date_goes() -> None:
    by = Deidentifier(KEY)
    assert by.moved("20261122091500+0000")[8:] == "091500+0000"
    assert by.moved("20261122")[:8] == by.moved("20261122235959")[:8] != "20261122"
    assert [by.moved(other) for other in ("30 Feb", "2026", "20261340", "00010101")] == ["X"] * 4


# Everything that may name a person, a place or say something in words, in one message; each value is unique.
_HIDDEN = {
    "PID": {2, 3, 4, 5, 6, 7, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 26, 29, 30},
    "NK1": set(range(1, 40)),
    "PV1": {3, 4, 5, 6, 7, 8, 9, 17, 19, 44, 50, 52},
    "ORC": {2, 3, 4, 8, 10, 11, 12, 13, 14, 17, 18, 19, 21, 22, 23, 24, 38},
    "OBR": {2, 3, 10, 13, 15, 16, 17, 18, 19, 28, 31, 32, 33, 34, 35},
    "OBX": {5, 7, 8, 16, 18, 23, 24, 25},
    "NTE": {3, 5},
    "SPM": {2, 3, 12, 14, 15, 16, 22, 23, 30},
    "SAC": {1, 2, 3, 4, 5, 10, 11, 15, 43, 44},
    "PRT": {5, 6, 7, 8, 9, 10, 14, 15},
    "MRG": {1, 2, 3, 4, 7},
    "ZPT": set(range(1, 20)),
    "XX1": set(range(1, 5)),
}


def test_no_marker_of_any_field_that_may_name_somebody_is_left_anywhere() -> None:
    numbers = count(1)
    markers: list[bytes] = []

    def marker() -> bytes:
        markers.append(b"Canary%04d" % next(numbers))
        return markers[-1]

    lines = [b"MSH|^~\\&|LIMS|SITEA|COVERSLIP|NET|20261122091500||ADT^A08|" + marker() + b"|P|2.5.1||||||8859/1"]
    for name, hidden in _HIDDEN.items():
        fields = [b""] * (max(hidden) + 1)
        for number in sorted(hidden):
            fields[number] = b"%b^%b&%b~%b \xe9 words" % (marker(), marker(), marker(), marker())
        lines.append(b"|".join([name.encode(), *fields[1:]]))
    # The same values once more where codes may stand, and in a line that is no segment.
    lines.append(b"OBR|1|||" + markers[5] + b"^Text^L|" + markers[6].upper())
    lines.append(b"and then " + markers[7] + b" went home")
    lines.append(b"OBX|1|CE|" + markers[8] + b"|1|" + markers[9] + b"^" + marker() + b"^L||||||F")
    raw = b"\r".join(lines) + b"\r"
    copy = copied(raw)
    assert [one for one in markers if one.lower() in copy.raw.lower()] == []
    assert skeleton(copy.raw) == skeleton(raw.replace(b"and then " + markers[7] + b" went home", b"X"))
    assert copy.blanked["OBR-4"] == 2
    assert copy.kept["OBX-1"] == 1


def test_a_removed_value_that_a_code_repeats_takes_the_code_along() -> None:
    copy = copied(ORDER.replace(b"Example", b"Glass"))
    assert b"GLASS" not in copy.raw
    assert b"glass" not in copy.raw.lower()


def test_null_stays_null_and_bytes_of_any_character_set_stay_readable() -> None:
    raw = ORDER.replace(b"|19640229|", b'|""|').replace(b"UNICODE UTF-8", b"GB 18030-2000")
    raw = raw.replace(b"Ada", "阿达".encode("gb18030"))
    copy = copied(raw).raw
    assert b'|""|' in copy
    assert copy.isascii()


def test_what_has_no_delimiters_is_refused() -> None:
    for raw in (b"PID|1||A1\r", b"MSH\r", b"%PDF", b""):
        with pytest.raises(RejectedError):
            copied(raw)


def test_ten_megabytes_cost_time_for_themselves_only() -> None:
    copy = copied(ORDER + b"OBX|2|ED|X||" + b"QUJD" * 2_500_000 + b"||||||F\r")
    assert len(copy.raw) < 2 * len(ORDER)


@given(st.lists(st.one_of(st.binary(max_size=30), st.sampled_from(ORDER.split(b"|"))), max_size=30))
def test_noise_is_copied_without_its_values_or_refused(parts: list[bytes]) -> None:
    raw = ORDER + b"|".join(parts)
    for piece in pieces(BytesIO(raw)):
        try:
            copy = copied(piece.raw)
        except RejectedError:
            continue
        assert len(re.split(rb"[\r\n\0]+", copy.raw)) == len(re.split(rb"[\r\n\0]+", piece.raw))
        assert b"A100234" not in copy.raw
