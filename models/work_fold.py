"""Work that we ask the laboratory for (DPOW LAB-102, LAB-103), as a fold of what was asked, answered and done.

The laboratory's clock is not ours, so no two of these are compared by time but answers to the same order.
"""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal

from pydantic import Field

from models.statements import Frozen, WorkDone

WorkKind = Literal["rescan", "recut", "stain", "new block", "re-coverslip"]
WorkState = Literal["asked", "accepted", "refused", "fulfilled", "cancelled"]


class WorkOrdered(Frozen):
    """Work is asked for, of a slide or a block, under a number of ours; ``stain`` says which when that is asked."""

    number: str
    kind: WorkKind
    subject_kind: Literal["slide", "block"]
    container_identifier: str = Field(repr=False)
    issuer: str
    stain: str = ""
    asked_by: str
    because: str


class WorkAnswered(Frozen):
    """The laboratory takes a work order, under a number of its own, or refuses it (ORC-1 OK or UA)."""

    number: str
    accepted: bool
    filler_number: str = ""
    reason: str = ""


class WorkCancelled(Frozen):
    """A person takes a work order back."""

    number: str


class WorkSeen(Frozen):
    """What a work order asked for is here, whether the laboratory says so or not."""

    number: str


class WorkDoneFact(Frozen):
    """A message says that a work order was done."""

    done: WorkDone


WorkFact = WorkOrdered | WorkAnswered | WorkCancelled | WorkSeen | WorkDoneFact


@dataclass(frozen=True)
class WorkOrderState:
    """A work order: without ``ordered`` somebody spoke of a number that we never gave."""

    ordered: WorkOrdered | None = None
    asked_at: datetime | None = None
    answered: WorkAnswered | None = None
    done: WorkDone | None = None
    is_cancelled: bool = False
    is_seen: bool = False

    @property
    def state(self) -> WorkState:
        """Where it stands: what was done counts before what was taken back, and that before what was answered."""
        if self.done is not None or self.is_seen:
            return "fulfilled"
        if self.is_cancelled:
            return "cancelled"
        if self.answered is None:
            return "asked"
        return "accepted" if self.answered.accepted else "refused"


def number_of(fact: WorkFact) -> str:
    """Return our number of the work order that a fact is about."""
    return fact.done.work_order_number if isinstance(fact, WorkDoneFact) else fact.number


def worked(before: WorkOrderState, fact: WorkFact, at: datetime) -> WorkOrderState:
    """Return a work order after what was said at a moment, in its order of telling."""
    match fact:
        case WorkOrdered():
            return replace(before, ordered=fact, asked_at=at)
        case WorkAnswered():
            return replace(before, answered=fact)
        case WorkCancelled():
            return replace(before, is_cancelled=True)
        case WorkSeen():
            return replace(before, is_seen=True)
        case WorkDoneFact():
            return replace(before, done=fact.done)
