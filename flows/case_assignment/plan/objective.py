"""J, the objective of an assignment, term by term."""

from dataclasses import dataclass

import numpy as np

from flows.case_assignment.plan.model import NOBODY, Ints, Model


@dataclass(frozen=True, slots=True)
class Objective:
    """The terms of J: ``late`` and ``balance`` already weighed, all in points."""

    late: float
    balance: float
    preference: float

    @property
    def total(self) -> float:
        """J itself; the smaller, the better."""
        return self.late + self.balance + self.preference


def objective(model: Model, owner: Ints) -> Objective:
    """Return J of an assignment, from scratch.

    Parameters
    ----------
    owner
        Shape (T,): whose each read is; an escalated read counts in no term.

    Notes
    -----
    With load L_p = carry_p + the points of p's reads, relative load r_p = L_p / capacity_p of all with capacity, their
    mean r = sum L_p / sum capacity_p, and D_pk the points of p's reads due by the end of class k::

        J = w_late * sum_pk max(0, D_pk - cum_capacity_pk)
            + w_balance * sum_p capacity_p * (r_p - r)^2
            + the preference of every pairing
    """
    policy, people = model.instance.policy, model.people
    placed = np.flatnonzero(owner != NOBODY)
    who = owner[placed]
    late = 0.0
    for dues, left in zip(model.dues, model.capacity_left, strict=True):
        late += float(np.maximum(0.0, np.bincount(who, dues[placed], people) - left).sum())
    load = model.carry + np.bincount(who, model.points[placed], people)
    live = model.live
    capacity = model.capacity[live]
    balance = 0.0
    if len(capacity):
        mean = load[live].sum() / capacity.sum()
        balance = float((capacity * (load[live] / capacity - mean) ** 2).sum())
    preference = float(model.preference[who, placed].sum())
    return Objective(policy.w_late * late, policy.w_balance * balance, preference)
