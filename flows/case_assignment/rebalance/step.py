"""The step rebalance: all open reads looked at together, those moved that should be, then a wait until next time."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy.orm import Session

from connectors.settings import Settings
from connectors.wiring import Lab
from flows import ledger
from flows.case_assignment.cut_off import cut_off_sites
from flows.case_assignment.plan.objective import Objective
from flows.case_assignment.rebalance import looks
from flows.case_assignment.rebalance.applying import make_moves
from flows.case_assignment.rebalance.gone import tell_of_gone
from flows.case_assignment.rebalance.looks import Look, Occasion, Outcome
from flows.case_assignment.rebalance.moves import Proposal, in_swaps, propose
from flows.case_assignment.rebalance.problem import problem_of
from flows.case_assignment.rebalance.snapshot import Snapshot, snapshot
from flows.case_assignment.rebalance.unfit import tell_of_unfit
from flows.ledger import Claim
from flows.people.policies import policy_in_force
from flows.step import End, cause_of
from models.database import database_now
from models.opaque import OpaqueIds

# Looks that come by the clock are never quite so far apart as the policy says.
_ALMOST: Final = 0.9


@dataclass(frozen=True)
class Preview:
    """What a look would do now."""

    seen: Snapshot
    proposal: Proposal


def rebalance(lab: Lab, claimed: Claim) -> End:
    """Look at all open reads, and make the moves that are worth it, each or an exchange in a transaction of its own."""
    with lab.database.write("rebalance.begin") as session:
        look = looks.begin(session, database_now(session))
    with lab.database.read() as session:
        found = preview(session, lab.settings, lab.ids, look.occasion)
    refused = 0
    for moves in in_swaps(found.proposal.moves):
        with lab.database.write("rebalance.move") as session:
            if not make_moves(session, lab, look, moves, cause_of(claimed)):
                refused += len(moves)
    return lambda session: _end(session, claimed, look, found, refused)


def preview(session: Session, settings: Settings, ids: OpaqueIds, occasion: Occasion) -> Preview:
    """Return what a look would do at this moment; nothing is locked and nothing written."""
    now = database_now(session)
    seen = snapshot(session, settings, now, cut_off_sites(session, settings, ids))
    period = _ALMOST * _every(session, now)
    return Preview(seen, propose(seen, problem_of(seen), occasion, looks.moved_lately(session, now, period)))


def _end(session: Session, claimed: Claim, look: Look, found: Preview, refused: int) -> None:
    """Say what came of it, and wait for the next look; one that was asked for meanwhile is begun at once."""
    tell_of_gone(session, found.seen, database_now(session))
    tell_of_unfit(session, found.seen, database_now(session))
    looks.end(session, look, _outcome(found, refused))
    ledger.hold_key(session, looks.NEXT_LOOK, looks.EVERYBODY)
    if looks.is_asked_for(session):
        ledger.give_back(session, claimed)
        return
    now = database_now(session)
    wait = ledger.Wait(looks.NEXT_LOOK, looks.EVERYBODY, now + _every(session, now), looks.THEN)
    ledger.wait(session, claimed, wait)


def _outcome(found: Preview, refused: int) -> Outcome:
    """``refused`` are moves that were no longer right when their turn came."""
    seen, proposal = found.seen, found.proposal
    told = {
        "before": _terms(proposal.before),
        "after": _terms(proposal.after),
        "quiet": proposal.quiet,
        "refused": refused,
        "cut_off": sorted(seen.cut_off),
    }
    return Outcome(seen.in_force.version, proposal.reads, proposal.held_back + refused, told)


def _terms(j: Objective) -> dict[str, float]:
    terms = {"late": j.late, "balance": j.balance, "preference": j.preference, "total": j.total}
    return {name: round(value, 3) for name, value in terms.items()}


def _every(session: Session, now: datetime) -> timedelta:
    return timedelta(minutes=policy_in_force(session, now).policy.batch.every_minutes)
