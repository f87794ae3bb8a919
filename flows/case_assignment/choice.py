"""Who gets a read: the seam where the choosing is exchanged, and the choosing of today."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Protocol

from flows.case_assignment.candidate import Candidate, ReadToAssign
from flows.case_assignment.cost import TERMS, Reader, Weighed, costs
from flows.case_assignment.eligibility import Eligible, Excluded, eligible
from flows.case_assignment.explanation import Considered, Explanation, Ground, RuledOut, Term, explain
from flows.case_assignment.load import class_of, load_of
from models.policy import Policy

# How many of the best a record explains: enough to argue about, and a record stays small.
_KEPT: Final = 5


@dataclass(frozen=True)
class Choice:
    """A read goes to this pathologist, and why."""

    pathologist_id: str
    explanation: Explanation


@dataclass(frozen=True)
class Escalated:
    """Nobody may get the read: a person must decide; the explanation says what kept each one from it."""

    explanation: Explanation


class Assigner(Protocol):
    """Chooses who gets one read, out of people as they are now.

    An assigner promises: the same input gives the same answer, whatever the order of the candidates, and it never
    asks a clock or a neighbour; even candidates are told apart by id; whoever ``eligible`` excludes is never
    chosen; it escalates only when everybody is excluded, or kept for the other read of the case; and its explanation,
    kept as JSON, gives the same winner when it is replayed. The caller holds the locks of the pools from before the
    candidates are loaded until the choice is written.
    """

    def choose(self, read: ReadToAssign, candidates: Sequence[Candidate], now: datetime) -> Choice | Escalated:
        """Return who gets the read, or that it needs a person."""
        ...


@dataclass(frozen=True)
class SmallestMarginalCost:
    """Gives each read to whom it costs least, and a later round of a case to whoever read it before."""

    policy: Policy = field(default_factory=Policy)
    version: int | None = None

    def choose(self, read: ReadToAssign, candidates: Sequence[Candidate], now: datetime) -> Choice | Escalated:
        """Return the eligible candidate with the smallest cost, or that nobody is eligible."""
        verdicts = _verdicts(read, candidates, now)
        may = [(one, verdict) for one, verdict in verdicts if isinstance(verdict, Eligible)]
        ids = {one.pathologist_id for one, _ in may}
        ground = Ground(
            policy_version=self.version,
            weights=self.policy.weights,
            window_days=self.policy.fairness.window_days,
            read=_weighed(read, ids),
            at=now,
        )
        same_reader = read.before in ids
        best = self._best(read, ground, _readers(read, may, now, ground.window_days))
        explanation = explain(read, ground, best, _ruled_out(verdicts), eligible=len(may), same_reader=same_reader)
        return Choice(best[0].pathologist_id, explanation) if best else Escalated(explanation)

    def _best(self, read: ReadToAssign, ground: Ground, readers: Sequence[Reader]) -> list[Considered]:
        """Return the few to whom the read costs least, whoever had it before ahead of them."""
        weighed = [(costs(ground.weights, ground.read, ground.at, one), one) for one in readers]
        weighed.sort(key=lambda one: (one[1].pathologist_id != read.before, sum(one[0]), one[1].pathologist_id))
        return [_considered(reader, terms) for terms, reader in weighed[:_KEPT]]


def _verdicts(
    read: ReadToAssign, candidates: Sequence[Candidate], now: datetime
) -> list[tuple[Candidate, Eligible | Excluded]]:
    """Return what the rules say of each, by id, with the only possible reader of the other read kept for that."""
    ordered = sorted(candidates, key=lambda one: one.pathologist_id)
    verdicts = [(one, eligible(read, one, now)) for one in ordered]
    other = read.counterpart
    if other is None:
        return verdicts
    could = [one.pathologist_id for one in ordered if isinstance(eligible(other, one, now), Eligible)]
    others = sum(isinstance(verdict, Eligible) for one, verdict in verdicts if one.pathologist_id not in could)
    # The first read of a case comes first: it may use up whom the second would have needed, never the other way round.
    if len(could) != 1 or (read.role == "primary" and not others):
        return verdicts
    kept = Excluded("reserved", f"is the only one who may have the {other.role} read of this case")
    return [
        (one, kept if one.pathologist_id in could and isinstance(verdict, Eligible) else verdict)
        for one, verdict in verdicts
    ]


def _weighed(read: ReadToAssign, may: set[str]) -> Weighed:
    return Weighed(
        site_id=read.site_id,
        network_id=read.network_id,
        points=read.points,
        lane=read.lane,
        continued_by=read.patients_reader if read.patients_reader in may else None,
    )


def _readers(
    read: ReadToAssign, may: Sequence[tuple[Candidate, Eligible]], now: datetime, window_days: int
) -> list[Reader]:
    # A read without a deadline can't be late.
    from_class = None if read.due_at is None else class_of(read.due_at, now)
    readers = []
    for one, verdict in may:
        load = load_of(one, now, window_days)
        reader = Reader(
            pathologist_id=one.pathologist_id,
            site_id=one.site_id,
            network_id=one.network_id,
            level=verdict.level,
            capacity=load.capacity,
            carry=one.carry,
            open_points=one.open_points,
            room=() if from_class is None else load.room[from_class:],
            reads_from=verdict.reads_from,
        )
        readers.append(reader)
    return readers


def _ruled_out(verdicts: Sequence[tuple[Candidate, Eligible | Excluded]]) -> list[RuledOut]:
    """Return who was excluded, those together to whom the same was said."""
    told: dict[Excluded, list[str]] = {}
    for one, verdict in verdicts:
        if isinstance(verdict, Excluded):
            told.setdefault(verdict, []).append(one.pathologist_id)
    return [RuledOut(rule=out.rule, sentence=out.sentence, people=tuple(people)) for out, people in told.items()]


def _considered(reader: Reader, terms: tuple[int, ...]) -> Considered:
    named = tuple(Term(name=name, cost=cost) for name, cost in zip(TERMS, terms, strict=True))
    return Considered(**reader.model_dump(), terms=named)
