"""What the books say about a slide, as the header of its DICOM objects."""

from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from connectors.slides.header import SlideHeader, read_header
from flows.sending.announce import study_of
from models.tables.case import Block, Case, Derivation, Identifier, Patient, Slide, Specimen
from models.tables.scan import Scan

_SEX = ("M", "F", "O")
"""PS3.3 C.7.1.1 knows three values; HL7 table 0001 has more, which stay empty."""

_RULING_KINDS = ("MR", "PI", "NHS")
"""Which identifier is the patient's in a DICOM header, best first: the laboratory's own before the national."""


def header_of(session: Session, scan: Scan) -> SlideHeader:
    """Return the header of a matched scan as the orders state it now.

    Raises
    ------
    RejectedError
        An order states something that DICOM can't carry; the sentence names the fields, never their values.
    """
    slide = session.get_one(Slide, scan.slide_id)
    case = session.get_one(Case, slide.case_id)
    accession = session.scalars(
        select(Identifier)
        .where(Identifier.subject_id == case.id, Identifier.kind == "accession")
        .order_by(Identifier.id)
    ).first()
    stated = {
        "patient": _patient(session, case.patient_id),
        "accession_number": accession.value if accession else None,
        "accession_issuer": accession.issuer if accession else None,
        "study_instance_uid": study_of(case, slide),
        "study_at": case.registered_at,
        "container_identifier": slide.container_identifier,
        "container_issuer": slide.issuer,
        "specimens": _specimens(session, slide),
        "stains": slide.stains,
        "stain_text": slide.stain_text,
        "barcode": slide.container_identifier,
        "scanned_at": scan.scanned_at,
        "received_at": scan.received_at,
    }
    return read_header(stated)


def _patient(session: Session, patient_id: str | None) -> dict[str, Any]:
    if patient_id is None:
        return {}
    patient = session.get_one(Patient, patient_id)
    numbers = session.scalars(
        select(Identifier)
        .where(Identifier.subject_id == patient_id, Identifier.kind.in_(_RULING_KINDS))
        .order_by(Identifier.id)
    ).all()
    ruling = min(numbers, key=lambda one: _RULING_KINDS.index(one.kind), default=None)
    return {
        "identifier": ruling.value if ruling else None,
        "issuer": ruling.issuer if ruling else None,
        "name": {"family": patient.family_name or "", "given": patient.given_name or ""},
        "birth_date": patient.birth_date,
        "sex": patient.sex if patient.sex in _SEX else None,
    }


def _specimens(session: Session, slide: Slide) -> list[dict[str, Any]]:
    """Return the sections on a slide: one for each block, or each specimen, that it was cut from."""
    sections = _origins(session, slide)
    name = slide.container_identifier
    return [
        {
            "identifier": name if len(sections) == 1 else f"{name}/{number}",
            "issuer": slide.issuer,
            "specimen_type": part.specimen_type,
            "anatomic_site": part.anatomic_site,
            "laterality": part.laterality,
            "block_identifier": block.container_identifier if block else None,
            "block_issuer": block.issuer if block else None,
            "part_identifier": part.container_identifier,
            "part_issuer": part.issuer,
            "part_type": part.specimen_type,
        }
        for number, (block, part) in enumerate(sections, start=1)
    ]


def _origins(session: Session, slide: Slide) -> list[tuple[Block | None, Specimen]]:
    """Return what a slide was cut from: (block, part), or (nothing, part) where there was no block."""
    blocks = session.scalars(
        select(Block)
        .join(Derivation, Derivation.parent_id == Block.id)
        .where(Derivation.child_id == slide.id)
        .order_by(Block.container_identifier)
    ).all()
    children: list[tuple[Block | None, str]] = [(None, slide.id), *((block, block.id) for block in blocks)]
    found: list[tuple[Block | None, Specimen]] = []
    for block, child_id in children:
        parts = session.scalars(
            select(Specimen)
            .join(Derivation, Derivation.parent_id == Specimen.id)
            .where(Derivation.child_id == child_id)
            .order_by(Specimen.container_identifier)
        )
        found += [(block, part) for part in parts]
    return found
