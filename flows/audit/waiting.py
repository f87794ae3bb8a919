"""Nothing waits unseen: whatever is not at its end has a step that is ready, runs, or waits for something named."""

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import ColumnElement, Select, and_, exists, func, or_, select
from sqlalchemy.orm import InstrumentedAttribute, aliased

from flows.audit.snapshots import Books, snapshot
from flows.journey import MAKERS, SCAN_KINDS
from models.database import database_now
from models.facets import OPEN_STEP_STATES, Images, Outcome, Quality, Route, StepState, Storage
from models.tables.books import Alert, InboxMessage
from models.tables.case import Case, Slide
from models.tables.reading import Assignment, Read
from models.tables.scan import Instance, Scan
from models.tables.step import Slot, Step, Worker
from models.tables.work import WorkOrder

# The sweeper looks every half second; after so long it has missed something.
_SWEPT_WITHIN: Final = timedelta(seconds=30)
_ARCHIVED: Final = (Storage.PROVEN, Storage.PURGED)


def nothing_is_past_its_time(books: Books) -> Iterator[str]:
    """Yield each step that a dead worker holds, that ran or waited past its time, or was set aside in silence."""
    grace = books.settings.work.heartbeat_grace + _SWEPT_WITHIN
    with snapshot(books.database) as session:
        now = database_now(session)
        for step_id, kind in session.execute(_held_by_the_dead(now - grace)):
            yield f"step {step_id} ({kind}) runs on a worker that is silent or has ended"
        for step_id, kind in session.execute(_steps(StepState.RUNNING, Step.deadline_at < now - _SWEPT_WITHIN)):
            yield f"step {step_id} ({kind}) runs past its deadline"
        for name, number, step_id in session.execute(_leaked_slots()):
            yield f"slot {name} {number} is held by step {step_id}, which does not run"
        # What follows is a sweeper's to do: while no worker is alive nobody could.
        swept_at = session.scalar(select(func.max(Worker.heartbeat_at)))
        if swept_at is None:
            return
        overdue = Step.waiting_until < swept_at - _SWEPT_WITHIN
        for step_id, kind in session.execute(
            _steps(StepState.WAITING, overdue, ~_is_raised(Alert.cleared_at.is_(None)))
        ):
            yield f"step {step_id} ({kind}) waits past its time, and nobody was told"
        silent = Step.ended_at < swept_at - _SWEPT_WITHIN
        # What waits for its peer's storm to end is told of by the storm's own alert.
        stormy = exists().where(InboxMessage.id == Step.subject_id, InboxMessage.quarantined_at.is_not(None))
        for step_id, kind in session.execute(_steps(StepState.SET_ASIDE, silent, ~_is_raised(), ~stormy)):
            yield f"step {step_id} ({kind}) was set aside, and nobody was told"


def everything_goes_on(books: Books) -> Iterator[str]:
    """Yield each scan, slide, case and read that is not at its end and that nothing will ever move again."""
    for fault, forgotten in _FORGOTTEN:
        with snapshot(books.database) as session:
            for subject_id in session.scalars(forgotten()):
                yield fault.format(subject_id)


def _steps(state: StepState, *which: ColumnElement[bool]) -> Select[int, str]:
    return select(Step.id, Step.kind).where(Step.state == state, *which).order_by(Step.id)


def _held_by_the_dead(silent_since: datetime) -> Select[int, str]:
    alive = exists().where(Worker.id == Step.worker_id, Worker.ended_at.is_(None), Worker.heartbeat_at >= silent_since)
    return _steps(StepState.RUNNING, ~alive)


def _leaked_slots() -> Select[str, int, int]:
    holder = exists().where(Step.id == Slot.step_id, Step.state == StepState.RUNNING)
    return select(Slot.name, Slot.number, Slot.step_id).where(Slot.step_id.is_not(None), ~holder)  # type: ignore[return-value] # not null here


def _is_raised(*which: ColumnElement[bool]) -> ColumnElement[bool]:
    return exists().where(Alert.subject_id == Step.subject_id, *which)


def _open_step(subject_id: InstrumentedAttribute[str], *kinds: str) -> ColumnElement[bool]:
    return exists().where(Step.subject_id == subject_id, Step.kind.in_(kinds), Step.state.in_(OPEN_STEP_STATES))


def _scans_that_stand_still() -> Select[str]:
    """An active scan moves by a step of its own; one that is to be made again waits by its slide."""
    moving = and_(Scan.outcome == Outcome.ACTIVE, Scan.storage.not_in(_ARCHIVED))
    other = aliased(Scan)
    another = exists().where(other.slide_id == Slide.id, other.id != Scan.id, other.outcome == Outcome.ACTIVE)
    served = or_(
        Slide.route == Route.GLASS_ONLY,
        Slide.cancelled,
        another.correlate(Scan, Slide),
        _open_step(Slide.id, "expect_scan"),
    )
    replaced_later = and_(Scan.quality == Quality.RESCAN, exists().where(Slide.id == Scan.slide_id, served))
    return select(Scan.id).where(moving, ~_open_step(Scan.id, *SCAN_KINDS), ~replaced_later).order_by(Scan.id)


def _slides_that_nobody_expects() -> Select[str]:
    """An expected slide has a scan that counts, another route, or a wait for its scan."""
    counts = or_(Scan.quality != Quality.RESCAN, Scan.storage.in_(_ARCHIVED))
    scanned = exists().where(Scan.slide_id == Slide.id, Scan.outcome == Outcome.ACTIVE, counts)
    here = and_(Slide.route == Route.SCAN, Slide.images_elsewhere.is_distinct_from(True))  # noqa: FBT003 - a column's value
    expected = and_(Slide.cancelled.is_(False), Case.cancelled.is_(False), here)
    slides = select(Slide.id).join(Case, Case.id == Slide.case_id)
    return slides.where(expected, ~scanned, ~_open_step(Slide.id, "expect_scan")).order_by(Slide.id)


def _cases_that_never_close() -> Select[str]:
    """A case that names a slide has its expected set closed, or waits for its orders to settle."""
    has_a_slide = exists().where(Slide.case_id == Case.id, Slide.cancelled.is_(False))
    still_open = and_(Case.cancelled.is_(False), Case.expected_closed_at.is_(None), has_a_slide)
    return select(Case.id).where(still_open, ~_open_step(Case.id, "settle")).order_by(Case.id)


def _cases_held_back_for_ever() -> Select[str]:
    """A case of which some slides can be read and others can't waits for those until the policy's time has passed."""
    missing = exists().where(Slide.case_id == Case.id, Slide.cancelled.is_(False), Slide.readable_at.is_(None))
    held = and_(Case.images == Images.INCOMPLETE, Case.released.is_(False), Case.cancelled.is_(False))
    is_open = Case.round_closed_at.is_(None)
    return select(Case.id).where(held, is_open, missing, ~_open_step(Case.id, "hold")).order_by(Case.id)


def _cases_without_a_read() -> Select[str]:
    begins_with = ("primary", "intra-operative")
    read = exists().where(Read.case_id == Case.id, Read.round == Case.round, Read.role.in_(begins_with))
    ready = and_(Case.images == Images.READY, Case.cancelled.is_(False), Case.round_closed_at.is_(None))
    return select(Case.id).where(ready, ~read).order_by(Case.id)


def _reads_without_an_owner() -> Select[str]:
    """A read is given to somebody as long as its case can be read."""
    owned = exists().where(Assignment.read_id == Read.id, Assignment.ended_at.is_(None))
    wanted = and_(Read.closed_at.is_(None), Case.images == Images.READY, Case.cancelled.is_(False))
    reads = select(Read.id).join(Case, Case.id == Read.case_id)
    return reads.where(wanted, ~owned, ~_open_step(Read.id, "case_assignment")).order_by(Read.id)


def _work_that_nobody_waits_for() -> Select[str]:
    """The laboratory is expected to answer what it was asked for, and to do what it accepted."""
    under_way = WorkOrder.state.in_(("asked", "accepted"))
    return select(WorkOrder.id).where(under_way, ~_open_step(WorkOrder.id, "expect_work")).order_by(WorkOrder.id)


def _scans_under_another_name() -> Select[str]:
    """What lies in the archive names whom its case names, or is being corrected, or hidden if it was replaced."""
    named = Step.result["input_version"].as_string()
    made_for = (
        select(named)
        .where(Step.subject_id == Scan.id, Step.kind.in_(MAKERS), Step.edition == Scan.edition, named.is_not(None))
        .order_by(Step.id.desc())
        .limit(1)
        .scalar_subquery()
    )
    objects = exists().where(Instance.scan_id == Scan.id, Instance.edition == Scan.edition)
    offered = objects.where(Instance.state.in_(("stored", "proven")))
    replaced = and_(Scan.outcome == Outcome.SUPERSEDED, offered)
    lies_there = and_(or_(Scan.outcome == Outcome.ACTIVE, replaced), Scan.storage != Storage.RECEIVED)
    scans = select(Scan.id).join(Case, Case.id == Scan.case_id).where(lies_there, made_for != Case.identity_digest)
    return scans.where(~_open_step(Scan.id, "correct", "reject")).order_by(Scan.id)


_FORGOTTEN: Final[tuple[tuple[str, Callable[[], Select[str]]], ...]] = (
    ("scan {} is active and not archived, and no step of it is open", _scans_that_stand_still),
    (
        "scan {} is archived under another patient or case than its own, and nothing corrects or hides it",
        _scans_under_another_name,
    ),
    ("slide {} is expected, and has neither a scan nor a wait for one", _slides_that_nobody_expects),
    ("case {} has an open set of slides, and nothing waits to close it", _cases_that_never_close),
    ("case {} is held back for missing slides, and nothing waits to end that", _cases_held_back_for_ever),
    ("case {} can be read, and has no read", _cases_without_a_read),
    ("read {} has no owner, and no step looks for one", _reads_without_an_owner),
    ("work order {} is under way, and nothing waits for it", _work_that_nobody_waits_for),
)
"""What must go on, and the query that finds what does not."""
