"""What was decided is looked at again: who may read, or by which rules, has changed. In the caller's transaction."""

from datetime import datetime
from typing import TYPE_CHECKING

from sqlalchemy import select
from sqlalchemy.orm import Session

from flows import ledger
from flows.case_assignment.giving import AN_ELIGIBLE_PATHOLOGIST
from models.facets import StepState
from models.tables.step import Step

if TYPE_CHECKING:
    from flows.case_assignment.rebalance.looks import Occasion

_WAITING = select(Step.subject_id).where(
    Step.state == StepState.WAITING, Step.waiting_for == AN_ELIGIBLE_PATHOLOGIST, Step.kind == "case_assignment"
)


def try_again(session: Session) -> None:
    """Have the reads decided again that wait for somebody who may have them."""
    session.flush()
    for read_id in session.scalars(_WAITING).all():
        ledger.wake(session, AN_ELIGIBLE_PATHOLOGIST, read_id)


def look_again(session: Session, why: str, now: datetime, occasion: "Occasion" = "absence") -> None:
    """Have all open reads looked at as soon as this is committed; as ``request_rebalance``."""
    # It loads numpy, which takes a quarter of a second: not for every command.
    from flows.case_assignment.rebalance.looks import request_rebalance  # noqa: PLC0415

    request_rebalance(session, why, now, occasion)
