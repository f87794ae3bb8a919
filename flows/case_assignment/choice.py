"""Who gets a read: the seam where the choosing is exchanged, and the choosing of today."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Protocol

from flows.case_assignment.candidate import Candidate, ReadToAssign
from flows.case_assignment.cost import TERMS, Policy, Reader, costs
from flows.case_assignment.eligibility import Eligible, eligible
from flows.case_assignment.explanation import Considered, Explanation, RuledOut, Term, explain

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
    chosen; it escalates only when everybody is excluded; and its explanation, kept as JSON, gives the same winner
    when it is replayed. The caller holds the pool's lock from before the candidates are loaded until the choice is
    written.
    """

    def choose(self, read: ReadToAssign, candidates: Sequence[Candidate], now: datetime) -> Choice | Escalated:
        """Return who gets the read, or that it needs a person."""
        ...


@dataclass(frozen=True)
class SmallestRelativeLoad:
    """Gives each read to whoever has the least on their desk for the week that they work."""

    policy: Policy = field(default_factory=Policy)

    def choose(self, read: ReadToAssign, candidates: Sequence[Candidate], now: datetime) -> Choice | Escalated:
        """Return the eligible candidate with the smallest cost, or that nobody is eligible."""
        readers: list[Reader] = []
        ruled_out: list[RuledOut] = []
        for candidate in sorted(candidates, key=lambda one: one.pathologist_id):
            verdict = eligible(read, candidate, now)
            if isinstance(verdict, Eligible):
                readers.append(_reader(candidate, verdict))
            else:
                out = RuledOut(pathologist_id=candidate.pathologist_id, rule=verdict.rule, sentence=verdict.sentence)
                ruled_out.append(out)
        best = self._best(read, readers, now)
        explanation = explain(read, now, self.policy, best, ruled_out, eligible=len(readers))
        return Choice(best[0].pathologist_id, explanation) if best else Escalated(explanation)

    def _best(self, read: ReadToAssign, readers: Sequence[Reader], now: datetime) -> list[Considered]:
        weighed = [(costs(self.policy, read.site_id, read.lane, now, reader), reader) for reader in readers]
        weighed.sort(key=lambda one: (sum(one[0]), one[1].pathologist_id))
        return [_considered(reader, terms) for terms, reader in weighed[:_KEPT]]


def _reader(candidate: Candidate, verdict: Eligible) -> Reader:
    return Reader(
        pathologist_id=candidate.pathologist_id,
        site_id=candidate.site_id,
        level=verdict.level,
        points_a_week=candidate.points_a_week,
        open_points=candidate.open_points,
        reads_from=verdict.reads_from,
    )


def _considered(reader: Reader, terms: tuple[int, ...]) -> Considered:
    named = tuple(Term(name=name, cost=cost) for name, cost in zip(TERMS, terms, strict=True))
    return Considered(**reader.model_dump(), terms=named)
