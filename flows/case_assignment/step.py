"""The step case_assignment: one read gets its owner, serially per pool, with the reason kept."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import bindparam, insert, select, update
from sqlalchemy.orm import Session
from sqlalchemy.orm.attributes import set_committed_value

from connectors.wiring import Lab
from flows import allocation, ledger
from flows.books import Subject, clear_alert, note_changes, raise_alert
from flows.case_assignment.candidate import Candidate, ReadToAssign
from flows.case_assignment.choice import Assigner, Choice, SmallestRelativeLoad
from flows.cases import lock_case
from flows.ledger import Claim
from flows.people.candidates import load_candidates
from flows.reads import who_had_it
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
_READ_IT_BEFORE = "read this case in its round before, and may still read it"

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
    if allocation.authority_of(lab.settings, case) != "coverslip":
        _follow_others(lab, session, claimed, case)
        return
    candidates = load_candidates(session, now)
    wanted = allocation.to_assign(case, read.id, read.points)
    choice = _same_reader(session, wanted, candidates, now) or _ASSIGNER.choose(wanted, candidates, now)
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


def _same_reader(
    session: Session, wanted: ReadToAssign, candidates: Sequence[Candidate], now: datetime
) -> Choice | None:
    """Return whoever read the case before, for its next round, if they still may."""
    reader = who_had_it(session, wanted.case_id)
    choice = _ASSIGNER.choose(wanted, [one for one in candidates if one.pathologist_id == reader], now)
    if not isinstance(choice, Choice):
        return None
    return Choice(choice.pathologist_id, choice.explanation.model_copy(update={"sentence": _READ_IT_BEFORE}))


def _follow_others(lab: Lab, session: Session, claimed: Claim, case: Case) -> None:
    """Record whom the authority gave the case, or wait until it says so."""
    now = database_now(session)
    read = session.get_one(Read, claimed.subject_id)
    given = allocation.give_stated(session, lab.settings, case, read, cause=cause_of(claimed), now=now)
    if given is not None:
        recorded = {"assignment": given}
        ledger.finish(session, claimed, recorded)
        return
    who = allocation.WHO_SAYS[allocation.authority_of(lab.settings, case)]
    until = now + lab.settings.site(case.site_id).order_wait
    wait = ledger.Wait(who, allocation.reader_key(read.id), until, "raised: nobody has the case")
    ledger.wait(session, claimed, wait)


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
    allocation.follow(session, lab.settings, case, cause_of(claimed), now)
    publish.case_assigned(
        session,
        lab.settings,
        case,
        read_id=claimed.subject_id,
        pathologist_id=reader.pathologist_id,
        assignment_id=assignment_id,
    )
