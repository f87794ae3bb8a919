"""The sweeper: ends what nobody holds any more and raises what waits too long. Recovery after a crash is no other code.

It looks first, by indexes that hold only what is open, and writes only when there is something to do.
"""

from datetime import datetime, timedelta

from sqlalchemy import Select, select, update
from sqlalchemy.orm import Session

from connectors.wiring import Lab
from flows.books import Subject, raise_alert
from flows.ledger import Claim
from flows.trouble import settle_set_aside
from models.database import database_now
from models.facets import OPEN_STEP_STATES, Outcome, StepState, Storage
from models.tables.scan import Scan
from models.tables.step import Slot, Step, Worker

# What is raised when it is waited for beyond its time; the other waits end by themselves.
_RAISED = ("a person", "the LIMS", "an eligible pathologist")


def sweep(lab: Lab) -> int:
    """Do all that is due; return how many steps were moved."""
    grace = lab.settings.work.heartbeat_grace
    with lab.database.read() as session:
        if not _anything_due(session, grace):
            return 0
    with lab.database.write("sweep") as session:
        return _return_lost(session, grace) + _end_waits(session) + _raise_set_aside(lab, session)


def tidy(lab: Lab) -> int:
    """Remove work folders of scans that need them no more; return how many."""
    with lab.database.read() as session:
        idle = [held for held in lab.spool.files() if held.what == "work" and _needs_no_work(session, held.id)]
    for held in idle:
        lab.spool.discard(held.id)
    return len(idle)


def _anything_due(session: Session, grace: timedelta) -> bool:
    now = database_now(session)
    due = select(Step.id).where(Step.state == "waiting", Step.waiting_until <= now).limit(1)
    late = select(Step.id).where(Step.state == "running", Step.deadline_at <= now).limit(1)
    dead = _of_dead_workers(now - grace).limit(1)
    set_aside = select(Step.id).where(Step.state == "set aside", Step.alerted.is_(False)).limit(1)
    return any(session.scalar(query) is not None for query in (due, late, dead, set_aside))


def _of_dead_workers(silent_since: datetime) -> Select[int]:
    return (
        select(Step.id)
        .join(Worker, Worker.id == Step.worker_id)
        .where(Step.state == "running")
        .where((Worker.heartbeat_at < silent_since) | Worker.ended_at.is_not(None))
    )


def _return_lost(session: Session, grace: timedelta) -> int:
    """Make ready again what a dead worker held, or what ran past its deadline."""
    now = database_now(session)
    lost = set(session.scalars(_of_dead_workers(now - grace)))
    lost |= set(session.scalars(select(Step.id).where(Step.state == "running", Step.deadline_at <= now)))
    if lost:
        session.execute(update(Step).where(Step.id.in_(lost)).values(state="ready", worker_id=None, deadline_at=None))
        session.execute(update(Slot).where(Slot.step_id.in_(lost)).values(step_id=None))
    return len(lost)


def _end_waits(session: Session) -> int:
    """Make ready what has waited until its time, and raise what people should know of."""
    now = database_now(session)
    due = session.scalars(
        select(Step)
        .where(Step.state == "waiting", Step.waiting_until <= now)
        .with_for_update(skip_locked=True)
        .limit(500)
    ).all()
    for step in due:
        if step.waiting_for in _RAISED and step.tries == 0:
            sentence = f"has waited for {step.waiting_for} since {step.waiting_since:%d %b %Y %H:%M} UTC"
            raise_alert(session, Subject(step.subject_kind, step.subject_id), "waits too long", sentence, now)
        step.state, step.expired = StepState.READY, True
        step.waiting_for = step.waiting_key = step.waiting_since = step.waiting_until = step.waiting_then = None
    session.flush()
    return len(due)


def _raise_set_aside(lab: Lab, session: Session) -> int:
    """Tell people of steps that were set aside without anybody there to say so: they stopped their workers."""
    now = database_now(session)
    steps = session.scalars(select(Step).where(Step.state == "set aside", Step.alerted.is_(False))).all()
    for step in steps:
        step.alerted = True
        session.flush()
        problem = step.problem or "set aside"
        settle_set_aside(lab, session, _as_claim(step), problem)
        raise_alert(session, Subject(step.subject_kind, step.subject_id), "set aside", problem, now)
    return len(steps)


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
