"""Why a read went to whom: everything that the decision looked at, kept as JSON, enough to decide again."""

from collections import Counter
from collections.abc import Sequence
from typing import Final

from flows.case_assignment.candidate import ReadToAssign
from flows.case_assignment.cost import MARGINAL_COST, MILLIONTHS, Reader, Weighed
from models.policy import Weights
from models.statements import Frozen, Moment

_WHAT_HELPS: Final = {
    "active": "have somebody read for the laboratory again",
    "competence": "give somebody else the competence",
    "scope": "widen the subspecialty's scope in the policy, or agree mutual aid with another network",
    "other read": "have somebody else for the other read of the case",
    "conflict": "look again at the conflict that is recorded",
    "declined": "ask whoever gave it back once more",
    "cut off": "wait for the end of a site's being cut off, or say that it is back",
    "leave": "wait for the end of a leave, or end it",
    "sessions": "add a reading session before the deadline",
    "maximum": "have open reads reported, or raise somebody's maximum",
    "reserved": "have somebody more who may do the other read of the case",
}
"""What would make a rule speak no more, from those that stay as they are to those that pass by themselves."""

_HELPS_TOLD: Final = 2


class Term(Frozen):
    """One part of a cost, in millionths of a point."""

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
    """People who were not eligible: the first rule against them, its sentence, and who they are."""

    rule: str
    sentence: str
    people: tuple[str, ...]


class RunnerUp(Frozen):
    """Who would have got the read otherwise.

    ``deciding_term`` is the part of the cost by which they lost most, ``id`` when both were even, ``same reader`` when
    the winner had it before; ``would_flip`` says for people what would have given them the read.
    """

    pathologist_id: str
    deciding_term: str
    would_flip: str


class Explanation(Frozen):
    """One decision about one read; without a winner when nobody was eligible.

    ``best`` holds the few with the smallest cost, the winner first, out of ``eligible`` people; ``ruled_out``
    everybody else. ``same_reader`` says that the winner had the read before, which goes before any cost.
    """

    formula: str = MARGINAL_COST
    read_id: str
    case_id: str
    role: str
    subspecialty: str
    due_at: Moment | None
    read: Weighed
    decided_at: Moment
    decided_by: str = "coverslip"
    policy_version: int | None
    weights: Weights
    weight_model: str
    window_days: int
    eligible: int
    best: tuple[Considered, ...]
    ruled_out: tuple[RuledOut, ...]
    winner: str | None
    same_reader: bool
    runner_up: RunnerUp | None
    sentence: str


class Ground(Frozen):
    """What a decision rests on beside the people: by which policy it was made, and what of the read was weighed."""

    policy_version: int | None
    weights: Weights
    window_days: int
    read: Weighed
    at: Moment


def explain(
    want: ReadToAssign,
    ground: Ground,
    best: Sequence[Considered],
    ruled_out: Sequence[RuledOut],
    *,
    eligible: int,
    same_reader: bool,
) -> Explanation:
    """Return the record of a decision: the first of ``best`` got the read, out of so many who were eligible."""
    runner_up = _runner_up(ground, *best[:2], same_reader=same_reader) if len(best) > 1 else None
    return Explanation(
        read_id=want.read_id,
        case_id=want.case_id,
        role=want.role,
        subspecialty=want.subspecialty,
        due_at=want.due_at,
        read=ground.read,
        decided_at=ground.at,
        policy_version=ground.policy_version,
        weights=ground.weights,
        weight_model=want.weight_model,
        window_days=ground.window_days,
        eligible=eligible,
        best=tuple(best),
        ruled_out=tuple(ruled_out),
        winner=best[0].pathologist_id if best else None,
        same_reader=same_reader,
        runner_up=runner_up,
        sentence=_sentence(want, best, ruled_out, runner_up, eligible),
    )


def _runner_up(ground: Ground, winner: Considered, other: Considered, *, same_reader: bool) -> RunnerUp:
    if same_reader:
        flips = "they would have got it, had whoever had it before not been able to have it again"
        return RunnerUp(pathologist_id=other.pathologist_id, deciding_term="same reader", would_flip=flips)
    lost_by = [theirs.cost - ours.cost for ours, theirs in zip(winner.terms, other.terms, strict=True)]
    deciding = "id" if winner.cost == other.cost else winner.terms[lost_by.index(max(lost_by))].name
    return RunnerUp(
        pathologist_id=other.pathologist_id,
        deciding_term=deciding,
        would_flip=_flips(ground, winner, other.cost - winner.cost),
    )


def _flips(ground: Ground, winner: Considered, lost_by: int) -> str:
    """Say how much more on the winner's desk would have been too much, or what else would have had to differ."""
    a_point_more = ground.weights.balance * ground.read.points * 2.0 / max(1.0, winner.capacity)
    if not a_point_more:
        return f"they would have got it for {lost_by / MILLIONTHS:.2f} points of cost less"
    if not lost_by:
        return "they would have got it, had the winner had anything more on their desk"
    further = lost_by / MILLIONTHS / a_point_more
    return f"they would have got it, had the winner had more than {further:.1f} points more on their desk"


def _sentence(
    want: ReadToAssign,
    best: Sequence[Considered],
    ruled_out: Sequence[RuledOut],
    runner_up: RunnerUp | None,
    eligible: int,
) -> str:
    what = f"this {want.role} read of {want.subspecialty}"
    if not best:
        return _nobody(what, ruled_out)
    if runner_up is None:
        return f"the only one who may have {what} now"
    if runner_up.deciding_term == "same reader":
        return "read this case before, and may still read it"
    winner, other = best[:2]
    told = f"{winner.cost / MILLIONTHS:.2f} against {other.cost / MILLIONTHS:.2f}"
    return f"the smallest cost of {eligible} who may have {what} now: {told}, by {runner_up.deciding_term}"


def _nobody(what: str, ruled_out: Sequence[RuledOut]) -> str:
    counted: Counter[str] = Counter()
    for one in ruled_out:
        counted[one.rule] += len(one.people)
    why = ", ".join(f"{rule} {number}" for rule, number in counted.most_common()) or "nobody is known"
    # The last rules are those that somebody came closest to passing.
    helps = [told for rule, told in reversed(_WHAT_HELPS.items()) if rule in counted][:_HELPS_TOLD]
    return f"nobody may have {what} now ({why}): {'; '.join([*helps, 'or give it to somebody by hand'])}"
