"""Who may not have which cases: a conflict with a patient counts for whomever they were merged into."""

from collections import defaultdict
from collections.abc import Mapping

from sqlalchemy import String, and_, bindparam, or_, select
from sqlalchemy.orm import Session

from models.base import table_of
from models.tables.case import Case, Patient
from models.tables.reading import ReadingConflict

_CONFLICT, _PATIENT = table_of(ReadingConflict), table_of(Patient)
_OF_PATIENT = _CONFLICT.c.subject_kind == "patient"

# Downwards from one patient, whom few were merged into.
_SAME = select(bindparam("patient", type_=String).label("id")).cte("same_patient", recursive=True)
_SAME = _SAME.union(select(_PATIENT.c.id).join(_SAME, _PATIENT.c.merged_into_id == _SAME.c.id))
_OF_CASE = select(_CONFLICT.c.pathologist_id).where(
    or_(
        and_(_CONFLICT.c.subject_kind == "case", _CONFLICT.c.subject_id == bindparam("of_case")),
        and_(_OF_PATIENT, _CONFLICT.c.subject_id.in_(select(_SAME.c.id))),
    )
)
# Upwards from the conflicts, of which there are few beside the patients.
_BECAME = select(_CONFLICT.c.pathologist_id, _CONFLICT.c.subject_id).cte("became", recursive=True)
_BECAME = _BECAME.union(
    select(_BECAME.c.pathologist_id, _PATIENT.c.merged_into_id)
    .join(_PATIENT, _PATIENT.c.id == _BECAME.c.subject_id)
    .where(_PATIENT.c.merged_into_id.is_not(None))
)
_ALL = select(_BECAME.c.pathologist_id, _BECAME.c.subject_id)


def conflicts_of(session: Session, case: Case) -> frozenset[str]:
    """Return who may not have a case."""
    return frozenset(session.scalars(_OF_CASE, {"of_case": case.id, "patient": case.patient_id}))


def all_conflicts(session: Session) -> Mapping[str, frozenset[str]]:
    """Return who may not have it, by case and by patient; nobody for whatever else is asked for."""
    found: defaultdict[str, frozenset[str]] = defaultdict(frozenset)
    for pathologist_id, subject_id in session.execute(_ALL):
        found[subject_id] |= {pathologist_id}
    return found
