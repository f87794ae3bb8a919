"""How long a case is held back for slides that are missing: by the policy of its subspecialty, as a wait with an end.

The caller holds the case's row in its write transaction.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import bindparam, func, select
from sqlalchemy.orm import Session

from flows import ledger
from flows.books import Subject, clear_alert, raise_alert
from flows.completeness import Completeness, ExpectedSlide
from flows.journey import INTAKE
from flows.people.policies import InForce, policy_in_force
from models.base import table_of
from models.facets import OPEN_STEP_STATES, Images, StepState
from models.policy import Release
from models.tables.books import History
from models.tables.case import Case
from models.tables.step import Step

THE_MISSING: Final = "its missing slides"
HELD_TOO_LONG: Final = "held too long"
"""The alert about a case that the policy does not let be read, however long its slides are missing."""
THEN: Final = {
    "partial": "released to be read without what is missing",
    "whole case": "people are told what is missing",
}

_RAISED_AGAIN_AFTER = timedelta(hours=1)
_STEP, _HISTORY = table_of(Step), table_of(History)
_OPEN_HOLD = select(_STEP.c.state, _STEP.c.waiting_key, _STEP.c.waiting_then).where(
    _STEP.c.subject_id == bindparam("of_case"),
    _STEP.c.kind == "hold",
    _STEP.c.state.in_(bindparam("states", expanding=True)),
)
_STOPPED_BEING_READY = select(func.max(_HISTORY.c.at)).where(
    _HISTORY.c.subject_id == bindparam("of_case"),
    _HISTORY.c.what == "images",
    _HISTORY.c.before == str(Images.READY),
)


@dataclass(frozen=True)
class Held:
    """That a case is held back: since when, until when, and by which rule of which version of the policy."""

    since: datetime
    until: datetime
    release: Release
    policy: InForce

    def wait(self, case_id: str, until: datetime | None = None) -> ledger.Wait:
        """Return the wait for what is missing; its key names the deadline, by which a changed policy is seen."""
        key = f"{case_id}:{self.until.isoformat()}"
        return ledger.Wait(THE_MISSING, key, until or self.until, THEN[self.release.hold])

    @property
    def sentence(self) -> str:
        """What people are told when a whole case is waited for and does not come."""
        return (
            f"slides of this case are still missing {self.release.after_hours:g} hours after its first could be read: "
            "'coverslip show' names them, 'coverslip release' lets it be read without them"
        )


def held(
    session: Session, case: Case, expected: Sequence[ExpectedSlide], verdict: Completeness, now: datetime
) -> Held | None:
    """Return until when a case is held back by the policy in force; ``None`` when it is not."""
    is_over = case.cancelled or case.released or case.round_closed_at is not None
    if is_over or verdict.images != Images.INCOMPLETE or not verdict.missing:
        return None
    ready = set(verdict.ready)
    since = min(one.readable_at or now for one in expected if one.slide_id in ready)
    if case.completeness_version > 1:
        stopped: datetime | None = session.scalar(_STOPPED_BEING_READY, {"of_case": case.id})
        since = max(since, stopped) if stopped else since
    policy = policy_in_force(session, now)
    release = policy.policy.release_of(case.subspecialty)
    return Held(since, since + timedelta(hours=release.after_hours), release, policy)


def keep(session: Session, case: Case, expected: Sequence[ExpectedSlide], verdict: Completeness, now: datetime) -> None:
    """Keep the wait of a case in step with what is missing of it, and with the policy in force."""
    known = session.execute(_OPEN_HOLD, {"of_case": case.id, "states": OPEN_STEP_STATES}).first()
    hold = held(session, case, expected, verdict, now)
    if hold is None:
        if known is not None:
            ledger.end_open(session, case.id, ("hold",), StepState.DONE)
        clear_alert(session, case.id, HELD_TOO_LONG, now)
        return
    wait = hold.wait(case.id)
    # One that is being looked at this moment sees for itself what counts now.
    if known is not None and (known.state != StepState.WAITING or known[1:] == (wait.key, wait.then)):
        return
    clear_alert(session, case.id, HELD_TOO_LONG, now)
    rank_at = ledger.rank_at(now, case.due_at)
    ledger.rerun(session, ledger.NewStep("hold", INTAKE, "case", case.id, rank_at=rank_at, lane=case.lane, wait=wait))


def raise_held(session: Session, case: Case, hold: Held, now: datetime) -> ledger.Wait:
    """Tell people that a whole case is still waited for; return the wait that goes on."""
    raise_alert(session, Subject("case", case.id), HELD_TOO_LONG, hold.sentence, now)
    again = max(timedelta(hours=hold.release.after_hours), _RAISED_AGAIN_AFTER)
    return hold.wait(case.id, now + again)
