"""Online: each read as it becomes ready, by the smallest marginal cost, knowing nothing of those that come."""

import time
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import cycle
from typing import Final

import numpy as np

from flows.case_assignment.plan.model import NOBODY, Floats, Ints, Model
from flows.case_assignment.plan.plan import SMALLEST_GAIN, Plan

_MILLISECOND: Final = 1e-3
_LOOKS: Final = 4
"""So many assigned reads are looked at again with each decision: more gain little, and a decision takes longer."""
_BEFORE: Final = 0.0
_MIDDLE: Final = 0.5
_HEAVY: Final = 0.1
"""Whoever gets a read of more than such a share of their capacity may have to pass on what they were assigned."""
_TOO_HEAVY: Final = 0.3
_PRICE_OF_TOO_HEAVY: Final = 2.0
"""What a read takes of somebody's capacity beyond such a share costs so many times as much load again."""


def assign_one_by_one(model: Model, *, keep_assigned: bool = False) -> tuple[Ints, list[float]]:
    """Return who has each read, and how many milliseconds of processor time each decision took.

    What is opened, overridden or assigned lies where it is before the first decision, unless it may not lie there. Each
    decision gives one read, then looks at the next few of those that were assigned, in turn, and after a heavy read at
    all that its reader was assigned: they move where that is worth the price of a move. With ``keep_assigned`` they
    stay where they were.
    """
    where = model.settled
    plan = Plan(model, model.preference, where == NOBODY)
    for read in np.flatnonzero(where != NOBODY).tolist():
        plan.give(read, int(where[read]))
    order = in_order(model)
    coming = order[where[order] == NOBODY].tolist()
    assigned = order[(model.pinned[order] == NOBODY) & (where[order] != NOBODY) & (not keep_assigned)]
    again = cycle(assigned.tolist())
    desk = _Desk(plan, (*assigned.tolist(), *coming))
    took_ms = []
    for read in coming:
        started = time.thread_time()
        desk.decide(read, _BEFORE)
        person = int(plan.owner[read])
        if person != NOBODY and model.points[read] * plan.inverse[person] > _HEAVY:
            for seen in assigned[plan.owner[assigned] == person].tolist():
                desk.decide_anew(seen)
        for _, seen in zip(range(_LOOKS), again, strict=False):
            desk.decide_anew(seen)
        took_ms.append((time.thread_time() - started) / _MILLISECOND)
    return plan.owner, took_ms


def in_order(model: Model) -> Ints:
    """Return the reads in the order in which they become ready; at the same moment by case id."""
    ready = np.array([case.ready_min for case in model.instance.cases], np.float64)[model.case]
    order: Ints = np.lexsort((np.arange(model.reads), ready))
    return order


@dataclass(frozen=True, slots=True)
class _Known:
    """What does not change of a read: who may have it, what each pairing costs, and what a point of load does.

    ``paired`` says that another read of its case may rule people out.
    """

    people: Ints
    preference: Floats
    a_point: Floats
    points: float
    bucket: int
    paired: bool


class _Desk:
    """Where reads are decided; what does not change is worked out before."""

    def __init__(self, plan: Plan, reads: Iterable[int]) -> None:
        self._plan = plan
        self._w_late = plan.model.instance.policy.w_late
        self._known = {read: self._known_of(read) for read in reads}

    def decide(self, read: int, step: float) -> None:
        """Give a read that nobody has to whom it costs least now, if anybody may have it.

        As ``Plan.cost_of_adding``, but the load counts as it is at the share ``step`` of the way from before the read
        to after it: ``w_balance * w * 2 * (r_p + step * w / capacity_p)``. In its middle this is by how much J rises,
        but a large read would look too heavy there for whoever works part-time, and hardly ever go to them.
        """
        plan, known = self._plan, self._known[read]
        people, preference, a_point, w = known.people, known.preference, known.a_point, known.points
        if known.paired:
            may = plan.may[people, read]
            people, preference, a_point = people[may], preference[may], a_point[may]
        if not len(people):
            return
        over = plan.over[known.bucket :].take(people, 1)
        cost = np.add.reduce(np.maximum(over + w, 0.0) - np.maximum(over, 0.0), 0)
        cost *= self._w_late
        cost += (plan.load.take(people) + step * w) * a_point
        cost += preference
        cost *= 1.0 / SMALLEST_GAIN
        plan.give(read, int(people[np.rint(cost).argmin()]))

    def decide_anew(self, read: int) -> None:
        """Take a read from whoever has it, and give it to whom it costs least now: often to the same."""
        self._plan.give(read, NOBODY)
        self.decide(read, _MIDDLE)

    def _known_of(self, read: int) -> _Known:
        model = self._plan.model
        people, w = np.flatnonzero(model.may[:, read]), float(model.points[read])
        inverse = self._plan.inverse[people]
        a_point = model.instance.policy.w_balance * w
        too_heavy = _PRICE_OF_TOO_HEAVY * a_point * np.maximum(0.0, w * inverse - _TOO_HEAVY)
        return _Known(
            people=people,
            preference=self._plan.preference[people, read] + too_heavy,
            a_point=2.0 * a_point * inverse,
            points=w,
            bucket=int(model.bucket[read]),
            paired=bool(model.twin[read] != NOBODY),
        )
