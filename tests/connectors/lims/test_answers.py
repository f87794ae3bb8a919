"""What a sender is told, and in which words."""

from datetime import UTC, datetime
from typing import Literal

import hl7
import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.lims.answers import Acknowledgement, acknowledge, refuse, separate, unavailable
from connectors.lims.framing import FrameRefused
from connectors.lims.header import read_header
from connectors.lims.profile import Profile

NOW = datetime(2026, 11, 22, 9, 15, 1, tzinfo=UTC)
TEMPLATE = "MSH|^~\\&|LIMS|SITEA|COVERSLIP|NET|20261122091500+0000||{}|{}|P|{}|||{}|{}||UNICODE UTF-8\rPID|1\r"


def request(
    message_type: str = "OML^O33^OML_O33",
    control_id: str = "M1",
    version: str = "2.5.1",
    accept: str = "",
    application: str = "",
) -> bytes:
    return TEMPLATE.format(message_type, control_id, version, accept, application).encode()


def answer(raw: bytes, **settings: str | None) -> Acknowledgement:
    return acknowledge(raw, Profile.model_validate(settings), NOW)


def segments(answered: Acknowledgement) -> list[list[str]]:
    return [line.split("|") for line in answered.payload.decode().split("\r")[:-1]]


@pytest.mark.parametrize(
    ("asked", "answered"),
    [
        ("OML^O33^OML_O33", "ORL^O34^ORL_O34"),
        ("OML^O21^OML_O21", "ORL^O22^ORL_O22"),
        ("ORM^O01", "ORR^O02^ORR_O02"),
        ("ORM", "ORR^O02^ORR_O02"),
        ("ADT^A40^ADT_A39", "ACK^A40^ACK"),
        ("ADT^A08^ADT_A01", "ACK^A08^ACK"),
        ("ORU^R01", "ACK^R01^ACK"),
        ("ZZZ^Z01", "ACK^Z01^ACK"),
    ],
)
def test_each_type_has_its_answer_and_what_is_stored_is_accepted(asked: str, answered: str) -> None:
    found = answer(request(asked))
    msh, msa = segments(found)
    assert msh[8] == answered
    assert msa == ["MSA", "AA", "M1"]
    assert found.code == "AA"
    assert segments(answer(request(asked), answer_with="ACK"))[0][8].startswith("ACK")


def test_an_answer_goes_back_where_the_message_came_from_in_its_own_version_and_character_set() -> None:
    (msh, _) = segments(answer(request(version="2.3^DEU")))
    assert msh[:9] == [
        "MSH",
        "^~\\&",
        "COVERSLIP",
        "NET",
        "LIMS",
        "SITEA",
        "20261122091501+0000",
        "",
        "ORL^O34^ORL_O34",
    ]
    assert msh[10:] == ["P", "2.3^DEU", "", "", "", "", "", "UNICODE UTF-8"]


def test_an_answer_uses_the_delimiters_of_the_request() -> None:
    found = answer(b"MSH#*!?%#LIMS#S###2026##OML*O33#M?1#P#2.5\r").payload
    assert found.startswith(b"MSH#*!?%###LIMS#S#20261122091501+0000##ORL*O34*ORL_O34#A")
    assert found.endswith(b"\rMSA#AA#M?1\r")


@pytest.mark.parametrize("asked", ["ACK", "ACK^A08^ACK", "ORL^O34^ORL_O34"])
def test_an_answer_is_never_answered(asked: str) -> None:
    assert answer(request(asked)) == Acknowledgement("", b"")


def test_building_an_answer_twice_gives_the_same_bytes_and_other_requests_other_ids() -> None:
    assert answer(request()) == answer(request())
    one, other = segments(answer(request(control_id="M1"))), segments(answer(request(control_id="M2")))
    assert one[0][9] != other[0][9]
    assert len(one[0][9]) == 20


@given(st.binary(min_size=1, max_size=199).filter(lambda found: not set(found) & set(b"|\r\n") and found.strip()))
def test_msa_2_is_msh_10_byte_for_byte(control_id: bytes) -> None:
    raw = request(control_id="@@").replace(b"@@", control_id)
    assert read_header(answer(raw).payload.split(b"\r")[1].replace(b"MSA|AA|", b"MSH|^~\\&|")).raw(3) == control_id


def test_a_message_without_msh_10_is_answered_with_an_error_that_names_the_field() -> None:
    found = answer(request(control_id=""))
    _, msa, err = segments(found)
    assert msa[:3] == ["MSA", "AE", ""]
    assert "MSH-10" in msa[3]
    assert err[2:5] == ["MSH^1^10", "101^Required field missing^HL70357", "E"]
    assert "MSH-10" in err[8]


def test_an_older_version_gets_its_own_form_of_err() -> None:
    _, _, err = segments(answer(request(control_id="", version="2.3")))
    assert err == ["ERR", "MSH^1^10^101&Required field missing&HL70357"]


@pytest.mark.parametrize("raw", [b"", b"PID|1\r", b"FHS|^~\\&\r", b"MSHX", b"\xff\xfe", b"MSH|^~\\&"])
def test_even_what_is_no_message_gets_a_well_formed_answer(raw: bytes) -> None:
    found = answer(raw)
    assert found.code == "AE"
    parsed = hl7.parse(found.payload.decode())
    assert str(parsed.segment("MSA")[1]) == "AE"
    assert str(parsed.segment("ERR")[4]) == "E"


@given(st.binary(max_size=100))
def test_an_answer_is_three_lines_at_most_whatever_came(body: bytes) -> None:
    found = answer(b"MSH" + body)
    assert found.payload.count(b"\r") <= 3
    assert b"\x1c" not in found.payload or b"\x1c" in body


@pytest.mark.parametrize("code", ["AE", "AR"])
def test_a_peer_may_be_told_that_a_type_is_unknown(code: str) -> None:
    _, msa, err = segments(answer(request("ZZZ^Z01"), unknown_type_answer=code))
    assert msa[1] == code
    assert err[3].startswith("200^")
    assert answer(request("ORM^O01"), unknown_type_answer=code).code == "AA"


@pytest.mark.parametrize(
    ("accept", "application", "expected"),
    [
        ("AL", "NE", "CA"),
        ("AL", "AL", "CA"),
        ("SU", "", "CA"),
        ("ER", "", ""),
        ("NE", "NE", ""),
        ("NE", "AL", "AA"),
        ("", "AL", "AA"),
        ("", "", "AA"),
        ("??", "", "CA"),
    ],
)
def test_enhanced_mode_obeys_msh_15_and_16_and_original_mode_does_not(
    accept: str, application: str, expected: str
) -> None:
    raw = request(accept=accept, application=application)
    assert answer(raw, acknowledgement="enhanced").code == expected
    assert answer(raw, acknowledgement="original").code == "AA"


def test_a_commit_answer_is_a_plain_ack() -> None:
    found = answer(request(accept="AL"), acknowledgement="enhanced")
    assert segments(found)[0][8] == "ACK^O33^ACK"
    broken = answer(request(accept="ER").replace(b"OML^O33^OML_O33", b""), acknowledgement="enhanced")
    assert broken.code == "CE"
    silent = answer(request(accept="NE", application="NE"), acknowledgement="enhanced")
    assert silent == Acknowledgement("", b"")


def test_a_message_that_was_too_large_is_answered_with_both_sizes() -> None:
    found = refuse(FrameRefused(40_000_000, 33_554_432, request()[:60]), Profile(), NOW)
    _, msa, err = segments(found)
    assert msa[:2] == ["MSA", "AE"]
    assert "40000000 bytes; 33554432 are allowed" in err[8]


@pytest.mark.parametrize(
    ("accept", "application", "codes"),
    [
        ("AL", "AL", ["CA", "AA"]),
        ("AL", "SU", ["CA", "AA"]),
        ("SU", "AL", ["CA", "AA"]),
        ("AL", "ER", ["CA"]),
        ("AL", "NE", ["CA"]),
        ("ER", "AL", ["AA"]),
        ("NE", "SU", ["AA"]),
        ("ER", "ER", []),
    ],
)
def test_a_peer_that_asks_for_both_answers_gets_both_each_a_message_of_its_own(
    accept: str, application: str, codes: list[str]
) -> None:
    raw = request(accept=accept, application=application)
    found = answer(raw, acknowledgement="enhanced")
    answers = [segments(Acknowledgement("", one)) for one in separate(found.payload)]
    assert [msa for _, msa in answers] == [["MSA", code, "M1"] for code in codes]
    types = {"CA": "ACK^O33^ACK", "AA": "ORL^O34^ORL_O34"}
    assert [msh[8] for msh, _ in answers] == [types[code] for code in codes]
    assert len({msh[9] for msh, _ in answers}) == len(codes)
    assert found.code == (codes[0] if codes else "")
    [original] = separate(answer(raw, acknowledgement="original").payload)
    assert segments(Acknowledgement("", original))[1] == ["MSA", "AA", "M1"]


@pytest.mark.parametrize(
    ("accept", "application", "code"), [("AL", "AL", "CE"), ("ER", "AL", "CE"), ("NE", "ER", "AE")]
)
def test_what_is_refused_is_refused_once(accept: str, application: str, code: str) -> None:
    raw = request(accept=accept, application=application, control_id="")
    [only] = separate(answer(raw, acknowledgement="enhanced").payload)
    assert segments(Acknowledgement("", only))[1][1] == code


def test_an_answer_with_msh_inside_a_field_is_one_answer() -> None:
    [only] = separate(answer(request(control_id="MSH|MSH")).payload)
    assert only == answer(request(control_id="MSH|MSH")).payload
    assert separate(b"") == ()


@pytest.mark.parametrize("mode", ["original", "enhanced"])
@pytest.mark.parametrize(
    ("said", "settings", "code"),
    [
        ("T", {}, "AR"),
        ("t^T", {}, "AR"),
        ("D", {"processing_id_answer": "AE"}, "AE"),
        ("PROD", {}, "AR"),
        ("P", {"processing_id": "T"}, "AR"),
        ("P", {}, "AA"),
        ("P^T", {}, "AA"),
        ("", {}, "AA"),
        ("T", {"processing_id": "T"}, "AA"),
        ("D", {"processing_id": None}, "AA"),
    ],
)
def test_a_message_for_another_purpose_is_refused_by_processing_id(
    said: str, settings: dict[str, str], code: str, mode: str
) -> None:
    raw = request(accept="AL", application="NE").replace(b"|P|", f"|{said}|".encode())
    found = answer(raw, acknowledgement=mode, **settings)
    assert found.code == (code if mode == "original" else code.replace("A", "C", 1))
    if code != "AA":
        _, msa, err = segments(found)
        assert err[2:5] == ["MSH^1^11", "202^Unsupported processing id^HL70357", "E"]
        assert "MSH-11" in msa[3]


@pytest.mark.parametrize("code", ["AE", "AR"])
def test_a_peer_may_hear_that_the_store_is_away(code: Literal["AE", "AR"]) -> None:
    found = unavailable(request(), Profile(), NOW, code)
    assert found.code == code
    assert segments(found)[2][3] == "207^Application internal error^HL70357"
    enhanced = unavailable(request(accept="AL"), Profile(acknowledgement="enhanced"), NOW, code)
    assert enhanced.code == code.replace("A", "C", 1)
    assert unavailable(request("ACK"), Profile(), NOW, code) == Acknowledgement("", b"")
