"""What would become of a message is what becomes of it: the door's answer, and what the reading says."""

from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from connectors.lims.answers import acknowledge
from connectors.lims.check import Checked, check
from connectors.lims.message_file import Piece, pieces
from connectors.lims.profile import Profile
from tests.connectors.lims.hl7_files import ORDER, framed, shared_hl7

__all__ = ["shared_hl7"]

NOW = datetime(2026, 11, 22, 9, 15, tzinfo=UTC)
PROFILE = Profile(site="site-a")


def checked(data: bytes, profile: Profile = PROFILE) -> list[Checked]:
    return [check(piece, profile, NOW) for piece in pieces(BytesIO(data))]


def only(data: bytes, profile: Profile = PROFILE) -> Checked:
    (one,) = checked(data, profile)
    return one


def errors(one: Checked) -> list[str]:
    return [problem.place for problem in one.problems if problem.severity == "error"]


def test_an_order_is_accepted_with_all_that_it_says() -> None:
    one = only(ORDER)
    assert (one.accepted, one.ack_code, one.type, one.version) == (True, "AA", "OML^O21", "2.5.1")
    assert (one.charset, one.charset_declared, one.control_id) == ("utf-8", "UNICODE UTF-8", "MSG1")
    assert (one.segments_in, one.segments_kept) == (7, 7)
    assert (one.accession_numbers, one.patient_id, one.problems) == (("26B0001",), "A100234", ())
    (slide,) = one.slides
    assert (slide.container_identifier, slide.block, slide.stain) == ("26B0001-A1-1", "26B0001-A1", ("HE",))


@pytest.mark.parametrize("name", ["oml_o33_plain", "dpow_lab100_slide", "dpow_lab100_slide_change_first"])
def test_orders_that_everybody_may_send_are_accepted_without_loss(name: str, shared_hl7: Path) -> None:
    one = only((shared_hl7 / f"{name}.hl7").read_bytes())
    assert (one.accepted, one.accession_numbers, one.patient_id) == (True, ("26H004821",), "A100234")
    assert one.segments_in == one.segments_kept > 0
    assert all(slide.stain and slide.block == "26H004821-A1" for slide in one.slides)


def test_every_sample_is_stored_whole_whatever_is_done_with_it(shared_hl7: Path) -> None:
    samples = sorted(shared_hl7.glob("*.hl7"))
    assert samples
    for sample in samples:
        one = only(sample.read_bytes())
        assert (one.ack_code, one.segments_in) == ("AA", one.segments_kept), sample.name
        assert one.accepted or one.problems, sample.name


def test_what_the_door_takes_and_the_reading_refuses_is_not_accepted() -> None:
    one = only(ORDER.replace(b"|26B0001-A1-1|", b"||"))
    assert (one.accepted, one.ack_code) == (False, "AA")
    assert errors(one) == ["SPM-2"]
    two_cases = ORDER + b"ORC|NW|P2|26B0002\rOBR|1|P2|26B0002|SLIDE\rSPM|2|26B0002-A1-1\r"
    assert "2 accession numbers" in only(two_cases).problems[0].what


def test_a_message_that_states_nothing_we_use_is_not_accepted_although_it_is_answered_well() -> None:
    one = only(ORDER.replace(b"OML^O21^OML_O21", b"SIU^S12"))
    assert (one.accepted, one.ack_code, one.type) == (False, "AA", "SIU^S12")
    assert "choose a profile" in one.problems[0].what_to_do


@pytest.mark.parametrize(
    ("damage", "place"),
    [
        ((b"|MSG1|", b"||"), "MSH-10"),
        ((b"OML^O21^OML_O21", b""), "MSH-9"),
        ((b"MSH|^~\\&", b"MSH|^^^^"), "MSH-1"),
    ],
)
def test_what_the_door_refuses_is_said_with_its_field(damage: tuple[bytes, bytes], place: str) -> None:
    one = only(ORDER.replace(*damage))
    assert (one.accepted, one.ack_code) == (False, "AE")
    assert errors(one) == [place]
    assert all(problem.what_to_do for problem in one.problems)


# standards.md, section 3: what real interfaces do.
@pytest.mark.parametrize(
    ("written", "is_accepted"),
    [
        pytest.param(ORDER.replace(b"\r", b"\n"), True, id="LF"),
        pytest.param(ORDER.replace(b"\r", b"\r\n"), True, id="CRLF"),
        pytest.param(ORDER.replace(b"\r", b"\r\r\r"), True, id="blank lines"),
        pytest.param(ORDER.rstrip(b"\r"), True, id="no last CR"),
        pytest.param(b"\xef\xbb\xbf" + ORDER, True, id="BOM"),
        pytest.param(ORDER.replace(b"UNICODE UTF-8", b"").replace(b"Ada", b"Ad\xe4"), True, id="MSH-18 empty, Latin-1"),
        pytest.param(ORDER.replace(b"UNICODE UTF-8", b"8859/1").replace(b"Ada", b"Ad\xe4"), True, id="8859/1"),
        pytest.param(ORDER.replace(b"UNICODE UTF-8", b"KLINGON"), True, id="a charset that nobody knows"),
        pytest.param(ORDER.replace(b"rack 7", b"\\X41\\ \\.br\\ \\ alone \\"), True, id="escapes and lone backslashes"),
        pytest.param(ORDER.replace(b"Ada", b"A\0da"), True, id="NUL"),
        pytest.param(ORDER + b"OBX|2|ED|X||" + b"QUJD" * 300_000 + b"||||||F\r", True, id="base64 in OBX-5"),
        pytest.param(ORDER + b"OBX|2|ST|X||a||||||F\r" * 5_000, True, id="5,000 OBX"),
        pytest.param(ORDER.replace(b"rack 7", b"r" * 100_000), True, id="one field of 100 kB"),
        pytest.param(ORDER.replace(b"|2.5.1|", b"||"), True, id="version blank"),
        pytest.param(ORDER.replace(b"|2.5.1|", b"|2.5.1^DEU|"), True, id="version 2.5.1^DEU"),
        pytest.param(ORDER.replace(b"|2.5.1|", b"|9.9|"), True, id="version unknown"),
        pytest.param(ORDER.replace(b"^OML_O21", b""), True, id="MSH-9 without structure"),
        pytest.param(b"".join(line + b"\rZZZ|1\r" for line in ORDER.rstrip().split(b"\r")), True, id="Z-segments"),
        pytest.param(ORDER.replace(b"|19640229|", b'|""|'), True, id='""'),
        pytest.param(ORDER.replace(b"|19640229|", b"|30 Feb|"), True, id="no date"),
        pytest.param(ORDER.replace(b"ORC|NW|", b"ORC|CA|"), True, id="cancel before order"),
        pytest.param(ORDER + b"x" * 25_000 + b"\ry" * 25_000, False, id="too many segments"),
        pytest.param(framed(ORDER[:120]), False, id="cut off"),
        pytest.param(framed(ORDER + ORDER), False, id="two messages in one frame"),
        pytest.param(b"PID|1||A1\r", False, id="no MSH"),
    ],
)
def test_every_kind_of_bad_input_is_told_apart_and_nothing_of_it_is_lost(written: bytes, is_accepted: bool) -> None:  # noqa: FBT001
    one = only(written)
    assert one.accepted is is_accepted, one.problems
    assert one.segments_in == one.segments_kept
    assert one.accepted or errors(one)
    assert not any(text in problem.what for problem in one.problems for text in ("Example", "A100234", "26B0001"))


def test_an_order_of_which_only_the_patient_is_left_is_not_accepted() -> None:
    one = only(ORDER.replace(b"ORC|NW|", b"ORC|ZZ|"))
    assert (one.accepted, one.ack_code, errors(one)) == (False, "AA", ["ORC-1"])


def test_what_is_odd_but_can_be_read_is_a_warning() -> None:
    one = only(ORDER.replace(b"Ada", b"Ad\xe4"))
    assert (one.accepted, one.charset, one.charset_declared) == (True, "cp1252", "UNICODE UTF-8")
    assert [(problem.severity, problem.place) for problem in one.problems] == [("warning", "MSH-18")]


def test_a_batch_is_checked_message_by_message_and_one_in_a_frame_is_refused_as_the_door_does() -> None:
    batch = b"FHS|^~\\&|A\r" + ORDER * 2 + b"FTS|1\r"
    bare = checked(batch)
    assert [(one.accepted, one.ack_code, len(one.problems)) for one in bare] == [(True, "AA", 1)] * 2
    in_a_frame = checked(framed(batch))
    assert [(one.accepted, one.ack_code) for one in in_a_frame] == [(False, "AE")] * 2
    assert acknowledge(batch, PROFILE, NOW).code == "AE"


def test_the_answer_is_the_one_of_the_peers_own_mode() -> None:
    enhanced = Profile(site="site-a", acknowledgement="enhanced", unknown_type_answer="AR")
    asked = ORDER.replace(b"|2.5.1||||||", b"|2.5.1|||AL|NE||")
    assert (only(asked, enhanced).ack_code, only(asked, enhanced).accepted) == ("CA", True)
    assert only(asked.replace(b"|AL|NE|", b"|NE|NE|"), enhanced).ack_code == ""
    assert (only(ORDER.replace(b"OML^O21^OML_O21", b"ZZZ^Z01"), enhanced).ack_code) == "AR"


@given(st.binary(max_size=300), st.integers(0, len(ORDER)), st.integers(0, len(ORDER)))
@example(b"\v", 325, 324)
def test_noise_in_a_message_is_always_told_and_never_stops_it(noise: bytes, start: int, end: int) -> None:
    for one in (only_or_more(ORDER[:start] + noise + ORDER[end:]), only_or_more(noise)):
        for said in one:
            assert said.segments_in == said.segments_kept
            assert said.accepted or any(problem.severity == "error" for problem in said.problems) or not said.ack_code


def only_or_more(data: bytes) -> list[Checked]:
    return [check(piece, PROFILE, NOW) for piece in (*pieces(BytesIO(data)), Piece(data))]


def test_a_character_set_that_was_guessed_is_said_and_one_that_the_profile_names_is_none() -> None:
    unsaid = ORDER.replace(b"UNICODE UTF-8", b"").replace(b"Example", b"M\xfcller")
    assert b"\xfc" in unsaid
    (problem,) = only(unsaid).problems
    assert (problem.severity, problem.place, "read as cp1252" in problem.what) == ("warning", "MSH-18", True)
    assert "MSH-18" in problem.what_to_do
    assert only(unsaid, Profile(site="site-a", charset="8859/1")).problems == ()
    assert only(ORDER.replace(b"UNICODE UTF-8", b"")).problems == ()


@pytest.mark.parametrize("codec", ["utf-16", "utf-16-be"])
def test_a_file_in_16_bit_unicode_is_called_so(codec: str) -> None:
    (problem,) = only(ORDER.decode().encode(codec)).problems
    assert "16-bit Unicode" in problem.what
    assert "UTF-8" in problem.what_to_do
