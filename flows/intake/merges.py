"""Merges of patients and moves of visits: facts about who somebody is, and the cases that are looked at again."""

from collections.abc import Iterable, Sequence

from sqlalchemy import bindparam, or_, select, update
from sqlalchemy.orm import Session

from connectors.wiring import Lab
from flows import aliases, allocation, cases, ledger
from flows.books import Subject, note_changes
from flows.intake import consequences
from flows.intake.patients import patient_stated
from flows.intake.saying import Said
from models.alias_fold import PatientMergedInto, VisitMovedTo
from models.base import table_of
from models.database import database_now
from models.errors import RejectedError
from models.statements import Identifier, PatientMerged, PatientStated, VisitMoved
from models.tables.case import Case, CasePatient, CaseVisit, Patient

_OWN_NUMBERS = ("MR", "PI")
"""Each of a merged patient's own numbers may be what some order named them by."""

# All cases that a merge changes are locked and changed in one transaction, while everybody else waits.
_MOST_CASES = 500
_MOST_PATIENTS = 200

_PATIENT, _CASE, _VISIT, _SPOKEN_OF = table_of(Patient), table_of(Case), table_of(CaseVisit), table_of(CasePatient)
_MERGED_INTO = update(_PATIENT).where(_PATIENT.c.id == bindparam("merged")).values(merged_into_id=bindparam("survivor"))
_WAS_MERGED_INTO = select(_PATIENT.c.merged_into_id).where(_PATIENT.c.id == bindparam("merged"))
_MOVED_WITH = select(_SPOKEN_OF.c.case_id).where(_SPOKEN_OF.c.patient_id.in_(bindparam("spoken_of", expanding=True)))
_CASES_OF_PATIENTS = (
    select(_CASE.c.id)
    .where(or_(_CASE.c.named_patient_id.in_(bindparam("patients", expanding=True)), _CASE.c.id.in_(_MOVED_WITH)))
    .limit(_MOST_CASES + 1)
)
_CASES_OF_VISIT = select(_VISIT.c.case_id).where(_VISIT.c.visit_id == bindparam("visit")).limit(_MOST_CASES + 1)


def hold_patients(session: Session, *, alone: bool) -> None:
    """Let orders find their patients side by side, but a merge or move only alone."""
    ledger.hold_key(session, "who a patient is", "", shared=not alone)


def patients_merged(lab: Lab, session: Session, merges: Sequence[PatientMerged], said: Said) -> None:
    """Record that patients are others, and change every case whose orders name one of them.

    Raises
    ------
    RejectedError
        A patient has no identifier that we know them by, or more cases would change than one message may.
    """
    changed: set[str] = set()
    for merge in merges:
        survivor_id = _known(lab, session, merge.survivor, said)
        for identifiers in _each(merge.merged):
            merged_id = _known(lab, session, identifiers, said)
            if merged_id != survivor_id:
                _merge(session, merged_id, survivor_id, said)
                changed |= aliases.merged_into(session, merged_id, _MOST_PATIENTS)
    if len(changed) > _MOST_PATIENTS:
        raise RejectedError(_too_many("patients", _MOST_PATIENTS))
    if changed:
        of_patients = {"patients": sorted(changed), "spoken_of": sorted(changed)}
        _look_again(lab, session, session.scalars(_CASES_OF_PATIENTS, of_patients), said)


def visits_moved(lab: Lab, session: Session, moves: Iterable[VisitMoved], said: Said) -> None:
    """Record that visits are another patient's, and change every case that was requested in one of them; as above."""
    for move in moves:
        from_id, to_id = (_known(lab, session, one, said) for one in (move.from_patient, move.to_patient))
        visit_id = lab.ids.of("visit", move.visit.issuer, move.visit.value)
        said.record(session, Subject("visit", visit_id), VisitMovedTo(from_patient_id=from_id, to_patient_id=to_id))
        _look_again(lab, session, session.scalars(_CASES_OF_VISIT, {"visit": visit_id}), said)


def _known(lab: Lab, session: Session, identifiers: tuple[Identifier, ...], said: Said) -> str:
    """Return the patient of these identifiers, registered if nobody spoke of them before."""
    patient_id = patient_stated(session, lab.ids, PatientStated(identifiers=identifiers), said)
    if patient_id is None:
        raise RejectedError(
            "The message merges or moves a patient without an identifier that could name one: correct it at its sender."
        )
    return patient_id


def _each(identifiers: tuple[Identifier, ...]) -> list[tuple[Identifier, ...]]:
    """Return what names the patient that goes: each of their own numbers, else whichever number rules."""
    others = tuple(one for one in identifiers if one.kind not in _OWN_NUMBERS)
    return [(one, *others) for one in identifiers if one.kind in _OWN_NUMBERS] or [others]


def _merge(session: Session, merged_id: str, survivor_id: str, said: Said) -> None:
    """Record one merge; the row says which of all that were ever said counts."""
    said.record(session, Subject("patient", merged_id), PatientMergedInto(survivor_id=survivor_id))
    before = session.scalar(_WAS_MERGED_INTO, {"merged": merged_id})
    after = aliases.merges_of(session, (merged_id,))[merged_id].survivor_id
    session.execute(_MERGED_INTO, {"merged": merged_id, "survivor": after})
    changes = [("merged into", before, after)]
    note_changes(session, Subject("patient", merged_id), changes, said.cause, database_now(session))


def _look_again(lab: Lab, session: Session, case_ids: Iterable[str], said: Said) -> None:
    """Lock these cases in id order and the pools of their readers, then change each that is another patient's now."""
    wanted = sorted(set(case_ids))
    if len(wanted) > _MOST_CASES:
        raise RejectedError(_too_many("cases", _MOST_CASES))
    locked = cases.lock_cases(session, wanted)
    allocation.hold_readers(session, lab.settings, locked)
    for case in locked:
        was = consequences.Before.of(case)
        projected = cases.project(session, lab.settings, lab.ids, case.id, said.cause)
        if projected is not None:
            consequences.follow(lab, session, projected, was, said.cause)


def _too_many(what: str, most: int) -> str:
    return (
        f"The message would change more than {most} {what} at once: nobody has so many. If the number that it "
        "merges is no patient's, such as that of a test, correct it at its sender."
    )
