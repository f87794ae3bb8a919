"""Online: each read as it becomes ready, by the smallest marginal cost, knowing nothing of those that come."""

import time
from typing import Final

import numpy as np

from flows.case_assignment.plan.model import NOBODY, Floats, Ints, Model
from flows.case_assignment.plan.plan import SMALLEST_GAIN, Plan

_MILLISECOND: Final = 1e-3


def assign_one_by_one(model: Model, *, move_assigned: bool = False) -> tuple[Ints, list[float]]:
    """Return who has each read, and how many milliseconds each decision took.

    What is opened, overridden or assigned lies where it is before the first decision, unless it may not lie there; with
    ``move_assigned``, what is assigned is decided anew too, as it becomes ready.
    """
    where = model.pinned if move_assigned else model.settled
    plan = Plan(model, model.preference, where == NOBODY)
    for read in np.flatnonzero(where != NOBODY).tolist():
        plan.give(read, int(where[read]))
    took_ms = []
    order = in_order(model)
    for read in order[where[order] == NOBODY].tolist():
        started = time.perf_counter()
        person = cheapest(plan, read)
        if person != NOBODY:
            plan.give(read, person)
        took_ms.append((time.perf_counter() - started) / _MILLISECOND)
    return plan.owner, took_ms


def in_order(model: Model) -> Ints:
    """Return the reads in the order in which they become ready; at the same moment by case id."""
    ready = np.array([case.ready_min for case in model.instance.cases], np.float64)[model.case]
    order: Ints = np.lexsort((np.arange(model.reads), ready))
    return order


def cheapest(plan: Plan, read: int) -> int:
    """Return to whom a read costs least now, ``NOBODY`` when nobody may have it.

    As ``Plan.cost_of_adding``, but with the load before the read is added: ``w_balance * w * 2 * r_p``. With the load
    after it, a large read would look too heavy for whoever works part-time, and hardly ever go there.
    """
    people = np.flatnonzero(plan.may[:, read])
    if not len(people):
        return NOBODY
    cost = _cost(plan, read, people)
    return int(people[np.argmin(np.rint(cost / SMALLEST_GAIN))])


def _cost(plan: Plan, read: int, people: Ints) -> Floats:
    policy, model = plan.model.instance.policy, plan.model
    over = plan.over[:, people]
    late = np.maximum(0.0, over + model.dues[:, read, None]) - np.maximum(0.0, over)
    w = model.points[read]
    balance = policy.w_balance * w * 2.0 * plan.load[people] * plan.inverse[people]
    cost: Floats = plan.preference[people, read] + balance + policy.w_late * late.sum(axis=0)
    return cost
