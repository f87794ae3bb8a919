"""A snapshot as the plan's arrays: who may have each read by the rules of assignment, and what each pairing costs."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

from flows.case_assignment.candidate import Candidate, ReadToAssign
from flows.case_assignment.eligibility import horizon_of, level_of, ruled_out_at_once
from flows.case_assignment.hours import absence_at, first_reading
from flows.case_assignment.load import CLASS_ENDS, class_of, load_of
from flows.case_assignment.plan.instance import Case, Instance, Person, Policy
from flows.case_assignment.plan.model import NOBODY, Flags, Floats, Ints, Model
from flows.case_assignment.rebalance.snapshot import OpenRead, Snapshot
from models.policy import Weights

_FURTHEST: Final = timedelta(days=92)
_SECONDS_A_DAY: Final = 86_400.0
_MINUTE: Final = timedelta(minutes=1)
_LEAD: Final = 1

_Names: TypeAlias = npt.NDArray[np.object_]


def problem_of(seen: Snapshot) -> Model:
    """Return the arrays of a snapshot: reads and people in its order.

    What somebody has begun with or decided is pinned to its reader; ``present`` is who has each other read now.
    """
    number = {person.pathologist_id: p for p, person in enumerate(seen.people)}
    owner = np.array([number.get(one.owner or "", NOBODY) for one in seen.reads], np.int64)
    pinned = np.array([one.pinned for one in seen.reads], np.bool_)
    place = {one.wanted.read_id: t for t, one in enumerate(seen.reads)}
    points = np.array([one.wanted.points for one in seen.reads], np.float64)
    bucket = np.array([_class(one.wanted, seen.at) for one in seen.reads], np.int64)
    people = _people(seen)
    twin = np.array([place.get(one.twin or "", NOBODY) for one in seen.reads], np.int64)
    may, preference = _Pairings(seen, number).of_all(owner, twin)
    left = np.array([person.cum_capacity for person in people], np.float64).reshape(len(people), len(CLASS_ENDS))
    return Model(
        instance=Instance(_policy(seen.in_force.policy.weights), {}, {}, {}, people, tuple(map(_case, seen.reads))),
        case=np.arange(len(seen.reads)),
        is_second=np.array([one.wanted.role == "second" for one in seen.reads], np.bool_),
        points=points,
        bucket=bucket,
        dues=points * (np.arange(len(CLASS_ENDS))[:, None] >= bucket),
        pinned=np.where(pinned, owner, NOBODY),
        present=np.where(pinned, NOBODY, owner),
        twin=twin,
        may=may,
        preference=preference,
        capacity=np.array([person.capacity for person in people], np.float64),
        carry=np.array([person.carry for person in people], np.float64),
        capacity_left=left.T.copy(),
    )


def next_readings(seen: Snapshot) -> Floats:
    """Return when each person reads next, in seconds since 1970; infinity who does not within three months."""
    return np.array([_next_reading_s(one, seen.at) for one in seen.people], np.float64)


class _Pairings:
    """Who may have which read, and what that costs by itself."""

    def __init__(self, seen: Snapshot, number: Mapping[str, int]) -> None:
        people = seen.people
        self._seen, self._number, self._now_s = seen, number, seen.at.timestamp()
        self._next_s = next_readings(seen)
        self._gets_none = np.array([absence_at(one, seen.at) is not None for one in people], np.bool_)
        self._gone = np.array([one.pathologist_id in seen.absent for one in people], np.bool_)
        self._open = np.array([one.open_points for one in people], np.float64)
        self._most = np.array([np.inf if one.max_points is None else one.max_points for one in people], np.float64)
        self._site: _Names = np.array([one.site_id for one in people], object)
        self._network: _Names = np.array([one.network_id for one in people], object)
        self._levels: dict[ReadToAssign, Ints] = {}

    def of_all(self, owner: Ints, twin: Ints) -> tuple[Flags, Floats]:
        """Return ``may`` and ``preference``, of shape (P, T)."""
        may = np.zeros((len(self._seen.people), len(self._seen.reads)), np.bool_)
        preference = np.zeros(may.shape)
        for t, one in enumerate(self._seen.reads):
            if not one.pinned:
                may[:, t] = self._may(one.wanted, int(owner[t]))
                preference[:, t] = self._cost(one.wanted, int(owner[t]), may[:, t])
        _reserve(may, owner, twin)
        return may, preference

    def _may(self, want: ReadToAssign, mine: int) -> Flags:
        """As ``eligible`` says, but who has a read keeps it through a short leave and a full desk."""
        gets = ~self._gets_none & (self._open + want.points <= self._most)
        if mine != NOBODY:
            gets[mine] = True
        may: Flags = (
            gets & (self._level(want) > 0) & ~self._gone & (self._next_s < horizon_of(want, self._seen.at).timestamp())
        )
        for who in want.conflicts | want.declined | want.reads_otherwise:
            if who in self._number:
                may[self._number[who]] = False
        return may

    def _cost(self, want: ReadToAssign, mine: int, may: Flags) -> Floats:
        weights = self._seen.in_force.policy.weights
        far, near = self._network != want.network_id, self._site != want.site_id
        a_point = np.where(far, weights.other_network, np.where(near, weights.other_site, 0.0))
        a_point += np.where(self._level(want) > _LEAD, weights.second_level, 0.0)
        waits = np.where(may, np.maximum(0.0, self._next_s - self._now_s), 0.0)
        a_point += weights.wait_a_day[want.lane] * waits / _SECONDS_A_DAY
        cost: Floats = a_point * want.points
        before = self._number.get(want.patients_reader or "", NOBODY)
        for whose, price in ((before, weights.continuity), (mine, weights.move)):
            if whose != NOBODY and may[whose]:
                cost += price
                cost[whose] -= price
        return cost

    def _level(self, want: ReadToAssign) -> Ints:
        """Return at which level each may have such a read, zero who may not: asked once for all that are alike."""
        alike = replace(
            want, read_id="", case_id="", site_id="", points=0.0, lane=0, due_at=None, before=None, patients_reader=None
        )
        alike = replace(alike, conflicts=frozenset(), declined=frozenset(), reads_otherwise=frozenset())
        found = self._levels.get(alike)
        if found is None:
            levels = (0 if ruled_out_at_once(alike, one) else level_of(alike, one) or 0 for one in self._seen.people)
            found = self._levels[alike] = np.fromiter(levels, np.int64, len(self._seen.people))
        return found


def _reserve(may: Flags, owner: Ints, twin: Ints) -> None:
    """Keep the only one who may have a read that nobody has from the case's other read, if others may have that."""
    for read in np.flatnonzero((owner == NOBODY) & (twin != NOBODY) & (may.sum(axis=0) == 1)).tolist():
        other = int(twin[read])
        if (may[:, other] & ~may[:, read]).any():
            may[:, other] &= ~may[:, read]


def _people(seen: Snapshot) -> tuple[Person, ...]:
    window_days = seen.in_force.policy.fairness.window_days
    people = []
    for one in seen.people:
        # What falls due is counted by the plan itself.
        load = load_of(replace(one, due=()), seen.at, window_days)
        room = (0.0,) * len(CLASS_ENDS) if one.pathologist_id in seen.absent else load.room
        people.append(Person(one.pathologist_id, one.site_id, one.fte, {}, load.capacity, one.carry, room))
    return tuple(people)


def _case(one: OpenRead) -> Case:
    """Return what the plan tells reads apart by: no two count as alike, since each has a deadline of its own."""
    want = one.wanted
    return Case(
        id=want.read_id,
        site=want.site_id,
        subspecialty=want.subspecialty,
        points=want.points,
        ready_min=0.0,
        due_min=0.0,
        previous=want.patients_reader,
        conflicts=(),
        double=True,
        state="unassigned" if one.owner is None else "assigned",
        current=one.owner,
        manual=None,
    )


def _policy(weights: Weights) -> Policy:
    return Policy(
        w_late=weights.late,
        w_balance=weights.balance,
        c_cross_site=weights.other_site,
        c_cross_network=weights.other_network,
        c_secondary=weights.second_level,
        c_continuity=weights.continuity,
        c_move=weights.move,
        bucket_ends_min=tuple(end / _MINUTE for end in CLASS_ENDS),
    )


def _class(want: ReadToAssign, now: datetime) -> int:
    """Return the deadline class; one beyond the last without a deadline, which nothing can miss."""
    return len(CLASS_ENDS) if want.due_at is None else class_of(want.due_at, now)


def _next_reading_s(person: Candidate, now: datetime) -> float:
    reads_from = first_reading(person, now, now + _FURTHEST)
    return np.inf if reads_from is None else reads_from.timestamp()
