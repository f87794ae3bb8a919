"""The step case_assignment: one read gets its owner, serially per pool, with the reason kept."""

from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import bindparam, select
from sqlalchemy.orm import Session

from connectors.wiring import Lab
from flows import allocation, ledger, reads
from flows.books import Subject, raise_alert
from flows.case_assignment.choice import Choice, Escalated
from flows.case_assignment.cut_off import cut_off_sites
from flows.case_assignment.giving import AN_ELIGIBLE_PATHOLOGIST, NOBODY_ELIGIBLE, decide, give
from flows.cases import lock_case
from flows.ledger import Claim
from flows.step import End, cause_of
from models.base import table_of
from models.database import database_now
from models.facets import StepState
from models.tables.case import Case
from models.tables.reading import Read

# Sessions begin, leave ends and desks empty at any hour: an escalated read is tried again this often, by lane.
_TRY_AGAIN_AFTER: Final = (timedelta(minutes=1), timedelta(minutes=5), timedelta(minutes=15))

_READ = table_of(Read)
_CASE_OF_READ = select(_READ.c.case_id).where(_READ.c.id == bindparam("read"))


def case_assignment(_lab: Lab, claimed: Claim) -> End:
    """Give a read to somebody; the choice is made inside the transaction, under the pool's lock."""
    return lambda session: _assign(_lab, session, claimed)


def _assign(lab: Lab, session: Session, claimed: Claim) -> None:
    case_id = session.scalars(_CASE_OF_READ, {"read": claimed.subject_id}).one()
    case, read = lock_case(session, case_id), session.get_one(Read, claimed.subject_id, populate_existing=True)
    owned = reads.owner_of(session, read.id) is not None
    if case is None or case.cancelled or owned or read.closed_at is not None:
        ledger.finish(session, claimed, state=StepState.DONE if owned else StepState.CANCELLED)
        return
    now = database_now(session)
    # Others name the reader of a case; whom it needs beside that one is for us to find.
    if read.role == "primary" and allocation.authority_of(lab.settings, case) != "coverslip":
        _follow_others(lab, session, claimed, case, read, now)
        return
    choice = decide(session, case, read, now, cut_off_sites(session, lab.settings, lab.ids))
    if isinstance(choice, Choice):
        _give(lab, session, claimed, case, read, choice, now)
    else:
        _escalate(session, claimed, case, choice, now)


def _escalate(session: Session, claimed: Claim, case: Case, escalated: Escalated, now: datetime) -> None:
    told = escalated.explanation
    sentence = (
        f"nobody may have the {told.role} read of this {told.subspecialty} case: 'coverslip assign explain' says what "
        "keeps each one from it, and what would help"
    )
    if told.role != "trainee":  # whom nothing waits for
        raise_alert(session, Subject("case", case.id), NOBODY_ELIGIBLE, sentence, now)
    wait = ledger.Wait(AN_ELIGIBLE_PATHOLOGIST, claimed.subject_id, now + _TRY_AGAIN_AFTER[case.lane], "tried again")
    ledger.wait(session, claimed, wait, {"explanation": told.model_dump(mode="json")})


def _follow_others(lab: Lab, session: Session, claimed: Claim, case: Case, read: Read, now: datetime) -> None:
    """Record whom the authority gave the case, or wait until it says so."""
    given = allocation.give_stated(session, lab.settings, case, read, cause=cause_of(claimed), now=now)
    if given is not None:
        recorded = {"assignment": given}
        ledger.finish(session, claimed, recorded)
        return
    who = allocation.WHO_SAYS[allocation.authority_of(lab.settings, case)]
    until = now + lab.settings.site(case.site_id).order_wait
    wait = ledger.Wait(who, allocation.reader_key(read.id), until, "raised: nobody has the case")
    ledger.wait(session, claimed, wait)


def _give(  # noqa: PLR0913, PLR0917 - as the step has them
    lab: Lab, session: Session, claimed: Claim, case: Case, read: Read, choice: Choice, now: datetime
) -> None:
    cause = cause_of(claimed)
    assignment_id = give(
        session,
        lab.settings,
        case,
        read,
        choice.pathologist_id,
        decided_by="coverslip",
        explanation=choice.explanation.model_dump(mode="json"),
        cause=cause,
        now=now,
        policy_version=choice.explanation.policy_version,
    )
    ledger.finish(session, claimed, {"assignment": assignment_id})
    allocation.follow(session, lab.settings, case, cause, now)
