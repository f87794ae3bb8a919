"""Out of a local best: a few desks are emptied in part, filled again, and kept so when J is lower."""

from typing import Final

import numpy as np

from flows.case_assignment.plan.model import NOBODY, Flags, Ints
from flows.case_assignment.plan.plan import Plan
from flows.case_assignment.plan.refill import refill

SHAKES_A_SWEEP: Final = 40
_READS: Final = 24
_NEIGHBOURS: Final = 4
_SEED: Final = 20261122


def shake(plan: Plan, sweeps: int) -> None:
    """Shake as often as ``sweeps`` says, by numbers that are the same every time."""
    movable = np.flatnonzero(plan.free & (plan.owner != NOBODY))
    if not len(movable):
        return
    drawn = np.random.default_rng(_SEED)
    for _ in range(sweeps * SHAKES_A_SWEEP):
        person = int(plan.owner[drawn.choice(movable)])
        refill(plan, drawn.permutation(_around(plan, person, drawn))[:_READS].tolist())


def _around(plan: Plan, person: int, drawn: np.random.Generator) -> Ints:
    """Return the movable reads of this person and of a few who may have some of theirs."""
    mine = np.flatnonzero(plan.free & (plan.owner == person))
    may: Flags = np.any(plan.may[:, mine], axis=1)
    near = np.flatnonzero(may & (np.arange(len(may)) != person))
    chosen = [person, *drawn.permutation(near)[:_NEIGHBOURS].tolist()]
    return np.flatnonzero(plan.free & np.isin(plan.owner, chosen))
