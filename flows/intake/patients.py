"""A patient is a fold of what messages say about them: any order of arrival ends the same."""

from datetime import date, datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from flows.books import Cause, Subject, note_changes, record
from models.case_fold import PatientFact
from models.database import database_now, insert_unless_there
from models.opaque import OpaqueIds
from models.statements import Identifier as StatedIdentifier
from models.statements import MessageStated, PatientStated
from models.tables.books import Fact
from models.tables.case import Identifier, Patient

_KEY_KINDS = ("MR", "PI", "NHS")
"""What names a patient for us, best first; anything else only when there is none of these."""

_FIELDS = ("family_name", "given_name", "birth_date", "sex")


def patient_stated(
    session: Session,
    ids: OpaqueIds,
    stated: MessageStated,
    cause: Cause,
    effective_at: datetime,
    received_at: datetime,
) -> str | None:
    """Record what a message says about its patient and bring the row in line; ``None`` without an identifier."""
    patient = stated.patient
    key = ruling_identifier(patient.identifiers) if patient else None
    if patient is None or key is None:
        return None
    patient_id = ids.of("patient", key.issuer, key.value)
    subject = Subject("patient", patient_id)
    fact = PatientFact(patient=patient)
    record(
        session,
        subject,
        fact,
        cause,
        effective_at=effective_at,
        received_at=received_at,
        sequence_number=stated.sequence_number,
    )
    _project(session, subject, cause)
    return patient_id


def ruling_identifier(identifiers: tuple[StatedIdentifier, ...]) -> StatedIdentifier | None:
    """Return the identifier that names a patient: the laboratory's own before the national number."""
    ranked = [one for kind in _KEY_KINDS for one in identifiers if one.kind == kind]
    others = [one for one in identifiers if one.kind not in _KEY_KINDS and not one.kind.endswith("?")]
    return next(iter((*ranked, *others)), None)


def fold_patient(facts: list[PatientStated]) -> dict[str, Any]:
    """Return a patient's fields from what was said, in order; a part not stated leaves what stood before."""
    folded: dict[str, Any] = {**dict.fromkeys(_FIELDS), "nhs_number_status": ""}
    for fact in facts:
        for name in _FIELDS:
            value: str | date | None = getattr(fact, name)
            if value is not None:
                folded[name] = value or None
        if fact.nhs_number_status != "missing":
            folded["nhs_number_status"] = fact.nhs_number_status
    return folded


def patient_facts(session: Session, patient_id: str) -> list[PatientStated]:
    """Return everything that was said about a patient, in the order in which it counts."""
    rows = session.scalars(select(Fact).where(Fact.subject_id == patient_id, Fact.kind == PatientFact.__name__))
    in_order = sorted(rows, key=lambda row: (row.effective_at, row.sequence_number or -1, row.digest))
    return [PatientFact.model_validate(row.body).patient for row in in_order]


def _project(session: Session, subject: Subject, cause: Cause) -> None:
    patient = session.get(Patient, subject.id, with_for_update=True)
    if patient is None:
        patient = Patient(id=subject.id, nhs_number_status="")
        session.add(patient)
    facts = patient_facts(session, subject.id)
    changes = []
    for name, value in fold_patient(facts).items():
        # History names what changed, never the values: they are the patient's.
        if getattr(patient, name) != value:
            changes.append((name, None, "changed"))
            setattr(patient, name, value)
    session.flush()
    note_changes(session, subject, changes, cause, database_now(session))
    rows = [
        {
            "subject_kind": "patient",
            "subject_id": subject.id,
            "kind": one.kind,
            "issuer": one.issuer,
            "value": one.value,
        }
        for fact in facts
        for one in fact.identifiers
    ]
    insert_unless_there(session, Identifier, rows)
