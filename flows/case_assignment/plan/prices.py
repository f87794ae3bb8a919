"""What a point costs on each desk, when reads may be split: the dual of a min-cost flow, by smoothed ascent.

Deadline classes nest, so with split reads the problem is a convex flow. Its prices, a few dozen rounds of them, are all
that the search needs from it: a start, and which pairings are worth looking at.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from flows.case_assignment.plan.model import NOBODY, Flags, Floats, Ints, Model

_ROUNDS: Final = 60
"""More make the start better and no longer the plan: the search makes up for it."""
_SMALLEST_HEAT: Final = 0.01
_STEP: Final = 0.3
_LATE_STEP: Final = 1.2
_LAST_STEP: Final = 0.003
_NEAR: Final = 0.5
"""Looking at more pairings than those that are so much dearer than the best, in points, finds hardly more."""


@dataclass(frozen=True)
class Shares:
    """How the flow splits reads: of each read of ``reads``, ``share`` of it to ``person``, as arcs sorted by group.

    ``group`` has shape of ``reads``; group g owns the arcs from ``first[g]`` up to ``first[g + 1]``. ``reduced`` is
    what each arc costs at the prices above the cheapest of its group.
    """

    reads: Ints
    group: Ints
    first: Ints
    person: Ints
    share: Floats
    reduced: Floats


def shares(model: Model, preference: Floats) -> Shares:
    """Return the split flow of the reads that are not pinned and may go to somebody.

    Parameters
    ----------
    preference
        Shape (P, T): what each pairing costs by itself.

    Notes
    -----
    Reads that nothing tells apart are one group. The price of a point of load on desk p, lambda_p, and of one more due
    by the end of class k, mu_pk (from 0 to w_late), rise where the flow of the round exceeds what they pay for::

        lambda_p = 2 * w_balance * (L_p / capacity_p - mean)
    """
    reads = np.flatnonzero((model.pinned == NOBODY) & np.any(model.may, axis=0))
    leaders, group, size = _groups(model, reads)
    arc_group, person = np.nonzero(model.may[:, leaders].T)
    first = np.searchsorted(arc_group, np.arange(len(leaders) + 1))
    if not len(reads):
        return Shares(reads, group, first, person, np.zeros(0), np.zeros(0))
    leader = leaders[arc_group]
    placed = np.flatnonzero(model.pinned != NOBODY)
    cost = preference[person, leader]
    ascent = _Ascent(model, cost, placed, (leader, person), size[arc_group], first[:-1])
    for number in range(1, _ROUNDS + 1):
        ascent.step(number)
    return Shares(reads, group, first, person, ascent.flow / size[arc_group], ascent.reduced)


def _groups(model: Model, reads: Ints) -> tuple[Ints, Ints, Floats]:
    """Return the first read of each group, the group of each read, and how many reads each group has."""
    known: dict[object, int] = {}
    leaders: list[int] = []
    group = np.empty(len(reads), np.int64)
    for at, read in enumerate(reads.tolist()):
        case = model.instance.cases[model.case[read]]
        second = bool(model.is_second[read])
        alike = not case.conflicts and not case.double
        alike = alike and case.state == "unassigned" and case.previous is None
        key = (case.site, case.subspecialty, int(model.bucket[read]), second, case.points) if alike else read
        group[at] = known.setdefault(key, len(known))
        if group[at] == len(leaders):
            leaders.append(read)
    size = np.bincount(group, minlength=len(leaders)).astype(np.float64)
    return np.array(leaders, np.int64), group, size


class _Ascent:
    """Prices by person, and the smoothed flow that they lead to, improved round by round (Adam)."""

    def __init__(
        self, model: Model, cost: Floats, placed: Ints, arcs: tuple[Ints, Ints], size: Floats, first: Ints
    ) -> None:
        policy, people = model.instance.policy, model.people
        read, person = arcs
        self._person, self._first, self._size = person, first, size
        self._arcs = np.diff(np.append(first, len(person)))
        self._points = model.points[read]
        left = model.capacity_left[:, person]
        dues = model.dues[:, read]
        self._effective = np.minimum(dues, left)
        alone = np.maximum(0.0, dues - left).sum(axis=0)
        self._cost = cost + policy.w_late * alone
        who = model.pinned[placed]
        self._base = model.carry + np.bincount(who, model.points[placed], people)
        self._room = model.capacity_left - np.array([np.bincount(who, one[placed], people) for one in model.dues])
        self._live = model.live
        self._capacity = model.capacity
        self._mean = mean_load(model)
        self._w_late, self._w_balance = policy.w_late, policy.w_balance
        self._heat = np.maximum(self._points, 1.0)
        self._load_price = np.zeros(people)
        self._late_price = np.zeros(self._room.shape)
        self._load_trend, self._late_trend = _Trend(self._load_price), _Trend(self._late_price)
        self.flow = np.zeros(len(person))
        self.reduced = np.zeros(len(person))

    def step(self, number: int) -> None:
        """Let the flow follow the prices, and the prices the flow."""
        cost = self._cost + self._points * self._load_price[self._person]
        for effective, price in zip(self._effective, self._late_price, strict=True):
            cost += effective * price[self._person]
        self.reduced = cost - np.repeat(np.minimum.reduceat(cost, self._first), self._arcs)
        heat = max(_SMALLEST_HEAT, 0.3 * (1.0 - 1.2 * number / _ROUNDS)) * self._heat
        weight = np.exp(-self.reduced / heat)
        self.flow = self._size * weight / np.repeat(np.add.reduceat(weight, self._first), self._arcs)
        people = len(self._load_price)
        wanted = self._capacity * (self._mean + self._load_price / (2.0 * self._w_balance)) if self._w_balance else 0.0
        load = self._base + np.bincount(self._person, self._points * self.flow, people)
        excess = np.where(self._live, load - wanted, 0.0)
        late = np.array([np.bincount(self._person, one * self.flow, people) for one in self._effective]) - self._room
        step = _STEP * (1.0 - number / (_ROUNDS + 1)) + _LAST_STEP
        if self._w_balance:
            self._load_price = self._load_price + step * self._load_trend.follow(excess, number)
        moved = self._late_price + step * _LATE_STEP / _STEP * self._late_trend.follow(late, number)
        self._late_price = np.clip(moved, 0.0, self._w_late)


class _Trend:
    """The direction of a gradient, smoothed over rounds and scaled to about one."""

    def __init__(self, like: Floats) -> None:
        self._mean, self._square = np.zeros_like(like), np.zeros_like(like)

    def follow(self, gradient: Floats, number: int) -> Floats:
        self._mean = 0.9 * self._mean + 0.1 * gradient
        self._square = 0.98 * self._square + 0.02 * gradient * gradient
        return (self._mean / (1.0 - 0.9**number)) / (np.sqrt(self._square / (1.0 - 0.98**number)) + 1e-9)


def mean_load(model: Model) -> float:
    """Return the relative load of all together, when everything is read by people with capacity."""
    live = model.live
    capacity = float(model.capacity[live].sum())
    return float(model.carry[live].sum() + model.points.sum()) / capacity if capacity > 0 else 0.0


def pairings_near(model: Model, split: Shares) -> Flags:
    """Return the pairings, shape (P, T), that are worth a look: hardly dearer at the prices than the cheapest."""
    arcs = np.diff(split.first)[split.group]
    begins = split.first[:-1][split.group]
    arc = np.repeat(begins - np.cumsum(arcs) + arcs, arcs) + np.arange(arcs.sum())
    close = split.reduced[arc] <= _NEAR
    near = np.zeros(model.may.shape, np.bool_)
    near[split.person[arc][close], np.repeat(split.reads, arcs)[close]] = True
    return near
