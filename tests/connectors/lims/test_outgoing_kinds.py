"""What a peer may want otherwise, and what it hears beside slides and readers: OUL^R21, quality, LAB-101, LAB-102."""

from datetime import UTC, datetime

import hl7
import pytest

from connectors.lims.message import Message
from connectors.lims.outgoing import Address, Dialect, build
from models.announcements import (
    Announcement,
    CaseAnnounced,
    CaseNamed,
    PatientNamed,
    ReadRole,
    SlideAnnounced,
    WorkAsked,
)
from models.statements import Identifier, ReportStatus
from models.work_fold import WorkKind

SENT = datetime(2026, 11, 22, 9, 15, tzinfo=UTC)
PATIENT = PatientNamed(identifiers=(Identifier(value="A100234", issuer="SITEA", kind="MR"),), family_name="Example")
CASE = CaseNamed(accession_number="26H1", accession_issuer="SITEA", placer_order_number="P1", patient=PATIENT, site="n")
SLIDE = SlideAnnounced(
    state="to be rescanned",
    reasons=("Blurred in 4 of 10 tiles.",),
    quality="rescan",
    container_identifier="26H1-A1-1",
    container_issuer="SITEA",
    case=CASE,
)
WORK = WorkAsked(
    number="WABC",
    work="stain",
    subject_kind="slide",
    container_identifier="26H1-A1-1",
    container_issuer="SITEA",
    stain="Ki-67",
    because="to count | the mitoses",
    asked_by="Ann Example",
    case=CASE,
)


def sent(announcement: Announcement, dialect: Dialect | None = None) -> Message:
    us, lims = Address(application="COVERSLIP", facility="NET"), Address(application="LIMS", facility="SITEA")
    raw = build(announcement, "X1", SENT, us, lims, dialect=dialect or Dialect())
    message = Message(raw)
    assert not message.problem
    assert len(hl7.parse(raw.decode())) == len(message.segments)
    return message


def names(message: Message) -> str:
    return " ".join(segment.name for segment in message.segments)


def test_a_slide_as_oul_r21_is_known_by_its_container_before_the_results_of_its_order() -> None:
    message = sent(SLIDE, Dialect(slides_as="OUL^R21"))

    assert message.header.message_type == "OUL^R21"
    assert names(message) == "MSH PID SAC ORC OBR OBX OBX OBX"
    (container,) = message.named("SAC")
    assert (container.stated(3), container.stated(3, 2)) == ("26H1-A1-1", "SITEA")


@pytest.mark.parametrize("slides_as", ["OUL^R22", "OUL^R21"])
def test_quality_stands_in_an_observation_or_a_note_and_never_in_both(slides_as: str) -> None:
    observed = sent(SLIDE, Dialect.model_validate({"slides_as": slides_as, "quality_as": "OBX"}))
    noted = sent(SLIDE, Dialect.model_validate({"slides_as": slides_as, "quality_as": "NTE"}))

    found = {one.stated(3): one.stated(5) for one in observed.named("OBX")}
    assert (found["IMAGE-STATE"], found["QUALITY"]) == ("TO-BE-RESCANNED", "RESCAN")
    assert found["REASON"] == "Blurred in 4 of 10 tiles."
    assert observed.named("NTE") == ()
    assert [one.stated(3) for one in noted.named("NTE")] == ["Quality of the scan: rescan"]
    assert "QUALITY" not in {one.stated(3) for one in noted.named("OBX")}


@pytest.mark.parametrize(
    ("role", "participation", "field", "code"),
    [
        ("primary", "PI", 32, "ASSIGNED"),
        ("intra-operative", "PI", 32, "ASSIGNED"),
        ("second", "AI", 33, "SECOND-ASSIGNED"),
        ("trainee", "ARI", 33, "TRAINEE-ASSIGNED"),
        ("opinion", "CP", None, "OPINION-ASSIGNED"),
        ("mdt", "CP", None, "MDT-ASSIGNED"),
    ],
)
def test_whoever_reads_beside_the_reporter_is_never_named_as_the_reporter(
    role: ReadRole, participation: str, field: int | None, code: str
) -> None:
    message = sent(CaseAnnounced(state="assigned", case=CASE, pathologist_id="C7", role=role, specimens=("S-A", "S-B")))
    (participant,), (obr,), (orc,) = message.named("PRT"), message.named("OBR"), message.named("ORC")

    assert (participant.stated(4), orc.stated(16)) == (participation, code)
    assert [number for number in (32, 33) if obr.stated(number)] == ([field] if field else [])
    assert [one.stated(3) for one in message.named("NTE")] == ["Specimens: S-A, S-B"]


def test_all_images_in_is_said_by_orc_5_and_a_case_released_without_some_is_still_in_process() -> None:
    (complete,) = sent(CaseAnnounced(state="released", case=CASE, images_complete=True)).named("ORC")
    (without,) = sent(CaseAnnounced(state="released", case=CASE)).named("ORC")

    assert (complete.stated(5), complete.stated(16), complete.stated(25)) == ("CM", "IMAGES-COMPLETE", "")
    assert (without.stated(5), without.stated(16)) == ("IP", "RELEASED")


@pytest.mark.parametrize(
    ("report", "status", "word"),
    [("preliminary", "IP", "Preliminary"), ("final", "CM", "Final"), ("corrected", "IP", "Corrected")],
)
def test_where_a_report_stands_is_said_by_orc_25(report: ReportStatus, status: str, word: str) -> None:
    (orc,) = sent(CaseAnnounced(state="reported", case=CASE, report=report)).named("ORC")

    assert (orc.stated(5), orc.stated(25)) == (status, word)


def test_work_is_asked_for_under_our_number_and_says_what_of_and_why() -> None:
    message = sent(WORK)
    (orc,), (obr,), (spm,) = (message.named(name) for name in ("ORC", "OBR", "SPM"))

    assert names(message) == "MSH PID ORC OBR NTE NTE SPM"
    assert message.header.raw(21) == b"DPOW-PLACE-WO^IHE"
    assert (orc.stated(1), orc.stated(2), orc.stated(3), orc.stated(38)) == ("NW", "WABC", "", "26H1")
    assert (obr.stated(4), obr.stated(4, 2), obr.stated(13)) == ("STAIN", "stain", "Ki-67")
    assert [note.stated(3) for note in message.named("NTE")] == ["to count | the mitoses", "Asked by Ann Example"]
    assert (spm.stated(2), spm.stated(3), spm.stated(27), spm.stated(30)) == ("WABC", "26H1-A1-1", "GLASS", "26H1")


@pytest.mark.parametrize(
    ("work", "code", "made"), [("new block", "NEW-BLOCK", "CASSETTE"), ("re-coverslip", "RE-COVERSLIP", "GLASS")]
)
def test_what_is_made_by_work_has_its_kind_of_container(work: WorkKind, code: str, made: str) -> None:
    message = sent(WORK.model_copy(update={"work": work, "stain": ""}))

    assert message.named("OBR")[0].stated(4) == code
    assert message.named("SPM")[0].stated(27) == made
