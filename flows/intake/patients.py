"""A patient is a fold of what messages say about them: any order of arrival ends the same."""

from datetime import date
from typing import Any

from sqlalchemy import bindparam, select, update
from sqlalchemy.orm import Session

from flows.books import Cause, Subject, note_changes
from flows.intake.saying import Said
from models.base import table_of
from models.case_fold import PatientFact
from models.database import database_now, insert_unless_there
from models.opaque import OpaqueIds
from models.statements import Identifier as StatedIdentifier
from models.statements import PatientStated
from models.tables.books import Fact
from models.tables.case import Identifier, Patient

_KEY_KINDS = ("MR", "PI", "NHS")
"""What names a patient for us, best first; anything else only when there is none of these."""

_FIELDS = ("family_name", "given_name", "birth_date", "sex")
# What was said stays whole among the facts.
_LONGEST = {"family_name": 200, "given_name": 200, "sex": 16}

_PATIENT, _FACT = table_of(Patient), table_of(Fact)
_AS_IT_IS = (
    select(*(_PATIENT.c[name] for name in (*_FIELDS, "nhs_number_status")))
    .where(_PATIENT.c.id == bindparam("patient"))
    # Who makes a case the patient's must not wait for us: they may hold the case that we lock next.
    .with_for_update(key_share=True)
)
_CHANGE = (
    update(_PATIENT)
    .where(_PATIENT.c.id == bindparam("patient"))
    .values({name: bindparam(f"new_{name}") for name in (*_FIELDS, "nhs_number_status")})
)
_WHAT_WAS_SAID = select(_FACT.c.effective_at, _FACT.c.sequence_number, _FACT.c.digest, _FACT.c.body).where(
    _FACT.c.subject_id == bindparam("patient"), _FACT.c.kind == PatientFact.__name__
)


def patient_stated(session: Session, ids: OpaqueIds, patient: PatientStated, said: Said) -> str | None:
    """Record what a message says about its patient and bring the row in line; ``None`` without an identifier."""
    key = ruling_identifier(patient.identifiers)
    if key is None:
        return None
    patient_id = ids.of("patient", key.issuer, key.value)
    subject = Subject("patient", patient_id)
    said.record(session, subject, PatientFact(patient=patient))
    _project(session, subject, said.cause)
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
                folded[name] = (value[: _LONGEST[name]] if isinstance(value, str) else value) or None
        if fact.nhs_number_status != "missing":
            folded["nhs_number_status"] = fact.nhs_number_status
    return folded


def patient_facts(session: Session, patient_id: str) -> list[PatientStated]:
    """Return everything that was said about a patient, in the order in which it counts."""
    rows = session.execute(_WHAT_WAS_SAID, {"patient": patient_id})
    in_order = sorted(rows, key=lambda row: (row.effective_at, row.sequence_number or -1, row.digest))
    return [PatientFact.model_validate(row.body).patient for row in in_order]


def _project(session: Session, subject: Subject, cause: Cause) -> None:
    row = session.execute(_AS_IT_IS, {"patient": subject.id}).one_or_none()
    facts = patient_facts(session, subject.id)
    after = fold_patient(facts)
    if row is None and not insert_unless_there(session, Patient, [{"id": subject.id, **after}]):
        # Somebody else registered them this moment: what they said counts too.
        _project(session, subject, cause)
        return
    before = row._asdict() if row else {**dict.fromkeys(_FIELDS), "nhs_number_status": ""}
    if row is not None and after != before:
        session.execute(_CHANGE, {"patient": subject.id, **{f"new_{name}": value for name, value in after.items()}})
    # History names what changed, never the values: they are the patient's.
    changes = [(name, None, "changed") for name, value in after.items() if before[name] != value]
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
