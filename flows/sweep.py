"""The sweeper: ends what nobody holds any more and raises what waits too long. Recovery after a crash is no other code.

It looks first, by indexes that hold only what is open, and writes only when there is something to do.
"""

from datetime import timedelta

from sqlalchemy import bindparam, select, text, update
from sqlalchemy.orm import Session

from connectors.wiring import Lab
from flows import alerts
from flows.books import Subject, raise_alert
from flows.changes import lock_scan
from flows.intake import storm
from flows.ledger import Claim
from flows.trouble import settle_set_aside
from models.base import table_of
from models.database import database_now
from models.facets import OPEN_STEP_STATES, Outcome, StepState, Storage
from models.tables.scan import Scan
from models.tables.step import Slot, Step, Worker

# What is raised when it is waited for beyond its time; the other waits end by themselves.
_RAISED = ("a person", "the LIMS", "the PACS", "an eligible pathologist")
_OVER = alerts.over()
_STEP, _WORKER = table_of(Step), table_of(Worker)
# What a dead worker holds, or what runs past its deadline.
_LOST = (
    select(_STEP.c.id)
    .select_from(_STEP.outerjoin(_WORKER, _WORKER.c.id == _STEP.c.worker_id))
    .where(
        _STEP.c.state == "running",
        (_WORKER.c.heartbeat_at < bindparam("silent_since"))
        | _WORKER.c.ended_at.is_not(None)
        | (_STEP.c.deadline_at <= bindparam("now")),
    )
)
_LOST_LOCKED = _LOST.with_for_update(skip_locked=True, of=_STEP)
_DUE = select(
    *(_STEP.c.id, _STEP.c.subject_kind, _STEP.c.subject_id, _STEP.c.waiting_for, _STEP.c.waiting_since, _STEP.c.tries),
).where(_STEP.c.state == "waiting", _STEP.c.waiting_until <= bindparam("now"))
_DUE_LOCKED = _DUE.with_for_update(skip_locked=True).limit(500)
# Written out: SQLite uses the index over these only when it can see these very words.
_UNTOLD = select(Step).where(text("step.state = 'set aside' AND NOT step.alerted")).order_by(Step.id)
_END_WAITS = (
    update(_STEP)
    .where(_STEP.c.id.in_(bindparam("due", expanding=True)))
    .values(
        state=StepState.READY,
        expired=True,
        waiting_for=None,
        waiting_key=None,
        waiting_since=None,
        waiting_until=None,
        waiting_then=None,
    )
)


def sweep(lab: Lab) -> int:
    """Do all that is due; return how many steps were moved.

    In several transactions: the row of a step is never held while its subject's case is waited for.
    """
    grace = lab.settings.work.heartbeat_grace
    with lab.database.read() as session:
        now = database_now(session)
        lost = session.scalar(_LOST.limit(1), {"silent_since": now - grace, "now": now}) is not None
        due = session.scalar(_DUE.limit(1), {"now": now}) is not None
        untold = session.scalars(_UNTOLD).all()
        over = session.scalar(_OVER.limit(1)) is not None
        stormy = storm.is_due(session, now)
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
    if stormy:
        with lab.database.write("sweep_storms") as session:
            moved += storm.tend(session, database_now(session))
    return moved


def tidy(lab: Lab) -> int:
    """Remove work folders of scans that need them no more; return how many."""
    with lab.database.read() as session:
        idle = [held for held in lab.spool.files() if held.what == "work" and _needs_no_work(session, held.id)]
    for held in idle:
        lab.spool.discard(held.id)
    return len(idle)


def _return_lost(session: Session, grace: timedelta) -> int:
    """Make ready again what nobody will end; a step that its worker ends this very moment is left to it."""
    now = database_now(session)
    lost = session.scalars(_LOST_LOCKED, {"silent_since": now - grace, "now": now}).all()
    if lost:
        session.execute(update(Step).where(Step.id.in_(lost)).values(state="ready", worker_id=None, deadline_at=None))
        session.execute(update(Slot).where(Slot.step_id.in_(lost)).values(step_id=None))
    return len(lost)


def _end_waits(session: Session) -> int:
    """Make ready what has waited until its time, and raise what people should know of."""
    now = database_now(session)
    due = session.execute(_DUE_LOCKED, {"now": now}).all()
    # Sorted, so that two sweepers that raise alerts about the same subjects do so in the same order.
    for step in sorted(due, key=lambda step: (step.subject_id, step.id)):
        if step.waiting_for in _RAISED and step.tries == 0:
            sentence = f"has waited for {step.waiting_for} since {step.waiting_since:%d %b %Y %H:%M} UTC"
            raise_alert(session, Subject(step.subject_kind, step.subject_id), alerts.WAITS_TOO_LONG, sentence, now)
    if due:
        session.execute(_END_WAITS, {"due": [step.id for step in due]})
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
        settle_set_aside(lab, session, _as_claim(step), step.problem or "set aside")
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
