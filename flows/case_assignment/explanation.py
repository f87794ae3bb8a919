"""Why a read went to whom: everything that the decision looked at, kept as JSON, enough to decide again."""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime

from flows.case_assignment.candidate import ReadToAssign
from flows.case_assignment.cost import SMALLEST_RELATIVE_LOAD, Policy, Reader, costs
from flows.case_assignment.eligibility import subspecialty_of
from flows.case_assignment.points import WEIGHTS_VERSION
from models.errors import RejectedError
from models.statements import Frozen, Moment


class Term(Frozen):
    """One part of a cost, in the policy's unit."""

    name: str
    cost: int


class Considered(Reader):
    """One of the few with the smallest cost, and what it was made of."""

    terms: tuple[Term, ...]

    @property
    def cost(self) -> int:
        """The sum of the terms; the smallest gets the read."""
        return sum(term.cost for term in self.terms)


class RuledOut(Frozen):
    """Somebody who was not eligible: the first rule against it, and its sentence."""

    pathologist_id: str
    rule: str
    sentence: str


class RunnerUp(Frozen):
    """Who would have got the read otherwise.

    ``deciding_term`` is the part of the cost by which they lost most, or ``id`` when both were even;
    ``would_flip`` says for people what would have given them the read.
    """

    pathologist_id: str
    deciding_term: str
    would_flip: str


class Explanation(Frozen):
    """One decision about one read; without a winner when nobody was eligible.

    ``best`` holds the few with the smallest cost, the winner first, out of ``eligible`` people; ``ruled_out``
    everybody else.
    """

    read_id: str
    case_id: str
    site_id: str
    subspecialty: str
    points: float
    lane: int
    due_at: Moment | None
    decided_at: Moment
    decided_by: str = "coverslip"
    policy: Policy
    weights: str = WEIGHTS_VERSION
    eligible: int
    best: tuple[Considered, ...]
    ruled_out: tuple[RuledOut, ...]
    winner: str | None
    runner_up: RunnerUp | None
    sentence: str


def explain(
    read: ReadToAssign,
    now: datetime,
    policy: Policy,
    best: Sequence[Considered],
    ruled_out: Sequence[RuledOut],
    *,
    eligible: int,
) -> Explanation:
    """Return the record of a decision: the first of ``best`` got the read, out of so many who were eligible."""
    return Explanation(
        read_id=read.read_id,
        case_id=read.case_id,
        site_id=read.site_id,
        subspecialty=subspecialty_of(read),
        points=read.points,
        lane=read.lane,
        due_at=read.due_at,
        decided_at=now,
        policy=policy,
        eligible=eligible,
        best=tuple(best),
        ruled_out=tuple(ruled_out),
        winner=best[0].pathologist_id if best else None,
        runner_up=_runner_up(*best[:2]) if len(best) > 1 else None,
        sentence=_sentence(subspecialty_of(read), best, ruled_out, eligible),
    )


def replay(explanation: Explanation) -> str | None:
    """Decide again from what the record holds, not from the costs that it states, and return the winner.

    Raises
    ------
    RejectedError
        The record was made by a formula that this version does not know.
    """
    policy = explanation.policy
    if policy.version != SMALLEST_RELATIVE_LOAD:
        raise RejectedError(f"this decision was made by {policy.version!r}, which this version can't replay")
    again = [
        (sum(costs(policy, explanation.site_id, explanation.lane, explanation.decided_at, one)), one.pathologist_id)
        for one in explanation.best
    ]
    return min(again)[1] if again else None


def _runner_up(winner: Considered, other: Considered) -> RunnerUp:
    lost_by = [theirs.cost - ours.cost for ours, theirs in zip(winner.terms, other.terms, strict=True)]
    deciding = "id" if winner.cost == other.cost else winner.terms[lost_by.index(max(lost_by))].name
    further = (other.cost - winner.cost) * winner.points_a_week / 100_000
    flips = f"they would have got it, had the winner had more than {further:.1f} points more on their desk"
    return RunnerUp(pathologist_id=other.pathologist_id, deciding_term=deciding, would_flip=flips)


def _sentence(subspecialty: str, best: Sequence[Considered], ruled_out: Sequence[RuledOut], eligible: int) -> str:
    if not best:
        counted = Counter(one.rule for one in ruled_out).most_common()
        why = ", ".join(f"{rule} {number}" for rule, number in counted) or "nobody is known"
        return (
            f"nobody may get this read of {subspecialty} now ({why}): "
            "change who may read it or when they read, or assign it by hand"
        )
    if len(best) == 1:
        return f"the only one who may get this read of {subspecialty} now"
    winner, other = best[:2]
    costs_told = f"{winner.cost / 1000:.1f} against {other.cost / 1000:.1f}"
    deciding = _runner_up(winner, other).deciding_term
    return f"the smallest cost of {eligible} who may get this read of {subspecialty} now: {costs_told}, by {deciding}"
