"""Who a patient of the books is, and whose a visit: merges and moves are followed whenever they are asked for."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping

from sqlalchemy import bindparam, select
from sqlalchemy.orm import Session

from models.alias_fold import Merge, PatientMergedInto, VisitMovedTo, last, who_stays
from models.base import table_of
from models.tables.books import Fact
from models.tables.case import Patient

_PATIENT, _FACT = table_of(Patient), table_of(Fact)
_MERGED_INTO = select(_PATIENT.c.merged_into_id).where(_PATIENT.c.id == bindparam("patient"))
_MERGED_FROM = select(_PATIENT.c.id).where(_PATIENT.c.merged_into_id.in_(bindparam("patients", expanding=True)))
_OF_KIND = select(_FACT.c.subject_id, _FACT.c.effective_at, _FACT.c.sequence_number, _FACT.c.digest, _FACT.c.body)
_MERGES = _OF_KIND.where(
    _FACT.c.subject_id.in_(bindparam("patients", expanding=True)), _FACT.c.kind == PatientMergedInto.__name__
)
_MOVES = _OF_KIND.where(
    _FACT.c.subject_id.in_(bindparam("visits", expanding=True)), _FACT.c.kind == VisitMovedTo.__name__
)


def stays(session: Session, patient_id: str) -> str:
    """Return the patient that stays when every merge of this one is followed."""
    chain = [patient_id]
    while True:
        following = session.scalar(_MERGED_INTO, {"patient": chain[-1]})
        if following is None:
            return chain[-1]
        if following in chain:
            return who_stays(patient_id, merges_of(session, chain))
        chain.append(following)


def merges_of(session: Session, patient_ids: Iterable[str]) -> Mapping[str, Merge]:
    """Return the merge that counts of each of these patients who has one."""
    found: dict[str, list[Merge]] = defaultdict(list)
    for subject_id, *place, body in session.execute(_MERGES, {"patients": list(patient_ids)}):
        found[subject_id].append(Merge(body["survivor_id"], *place))
    counting = {patient_id: last(merges) for patient_id, merges in found.items()}
    return {patient_id: merge for patient_id, merge in counting.items() if merge is not None}


def merged_into(session: Session, patient_id: str, most: int) -> set[str]:
    """Return this patient and whoever was merged into them, or into those, at most one more than ``most``."""
    known, newest = {patient_id}, {patient_id}
    while newest and len(known) <= most:
        newest = set(session.scalars(_MERGED_FROM.limit(most + 1), {"patients": list(newest)})) - known
        known |= newest
    return known


def moves_of(session: Session, visit_ids: Collection[str]) -> list[VisitMovedTo]:
    """Return the moves of these visits, in their order of telling."""
    if not visit_ids:
        return []
    rows = session.execute(_MOVES, {"visits": list(visit_ids)}).all()
    in_order = sorted(
        rows,
        key=lambda row: (
            row.effective_at,
            -1 if row.sequence_number is None else row.sequence_number,
            row.digest,
            row.subject_id,
        ),
    )
    return [VisitMovedTo.model_validate(row.body) for row in in_order]
