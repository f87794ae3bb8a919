"""Part of a few desks is emptied and filled again, and kept so when J is lower."""

from collections.abc import Sequence

import numpy as np

from flows.case_assignment.plan.model import NOBODY, Ints
from flows.case_assignment.plan.plan import SMALLEST_GAIN, Plan
from flows.case_assignment.plan.search import improve


def refill(plan: Plan, out: Sequence[int], first_to: int | None = None) -> bool:
    """Take these reads from their desks and give them out again in this order, each where it costs least.

    With ``first_to``, the first of them goes to that person. Moves and swaps around follow. Return whether that lowers
    J; if not, everything lies as before.
    """
    before, gained = plan.owner.copy(), plan.gained
    for read in out:
        plan.take(read)
    for read in out:
        plan.place(read, first_to if read == out[0] else None)
    improve(plan, {*before[out].tolist(), *plan.owner[out].tolist()})
    lower = plan.gained <= gained - SMALLEST_GAIN
    if not lower:
        _put_back(plan, before)
        plan.gained = gained
    return lower


def _put_back(plan: Plan, before: Ints) -> None:
    changed = np.flatnonzero(plan.owner != before).tolist()
    for read in changed:
        plan.give(read, NOBODY)
    for read in changed:
        plan.give(read, int(before[read]))
