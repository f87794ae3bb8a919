"""The step case_assignment: one read gets its owner, serially per pool, with the reason kept."""

from datetime import timedelta

from sqlalchemy import insert, select
from sqlalchemy.orm import Session

from connectors.wiring import Lab
from flows import ledger
from flows.books import Subject, clear_alert, note_changes, raise_alert
from flows.case_assignment.candidate import ReadToAssign
from flows.case_assignment.choice import Assigner, Choice, SmallestRelativeLoad
from flows.cases import lock_case
from flows.ledger import Claim
from flows.people import load_candidates
from flows.sending import announce
from flows.step import End, cause_of
from models.database import database_now
from models.facets import Reading, StepState
from models.tables.case import Case
from models.tables.reading import Assignment, Pathologist, Read

AN_ELIGIBLE_PATHOLOGIST = "an eligible pathologist"
# Sessions begin and leave ends at any hour: an escalated read is tried again this often.
_TRY_AGAIN_AFTER = timedelta(minutes=15)
_ASSIGNER: Assigner = SmallestRelativeLoad()


def case_assignment(_lab: Lab, claimed: Claim) -> End:
    """Give a read to somebody; the choice is made inside the transaction, under the pool's lock."""
    return lambda session: _assign(_lab, session, claimed)


def _assign(lab: Lab, session: Session, claimed: Claim) -> None:
    read = session.get_one(Read, claimed.subject_id)
    case = lock_case(session, read.case_id)
    owned = session.scalar(select(Assignment.id).where(Assignment.read_id == read.id, Assignment.ended_at.is_(None)))
    if case is None or case.cancelled or owned is not None or read.closed_at is not None:
        ledger.finish(session, claimed, state=StepState.DONE if owned else StepState.CANCELLED)
        return
    now = database_now(session)
    candidates = load_candidates(session, now)
    wanted = ReadToAssign(
        read_id=read.id,
        case_id=case.id,
        site_id=case.site_id,
        subspecialty=case.subspecialty or "general",
        points=read.points,
        lane=case.lane,
        due_at=case.due_at,
        conflicts=frozenset(),
    )
    choice = _ASSIGNER.choose(wanted, candidates, now)
    if isinstance(choice, Choice):
        _give(lab, session, claimed, case, read, choice)
        return
    sentence = (
        f"nobody may read this {wanted.subspecialty} case: change its subspecialty, or the people in the settings"
    )
    raise_alert(session, Subject("case", case.id), "nobody eligible", sentence, now)
    wait = ledger.Wait(AN_ELIGIBLE_PATHOLOGIST, read.id, now + _TRY_AGAIN_AFTER, "tried again")
    ledger.wait(session, claimed, wait, {"explanation": choice.explanation.model_dump(mode="json")})


def _give(lab: Lab, session: Session, claimed: Claim, case: Case, read: Read, choice: Choice) -> None:
    now = database_now(session)
    assignment_id = session.scalars(
        insert(Assignment)
        .values(
            read_id=read.id,
            pathologist_id=choice.pathologist_id,
            started_at=now,
            decided_by="coverslip",
            explanation=choice.explanation.model_dump(mode="json"),
        )
        .returning(Assignment.id)
    ).one()
    subject = Subject("case", case.id)
    changes = [("reader", None, choice.pathologist_id), ("reading", case.reading, Reading.ASSIGNED)]
    note_changes(session, subject, changes, cause_of(claimed), now)
    case.reading = Reading.ASSIGNED
    clear_alert(session, case.id, "nobody eligible", now)
    ledger.finish(session, claimed, {"assignment": assignment_id})
    announce.case_assigned(
        session, lab.settings, case, session.get_one(Pathologist, choice.pathologist_id), assignment_id
    )
