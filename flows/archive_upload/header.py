"""What the books say about a slide, as the header of its DICOM objects."""

from sqlalchemy import select
from sqlalchemy.orm import Session

from connectors.slides.header import PatientHeader, PersonName, SlideHeader, SpecimenHeader
from flows.sending.announce import study_of
from models.statements import Coded
from models.tables.case import Block, Case, Derivation, Identifier, Patient, Slide, Specimen
from models.tables.scan import Scan

_SEX = {"M": "M", "F": "F", "O": "O"}
"""PS3.3 C.7.1.1 knows three values; HL7 table 0001 has more, which stay empty."""

_RULING_KINDS = ("MR", "PI", "NHS")
"""Which identifier is the patient's in a DICOM header, best first: the laboratory's own before the national."""


def header_of(session: Session, scan: Scan) -> SlideHeader:
    """Return the header of a matched scan as the orders state it now."""
    slide = session.get_one(Slide, scan.slide_id)
    case = session.get_one(Case, slide.case_id)
    accession = session.scalars(
        select(Identifier)
        .where(Identifier.subject_id == case.id, Identifier.kind == "accession")
        .order_by(Identifier.id)
    ).first()
    return SlideHeader(
        patient=_patient(session, case.patient_id),
        accession_number=accession.value[:16] if accession else None,
        accession_issuer=accession.issuer[:64] if accession else None,
        study_instance_uid=study_of(case, slide),
        study_at=case.registered_at,
        container_identifier=slide.container_identifier,
        container_issuer=slide.issuer[:64],
        specimens=_specimens(session, slide),
        stains=tuple(Coded.model_validate(stain) for stain in slide.stains),
        stain_text=slide.stain_text[:64] if slide.stain_text else None,
        barcode=slide.container_identifier,
        label_text=slide.container_identifier,
        scanned_at=scan.scanned_at,
        received_at=scan.received_at,
    )


def _patient(session: Session, patient_id: str | None) -> PatientHeader:
    if patient_id is None:
        return PatientHeader()
    patient = session.get_one(Patient, patient_id)
    numbers = session.scalars(
        select(Identifier).where(Identifier.subject_id == patient_id).order_by(Identifier.id)
    ).all()
    ruling = min(
        (one for one in numbers if one.kind in _RULING_KINDS),
        key=lambda one: _RULING_KINDS.index(one.kind),
        default=None,
    )
    return PatientHeader(
        identifier=ruling.value if ruling else None,
        issuer=ruling.issuer if ruling else None,
        name=PersonName(family=patient.family_name or "", given=patient.given_name or ""),
        birth_date=patient.birth_date,
        sex=_SEX.get(patient.sex or ""),  # type: ignore[arg-type] # the table holds only the three allowed values
    )


def _specimens(session: Session, slide: Slide) -> tuple[SpecimenHeader, ...]:
    """Return the specimens a slide goes back to, through its blocks."""
    blocks = list(
        session.scalars(
            select(Block).join(Derivation, Derivation.parent_id == Block.id).where(Derivation.child_id == slide.id)
        )
    )
    return tuple(
        SpecimenHeader(
            identifier=specimen.container_identifier,
            issuer=specimen.issuer,
            specimen_type=_coded(specimen.specimen_type),
            anatomic_site=_coded(specimen.anatomic_site),
            laterality=_coded(specimen.laterality),
            block_identifier=block.container_identifier if block else None,
            block_issuer=block.issuer if block else None,
        )
        for block, specimen in _parents(session, slide, blocks)
    )


def _parents(session: Session, slide: Slide, blocks: list[Block]) -> list[tuple[Block | None, Specimen]]:
    found: list[tuple[Block | None, Specimen]] = []
    children: list[tuple[Block | None, str]] = [(None, slide.id), *((block, block.id) for block in blocks)]
    for block, child_id in children:
        specimens = session.scalars(
            select(Specimen)
            .join(Derivation, Derivation.parent_id == Specimen.id)
            .where(Derivation.child_id == child_id)
            .order_by(Specimen.id)
        )
        found += [(block, specimen) for specimen in specimens]
    return found


def _coded(value: dict[str, object] | None) -> Coded | None:
    return Coded.model_validate(value) if value else None
