"""Cases that a simulated laboratory registers, and the messages that its system would send of them.

Written as plain lines, so that it shares nothing with the code that reads them but HL7 itself.
"""

from datetime import UTC, date, datetime
from typing import Literal

from models.statements import Coded, Frozen, Moment

Control = Literal["NW", "XO", "CA"]

HISTOLOGY = Coded(code="SLIDE", meaning="Slide", scheme="L")
HAEMATOXYLIN_EOSIN = (
    Coded(code="12710003", meaning="Hematoxylin stain", scheme="SCT"),
    Coded(code="36879007", meaning="Eosin stain", scheme="SCT"),
)


class SimulatedPatient(Frozen):
    """An invented patient."""

    record_number: str
    nhs_number: str = ""
    family_name: str
    given_name: str
    birth_date: date
    sex: Literal["F", "M", "O", "U"]


class SimulatedSpecimen(Frozen):
    """A specimen in its container."""

    container_identifier: str
    anatomic_site: Coded
    laterality: Coded | None = None


class SimulatedBlock(Frozen):
    """A block of one specimen."""

    container_identifier: str
    specimen: str


class SimulatedSlide(Frozen):
    """A slide of one block; without stains it is only a placeholder."""

    container_identifier: str
    block: str
    stains: tuple[Coded, ...] = HAEMATOXYLIN_EOSIN
    scanned: bool = True


class SimulatedCase(Frozen):
    """A case as its laboratory knows it: ``request`` is OBR-4, ``priority`` TQ1-9."""

    accession_number: str
    site: str
    patient: SimulatedPatient
    request: Coded
    priority: str = "R"
    due: Moment | None = None
    received_at: Moment
    specimens: tuple[SimulatedSpecimen, ...] = ()
    blocks: tuple[SimulatedBlock, ...] = ()
    slides: tuple[SimulatedSlide, ...] = ()


def order_by_specimen(case: SimulatedCase, control_id: str, sent_at: datetime, control: Control = "NW") -> bytes:
    """Return the whole case as OML^O33: one specimen group for each container."""
    segments = [_header(case.site, "OML^O33^OML_O33", control_id, sent_at), _patient(case)]
    groups = [_specimen(case, one) for one in case.specimens]
    groups += [_block(case, one) for one in case.blocks]
    groups += [_slide(case, one) for one in case.slides]
    for number, group in enumerate(groups, start=1):
        asks = case.request if number <= len(case.specimens) else HISTOLOGY
        order = _order(case, control, number, asks)
        segments += [group[0].replace("SPM|", f"SPM|{number}", 1), *group[1:], *order]
    return _message(segments)


def order_by_case(case: SimulatedCase, control_id: str, sent_at: datetime, control: Control = "NW") -> bytes:
    """Return the whole case as OML^O21: one order, then its containers; a cancelled case names none."""
    segments = [_header(case.site, "OML^O21^OML_O21", control_id, sent_at), _patient(case)]
    segments += _order(case, control, 1, case.request)
    groups = [_specimen(case, one) for one in case.specimens]
    groups += [_block(case, one) for one in case.blocks]
    groups += [_slide(case, one) for one in case.slides]
    for number, group in enumerate(groups if control != "CA" else (), start=1):
        segments += [group[0].replace("SPM|", f"SPM|{number}", 1), *group[1:]]
    return _message(segments)


def _message(segments: list[str]) -> bytes:
    return "".join(f"{segment}\r" for segment in segments).encode()


def _header(site: str, message_type: str, control_id: str, sent_at: datetime) -> str:
    sent = _time(sent_at)
    return f"MSH|^~\\&|LIMS|{site}|COVERSLIP|NET|{sent}||{message_type}|{control_id}|P|2.5.1|||AL|NE||UNICODE UTF-8"


def _patient(case: SimulatedCase) -> str:
    patient = case.patient
    nhs = f"{patient.nhs_number}^^^NHS^NH~" if patient.nhs_number else ""
    name = f"{patient.family_name}^{patient.given_name}^^^^^L"
    return f"PID|1||{nhs}{patient.record_number}^^^{case.site}^MR||{name}||{patient.birth_date:%Y%m%d}|{patient.sex}"


def _order(case: SimulatedCase, control: Control, number: int, asks: Coded) -> list[str]:
    numbers = f"{case.accession_number}-P{number}^LIMS|{case.accession_number}^LIMS"
    due = _time(case.due) if case.due else ""
    return [f"ORC|{control}|{numbers}", f"TQ1|1|||||||{due}|{case.priority}", f"OBR|1|{numbers}|{_coded(asks)}"]


def _specimen(case: SimulatedCase, specimen: SimulatedSpecimen) -> list[str]:
    side = _coded(specimen.laterality) if specimen.laterality else ""
    return [_spm(case, specimen.container_identifier, "", "CONTAINER", f"{_coded(specimen.anatomic_site)}|{side}")]


def _block(case: SimulatedCase, block: SimulatedBlock) -> list[str]:
    return [_spm(case, block.container_identifier, block.specimen, "CASSETTE", "|")]


def _slide(case: SimulatedCase, slide: SimulatedSlide) -> list[str]:
    stains = [
        f"OBX|{number}|CWE|397165007^Stain^SCT|1|{_coded(stain)}||||||F"
        for number, stain in enumerate(slide.stains, start=1)
    ]
    container = f"SAC|||{slide.container_identifier}" + "|" * 45 + ("WSI" if slide.scanned else "OTH")
    return [_spm(case, slide.container_identifier, slide.block, "GLASS", "|"), *stains, container]


def _spm(case: SimulatedCase, identifier: str, parent: str, kind: str, site: str) -> str:
    """Return SPM without its number: 2 identifier, 3 parent, 4 tissue, 8 and 9 site, 18 received, 27 kind."""
    tissue = "119376003^Tissue specimen^SCT"
    return f"SPM||{identifier}|{parent}|{tissue}||||{site}|||||||||{_time(case.received_at)}|||||||||{kind}"


def _coded(code: Coded) -> str:
    return f"{code.code}^{code.meaning}^{code.scheme}"


def _time(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y%m%d%H%M%S+0000")
