"""The step case_assignment: one read gets its owner, serially per pool, with the reason kept."""

from datetime import timedelta

from sqlalchemy import bindparam, insert, select, update
from sqlalchemy.orm import Session
from sqlalchemy.orm.attributes import set_committed_value

from connectors.wiring import Lab
from flows import ledger
from flows.books import Subject, clear_alert, note_changes, raise_alert
from flows.case_assignment.candidate import Candidate, ReadToAssign
from flows.case_assignment.choice import Assigner, Choice, SmallestRelativeLoad
from flows.cases import lock_case
from flows.ledger import Claim
from flows.people import load_candidates
from flows.sending import announce, publish
from flows.step import End, cause_of
from models.base import table_of
from models.database import database_now
from models.facets import Reading, StepState
from models.tables.case import Case
from models.tables.reading import Assignment, Read

AN_ELIGIBLE_PATHOLOGIST = "an eligible pathologist"
# Sessions begin and leave ends at any hour: an escalated read is tried again this often.
_TRY_AGAIN_AFTER = timedelta(minutes=15)
_ASSIGNER: Assigner = SmallestRelativeLoad()

_CASE, _READ, _ASSIGNMENT = table_of(Case), table_of(Read), table_of(Assignment)
_CASE_OF_READ = select(_READ.c.case_id).where(_READ.c.id == bindparam("read"))
_OWNED = select(_ASSIGNMENT.c.id).where(_ASSIGNMENT.c.read_id == bindparam("read"), _ASSIGNMENT.c.ended_at.is_(None))
_READ_AS_IT_IS = select(
    *(_READ.c.id, _READ.c.points, _READ.c.closed_at, _OWNED.scalar_subquery().label("owned")),
).where(_READ.c.id == bindparam("read"))
_GIVE = insert(_ASSIGNMENT).returning(_ASSIGNMENT.c.id)
_SAY_ASSIGNED = update(_CASE).where(_CASE.c.id == bindparam("assigned")).values(reading=Reading.ASSIGNED)


def case_assignment(_lab: Lab, claimed: Claim) -> End:
    """Give a read to somebody; the choice is made inside the transaction, under the pool's lock."""
    return lambda session: _assign(_lab, session, claimed)


def _assign(lab: Lab, session: Session, claimed: Claim) -> None:
    case_id = session.scalars(_CASE_OF_READ, {"read": claimed.subject_id}).one()
    case = lock_case(session, case_id)
    read = session.execute(_READ_AS_IT_IS, {"read": claimed.subject_id}).one()
    if case is None or case.cancelled or read.owned is not None or read.closed_at is not None:
        ledger.finish(session, claimed, state=StepState.DONE if read.owned else StepState.CANCELLED)
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
        reader = next(one for one in candidates if one.pathologist_id == choice.pathologist_id)
        _give(lab, session, claimed, case, reader, choice)
        return
    sentence = (
        f"nobody may read this {wanted.subspecialty} case: change its subspecialty, or the people in the settings"
    )
    raise_alert(session, Subject("case", case.id), "nobody eligible", sentence, now)
    wait = ledger.Wait(AN_ELIGIBLE_PATHOLOGIST, read.id, now + _TRY_AGAIN_AFTER, "tried again")
    ledger.wait(session, claimed, wait, {"explanation": choice.explanation.model_dump(mode="json")})


def _give(lab: Lab, session: Session, claimed: Claim, case: Case, reader: Candidate, choice: Choice) -> None:
    now = database_now(session)
    given = {
        "read_id": claimed.subject_id,
        "pathologist_id": reader.pathologist_id,
        "started_at": now,
        "decided_by": "coverslip",
        "explanation": choice.explanation.model_dump(mode="json"),
    }
    assignment_id = session.scalars(_GIVE, given).one()
    subject = Subject("case", case.id)
    changes = [("reader", None, reader.pathologist_id), ("reading", case.reading, Reading.ASSIGNED)]
    note_changes(session, subject, changes, cause_of(claimed), now)
    session.execute(_SAY_ASSIGNED, {"assigned": case.id})
    set_committed_value(case, "reading", Reading.ASSIGNED)
    clear_alert(session, case.id, "nobody eligible", now)
    ledger.finish(session, claimed, {"assignment": assignment_id})
    announce.case_assigned(session, lab.settings, case, reader, assignment_id)
    publish.case_assigned(
        session,
        lab.settings,
        case,
        read_id=claimed.subject_id,
        pathologist_id=reader.pathologist_id,
        assignment_id=assignment_id,
    )
