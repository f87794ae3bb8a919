"""A person lets a case be read although slides are missing."""

from flows import cases
from flows.actions.desk import Acted, Desk, Person
from flows.books import Subject, record
from models.case_fold import CaseReleased
from models.database import database_now
from models.errors import RefusedError
from models.facets import Images
from models.tables.case import Case


def release(desk: Desk, case_id: str, person: Person) -> Acted:
    """Release a case to be read as it is; its read goes to a pathologist like that of a complete one.

    Raises
    ------
    RefusedError
        There is no such case, it is cancelled, released already, or complete anyway.
    """
    with desk.database.write("people.release") as session:
        case = cases.lock_case(session, case_id)
        if case is None:
            raise RefusedError(f"there is no case {case_id}: 'coverslip list' shows those there are")
        _refuse(case)
        now, cause = database_now(session), person.cause("release")
        # A LIMS whose clock is ahead has said later of it what the person sees already.
        at = cases.after_all(session, case.id, now)
        record(session, Subject("case", case.id), CaseReleased(), cause, effective_at=at, received_at=now)
        cases.project(session, desk.settings, desk.ids, case.id, cause)
        verdict = cases.evaluate(session, desk.settings, case.id, cause)
        total = len(verdict.ready) + len(verdict.missing)
        return Acted("released", (f"it is read with {len(verdict.ready)} of its {total} slides",), case=case.id)


def _refuse(case: Case) -> None:
    if case.cancelled:
        raise RefusedError(f"case {case.id} was cancelled by the LIMS: it can't be released")
    if case.released:
        raise RefusedError(f"case {case.id} is released already")
    if case.images == Images.READY:
        raise RefusedError(f"case {case.id} is complete: it goes to a pathologist without being released")
