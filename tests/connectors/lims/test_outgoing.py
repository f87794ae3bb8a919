"""What leaves Coverslip, read back by three readers that share no code with its builder."""

from datetime import datetime, timedelta, timezone

import hl7
import pytest
from hl7apy.parser import parse_message
from hypothesis import example, given, settings
from hypothesis import strategies as st

from connectors.lims.message import Message, Segment
from connectors.lims.outgoing import Address, Dialect, build
from models.announcements import CaseAnnounced, CaseNamed, PatientNamed, SlideAnnounced, SlideState
from models.errors import RejectedError
from models.statements import Identifier

US, LIMS = Address(application="COVERSLIP", facility="NET"), Address(application="LIMS", facility="SITEA")
SENT = datetime(2026, 11, 22, 10, 15, tzinfo=timezone(timedelta(hours=1)))
PATIENT = PatientNamed(
    identifiers=(
        Identifier(value="9990048215", issuer="NHS", kind="NHS"),
        Identifier(value="A100234", issuer="SITEA", kind="MR"),
        Identifier(value="9990048216", issuer="NHS", kind="NHS?"),
    ),
    family_name="Example",
    given_name="Zoë",
)
CASE = CaseNamed(
    accession_number="26H004821", accession_issuer="SITEA", placer_order_number="P1", patient=PATIENT, site="north"
)
SLIDE = SlideAnnounced(
    state="archived",
    container_identifier="26H004821-A1-1",
    container_issuer="SITEA",
    case=CASE,
    study_instance_uid="2.25.1",
    series_instance_uid="2.25.2",
    scanned_at=SENT,
)
ASSIGNED = CaseAnnounced(
    state="assigned",
    reasons=("Least load among four readers of breast.",),
    case=CASE,
    pathologist_id="C1234567",
    pathologist_family_name="Reader",
    pathologist_given_name="Rosa",
)


def sent(announcement: SlideAnnounced | CaseAnnounced, control_id: str = "X1") -> bytes:
    return build(announcement, control_id, SENT, US, LIMS)


def read(announcement: SlideAnnounced | CaseAnnounced) -> Message:
    message = Message(sent(announcement))
    assert not message.problem
    assert message.notes == ()
    return message


def the(message: Message, name: str) -> Segment:
    (found,) = message.named(name)
    return found


@pytest.mark.parametrize(("state", "available"), [("archived", "Y"), ("withdrawn", "N")])
def test_a_peer_of_dpow_hears_of_images_by_lab_104(state: SlideState, available: str) -> None:
    announced = SLIDE.model_copy(update={"state": state})
    raw = build(announced, "X1", SENT, US, LIMS, dialect=Dialect(slides_as="LAB-104"))
    assert raw.decode().split("\r") == [
        "MSH|^~\\&|COVERSLIP|NET|LIMS|SITEA|20261122091500+0000||OML^O21^OML_O21|X1|P|2.5.1||||||UNICODE UTF-8"
        + "|" * 3
        + "DPOW-IMAGE-NOTIF^IHE",
        "PID|1||9990048215^^^NHS^NH~A100234^^^SITEA^MR||Example^Zoë^^^^^L",
        "ORC|NW|P1|26H004821||||||||||||||north|||||||||||||||||||||26H004821",
        "OBR|1|P1|26H004821|SLIDE^Slide^L",
        "SPM|1|26H004821-A1-1&SITEA^26H004821-A1-1&SITEA||119376003^Tissue specimen^SCT"
        + "|" * 14
        + f"20261122091500+0000||{available}"
        + "|" * 7
        + "GLASS|||26H004821",
        "OBX|1|RP|0020000D^StudyInstanceUID^DCM||2.25.1||||||F",
        "OBX|2|RP|0020000E^SeriesInstanceUID^DCM||2.25.2||||||F",
        "",
    ]


@pytest.mark.parametrize("state", ["to be rescanned", "set aside"])
def test_what_lab_104_has_no_word_for_goes_out_as_oul_r22(state: SlideState) -> None:
    announced = SLIDE.model_copy(update={"state": state})
    raw = build(announced, "X1", SENT, US, LIMS, dialect=Dialect(slides_as="LAB-104"))
    assert Message(raw).header.message_type == "OUL^R22"


def test_an_archived_slide_is_a_message_of_these_very_lines() -> None:
    assert sent(SLIDE).decode().split("\r") == [
        "MSH|^~\\&|COVERSLIP|NET|LIMS|SITEA|20261122091500+0000||OUL^R22^OUL_R22|X1|P|2.5.1||||||UNICODE UTF-8",
        "PID|1||9990048215^^^NHS^NH~A100234^^^SITEA^MR||Example^Zoë^^^^^L",
        "SPM|1|26H004821-A1-1&SITEA^26H004821-A1-1&SITEA||119376003^Tissue specimen^SCT"
        + "|" * 23
        + "GLASS|||26H004821",
        "OBX|1|CWE|IMAGE-STATE^State of the slide's images^99COVERSLIP||ARCHIVED^archived^99COVERSLIP||||||F",
        "OBX|2|RP|0020000D^StudyInstanceUID^DCM||2.25.1||||||F",
        "OBX|3|RP|0020000E^SeriesInstanceUID^DCM||2.25.2||||||F",
        "OBX|4|TS|SCANNED^Time of the scan^99COVERSLIP||20261122091500+0000||||||F",
        "OBR|1|P1|26H004821|SLIDE^Slide^L",
        "ORC|SC|P1|26H004821||||||||||||||north|||||||||||||||||||||26H004821",
        "",
    ]


def test_an_assigned_case_is_a_case_update_with_its_reader() -> None:
    assert sent(ASSIGNED).decode().split("\r") == [
        "MSH|^~\\&|COVERSLIP|NET|LIMS|SITEA|20261122091500+0000||OML^O21^OML_O21|X1|P|2.5.1"
        + "|" * 6
        + "UNICODE UTF-8|||DPOW-CASE-UPDATE^IHE",
        "PID|1||9990048215^^^NHS^NH~A100234^^^SITEA^MR||Example^Zoë^^^^^L",
        "ORC|SC|P1|26H004821||IP|||||||||||ASSIGNED^Case assigned^99COVERSLIP|north|||||||||||||||||||||26H004821",
        "OBR|1|P1|26H004821|CASE^Case^L||||||||||||||||||||||||||||C1234567&Reader&Rosa",
        "NTE|1||Least load among four readers of breast.",
        "PRT|1|UC||PI^Primary interpreter^HL70912|C1234567^Reader^Rosa",
        "",
    ]


@pytest.mark.parametrize(
    ("state", "code"),
    [
        ("archived", "ARCHIVED"),
        ("to be rescanned", "TO-BE-RESCANNED"),
        ("set aside", "SET-ASIDE"),
        ("withdrawn", "WITHDRAWN"),
    ],
)
def test_each_state_of_a_slide_has_a_code_and_its_reasons_follow(state: SlideState, code: str) -> None:
    told = SLIDE.model_copy(update={"state": state, "reasons": ("Blurred.", "A|B^C&D~E\\F\nG")})
    first, *others = read(told).named("OBX")
    assert (first.value(5, 1), first.value(5, 2)) == (code, state)
    assert [one.value(5) for one in others[:2]] == ["Blurred.", "A|B^C&D~E\\F G"]


def test_a_released_case_names_no_reader() -> None:
    told = read(CaseAnnounced(state="released", case=CASE))
    assert the(told, "ORC").value(16) == "RELEASED"
    assert the(told, "OBR").value(32) is None
    assert told.named("PRT") == ()


def test_the_same_values_give_the_same_bytes() -> None:
    assert sent(SLIDE) == sent(SLIDE.model_copy())
    assert sent(ASSIGNED) == sent(ASSIGNED.model_copy())


def test_nothing_of_the_patient_leaves_but_identifiers_and_name() -> None:
    pid = the(read(SLIDE), "PID")
    assert [number for number in range(1, 40) if pid.value(number)] == [1, 3, 5]
    assert b"9990048216" not in sent(SLIDE)


def test_a_patient_without_a_name_or_identifiers_leaves_nothing() -> None:
    nobody = CASE.model_copy(update={"patient": PatientNamed()})
    assert the(read(SLIDE.model_copy(update={"case": nobody})), "PID").line == "PID|1"


@pytest.mark.parametrize("control_id", ["", "x" * 21, "a|b", "é", "a b"])
def test_a_control_id_that_some_version_does_not_allow_is_refused(control_id: str) -> None:
    with pytest.raises(RejectedError, match="MSH-10"):
        sent(SLIDE, control_id)


@settings(deadline=None)
@given(st.text(max_size=30), st.text(max_size=30))
@example(words='""', name="L")
def test_any_words_arrive_as_they_were_said(words: str, name: str) -> None:
    def shown(text: str) -> str:
        line = " ".join("".join(mark for mark in text if mark.isprintable() or mark.isspace()).split())
        return "" if line == '""' else line

    patient = PATIENT.model_copy(update={"family_name": name, "given_name": "Ada"})
    case = CASE.model_copy(update={"patient": patient})
    message = read(ASSIGNED.model_copy(update={"reasons": (words,), "case": case}))
    assert the(message, "NTE").stated(3) == shown(words)
    assert the(message, "PID").stated(5) == shown(name)
    assert the(message, "PID").stated(5, 2) == "Ada"


def test_python_hl7_reads_every_segment() -> None:
    for announcement, names in ((SLIDE, "MSH PID SPM OBX OBX OBX OBX OBR ORC"), (ASSIGNED, "MSH PID ORC OBR NTE PRT")):
        parsed = hl7.parse(sent(announcement).decode())
        assert [str(segment[0]) for segment in parsed] == names.split()


def test_hl7apy_finds_every_segment_of_a_slide_in_the_structure_of_oul_r22() -> None:
    parsed = parse_message(sent(SLIDE).decode(), find_groups=True)
    assert str(parsed.to_er7()).count("\r") == sent(SLIDE).count(b"\r") - 1
    assert str(parsed.to_er7()).split("\r")[2] == sent(SLIDE).decode().split("\r")[2]
