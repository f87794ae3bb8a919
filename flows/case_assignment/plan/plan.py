"""Who has each read, and how J changes with the next change: kept up to date, never computed from scratch."""

from typing import Final

import numpy as np

from flows.case_assignment.plan.model import NOBODY, Flags, Floats, Ints, Model
from flows.case_assignment.plan.prices import mean_load

SMALLEST_GAIN: Final = 1e-6
"""Changes of J are told apart in whole millionths of a point; among equal ones the order of ids decides."""


class Plan:
    """Reads on desks, changed in place by ``give``.

    ``preference`` is what each pairing costs by itself, of shape (P, T). ``free`` are the reads that may be moved,
    ``near`` the pairings that the search looks at. ``may`` are the legal pairings as things stand: not where the other
    read of the case lies. ``over`` has shape (K, P): the points due by the end of a class beyond what can be reported
    before it, negative where there is room.
    """

    def __init__(self, model: Model, preference: Floats, free: Flags) -> None:
        self.model, self.preference, self.free = model, preference, free
        self.near = model.may
        self.may = model.may.copy()
        self.owner = np.full(model.reads, NOBODY, np.int64)
        self.load = model.carry.copy()
        self.over = -model.capacity_left
        self.moved = 0
        self.gained = 0.0
        live = model.live
        self.live = live.astype(np.float64)
        self.inverse = np.where(live, 1.0 / np.where(live, model.capacity, 1.0), 0.0)
        self.mean = mean_load(model)

    def give(self, read: int, person: int) -> None:
        """Take a read from whoever has it and give it to this person, or to nobody."""
        model, before = self.model, int(self.owner[read])
        twin, present = int(model.twin[read]), int(model.present[read])
        if before != NOBODY:
            self.load[before] -= model.points[read]
            self.over[:, before] -= model.dues[:, read]
            if twin != NOBODY:
                self.may[before, twin] = model.may[before, twin]
        if person != NOBODY:
            self.load[person] += model.points[read]
            self.over[:, person] += model.dues[:, read]
            if twin != NOBODY:
                self.may[person, twin] = False
        if present != NOBODY:
            self.moved += (person not in {NOBODY, present}) - (before not in {NOBODY, present})
        self.owner[read] = person

    def place(self, read: int, person: int | None = None) -> int:
        """Give a read that nobody has to whom it costs least, or to this person, who may have it.

        Return to whom, ``NOBODY`` if nobody may have it.
        """
        people = np.flatnonzero(self.may[:, read]) if person is None else np.array([person])
        if not len(people):
            return NOBODY
        cost = self.cost_of_adding(read, people)
        at = int(np.argmin(np.rint(cost / SMALLEST_GAIN)))
        self.gained += float(cost[at])
        self.give(read, int(people[at]))
        return int(people[at])

    def take(self, read: int) -> None:
        """Take a read from its owner."""
        person = self.owner[read : read + 1].copy()
        self.give(read, NOBODY)
        self.gained -= float(self.cost_of_adding(read, person)[0])

    def cost_of_adding(self, read: int, people: Ints) -> Floats:
        """Return by how much J rises when a read that nobody has goes to each of these people."""
        preference, balance, late = self.terms_of_adding(read, people)
        return preference + balance + late

    def terms_of_adding(self, read: int, people: Ints) -> tuple[Floats, Floats, Floats]:
        """Return by how much the terms of J rise, as ``cost_of_adding``: preference, balance and late points.

        With w points more, the balance of p changes by ``w_balance * w * (2 * (r_p - mean) + w / capacity_p)``.
        """
        policy, w = self.model.instance.policy, self.model.points[read]
        inverse = self.inverse[people]
        slope = 2.0 * (self.load[people] * inverse - self.mean * self.live[people])
        over = self.over[:, people]
        late = np.maximum(0.0, over + self.model.dues[:, read, None]) - np.maximum(0.0, over)
        balance = policy.w_balance * w * (slope + w * inverse)
        return self.preference[people, read], balance, policy.w_late * late.sum(axis=0)

    def slopes(self) -> tuple[Floats, Floats]:
        """Return the first and second order of the balance term per person, weighed: its change is s*w + c*w^2."""
        weight = self.model.instance.policy.w_balance
        return weight * 2.0 * (self.load * self.inverse - self.mean * self.live), weight * self.inverse
