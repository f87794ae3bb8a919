"""The step count_deadlines: the deadlines of all open cases, counted anew by a policy that begins, or other holidays.

So a policy applies to the cases that are open when it begins, and not only to those that come; what of a deadline has
passed stays passed. One step for each version, which whoever keeps house adds; it goes on from case to case, each in a
transaction of its own, and after a second lets others have their turn.
"""

import hashlib
import time
from typing import Final

from sqlalchemy import and_, bindparam, or_, select
from sqlalchemy.orm import Session

from connectors.wiring import Lab
from flows import cases, ledger
from flows.deadlines.keep import keep
from flows.journey import STAGE_OF_KIND
from flows.ledger import Claim
from flows.people.policies import policy_in_force
from flows.step import End, cause_of
from models.base import table_of
from models.database import database_now
from models.tables.case import Case
from models.tables.step import Step
from models.uid import framed, uuid_text

COUNT_DEADLINES: Final = "count_deadlines"

_PORTION: Final = 100
# Messages that come in wait for it meanwhile.
_AT_ONCE_SECONDS: Final = 1.0
_ITS_NEXT_TURN: Final = "its next turn"

_STEP, _CASE = table_of(Step), table_of(Case)
_THERE = select(_STEP.c.id).where(_STEP.c.subject_id == bindparam("subject"), _STEP.c.kind == COUNT_DEADLINES).limit(1)
_RESULT = select(_STEP.c.result).where(_STEP.c.id == bindparam("claimed"))
# A later round that began before it was noted when: only its facts tell.
_IS_OLDER = and_(_CASE.c.round > 1, _CASE.c.round_opened_at.is_(None))
_OPEN = (
    select(_CASE.c.id)
    .where(_CASE.c.id > bindparam("after"))
    .where(or_(and_(_CASE.c.round_closed_at.is_(None), _CASE.c.cancelled.is_(False)), _IS_OLDER))
    .order_by(_CASE.c.id)
    .limit(_PORTION)
)


def notice_policy(lab: Lab) -> bool:
    """Have the deadlines counted anew if a policy is in force by which that was never done; return whether it was."""
    with lab.database.read() as session:
        version = policy_in_force(session, database_now(session)).version
        if session.scalar(_THERE, {"subject": _subject(version)}) is not None:
            return False
    with lab.database.write("deadlines.policy_begins") as session:
        ledger.add(session, [_step(session, version)])
    return True


def count_anew(session: Session) -> None:
    """Have the deadlines of all open cases counted anew: a calendar has other holidays."""
    ledger.rerun(session, _step(session, policy_in_force(session, database_now(session)).version))


def count_deadlines(lab: Lab, claimed: Claim) -> End:
    """Bring the deadlines of every open case in line with the policy in force, as many as there is time for now."""
    until = time.monotonic() + _AT_ONCE_SECONDS
    with lab.database.read() as session:
        result = session.scalar(_RESULT, {"claimed": claimed.id})
    after: str = (result or {}).get("after", "")
    while True:
        with lab.database.read() as session:
            portion = session.scalars(_OPEN, {"after": after}).all()
        for case_id in portion:
            with lab.database.write("deadlines.count") as session:
                _count(lab, session, claimed, case_id)
            after = case_id
        if len(portion) < _PORTION:
            return lambda session: ledger.finish(session, claimed, {"after": after})
        if time.monotonic() > until:
            return lambda session: _go_on_later(session, claimed, after)


def _count(lab: Lab, session: Session, claimed: Claim, case_id: str) -> None:
    case = cases.lock_case(session, case_id)
    # A case of a site that is set no more waits for that; all others go on.
    if case is None or not lab.settings.has_site(case.site_id):
        return
    if case.round > 1 and case.round_opened_at is None:
        cases.project(session, lab.settings, lab.ids, case_id, cause_of(claimed))
    if case.round_closed_at is None and not case.cancelled:
        keep(session, lab.settings, case, cause_of(claimed), database_now(session))


def _go_on_later(session: Session, claimed: Claim, after: str) -> None:
    turn = ledger.Wait(_ITS_NEXT_TURN, str(claimed.id), database_now(session), "goes on with the next cases")
    ledger.wait(session, claimed, turn, {"after": after})


def _step(session: Session, version: int | None) -> ledger.NewStep:
    return ledger.NewStep(
        kind=COUNT_DEADLINES,
        stage=STAGE_OF_KIND[COUNT_DEADLINES],
        subject_kind="policy",
        subject_id=_subject(version),
        rank_at=database_now(session),
    )


def _subject(version: int | None) -> str:
    return uuid_text(hashlib.sha256(framed(("policy", str(version or 0)))).digest())
