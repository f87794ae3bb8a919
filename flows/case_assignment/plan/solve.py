"""Batch: the reads of a whole snapshot at once."""

from typing import Final

import numpy as np

from flows.case_assignment.plan.heavy import resettle_heavy
from flows.case_assignment.plan.mix import mix
from flows.case_assignment.plan.model import NOBODY, Flags, Ints, Model
from flows.case_assignment.plan.objective import objective
from flows.case_assignment.plan.plan import Plan
from flows.case_assignment.plan.prices import pairings_near, shares
from flows.case_assignment.plan.rounding import round_whole
from flows.case_assignment.plan.search import improve
from flows.case_assignment.plan.shake import shake

_IN_FORCE: Final = 0.9
"""From this share of movable cases with a reader on, the snapshot holds a plan, which is kept if it is good."""
_GOOD: Final = 1.25
_GOOD_ENOUGH: Final = 1.5
"""So much dearer than a plan from scratch may one be in which nobody, or hardly anybody, has to get used to another."""
_MOST_MOVED: Final = 0.02


def solve(model: Model, sweeps: int = 1) -> Ints:
    """Return who has each read, shape (T,), ``NOBODY`` where it is escalated.

    A plan in force stays: what lies where it may lie is not moved, or at most one in fifty, unless that costs far more
    than a plan from scratch.

    Parameters
    ----------
    sweeps
        How long to search on from the first local best: each takes as long again as finding that.
    """
    if _share_in_force(model) < _IN_FORCE:
        return _from_scratch(model, sweeps)
    kept = _kept(model)
    afresh = _from_scratch(model, sweeps)
    best = objective(model, afresh).total
    if objective(model, kept.owner).total <= _GOOD * best:
        return kept.owner
    most = kept.moved + int(_MOST_MOVED * _movable(model).sum())
    kept.free = model.pinned == NOBODY
    improve(kept, range(model.people), most)
    return kept.owner if objective(model, kept.owner).total <= _GOOD_ENOUGH * best else afresh


def _from_scratch(model: Model, sweeps: int) -> Ints:
    free = model.pinned == NOBODY
    plan = Plan(model, model.preference, free)
    for read in np.flatnonzero(~free).tolist():
        plan.give(read, int(model.pinned[read]))
    split = shares(model, plan.preference)
    round_whole(plan, split)
    plan.near = pairings_near(model, split)
    improve(plan, range(model.people))
    resettle_heavy(plan)
    mix(plan)
    shake(plan, sweeps)
    return plan.owner


def _kept(model: Model) -> Plan:
    """Return the plan in which everything that may stay where it is does."""
    where = model.settled
    plan = Plan(model, model.preference, where == NOBODY)
    for read in np.flatnonzero(where != NOBODY).tolist():
        plan.give(read, int(where[read]))
    left = np.flatnonzero(plan.free)
    for read in left[np.lexsort((left, -model.points[left]))].tolist():
        plan.place(read)
    improve(plan, range(model.people))
    return plan


def _share_in_force(model: Model) -> float:
    movable = _movable(model)
    return float((model.present[movable] != NOBODY).mean()) if movable.any() else 0.0


def _movable(model: Model) -> Flags:
    movable: Flags = (model.pinned == NOBODY) & ~model.is_second
    return movable
