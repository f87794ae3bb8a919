"""Whoever keeps house sees that looks are made: that there is a step for them, and what calls for one at once."""

from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import Select, and_, func, select
from sqlalchemy.orm import Session

from connectors.wiring import Lab
from flows import ledger
from flows.case_assignment.cut_off import cut_off_sites
from flows.case_assignment.rebalance import looks
from flows.journey import REBALANCE
from flows.people.policies import policy_in_force
from models.database import database_now
from models.facets import OPEN_STEP_STATES
from models.tables.reading import Assignment, Pathologist, Rebalance
from models.tables.step import Step

# An hour's usual work is a fiftieth of what lies open.
_FLOOD_SHARE: Final = 0.1
_LEAST_FLOOD: Final = 30
_IS_UNTOUCHED = and_(Assignment.ended_at.is_(None), Assignment.opened_at.is_(None), Assignment.manual.is_(False))
_STEP = select(Step.state, Step.ended_at).where(Step.kind == REBALANCE).order_by(Step.id.desc()).limit(1)


def see_to_looks(lab: Lab) -> None:
    """Have a step for the looks, and one at once when a site is cut off or back, or far more has come than usual."""
    with lab.database.read() as session:
        now = database_now(session)
        begin_in = _begin_in(session, now)
        shock = _shock(session, lab)
    if begin_in is None and shock is None:
        return
    with lab.database.write("sweep_looks") as session:
        if begin_in is not None:
            _begin(session, lab, now, begin_in)
        if shock is not None:
            looks.request_rebalance(session, *shock)


def _begin_in(session: Session, now: datetime) -> timedelta | None:
    """Return when a step should look that is not there yet; ``None`` when there is one."""
    every = timedelta(minutes=policy_in_force(session, now).policy.batch.every_minutes)
    latest = session.execute(_STEP).one_or_none()
    if latest is None:
        return timedelta(0) if looks.is_asked_for(session) else every
    # One that failed has been raised; the next may find other reads.
    over = latest.state not in OPEN_STEP_STATES and latest.ended_at is not None and latest.ended_at < now - every
    return timedelta(0) if over else None


def _begin(session: Session, lab: Lab, now: datetime, begin_in: timedelta) -> None:
    ledger.hold_key(session, looks.NEXT_LOOK, looks.EVERYBODY)
    wait = ledger.Wait(looks.NEXT_LOOK, looks.EVERYBODY, now + begin_in, looks.THEN)
    subject_id = lab.ids.of("laboratory", "", REBALANCE)
    new = ledger.NewStep(REBALANCE, REBALANCE, "laboratory", subject_id, rank_at=now, wait=wait)
    if session.execute(_STEP).one_or_none() is None:
        ledger.add(session, [new])
    else:
        ledger.rerun(session, new)


def _shock(session: Session, lab: Lab) -> tuple[str, datetime, looks.Occasion] | None:
    """Return why a look should be made at once, if it should and none is on its way."""
    last = looks.last_over(session)
    if last is None or looks.is_on_its_way(session):
        return None
    now, seen = database_now(session), frozenset(last.outcome["cut_off"])
    cut_off = cut_off_sites(session, lab.settings, lab.ids)
    if cut_off != seen:
        told = [f"site {site} is cut off" for site in sorted(cut_off - seen)]
        told += [f"site {site} is back" for site in sorted(seen - cut_off)]
        return "; ".join(told), now, "absence"
    if cut_off and session.scalar(_given_since(last).where(_IS_UNTOUCHED, Pathologist.site_id.in_(cut_off)).limit(1)):
        # Others said who reads it, or it was given at the very moment.
        return "reads came to a site that is cut off", now, "absence"
    came = session.scalars(select(func.count()).select_from(_given_since(last).subquery())).one()
    if came >= max(_LEAST_FLOOD, _FLOOD_SHARE * last.reads):
        return f"{came} reads came since the last look", now, "flood"
    return None


def _given_since(last: Rebalance) -> Select[int]:
    to_whom = Pathologist.id == Assignment.pathologist_id
    return select(Assignment.id).join(Pathologist, to_whom).where(Assignment.id > last.outcome["last_assignment"])
