"""The problem as arrays: who may have each read, and what each pairing costs by itself."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

from flows.case_assignment.plan.instance import Case, Instance, Person

Floats: TypeAlias = npt.NDArray[np.float64]
Ints: TypeAlias = npt.NDArray[np.int64]
Flags: TypeAlias = npt.NDArray[np.bool_]

NOBODY: Final = -1
_LEAD: Final = 1
_SECOND_LEVEL: Final = 2
_SHARE_OF_SECOND: Final = 0.5


@dataclass(frozen=True)
class Model:
    """One problem; P people, T reads and K deadline classes, all in canonical order.

    ``may`` and ``preference`` have shape (P, T): who may have a read by every rule, and what that pairing costs for
    locality, level, continuity and a move. ``dues`` has shape (K, T): the points of a read in each class by whose
    end they fall due. ``pinned`` and ``present`` are people by number, ``NOBODY`` without one; ``twin`` is the other
    read of a double case. ``capacity_left`` has shape (K, P).
    """

    instance: Instance
    case: Ints
    is_second: Flags
    points: Floats
    bucket: Ints
    dues: Floats
    pinned: Ints
    present: Ints
    twin: Ints
    may: Flags
    preference: Floats
    capacity: Floats
    carry: Floats
    capacity_left: Floats

    @property
    def reads(self) -> int:
        """How many reads there are."""
        return len(self.case)

    @property
    def people(self) -> int:
        """How many people there are."""
        return len(self.capacity)

    @property
    def live(self) -> Flags:
        """Who has capacity in the fairness window, and so a relative load."""
        return self.capacity > 0

    @property
    def settled(self) -> Ints:
        """Where each read lies when nothing is moved that may stay: where it is pinned, else where it is assigned."""
        stays = np.zeros(self.reads, np.bool_)
        given = np.flatnonzero(self.present != NOBODY)
        stays[given] = self.may[self.present[given], given]
        return np.where(self.pinned != NOBODY, self.pinned, np.where(stays, self.present, NOBODY))


def model_of(instance: Instance) -> Model:
    """Return the arrays of a snapshot."""
    cases, people = instance.cases, instance.people
    case = np.array([i for i, one in enumerate(cases) for _ in range(1 + one.double)], np.int64)
    is_second = np.zeros(len(case), np.bool_)
    is_second[1:] = case[1:] == case[:-1]
    twin = np.full(len(case), NOBODY, np.int64)
    seconds = np.flatnonzero(is_second)
    twin[seconds], twin[seconds - 1] = seconds - 1, seconds
    points = np.array([one.points for one in cases], np.float64)[case] * np.where(is_second, _SHARE_OF_SECOND, 1.0)
    ends = np.array(instance.policy.bucket_ends_min)
    due = np.array([one.due_min for one in cases], np.float64)
    bucket_of_case = np.minimum(np.searchsorted(ends, due), len(ends) - 1).astype(np.int64)
    bucket = bucket_of_case[case]
    number = {person.id: j for j, person in enumerate(people)}
    pins = np.array([number[pin] if (pin := pinned_to(one)) else NOBODY for one in cases], np.int64)
    present = np.array(
        [number[one.current] if one.state == "assigned" and one.current else NOBODY for one in cases], np.int64
    )
    left = np.array([person.cum_capacity for person in people], np.float64).reshape(len(people), len(ends)).T.copy()
    rules = _Rules(instance, number, left[bucket_of_case].T > 0 if len(people) else np.zeros((0, len(cases)), np.bool_))
    may_first, may_second = rules.primary(), rules.second()
    _reserve(may_first, may_second, pins, np.array([one.double for one in cases], np.bool_))
    may = np.where(is_second, may_second[:, case], may_first[:, case])
    first = ~is_second
    preference = rules.locality()[:, case] * points
    preference[:, first] += rules.continuity_and_moves(present)
    return Model(
        instance=instance,
        case=case,
        is_second=is_second,
        points=points,
        bucket=bucket,
        dues=points * (np.arange(len(ends))[:, None] >= bucket),
        pinned=np.where(is_second, NOBODY, pins[case]),
        present=np.where(is_second, NOBODY, present[case]),
        twin=twin,
        may=may,
        preference=preference,
        capacity=np.array([person.capacity for person in people], np.float64),
        carry=np.array([person.carry for person in people], np.float64),
        capacity_left=left,
    )


def pinned_to(case: Case) -> str | None:
    """Return whom the primary read is pinned to: a manual override, else whoever opened it."""
    if case.manual is not None:
        return case.manual
    return case.current if case.state == "opened" else None


def _reserve(may_first: Flags, may_second: Flags, pins: Ints, double: Flags) -> None:
    """Keep the only possible second reader from the first read; where nobody else may have that, from the second."""
    alone = double & (pins == NOBODY) & (may_second.sum(axis=0) == 1)
    others = may_first.sum(axis=0) > 1
    may_first[:, alone & others] &= ~may_second[:, alone & others]
    may_second[:, alone & ~others] = False


class _Rules:
    """Eligibility and preferences by case, each of shape (P, cases)."""

    def __init__(self, instance: Instance, number: dict[str, int], in_time: Flags) -> None:
        self._instance = instance
        self._number = number
        subspecialties = {name: i for i, name in enumerate(sorted(instance.scopes))}
        sites = {name: i for i, name in enumerate(sorted(instance.sites))}
        self._level = np.array(
            [[person.competences.get(name, 0) for name in subspecialties] for person in instance.people], np.int64
        ).reshape(len(instance.people), len(subspecialties))
        self._subspecialty = np.array([subspecialties[one.subspecialty] for one in instance.cases], np.int64)
        self._site = np.array([sites[one.site] for one in instance.cases], np.int64)
        self._sites = list(sites)
        self._subspecialties = list(subspecialties)
        self._within = in_time & self._in_scope()
        for i, one in enumerate(instance.cases):
            for who in one.conflicts:
                if who in number:
                    self._within[number[who], i] = False

    def primary(self) -> Flags:
        competent: Flags = self._level[:, self._subspecialty] > 0
        return self._within & competent

    def second(self) -> Flags:
        leads: Flags = self._level[:, self._subspecialty] == _LEAD
        return self._within & leads

    def locality(self) -> Floats:
        """What a point read elsewhere, or by somebody who does not lead, costs."""
        policy, networks = self._instance.policy, self._instance.sites
        of_pairs = np.empty((len(self._sites), len(self._instance.people)))
        for i, site in enumerate(self._sites):
            of_pairs[i] = [
                _distance(person, site, networks, policy.c_cross_site, policy.c_cross_network)
                for person in self._instance.people
            ]
        second = np.where(self._level == _SECOND_LEVEL, policy.c_secondary, 0.0)
        cost: Floats = of_pairs.T[:, self._site] + second[:, self._subspecialty]
        return cost

    def continuity_and_moves(self, present: Ints) -> Floats:
        """What the primary read costs when somebody else has it than before."""
        policy = self._instance.policy
        cost = np.zeros(self._within.shape)
        may = self.primary()
        for i, one in enumerate(self._instance.cases):
            before = self._number.get(one.previous, NOBODY) if one.previous else NOBODY
            if before != NOBODY and may[before, i]:
                cost[:, i] += policy.c_continuity
                cost[before, i] -= policy.c_continuity
            if one.state == "assigned":
                cost[:, i] += policy.c_move
                cost[present[i], i] -= policy.c_move
        return cost

    def _in_scope(self) -> Flags:
        """Own network and mutual aid, with ``region`` also the own region, with ``national`` everybody."""
        instance = self._instance
        network_of = [instance.sites[person.site] for person in instance.people]
        regions = np.array([instance.networks[name].region for name in network_of])
        scopes = np.array([instance.scopes[name] for name in self._subspecialties])
        near = np.empty((len(self._sites), len(instance.people)), np.bool_)
        same_region = near.copy()
        for i, site in enumerate(self._sites):
            network = instance.networks[instance.sites[site]]
            helping = {network.id, *network.mutual_aid}
            near[i] = [name in helping for name in network_of]
            same_region[i] = regions == network.region
        scope = scopes[self._subspecialty] if len(self._subspecialty) else np.array([], str)
        near_case, region_case = near.T[:, self._site], same_region.T[:, self._site]
        within: Flags = near_case | (region_case & (scope == "region")) | (scope == "national")
        return within


def _distance(person: Person, site: str, networks: Mapping[str, str], cross_site: float, cross_network: float) -> float:
    if person.site == site:
        return 0.0
    return cross_site if networks[person.site] == networks[site] else cross_network
