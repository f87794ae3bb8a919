"""Online: each read as it becomes ready, by the smallest marginal cost, knowing nothing of those that come."""

import time
from itertools import cycle
from typing import Final

import numpy as np

from flows.case_assignment.plan.model import NOBODY, Floats, Ints, Model
from flows.case_assignment.plan.plan import SMALLEST_GAIN, Plan

_MILLISECOND: Final = 1e-3
_LOOKS: Final = 2
"""So many assigned reads are looked at again with each decision: more gain little, and a decision takes longer."""
_BEFORE: Final = 0.0
_MIDDLE: Final = 0.5


def assign_one_by_one(model: Model, *, keep_assigned: bool = False) -> tuple[Ints, list[float]]:
    """Return who has each read, and how many milliseconds each decision took.

    What is opened, overridden or assigned lies where it is before the first decision, unless it may not lie there. Each
    decision gives one read, then looks at the next two of those that were assigned, in turn: they move where that is
    worth the price of a move. With ``keep_assigned`` they stay where they were.
    """
    where = model.settled
    plan = Plan(model, model.preference, where == NOBODY)
    for read in np.flatnonzero(where != NOBODY).tolist():
        plan.give(read, int(where[read]))
    order = in_order(model)
    assigned = order[(model.pinned[order] == NOBODY) & (where[order] != NOBODY)].tolist()
    again = cycle(assigned if not keep_assigned else [])
    took_ms = []
    for read in order[where[order] == NOBODY].tolist():
        started = time.perf_counter()
        _decide(plan, read, _BEFORE)
        for _, seen in zip(range(_LOOKS), again, strict=False):
            plan.give(seen, NOBODY)
            _decide(plan, seen, _MIDDLE)
        took_ms.append((time.perf_counter() - started) / _MILLISECOND)
    return plan.owner, took_ms


def in_order(model: Model) -> Ints:
    """Return the reads in the order in which they become ready; at the same moment by case id."""
    ready = np.array([case.ready_min for case in model.instance.cases], np.float64)[model.case]
    order: Ints = np.lexsort((np.arange(model.reads), ready))
    return order


def _decide(plan: Plan, read: int, step: float) -> None:
    """Give a read that nobody has to whom it costs least now, if anybody may have it.

    As ``Plan.cost_of_adding``, but the load counts as it is at the share ``step`` of the way from before the read to
    after it: ``w_balance * w * 2 * (r_p + step * w / capacity_p)``. In its middle this is by how much J
    rises, but a large read would look too heavy there for whoever works part-time, and hardly ever go to them.
    """
    people = np.flatnonzero(plan.may[:, read])
    if len(people):
        cost = _cost(plan, read, people, step)
        plan.give(read, int(people[np.argmin(np.rint(cost / SMALLEST_GAIN))]))


def _cost(plan: Plan, read: int, people: Ints, step: float) -> Floats:
    policy, model = plan.model.instance.policy, plan.model
    over = plan.over[:, people]
    late = np.maximum(0.0, over + model.dues[:, read, None]) - np.maximum(0.0, over)
    w = model.points[read]
    balance = policy.w_balance * w * 2.0 * (plan.load[people] + step * w) * plan.inverse[people]
    cost: Floats = plan.preference[people, read] + balance + policy.w_late * late.sum(axis=0)
    return cost
