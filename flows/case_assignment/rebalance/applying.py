"""A move, or an exchange, at a time: in a short transaction that looks again, under the locks, whether it is right."""

from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from connectors.settings import Settings
from connectors.wiring import Lab
from flows import allocation, ledger
from flows.books import Cause
from flows.case_assignment import giving
from flows.case_assignment.choice import Choice
from flows.case_assignment.cut_off import cut_off_sites
from flows.case_assignment.eligibility import Eligible, eligible
from flows.case_assignment.rebalance import looks
from flows.case_assignment.rebalance.cost import PLAN_COST, runner_up
from flows.case_assignment.rebalance.looks import Look
from flows.case_assignment.rebalance.moves import Because, Move
from flows.case_assignment.wanted import wanted
from flows.cases import lock_case, lock_cases
from flows.people.candidates import load_candidates, pools_of
from flows.people.policies import policy_in_force
from flows.people.pools import hold_pools
from models.database import database_now
from models.facets import OPEN_STEP_STATES, StepState
from models.tables.case import Case
from models.tables.reading import Assignment, Pathologist, Read
from models.tables.step import Step

DECIDED_BY: Final = "batch"
"""Who decided an assignment that a look made."""

_WHY: Final[dict[Because, str]] = {
    "nobody has it": "nobody had it",
    "its reader is away": "you are away",
    "its reader may not have it": "by the rules you may not have it any more",
    "its reader can't read it in time": "you do not read again before its deadline",
    "it would be late": "it would have been late",
    "it is better so": "the work is more even so",
}
"""What whoever had a read is told."""

_STEP_KIND: Final = "case_assignment"


def make_moves(session: Session, lab: Lab, look: Look, moves: Sequence[Move], cause: Cause) -> bool:
    """Make all of these moves and count them, or, when one is no longer right, none; return whether they were made."""
    if len(moves) > 1:
        lock_cases(session, [move.case_id for move in moves])
        hold_pools(session)
    with session.begin_nested() as all_or_none:
        for move in moves:
            if not make_move(session, lab, look, move, cause):
                all_or_none.rollback()
                return False
            looks.note_move(session, look, counts=move.counts)
    return True


def make_move(session: Session, lab: Lab, look: Look, move: Move, cause: Cause) -> bool:
    """Make one move unless the read is no longer as it was seen; return whether it was made.

    A person who opened, accepted or was given the read meanwhile keeps it. Whoever was to have it may have become
    unable to: then a read that has to go goes to whom it costs least now.
    """
    case = lock_case(session, move.case_id)
    read = session.get(Read, move.read_id, populate_existing=True)
    if case is None or read is None or not _is_as_seen(session, lab.settings, case, read, move):
        return False
    to_id, explanation = _target(session, lab, case, read, look, move)
    if to_id is None or to_id == move.from_id:
        return False
    now = database_now(session)
    # What was still looking for somebody, or waits for one, has found them.
    ledger.end_open(session, read.id, (_STEP_KIND,), StepState.SUPERSEDED)
    giving.give(
        *(session, lab.settings, case, read, to_id),
        decided_by=DECIDED_BY,
        explanation=explanation,
        cause=cause,
        now=now,
        policy_version=move.verdict.ground.policy_version,
        because=f"{_name(session, to_id)} has it now, since {_WHY[move.because]}",
    )
    allocation.follow(session, lab.settings, case, cause, now)
    return True


def _is_as_seen(session: Session, settings: Settings, case: Case, read: Read, move: Move) -> bool:
    if case.cancelled or read.closed_at is not None:
        return False
    if read.role == "primary" and allocation.authority_of(settings, case) != "coverslip":
        return False
    given = session.scalars(
        select(Assignment)
        .where(Assignment.read_id == read.id, Assignment.ended_at.is_(None))
        .execution_options(populate_existing=True)
    ).one_or_none()
    if given is None:
        return move.assignment_id is None and _is_being_assigned(session, read)
    untouched = given.opened_at is None and given.accepted_at is None and not given.manual
    return given.id == move.assignment_id and untouched


def _is_being_assigned(session: Session, read: Read) -> bool:
    open_step = select(Step.id).where(
        Step.subject_id == read.id, Step.kind == _STEP_KIND, Step.state.in_(OPEN_STEP_STATES)
    )
    return session.scalar(open_step.limit(1)) is not None


def _target(
    session: Session, lab: Lab, case: Case, read: Read, look: Look, move: Move
) -> tuple[str | None, dict[str, Any]]:
    """Return who gets a read, their pools locked, and why: whom the plan says, if they may have it still."""
    now = database_now(session)
    in_force = policy_in_force(session, now)
    want = wanted(session, case, read, in_force.policy)
    cut_off = cut_off_sites(session, lab.settings, lab.ids)
    candidates = load_candidates(
        session,
        now,
        pools=pools_of(session, want),
        subspecialty=want.subspecialty,
        among=lambda one: one.pathologist_id == move.to_id,
        window_days=in_force.policy.fairness.window_days,
        cut_off=cut_off,
    )
    planned = next((one for one in candidates if one.pathologist_id == move.to_id), None)
    if planned is not None and isinstance(eligible(want, planned, now), Eligible):
        return move.to_id, _explanation(session, look, move)
    if not move.has_to_go:
        return None, {}
    choice = giving.decide(session, case, read, now, cut_off)
    if not isinstance(choice, Choice):
        return None, {}
    return choice.pathologist_id, choice.explanation.model_dump(mode="json")


def _explanation(session: Session, look: Look, move: Move) -> dict[str, Any]:
    verdict, ground = move.verdict, move.verdict.ground
    other = runner_up(verdict.best)
    return {
        "formula": PLAN_COST,
        "sentence": _sentence(session, move),
        "decided_by": DECIDED_BY,
        "decided_at": ground.at.isoformat(),
        "rebalance": look.id,
        "why": look.why,
        "because": move.because,
        "from": move.from_id,
        "winner": move.to_id,
        "read": ground.read.model_dump(mode="json"),
        "had": verdict.had,
        "mean": verdict.mean,
        "weights": ground.weights.model_dump(mode="json"),
        "policy_version": ground.policy_version,
        "weight_model": verdict.weight_model,
        "eligible": verdict.eligible,
        "best": [one.model_dump(mode="json") for one in verdict.best],
        "ruled_out": [one.model_dump(mode="json") for one in verdict.ruled_out],
        "runner_up": None if other is None else other.model_dump(mode="json"),
    }


def _sentence(session: Session, move: Move) -> str:
    to = _name(session, move.to_id)
    if move.from_id is None:
        return f"nobody had it: of all open reads together, {to} reads it best"
    had = _name(session, move.from_id)
    if move.has_to_go:
        because = move.because.replace("its reader", had)
        return f"{because}: of all open reads together, {to} reads it best"
    return f"left with {had} it would cost {move.gain:.1f} points more, of all open reads together, than with {to}"


def _name(session: Session, pathologist_id: str) -> str:
    person = session.get(Pathologist, pathologist_id)
    return person.name if person is not None else pathologist_id
