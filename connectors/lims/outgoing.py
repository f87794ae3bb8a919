"""The messages that Coverslip originates: what became of a slide and of a case, and work that it asks for.

hl7apy makes each segment; we put them in order, since its messages drop what their structure does not
expect and lack the fields that DPOW takes from later versions. The same values give the same bytes.
"""

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Literal

from hl7apy.consts import VALIDATION_LEVEL
from hl7apy.core import Segment
from hl7apy.exceptions import HL7apyException

from connectors.lims import dpow
from models.announcements import (
    Announcement,
    CaseAnnounced,
    CaseNamed,
    PatientNamed,
    ReadRole,
    SlideAnnounced,
    SlideState,
    WorkAsked,
)
from models.errors import RejectedError
from models.statements import Frozen

# MSH-12 of every message; PRT, SPM-30 and ORC-38 come early from later versions, as DPOW asks.
_VERSION = "2.5.1"
_LATER_VERSION = "2.8.2"
_CONTROL_ID = re.compile(r"[A-Za-z0-9._-]{1,20}")
# Our codes, until a standard has them: the state of a slide's images has no home in DPOW.
_OUR_CODES = "99COVERSLIP"
_ESCAPES = {"\\": "\\E\\", "|": "\\F\\", "^": "\\S\\", "&": "\\T\\", "~": "\\R\\"}
_TISSUE = "119376003^Tissue specimen^SCT"
_PERSON_CODES = {"NHS": "NH"}
_DOUBTED = "?"
# PRT-4 (HL7 table 0912) of whoever has a read, and the field of OBR that names them: OBR-32 is the one who reports.
_PRIMARY = ("PI^Primary interpreter^HL70912", 32)
_PARTICIPATION: dict[ReadRole, tuple[str, int | None]] = {
    "primary": _PRIMARY,
    "intra-operative": _PRIMARY,
    "second": ("AI^Assistant/Alternate Interpreter^HL70912", 33),
    "trainee": ("ARI^Assistant Result Interpreter^HL70912", 33),
    "opinion": ("CP^Consulting Provider^HL70912", None),
    "mdt": ("CP^Consulting Provider^HL70912", None),
}
_REPORTERS = ("primary", "intra-operative")


class Address(Frozen):
    """An application and its facility: MSH-3 and MSH-4 of a sender, MSH-5 and MSH-6 of a receiver."""

    application: str
    facility: str


class Dialect(Frozen):
    """How a peer hears of slides: in which message, and where in it the verdict on a scan's quality stands."""

    slides_as: Literal["OUL^R22", "OUL^R21", "LAB-104"] = "OUL^R22"
    quality_as: Literal["OBX", "NTE"] = "OBX"


_USUAL = Dialect()
# SPM-20 of LAB-104; what else becomes of a slide has no home there, and goes out as OUL^R22.
_IMAGE_STATES: dict[SlideState, str] = {"archived": "Y", "withdrawn": "N"}


def build(  # noqa: PLR0913 - what a message is made of
    announcement: Announcement,
    control_id: str,
    sent_at: datetime,
    sending: Address,
    receiving: Address,
    *,
    enhanced: bool = False,
    dialect: Dialect = _USUAL,
) -> bytes:
    """Return a slide as OUL or in LAB-104, a case in DPOW's LAB-101, work in LAB-102, in UTF-8.

    ``enhanced`` asks for both answers of enhanced mode (MSH-15 and MSH-16 are AL); without it they stay empty.

    Raises
    ------
    RejectedError
        When the control id is none that every HL7 version allows, or a segment could not be made whole.
    """
    if not _CONTROL_ID.fullmatch(control_id):
        raise RejectedError("A message control id (MSH-10) has 1 to 20 letters, digits, dots, hyphens or underscores.")
    kind, segments = _shaped(announcement, dialect)
    kind |= {15: "AL", 16: "AL"} if enhanced else {}
    header = _header(kind, control_id, sent_at, sending, receiving)
    return "".join(f"{segment}\r" for segment in (header, *segments)).encode()


def _shaped(announcement: Announcement, dialect: Dialect) -> tuple[dict[int, str], Iterator[str]]:
    """Return what MSH says of a message, and its other segments."""
    match announcement:
        case SlideAnnounced() if dialect.slides_as == "LAB-104" and announcement.state in _IMAGE_STATES:
            return _as_dpow(dpow.IMAGE_NOTIFICATION), _images(announcement)
        case SlideAnnounced() if dialect.slides_as == "OUL^R21":
            return {9: "OUL^R21^OUL_R21"}, _slide_by_order(announcement, dialect)
        case SlideAnnounced():
            return {9: "OUL^R22^OUL_R22"}, _slide(announcement, dialect)
        case CaseAnnounced():
            return _as_dpow(dpow.CASE_UPDATE), _case(announcement)
        case WorkAsked():
            return _as_dpow(dpow.PLACE_WORK_ORDER), _work(announcement)


def _as_dpow(transaction: str) -> dict[int, str]:
    return {9: "OML^O21^OML_O21", 21: f"{transaction}^{dpow.NAMESPACE}"}


def _header(kind: dict[int, str], control_id: str, sent_at: datetime, sending: Address, receiving: Address) -> str:
    fields = {
        3: escaped(sending.application),
        4: escaped(sending.facility),
        5: escaped(receiving.application),
        6: escaped(receiving.facility),
        7: _time(sent_at),
        10: control_id,
        11: "P",
        12: _VERSION,
        18: "UNICODE UTF-8",
    }
    # hl7apy leaves MSH-2 empty in a segment that stands alone, or the & out of it.
    return "MSH|^~\\&" + _segment("MSH", fields | kind).removeprefix("MSH|")


def _slide(slide: SlideAnnounced, dialect: Dialect) -> Iterator[str]:
    """Return the segments of OUL^R22: patient, the slide and what became of it, the order it belongs to."""
    named = _joined("&", slide.container_identifier, slide.container_issuer)
    yield _patient(slide.case.patient)
    yield _segment(
        "SPM",
        {
            1: "1",
            2: f"{named}^{named}",
            4: _TISSUE,
            27: "GLASS",
            30: escaped(slide.case.accession_number),
        },
        _LATER_VERSION,
    )
    yield from _observations(slide, dialect)
    yield _order(slide.case, "SLIDE^Slide^L")
    yield _control(slide.case, {1: "SC"})
    yield from _quality_note(slide, dialect)


def _images(slide: SlideAnnounced) -> Iterator[str]:
    """Return the segments of LAB-104: patient, order, the slide with the state of its images, where they are.

    SPM-18 is when the slide was scanned, in this transaction alone.
    """
    named = _joined("&", slide.container_identifier, slide.container_issuer)
    yield _patient(slide.case.patient)
    yield _control(slide.case, {1: "NW"})
    yield _order(slide.case, "SLIDE^Slide^L")
    yield _segment(
        "SPM",
        {
            1: "1",
            2: f"{named}^{named}",
            4: _TISSUE,
            18: _time(slide.scanned_at) if slide.scanned_at else "",
            20: _IMAGE_STATES[slide.state],
            27: "GLASS",
            30: escaped(slide.case.accession_number),
        },
        _LATER_VERSION,
    )
    for place, (name, uid) in enumerate(_uids(slide), start=1):
        yield _segment("OBX", {1: str(place), 2: "RP", 3: name, 5: uid, 11: "F"})


def _uids(slide: SlideAnnounced) -> Iterator[tuple[str, str]]:
    """Return the DICOM attributes that say where a slide's images are."""
    for name, uid in (
        ("0020000D^StudyInstanceUID^DCM", slide.study_instance_uid),
        ("0020000E^SeriesInstanceUID^DCM", slide.series_instance_uid),
    ):
        if uid:
            yield name, escaped(uid)


def _slide_by_order(slide: SlideAnnounced, dialect: Dialect) -> Iterator[str]:
    """Return the segments of OUL^R21, which knows the slide by its container: patient, container, order, results."""
    yield _patient(slide.case.patient)
    yield _segment("SAC", {3: _joined("^", slide.container_identifier, slide.container_issuer)})
    yield _control(slide.case, {1: "SC"})
    yield _order(slide.case, "SLIDE^Slide^L")
    yield from _quality_note(slide, dialect)
    yield from _observations(slide, dialect)


def _quality_note(slide: SlideAnnounced, dialect: Dialect) -> Iterator[str]:
    if slide.quality and dialect.quality_as == "NTE":
        yield _segment("NTE", {1: "1", 3: escaped(f"Quality of the scan: {slide.quality}")})


def _observations(slide: SlideAnnounced, dialect: Dialect) -> Iterator[str]:
    """Return OBX for state, quality, each reason, both UIDs and the time of the scan, numbered from 1."""
    code = slide.state.replace(" ", "-").upper()
    found = [("CWE", _ours("IMAGE-STATE", "State of the slide's images"), _ours(code, slide.state))]
    if slide.quality and dialect.quality_as == "OBX":
        verdict = slide.quality.replace(" ", "-").upper()
        found.append(("CWE", _ours("QUALITY", "Quality of the scan"), _ours(verdict, slide.quality)))
    found += [("ST", _ours("REASON", "Reason"), escaped(reason)) for reason in slide.reasons]
    found += [("RP", name, uid) for name, uid in _uids(slide)]
    if slide.scanned_at:
        found.append(("TS", _ours("SCANNED", "Time of the scan"), _time(slide.scanned_at)))
    for place, (value_type, what, value) in enumerate(found, start=1):
        yield _segment("OBX", {1: str(place), 2: value_type, 3: what, 5: value, 11: "F"})


def _case(case: CaseAnnounced) -> Iterator[str]:
    """Return the segments of OML^O21: patient, order control, the order and its reader, the reasons."""
    yield _patient(case.case.patient)
    yield _control(case.case, {1: "SC", **_status(case)})
    person = (case.pathologist_id or "", case.pathologist_family_name, case.pathologist_given_name)
    role, field = _PARTICIPATION[case.role]
    named = {field: _joined("&", *person)} if case.pathologist_id and field else {}
    yield _order(case.case, "CASE^Case^L", named)
    of = (f"Specimens: {', '.join(case.specimens)}",) if case.specimens else ()
    for number, note in enumerate((*case.reasons, *of), start=1):
        yield _segment("NTE", {1: str(number), 3: escaped(note)})
    if case.pathologist_id:
        yield _segment("PRT", {1: "1", 2: "UC", 4: role, 5: _joined("^", *person)}, _LATER_VERSION)


def _status(case: CaseAnnounced) -> dict[int, str]:
    """Return ORC-5, ORC-16 and ORC-25 of a case's state: complete are its images, or its report that is final."""
    if case.report is not None:
        return {5: "CM" if case.report == "final" else "IP", 25: case.report.title()}
    code, meaning = case.state.upper(), f"Case {case.state}"
    if case.role not in _REPORTERS:
        code, meaning = f"{case.role}-{case.state}".upper(), f"{case.role.capitalize()} read {case.state}"
    if case.images_complete:
        return {5: "CM", 16: _ours("IMAGES-COMPLETE", "All images of the case are in")}
    return {5: "IP", 16: _ours(code, meaning)}


def _work(asked: WorkAsked) -> Iterator[str]:
    """Return the segments of LAB-102: patient, the order under our number, why, and what is to be worked on.

    The draft's tree has no SPM, and its semantics need one: SPM-2.1 is our number for what is to be made, SPM-3 what it
    is made of.
    """
    yield _patient(asked.case.patient)
    numbers = {2: _joined("^", asked.number, "COVERSLIP"), 3: "", 16: _ours(*_named_work(asked))}
    yield _control(asked.case, {1: "NW", **numbers})
    work = _ours(*_named_work(asked))
    yield _segment("OBR", {1: "1", 2: numbers[2], 4: work, 13: escaped(asked.stain)})
    for number, note in enumerate((asked.because, f"Asked by {asked.asked_by}"), start=1):
        yield _segment("NTE", {1: str(number), 3: escaped(note)})
    yield _segment(
        "SPM",
        {
            1: "1",
            2: _joined("&", asked.number, "COVERSLIP"),
            3: _joined("&", asked.container_identifier, asked.container_issuer),
            4: _TISSUE,
            27: "CASSETTE" if asked.work == "new block" else "GLASS",
            30: escaped(asked.case.accession_number),
        },
        _LATER_VERSION,
    )


def _named_work(asked: WorkAsked) -> tuple[str, str]:
    return asked.work.replace(" ", "-").upper(), asked.work


def _patient(patient: PatientNamed) -> str:
    """Return PID with identifiers and name; a doubted identifier is not spread."""
    identifiers = (
        _joined("^", one.value, "", "", one.issuer, _PERSON_CODES.get(one.kind, one.kind))
        for one in patient.identifiers
        if not one.kind.endswith(_DOUBTED)
    )
    named = patient.family_name or patient.given_name
    name = _joined("^", patient.family_name, patient.given_name, "", "", "", "", "L") if named else ""
    return _segment("PID", {1: "1", 3: "~".join(identifiers), 5: name})


def _order(case: CaseNamed, what: str, more: Mapping[int, str] | None = None) -> str:
    fields = {
        1: "1",
        2: escaped(case.placer_order_number),
        3: escaped(case.filler_order_number or case.accession_number),
        4: what,
    }
    return _segment("OBR", fields | dict(more or {}))


def _control(case: CaseNamed, more: dict[int, str]) -> str:
    """Return ORC with the accession in ORC-38, a field that hl7apy does not know yet."""
    fields = {
        2: escaped(case.placer_order_number),
        3: escaped(case.filler_order_number or case.accession_number),
        17: escaped(case.site),
    }
    known = _segment("ORC", fields | more)
    return known + "|" * (38 - known.count("|")) + escaped(case.accession_number)


def _segment(name: str, fields: Mapping[int, str], version: str = _VERSION) -> str:
    """Return one segment of escaped fields, by their numbers; ``~`` divides repetitions.

    hl7apy may leave out or rewrite what it is given without a word, so what it made is compared.
    """
    wanted = {number: value for number, value in sorted(fields.items()) if value}
    segment = Segment(name, version=version, validation_level=VALIDATION_LEVEL.TOLERANT)
    try:
        for number, value in wanted.items():
            for one in value.split("~"):
                segment.add_field(f"{name}_{number}").value = one
        made = str(segment.to_er7())
    except HL7apyException as error:
        raise RejectedError(f"A segment {name} could not be made: {type(error).__name__}.") from error
    # MSH-1 is the separator itself.
    found = enumerate(made.split("|")[1:], start=2 if name == "MSH" else 1)
    if {number: value for number, value in found if value} != wanted:
        raise RejectedError(f"A segment {name} did not come out of hl7apy as it went in.")
    return made


def _joined(mark: str, *parts: str) -> str:
    """Return the parts with the delimiter between them, and none after the last that says something."""
    return mark.join(escaped(part) for part in parts).rstrip(mark)


def _ours(code: str, meaning: str) -> str:
    return f"{code}^{escaped(meaning)}^{_OUR_CODES}"


def _time(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y%m%d%H%M%S+0000")


def escaped(text: str) -> str:
    """Return the text on one line, with everything escaped that HL7 would read as a delimiter.

    A text of two quotation marks says nothing here, because alone in a field it would mean "delete this".
    """
    printable = "".join(mark if mark.isprintable() else " " if mark.isspace() else "" for mark in text)
    line = " ".join(printable.split())
    return "" if line == '""' else "".join(_ESCAPES.get(mark, mark) for mark in line)
