"""What a read costs each of those who may get it, all other reads being where a plan has them; and that once more."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from flows.case_assignment.cost import MILLIONTHS, TERMS, Reader, Weighed, costs
from flows.case_assignment.explanation import Considered, RunnerUp
from models.policy import Weights

PLAN_COST: Final = "plan/1"
"""The formula of ``plan_costs``; one that decides otherwise gets another name."""

PLAN_TERMS: Final = (*TERMS, "move")


def plan_costs(
    weights: Weights, read: Weighed, at: datetime, reader: Reader, mean: float, had: str | None
) -> tuple[int, ...]:
    """Return by how much J rises when a reader gets a read that nobody has: whole millionths, by ``PLAN_TERMS``.

    As ``costs``, but the load counts in the middle of the step, against the mean of all: with w points more, the
    balance rises by ``balance * w * (2 * (r - mean) + w / capacity)``. ``had`` is from whom the read would move.
    """
    w, capacity = read.points, reader.capacity
    relative = (reader.carry + reader.open_points) / capacity if capacity > 0 else 0.0
    load = weights.balance * w * (2.0 * (relative - mean) + w / capacity) if capacity > 0 else 0.0
    terms = dict(zip(TERMS, costs(weights, read, at, reader), strict=True))
    terms["load"] = round(MILLIONTHS * load)
    moves = had is not None and reader.pathologist_id != had
    return (*(terms[name] for name in TERMS), round(MILLIONTHS * weights.move) if moves else 0)


def replay_plan(record: Mapping[str, Any]) -> str | None:
    """Decide again from what a record of a look holds, and return the winner."""
    weights, read = Weights.model_validate(record["weights"], strict=False), Weighed.model_validate(record["read"])
    at = datetime.fromisoformat(record["decided_at"])
    readers = [Considered.model_validate(one, strict=False) for one in record["best"]]
    again = [
        (sum(plan_costs(weights, read, at, one, record["mean"], record["had"])), one.pathologist_id) for one in readers
    ]
    return min(again)[1] if again else None


def runner_up(best: Sequence[Considered]) -> RunnerUp | None:
    """Return who would have got a read otherwise, and by which part of the cost they lost most."""
    if len(best) < 2:  # noqa: PLR2004 - a winner and another one
        return None
    winner, other = best[:2]
    lost_by = [theirs.cost - ours.cost for ours, theirs in zip(winner.terms, other.terms, strict=True)]
    deciding = "id" if winner.cost == other.cost else winner.terms[lost_by.index(max(lost_by))].name
    flips = f"they would have got it for {(other.cost - winner.cost) / MILLIONTHS:.2f} points of cost less"
    return RunnerUp(pathologist_id=other.pathologist_id, deciding_term=deciding, would_flip=flips)
