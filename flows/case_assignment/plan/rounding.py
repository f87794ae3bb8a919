"""From split reads to whole ones."""

import numpy as np

from flows.case_assignment.plan.plan import Plan
from flows.case_assignment.plan.prices import Shares


def round_whole(plan: Plan, split: Shares) -> None:
    """Give each read to one person, the largest first, while those not yet given still count where they are split."""
    model = plan.model
    arcs = [slice(a, b) for a, b in zip(split.first[:-1].tolist(), split.first[1:].tolist(), strict=True)]
    which = [arcs[group] for group in split.group.tolist()]
    points = model.points[split.reads]
    counted = np.bincount(split.group, points, len(arcs))
    per_arc = np.repeat(counted, np.diff(split.first)) * split.share
    plan.load += np.bincount(split.person, per_arc, model.people)
    for k in range(len(plan.over)):
        due = np.bincount(split.group, model.dues[k, split.reads], len(arcs))
        plan.over[k] += np.bincount(split.person, np.repeat(due, np.diff(split.first)) * split.share, model.people)
    for at in np.lexsort((split.reads, -points)).tolist():
        read, own = int(split.reads[at]), which[at]
        people, share = split.person[own], split.share[own]
        plan.load[people] -= share * model.points[read]
        plan.over[:, people] -= share * model.dues[:, read, None]
        plan.place(read)
