"""The fold of all facts of a patient is the live row."""

from collections.abc import Iterator, Sequence

from pydantic import ValidationError
from sqlalchemy import exists, select
from sqlalchemy.orm import Session

from flows.aliases import merges_of
from flows.audit.snapshots import Books, portions, snapshot
from flows.intake.patients import fold_patient, patient_facts
from models.tables.books import Fact
from models.tables.case import Identifier, Patient


def patients_are_their_facts(books: Books) -> Iterator[str]:
    """Yield each patient whose row is not what its facts make of it."""
    for sentences in portions(books, Patient.id, _judged):
        yield from sentences
    with snapshot(books.database) as session:
        known = exists().where(Patient.id == Fact.subject_id)
        orphans = select(Fact.subject_id).where(Fact.subject_kind == "patient", ~known).distinct()
        for patient_id in session.scalars(orphans.order_by(Fact.subject_id)):
            yield f"patient {patient_id} has facts and no row"


def _judged(session: Session, ids: Sequence[str]) -> list[str]:
    patients = session.scalars(select(Patient).where(Patient.id.in_(ids)).order_by(Patient.id)).all()
    return [sentence for patient in patients for sentence in _compare(session, patient)]


def _compare(session: Session, patient: Patient) -> Iterator[str]:
    try:
        facts = patient_facts(session, patient.id)
    except ValidationError:
        yield f"patient {patient.id} has a fact that can't be read"
        return
    wrong = [name for name, value in fold_patient(facts).items() if getattr(patient, name) != value]
    columns = (Identifier.kind, Identifier.issuer, Identifier.value)
    live = {tuple(row) for row in session.execute(select(*columns).where(Identifier.subject_id == patient.id))}
    if live != {(one.kind, one.issuer, one.value) for fact in facts for one in fact.identifiers}:
        wrong.append("identifiers")
    merge = merges_of(session, (patient.id,)).get(patient.id)
    if patient.merged_into_id != (merge.survivor_id if merge else None):
        wrong.append("whom they were merged into")
    if wrong:
        yield f"patient {patient.id} is not what its facts say: {', '.join(wrong)}"
