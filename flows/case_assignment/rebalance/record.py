"""Why a look gave a read to whom: what it costs each of the best, all other reads being where the plan has them."""

from collections import defaultdict
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import numpy as np

from flows.case_assignment.cost import MILLIONTHS, Reader, Weighed
from flows.case_assignment.eligibility import Excluded, eligible, level_of
from flows.case_assignment.explanation import Considered, Ground, RuledOut, Term
from flows.case_assignment.plan.model import NOBODY, Model
from flows.case_assignment.plan.plan import Plan
from flows.case_assignment.rebalance.cost import PLAN_TERMS, plan_costs
from flows.case_assignment.rebalance.problem import next_readings
from flows.case_assignment.rebalance.snapshot import OpenRead, Snapshot

_KEPT: Final = 5
_WEIGHED: Final = 12
"""So many of the cheapest are weighed anew, in whole millionths."""


@dataclass(frozen=True)
class Verdict:
    """What a look makes of one read: the best, the cheapest first, how many may have it, and who may not."""

    ground: Ground
    weight_model: str
    mean: float
    had: str | None
    best: tuple[Considered, ...]
    eligible: int
    ruled_out: tuple[RuledOut, ...] = ()

    def saves_over(self, person: str | None) -> float:
        """Return by how much it costs more with this person, in points; nothing if they are not among the best."""
        theirs = next((one.cost for one in self.best if one.pathologist_id == person), None)
        return 0.0 if theirs is None else (theirs - self.best[0].cost) / MILLIONTHS


class Weighing:
    """Weighs reads of a plan, one at a time."""

    def __init__(self, seen: Snapshot, model: Model) -> None:
        self._seen, self._model = seen, model
        self._next_s = next_readings(seen)

    def best(self, plan: Plan, at: int) -> Verdict | None:
        """Return what speaks for whom of all who may have a read that nobody has; ``None`` when nobody may."""
        may = np.flatnonzero(plan.may[:, at])
        if not len(may):
            return None
        cheapest = may[np.argsort(plan.cost_of_adding(at, may), kind="stable")[:_WEIGHED]]
        one = self._seen.reads[at]
        had = int(self._model.present[at])
        if had != NOBODY and plan.may[had, at] and had not in cheapest:
            cheapest = np.append(cheapest, had)
        mean, had_id = plan.mean, one.owner if had != NOBODY and plan.may[had, at] else None
        ground = self._ground(one, frozenset(self._seen.people[p].pathologist_id for p in may.tolist()))
        considered = []
        for person in cheapest.tolist():
            reader = self._reader(plan, at, person)
            costs_of_it = plan_costs(ground.weights, ground.read, ground.at, reader, mean, had_id)
            named = tuple(Term(name=name, cost=cost) for name, cost in zip(PLAN_TERMS, costs_of_it, strict=True))
            considered.append(Considered(**reader.model_dump(), terms=named))
        considered.sort(key=lambda each: (each.cost, each.pathologist_id))
        kept = considered[:_KEPT] + [each for each in considered[_KEPT:] if each.pathologist_id == had_id]
        return Verdict(ground, one.wanted.weight_model, mean, had_id, tuple(kept), len(may))

    def ruled_out(self, plan: Plan, at: int) -> tuple[RuledOut, ...]:
        """Return who may not have a read, by the first rule against them."""
        want = self._seen.reads[at].wanted
        found: dict[tuple[str, str], list[str]] = defaultdict(list)
        for p, person in enumerate(self._seen.people):
            if plan.may[p, at]:
                continue
            verdict = eligible(want, person, self._seen.at)
            if isinstance(verdict, Excluded):
                found[verdict.rule, verdict.sentence].append(person.pathologist_id)
            else:
                found["other read", "has the other read of this case, or is kept for it"].append(person.pathologist_id)
        return tuple(RuledOut(rule=rule, sentence=said, people=tuple(who)) for (rule, said), who in found.items())

    def _ground(self, one: OpenRead, may: frozenset[str]) -> Ground:
        want, in_force = one.wanted, self._seen.in_force
        read = Weighed(
            site_id=want.site_id,
            network_id=want.network_id,
            points=want.points,
            lane=want.lane,
            continued_by=want.patients_reader if want.patients_reader in may else None,
        )
        return Ground(
            policy_version=in_force.version,
            weights=in_force.policy.weights,
            window_days=in_force.policy.fairness.window_days,
            read=read,
            at=self._seen.at,
        )

    def _reader(self, plan: Plan, at: int, person: int) -> Reader:
        known, want = self._seen.people[person], self._seen.reads[at].wanted
        carry = float(self._model.carry[person])
        room = np.maximum(0.0, -plan.over[int(self._model.bucket[at]) :, person])
        return Reader(
            pathologist_id=known.pathologist_id,
            site_id=known.site_id,
            network_id=known.network_id,
            level=level_of(want, known) or 0,
            capacity=float(self._model.capacity[person]),
            carry=carry,
            open_points=float(plan.load[person]) - carry,
            room=tuple(room.tolist()),
            reads_from=datetime.fromtimestamp(float(self._next_s[person]), UTC),
        )
