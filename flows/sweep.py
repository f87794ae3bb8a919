"""The sweeper: ends what nobody holds any more and raises what waits too long. Recovery after a crash is no other code.

It looks first, by indexes that hold only what is open, and writes only when there is something to do.
"""

from datetime import datetime, timedelta

from sqlalchemy import Select, select, update
from sqlalchemy.orm import Session

from connectors.wiring import Lab
from flows import alerts
from flows.books import Subject, raise_alert
from flows.changes import lock_scan
from flows.ledger import Claim
from flows.trouble import settle_set_aside
from models.database import database_now
from models.facets import OPEN_STEP_STATES, Outcome, StepState, Storage
from models.tables.scan import Scan
from models.tables.step import Slot, Step, Worker

# What is raised when it is waited for beyond its time; the other waits end by themselves.
_RAISED = ("a person", "the LIMS", "an eligible pathologist")
_OVER = alerts.over()


def sweep(lab: Lab) -> int:
    """Do all that is due; return how many steps were moved.

    In several transactions: the row of a step is never held while its subject's case is waited for.
    """
    grace = lab.settings.work.heartbeat_grace
    with lab.database.read() as session:
        now = database_now(session)
        lost = session.scalar(_lost(now, grace).limit(1)) is not None
        due = session.scalar(_due(now).limit(1)) is not None
        untold = session.scalars(_UNTOLD).all()
        over = session.scalar(_OVER.limit(1)) is not None
    moved = 0
    if lost:
        with lab.database.write("sweep_lost") as session:
            moved += _return_lost(session, grace)
    if due:
        with lab.database.write("sweep_due") as session:
            moved += _end_waits(session)
    for step in untold:
        with lab.database.write("sweep_set_aside") as session:
            moved += _tell_set_aside(lab, session, step)
    if over:
        with lab.database.write("sweep_alerts") as session:
            alerts.clear(session, database_now(session))
    return moved


def tidy(lab: Lab) -> int:
    """Remove work folders of scans that need them no more; return how many."""
    with lab.database.read() as session:
        idle = [held for held in lab.spool.files() if held.what == "work" and _needs_no_work(session, held.id)]
    for held in idle:
        lab.spool.discard(held.id)
    return len(idle)


def _lost(now: datetime, grace: timedelta) -> Select[int]:
    """Find what a dead worker holds, or what runs past its deadline."""
    dead = (Worker.heartbeat_at < now - grace) | Worker.ended_at.is_not(None)
    return (
        select(Step.id)
        .outerjoin(Worker, Worker.id == Step.worker_id)
        .where(Step.state == "running", dead | (Step.deadline_at <= now))
    )


def _due(now: datetime) -> Select[Step]:
    return select(Step).where(Step.state == "waiting", Step.waiting_until <= now)


_UNTOLD = select(Step).where(Step.state == "set aside", Step.alerted.is_(False)).order_by(Step.id)


def _return_lost(session: Session, grace: timedelta) -> int:
    """Make ready again what nobody will end; a step that its worker ends this very moment is left to it."""
    now = database_now(session)
    lost = session.scalars(_lost(now, grace).with_for_update(skip_locked=True, of=Step)).all()
    if lost:
        session.execute(update(Step).where(Step.id.in_(lost)).values(state="ready", worker_id=None, deadline_at=None))
        session.execute(update(Slot).where(Slot.step_id.in_(lost)).values(step_id=None))
    return len(lost)


def _end_waits(session: Session) -> int:
    """Make ready what has waited until its time, and raise what people should know of."""
    now = database_now(session)
    due = session.scalars(_due(now).with_for_update(skip_locked=True).limit(500)).all()
    # Sorted, so that two sweepers that raise alerts about the same subjects do so in the same order.
    for step in sorted(due, key=lambda step: (step.subject_id, step.id)):
        if step.waiting_for in _RAISED and step.tries == 0:
            sentence = f"has waited for {step.waiting_for} since {step.waiting_since:%d %b %Y %H:%M} UTC"
            raise_alert(session, Subject(step.subject_kind, step.subject_id), alerts.WAITS_TOO_LONG, sentence, now)
        step.state, step.expired = StepState.READY, True
        step.waiting_for = step.waiting_key = step.waiting_since = step.waiting_until = step.waiting_then = None
    session.flush()
    return len(due)


def _tell_set_aside(lab: Lab, session: Session, found: Step) -> int:
    """Tell people of a step that was set aside with nobody there to say so: it stopped its workers.

    A step that was rerun meanwhile is only ticked off: what stands is its newer generation.
    """
    if found.subject_kind == "scan":
        lock_scan(session, found.subject_id)
    step = session.scalars(
        _UNTOLD.where(Step.id == found.id).with_for_update(skip_locked=True).execution_options(populate_existing=True)
    ).one_or_none()
    if step is None:
        return 0
    step.alerted = True
    session.flush()
    newer = select(Step.id).where(
        Step.subject_id == step.subject_id, Step.kind == step.kind, Step.generation > step.generation
    )
    if session.scalar(newer.limit(1)) is None:
        problem = step.problem or "set aside"
        settle_set_aside(lab, session, _as_claim(step), problem)
        subject = Subject(step.subject_kind, step.subject_id)
        raise_alert(session, subject, alerts.SET_ASIDE, problem, database_now(session))
    return 1


def _as_claim(step: Step) -> Claim:
    return Claim(
        id=step.id,
        kind=step.kind,
        stage=step.stage,
        subject_kind=step.subject_kind,
        subject_id=step.subject_id,
        generation=step.generation,
        edition=step.edition,
        lane=step.lane,
        rank_at=step.rank_at,
        slot=step.slot,
        attempt=step.attempt,
        lost=step.lost,
        tries=step.tries,
        expired=step.expired,
        alerted=step.alerted,
        worker_id="",
    )


def _needs_no_work(session: Session, scan_id: str) -> bool:
    scan = session.get(Scan, scan_id)
    if scan is None:
        return True
    if scan.outcome == Outcome.ACTIVE and scan.storage != Storage.PROVEN:
        return False
    still_open = select(Step.id).where(Step.subject_id == scan_id, Step.state.in_(OPEN_STEP_STATES)).limit(1)
    return session.scalar(still_open) is None
