"""Heavy reads: a desk makes way for one by giving away its smaller reads, more of them at once than a swap can."""

from typing import Final

import numpy as np

from flows.case_assignment.plan.model import NOBODY, Ints
from flows.case_assignment.plan.plan import SMALLEST_GAIN, Plan
from flows.case_assignment.plan.refill import refill

_SHARE: Final = 0.2
"""A read is heavy that takes more than such a share of its reader's capacity: it may throw the load far off."""
_MOST: Final = 24
"""So many of the heavy reads are tried, the largest: more take longer and gain little."""
_DESKS: Final = 2


def resettle_heavy(plan: Plan) -> None:
    """Try each heavy read, the largest first, on the desks where it would cost less than where it is."""
    points = plan.model.points
    movable = np.flatnonzero(plan.free & (plan.owner != NOBODY))
    movable = movable[np.lexsort((movable, -points[movable]))]
    heavy = movable[points[movable] * plan.inverse[plan.owner[movable]] > _SHARE][:_MOST]
    small = movable[~np.isin(movable, heavy)]
    for read in heavy.tolist():
        for person in _better_desks(plan, read, small).tolist():
            if refill(plan, [read, *small[plan.owner[small] == person].tolist()], person):
                break


def _better_desks(plan: Plan, read: int, small: Ints) -> Ints:
    """Return the few people with whom a read would cost least, if it is less than now.

    Without their smaller reads, that is, and up to the mean load it costs no balance: smaller reads fill it up.
    """
    model, policy = plan.model, plan.model.instance.policy
    people = np.flatnonzero(plan.may[:, read])
    out = np.append(small, read)
    who = plan.owner[out]
    load = plan.load - np.bincount(who, model.points[out], model.people)
    cost = plan.preference[people, read]
    for share, sign in ((model.points[read], 1.0), (0.0, -1.0)):
        above = np.maximum(0.0, (load + share) * plan.inverse - plan.mean * plan.live)[people]
        cost = cost + sign * policy.w_balance * model.capacity[people] * above**2
    for now, dues in zip(plan.over, model.dues, strict=True):
        over = (now - np.bincount(who, dues[out], model.people))[people]
        cost = cost + policy.w_late * (np.maximum(0.0, over + dues[read]) - np.maximum(0.0, over))
    units = np.rint(cost / SMALLEST_GAIN)
    cheaper = np.flatnonzero(units < units[people == plan.owner[read]])
    best: Ints = people[cheaper[np.argsort(units[cheaper], kind="stable")]][:_DESKS]
    return best
