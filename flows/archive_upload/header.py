"""What the books say about a slide, as the header of its DICOM objects."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Row, bindparam, func, select
from sqlalchemy.orm import Session

from connectors.slides.header import SlideHeader, read_header
from models.base import table_of
from models.tables.case import Block, Case, Derivation, Identifier, Patient, Slide, Specimen
from models.tables.scan import Scan
from models.uid import study_of

_SEX = ("M", "F", "O")
"""PS3.3 C.7.1.1 knows three values; HL7 table 0001 has more, which stay empty."""

_RULING_KINDS = ("MR", "PI", "NHS")
"""Which identifier is the patient's in a DICOM header, best first: the laboratory's own before the national."""


_SCAN = table_of(Scan)
_SLIDE = table_of(Slide)
_CASE = table_of(Case)
_PATIENT = table_of(Patient)
_IDENTIFIER = table_of(Identifier)
_BLOCK = table_of(Block)
_SPECIMEN = table_of(Specimen)
_STATED = (
    select(
        *(_SCAN.c.scanned_at, _SCAN.c.received_at, _SLIDE.c.id.label("slide_id"), _SLIDE.c.container_identifier),
        *(_SLIDE.c.issuer, _SLIDE.c.stains, _SLIDE.c.stain_text, _SLIDE.c.case_id, _CASE.c.study_instance_uid),
        *(_CASE.c.registered_at, _CASE.c.identity_digest, _CASE.c.patient_id),
        *(_PATIENT.c.family_name, _PATIENT.c.given_name, _PATIENT.c.birth_date, _PATIENT.c.sex),
    )
    .join_from(_SCAN, _SLIDE, _SLIDE.c.id == _SCAN.c.slide_id)
    .join(_CASE, _CASE.c.id == _SLIDE.c.case_id)
    .outerjoin(_PATIENT, _PATIENT.c.id == _CASE.c.patient_id)
    .where(_SCAN.c.id == bindparam("scan"), _SCAN.c.edition == bindparam("edition"))
)
_NUMBERS = (
    select(_IDENTIFIER.c.subject_id, _IDENTIFIER.c.kind, _IDENTIFIER.c.value, _IDENTIFIER.c.issuer)
    .where(_IDENTIFIER.c.subject_id.in_((bindparam("case"), bindparam("patient"))))
    .order_by(_IDENTIFIER.c.id)
)
_CUT = table_of(Derivation).alias("cut")
_TAKEN = table_of(Derivation).alias("taken")
_SECTIONS_OF_SLIDE = (
    select(
        _BLOCK.c.container_identifier.label("block_identifier"),
        _BLOCK.c.issuer.label("block_issuer"),
        *(_SPECIMEN.c.container_identifier, _SPECIMEN.c.issuer),
        *(_SPECIMEN.c.specimen_type, _SPECIMEN.c.anatomic_site, _SPECIMEN.c.laterality),
    )
    .join_from(_CUT, _BLOCK, _BLOCK.c.id == _CUT.c.parent_id, isouter=True)
    .outerjoin(_TAKEN, _TAKEN.c.child_id == _BLOCK.c.id)
    # Without a block, the slide's own parent is the specimen.
    .join(_SPECIMEN, _SPECIMEN.c.id == func.coalesce(_TAKEN.c.parent_id, _CUT.c.parent_id))
    .where(_CUT.c.child_id == bindparam("slide"))
    .order_by(_BLOCK.c.id.is_not(None), _BLOCK.c.container_identifier, _BLOCK.c.id, _SPECIMEN.c.container_identifier)
)


def stated_of(session: Session, scan_id: str, edition: int) -> Row[*tuple[Any, ...]] | None:
    """Return what the orders state now about a matched scan; ``None`` when this is not its edition any more."""
    return session.execute(_STATED, {"scan": scan_id, "edition": edition}).one_or_none()


def header_of(session: Session, stated: Row[*tuple[Any, ...]]) -> SlideHeader:
    """Return the header of a scan's objects from a row of ``stated_of``.

    Raises
    ------
    RejectedError
        An order states something that DICOM can't carry; the sentence names the fields, never their values.
    """
    numbers = session.execute(_NUMBERS, {"case": stated.case_id, "patient": stated.patient_id}).all()
    of_case = (one for one in numbers if one.subject_id == stated.case_id)
    accession = next((one for one in of_case if one.kind == "accession"), None)
    header = {
        "patient": _patient(stated, numbers) if stated.patient_id else {},
        "accession_number": accession.value if accession else None,
        "accession_issuer": accession.issuer if accession else None,
        "study_instance_uid": study_of(stated.study_instance_uid, stated.case_id, stated.issuer),
        "study_at": stated.registered_at,
        "container_identifier": stated.container_identifier,
        "container_issuer": stated.issuer,
        "specimens": _specimens(session, stated),
        "stains": stated.stains,
        "stain_text": stated.stain_text,
        "barcode": stated.container_identifier,
        "scanned_at": stated.scanned_at,
        "received_at": stated.received_at,
    }
    return read_header(header)


def _patient(stated: Row[*tuple[Any, ...]], numbers: Sequence[Row[*tuple[Any, ...]]]) -> dict[str, Any]:
    ruling = min(
        (one for one in numbers if one.subject_id == stated.patient_id and one.kind in _RULING_KINDS),
        key=lambda one: _RULING_KINDS.index(one.kind),
        default=None,
    )
    return {
        "identifier": ruling.value if ruling else None,
        "issuer": ruling.issuer if ruling else None,
        "name": {"family": stated.family_name or "", "given": stated.given_name or ""},
        "birth_date": stated.birth_date,
        "sex": stated.sex if stated.sex in _SEX else None,
    }


def _specimens(session: Session, stated: Row[*tuple[Any, ...]]) -> list[dict[str, Any]]:
    """Return the sections on a slide: one for each block, or each specimen, that it was cut from."""
    sections = session.execute(_SECTIONS_OF_SLIDE, {"slide": stated.slide_id}).all()
    name = stated.container_identifier
    return [
        {
            "identifier": name if len(sections) == 1 else f"{name}/{number}",
            "issuer": stated.issuer,
            "specimen_type": section.specimen_type,
            "anatomic_site": section.anatomic_site,
            "laterality": section.laterality,
            "block_identifier": section.block_identifier,
            "block_issuer": section.block_issuer,
            "part_identifier": section.container_identifier,
            "part_issuer": section.issuer,
            "part_type": section.specimen_type,
        }
        for number, section in enumerate(sections, start=1)
    ]
