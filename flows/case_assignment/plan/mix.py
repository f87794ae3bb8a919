"""Case mix: people who work part-time get their share of large cases, not biopsies only."""

from typing import Final

import numpy as np

from flows.case_assignment.plan.model import NOBODY, Floats, Ints, Model
from flows.case_assignment.plan.plan import Plan
from flows.case_assignment.plan.search import improve

_LARGE: Final = 8.0
_PART_TIME: Final = 0.6
_FULL_TIME: Final = 1.0
_ENOUGH: Final = 0.9
_PRICES: Final = (0.02, 0.05, 0.1, 0.2, 0.4)
"""What a large read of one point may cost more than J says, so that it goes to somebody who works part-time."""


def large_share_ratio(model: Model, owner: Ints) -> float:
    """Return the share of large reads, by points, on part-time desks over that on full-time desks.

    One where it can't be said: nobody works so, or there is nothing large.
    """
    fte = _fte(model)
    placed = np.flatnonzero(owner != NOBODY)
    points, who = model.points[placed], fte[owner[placed]]
    large = points * (points >= _LARGE)
    part, full = who <= _PART_TIME, who >= _FULL_TIME
    expected = large[full].sum() * points[part].sum()
    return float(large[part].sum() * points[full].sum() / expected) if expected > 0 else 1.0


def mix(plan: Plan) -> None:
    """Raise the price of a large read on other desks until part-time desks have enough of them, or it is too dear."""
    model = plan.model
    for price in _PRICES:
        if large_share_ratio(model, plan.owner) >= _ENOUGH:
            return
        plan.preference = model.preference - price * _large_for_part_time(model)
        improve(plan, range(model.people))


def _large_for_part_time(model: Model) -> Floats:
    points: Floats = model.points * (model.points >= _LARGE)
    return (_fte(model) <= _PART_TIME)[:, None] * points


def _fte(model: Model) -> Floats:
    return np.array([person.fte for person in model.instance.people], np.float64)
