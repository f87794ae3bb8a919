"""Moves and swaps of whole reads, all those of one person at a time."""

from collections.abc import Iterable
from dataclasses import dataclass
from heapq import heappop, heappush
from typing import Final

import numpy as np

from flows.case_assignment.plan.model import NOBODY, Flags, Floats, Ints
from flows.case_assignment.plan.plan import SMALLEST_GAIN, Plan

_NEVER: Final = 1e18


@dataclass(frozen=True, slots=True)
class _Change:
    """A read goes to a person, and perhaps another ``back`` to whoever had it; J changes by so much."""

    by: float
    read: int
    to: int
    back: int = NOBODY


def improve(plan: Plan, people: Iterable[int], most_moved: int | None = None) -> None:
    """Make every move and swap that lowers J, beginning at these people, until there is none.

    With ``most_moved``, it ends before more than so many reads lie elsewhere than they did at the snapshot.
    """
    waiting = np.zeros(plan.model.people, np.bool_)
    waiting[list(people)] = True
    while waiting.any():
        for person in np.flatnonzero(waiting).tolist():
            waiting[person] = False
            while (other := _improve_one(plan, person)) != NOBODY:
                waiting[other] = True
                if most_moved is not None and plan.moved + 1 >= most_moved:
                    return


def improve_largest_first(plan: Plan, people: Iterable[int], counted: Flags, most: int) -> None:
    """Make moves and swaps that lower J, those that lower it most first, until there is none.

    Parameters
    ----------
    counted
        Shape (T,): of these reads at most ``most`` are moved, the others as many as is worth it.
    """
    waiting = [(-np.inf, person) for person in people]
    left = most
    while waiting:
        _, person = heappop(waiting)
        change = _best(plan, person)
        if change is None:
            continue
        if waiting and change.by > waiting[0][0]:
            heappush(waiting, (change.by, person))
            continue
        costs = int(counted[change.read]) + int(change.back != NOBODY and counted[change.back])
        if costs > left:
            plan.free = plan.free & ~counted
            waiting = [(-np.inf, one) for one in range(plan.model.people)]
            continue
        left -= costs
        # Whoever is looked at first is looked at anew: these two, as soon as anybody.
        for one in (person, _make(plan, person, change)):
            heappush(waiting, (-np.inf, one))


def _improve_one(plan: Plan, person: int) -> int:
    """Make the best change with this person; return with whom it was, ``NOBODY`` when there is none."""
    change = _best(plan, person)
    return NOBODY if change is None else _make(plan, person, change)


def _best(plan: Plan, person: int) -> _Change | None:
    """Return the change with this person that lowers J most, if any does."""
    mine = np.flatnonzero(plan.free & (plan.owner == person))
    theirs = np.flatnonzero(plan.near[person] & plan.may[person] & plan.free & (plan.owner != person))
    theirs = theirs[plan.owner[theirs] != NOBODY]
    late = np.maximum(plan.over, 0.0).sum(axis=0) * plan.model.instance.policy.w_late
    leave = np.where(plan.may[:, mine], plan.preference[:, mine] - plan.preference[person, mine], _NEVER)
    changes = []
    if len(mine):
        changes.append(_best_away(plan, person, mine, leave, late))
    if len(theirs):
        changes.append(_best_towards(plan, person, (mine, theirs), leave, late))
    best = min(changes, key=lambda one: one.by, default=None)
    return None if best is None or best.by > -SMALLEST_GAIN else best


def _make(plan: Plan, person: int, change: _Change) -> int:
    """Make a change with this person; return with whom it was."""
    other = int(plan.owner[change.read]) if change.to == person else change.to
    if change.back != NOBODY:
        plan.give(change.back, other)
    plan.give(change.read, change.to)
    plan.gained += change.by
    return other


def _best_away(plan: Plan, person: int, mine: Ints, leave: Floats, late: Floats) -> _Change:
    """Return the best move of one of this person's reads to anybody: shape (P, reads), as ``leave``."""
    w = plan.model.points[mine]
    slope, curve = plan.slopes()
    by = w * ((slope - slope[person])[:, None] + w * (curve + curve[person])[:, None])
    by += leave
    for over, dues in zip(plan.over, plan.model.dues[:, mine], strict=True):
        _add_late(plan, by, (over, np.zeros_like(over)), (over[person], dues))
    by -= (late + late[person])[:, None]
    to, at = _smallest(by)
    return _Change(float(by[to, at]), int(mine[at]), to)


def _best_towards(plan: Plan, person: int, reads: tuple[Ints, Ints], leave: Floats, late: Floats) -> _Change:
    """Return the best move of another's read to this person, alone or for one of theirs: shape (reads, own + 1)."""
    mine, theirs = reads
    model, others, own = plan.model, plan.owner[theirs], len(mine)
    slope, curve = plan.slopes()
    by = model.points[theirs][:, None] - np.append(model.points[mine], 0.0)
    by *= (slope[person] - slope[others])[:, None] + by * (curve[person] + curve[others])[:, None]
    by += (plan.preference[person, theirs] - plan.preference[others, theirs] - late[others] - late[person])[:, None]
    by[:, :own] += leave[others]
    for k, over in enumerate(plan.over):
        go = np.append(model.dues[k, mine], 0.0)
        _add_late(plan, by, (over[others], model.dues[k, theirs]), (over[person], go))
    row, at = _smallest(by)
    return _Change(float(by[row, at]), int(theirs[row]), person, int(mine[at]) if at < own else NOBODY)


def _add_late(plan: Plan, by: Floats, theirs: tuple[Floats, Floats], ours: tuple[float, Floats]) -> None:
    """Add the late points of one class on both desks: what is over there now, and what each row and column takes away.

    Most desks have room in most classes: only those that may be late after a change are looked at.
    """
    (over, come), (own_over, go) = theirs, ours
    w_late = plan.model.instance.policy.w_late
    tight = np.flatnonzero(over - come > -go.max())
    if len(tight):
        by[tight] += w_late * np.maximum((over - come)[tight][:, None] + go, 0.0)
    if own_over + come.max() > go.min():
        by += w_late * np.maximum(come[:, None] + (own_over - go), 0.0)


def _smallest(by: Floats) -> tuple[int, int]:
    """Return row and column of the smallest, in whole units; of equal ones the first."""
    row, column = divmod(int(np.argmin(np.rint(by * (1.0 / SMALLEST_GAIN)))), by.shape[1])
    return row, column
