"""The one queue. Six verbs: claim, finish, wait, wake, give back, rerun; and ``add``, which they share.

One file on purpose, though long: whoever checks that no step is lost or done twice reads all of it at once. The
values it is spoken to with are in ``flows.claims``.

Every verb works inside the caller's write transaction, so that the end of a step, the model, its followers and
the outbox change together or not at all. Nothing else may change the state of a step, but for
``flows.sweep``, which ends what nobody holds any more.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import bindparam, case, func, insert, select, text, update
from sqlalchemy.engine import CursorResult
from sqlalchemy.orm import Session

from flows.claims import Claim, LostClaimError, NewStep, Wait, Wanted
from models.base import table_of
from models.database import PlainWrite, database_now, insert_unless_there
from models.facets import OPEN_STEP_STATES, StepState
from models.many_rows import insert_many
from models.tables.step import Slot, Step

__all__ = [
    "Claim",
    "LostClaimError",
    "NewStep",
    "Wait",
    "Wanted",
    "add",
    "add_for_each",
    "claim",
    "end_open",
    "finish",
    "give_back",
    "hold_key",
    "next_subject",
    "open_slot",
    "pause_slot",
    "rank_at",
    "reprioritise",
    "rerun",
    "supersede",
    "wait",
    "wake",
]

# A step that was claimed this often without an end stops its worker: a person must look at it.
_MOST_CLAIMS_WITHOUT_END = 3
# RCPath KPI 6.4 as laboratories apply it: most cases within 10 calendar days.
_USUAL_TURNAROUND = timedelta(days=10)
_STOPPED_ITS_WORKER = "stopped its worker: claimed three times and never ended; look at its input, then rerun it"


_STEP = table_of(Step)
_SLOT = table_of(Slot)
_CANDIDATE = (
    _STEP.c.id,
    _STEP.c.kind,
    _STEP.c.stage,
    _STEP.c.subject_kind,
    _STEP.c.subject_id,
    _STEP.c.generation,
    _STEP.c.edition,
    _STEP.c.lane,
    _STEP.c.rank_at,
    _STEP.c.slot,
    _STEP.c.attempt,
    _STEP.c.lost,
    _STEP.c.tries,
    _STEP.c.expired,
    _STEP.c.alerted,
)
_EARLIER = _STEP.alias("earlier")
_FIND = (
    select(*_CANDIDATE)
    .where(
        _STEP.c.state == "ready",
        _STEP.c.stage == bindparam("stage"),
        _STEP.c.slot == bindparam("slot"),
        _STEP.c.lane <= bindparam("most_lane"),
        _STEP.c.kind.in_(bindparam("kinds", expanding=True)),
        _STEP.c.place.in_(bindparam("places", expanding=True)),
    )
    .order_by(_STEP.c.lane, _STEP.c.rank_at, _STEP.c.id)
    .limit(bindparam("most"))
    .with_for_update(skip_locked=True, of=_STEP)
)
_FIRST_OF_ITS_ORDER = (
    ~select(_EARLIER.c.id)
    .where(
        _EARLIER.c.order_key == _STEP.c.order_key,
        # Steps of one key are added under their case's lock, so a smaller id was committed before.
        _EARLIER.c.id < _STEP.c.id,
        # Written out: SQLite uses the index over open steps only when it can see these very words.
        text("earlier.state IN ('ready', 'running', 'waiting')"),
    )
    .exists()
)
_FIND_IN_ORDER = _FIND.where(_FIRST_OF_ITS_ORDER)
_TAKE = (
    update(_STEP)
    .where(_STEP.c.id.in_(bindparam("ids", expanding=True)))
    .values(
        state="running",
        worker_id=bindparam("worker"),
        attempt=_STEP.c.attempt + 1,
        lost=_STEP.c.lost + 1,
        deadline_at=bindparam("deadline"),
    )
)
_NO_WAIT: dict[str, Any] = {
    "waiting_for": None,
    "waiting_key": None,
    "waiting_since": None,
    "waiting_until": None,
    "waiting_then": None,
}
_END = (
    update(_STEP)
    .where(
        _STEP.c.id == bindparam("claimed"),
        _STEP.c.attempt == bindparam("our_attempt"),
        _STEP.c.worker_id == bindparam("worker"),
        _STEP.c.state == "running",
    )
    .values(worker_id=None, deadline_at=None, lost=0, expired=False)
)
_FINISH = _END.values(
    state=bindparam("to"), tries=0, ended_at=bindparam("at"), problem=bindparam("why"), alerted=bindparam("told")
)
_FINISH_WITH_RESULT = _FINISH.values(result=bindparam("result_json", type_=_STEP.c.result.type))
_FREE_SLOTS = (
    select(_SLOT.c.name, _SLOT.c.number)
    .where(_SLOT.c.step_id.is_(None), _SLOT.c.paused_until.is_(None) | (_SLOT.c.paused_until <= bindparam("at")))
    .where(
        select(_STEP.c.id)
        .where(_STEP.c.state == text("'ready'"), _STEP.c.stage == bindparam("stage"), _STEP.c.slot == _SLOT.c.name)
        .exists()
    )
    .order_by(_SLOT.c.name, _SLOT.c.number)
)
_FREE_SLOTS_LOCKED = _FREE_SLOTS.with_for_update(skip_locked=True)
_TAKE_SLOT = (
    update(_SLOT)
    .where(_SLOT.c.name == bindparam("of"), _SLOT.c.number == bindparam("nth"))
    .values(step_id=bindparam("claimed"))
)
_FREE = update(_SLOT).where(_SLOT.c.step_id == bindparam("claimed")).values(step_id=None)
_FREE_OF_ENDED = update(_SLOT).where(_SLOT.c.step_id.in_(bindparam("ended", expanding=True))).values(step_id=None)
_TALKS_AGAIN = (
    update(_SLOT)
    .where(_SLOT.c.name == bindparam("of"), _SLOT.c.silent_since.is_not(None))
    .values(paused_until=None, paused_because=None, silent_since=None)
)
_WAKE = (
    update(_STEP)
    .where(
        # Written out, as above.
        text("state = 'waiting'"),
        _STEP.c.waiting_for == bindparam("what"),
        _STEP.c.waiting_key == bindparam("key"),
    )
    .values(state="ready", **_NO_WAIT)
)
_LATEST_GENERATION = select(func.max(_STEP.c.generation)).where(
    _STEP.c.subject_id == bindparam("subject"), _STEP.c.kind == bindparam("of_kind")
)
_INSERT = insert(_STEP)
_END_ALL = (
    update(_STEP)
    .where(
        _STEP.c.subject_id == bindparam("subject"),
        _STEP.c.kind.in_(bindparam("kinds", expanding=True)),
        _STEP.c.state.in_(bindparam("states", expanding=True)),
    )
    .values(state=bindparam("to"), worker_id=None, deadline_at=None, ended_at=bindparam("at"), **_NO_WAIT)
    .returning(_STEP.c.id)
)
_MOVE = (
    update(_STEP)
    .where(
        _STEP.c.subject_id.in_(bindparam("subjects", expanding=True)),
        _STEP.c.state.in_(bindparam("states", expanding=True)),
    )
    .values(lane=bindparam("to_lane"))
)
_DUE = bindparam("due", type_=_STEP.c.rank_at.type)
_MOVE_UP = _MOVE.values(rank_at=case((_STEP.c.rank_at > _DUE, _DUE), else_=_STEP.c.rank_at))


def claim(session: Session, worker_id: str, wanted: Wanted) -> tuple[Claim, ...]:
    """Take up to ``wanted.limit`` ready steps, most urgent first; each claim counts an attempt.

    A step that was claimed three times without an end is set aside instead.
    """
    free = _free_slots(session, wanted) if wanted.slotted else {}
    found = []
    for slot, numbers in (("", [0] * wanted.limit), *free.items()):
        found += _candidates(session, wanted, slot, min(wanted.limit, len(numbers)))
    found.sort(key=lambda row: (row.lane, row.rank_at, row.id))
    hopeless = [row.id for row in found if row.lost >= _MOST_CLAIMS_WITHOUT_END]
    for step_id in hopeless:
        _set_aside_unclaimed(session, step_id)
    chosen = [row for row in found if row.id not in hopeless][: wanted.limit]
    if not chosen:
        return ()
    deadline = database_now(session) + wanted.deadline
    session.execute(_TAKE, {"ids": [row.id for row in chosen], "worker": worker_id, "deadline": deadline})
    for row in chosen:
        if row.slot:
            session.execute(_TAKE_SLOT, {"of": row.slot, "nth": free[row.slot].pop(0), "claimed": row.id})
    return tuple(_claimed(row, worker_id) for row in chosen)


def next_subject(session: Session, wanted: Wanted) -> str | None:
    """Return the subject of a step that a claim could take now, or ``None``; nothing is locked."""
    free = [""]
    if wanted.slotted:
        free += [name for name, _number in session.execute(_FREE_SLOTS, _asked(session, wanted))]
    ready = select(_STEP.c.subject_id).where(
        _STEP.c.state == "ready",
        _STEP.c.stage == wanted.stage,
        _STEP.c.slot.in_(free),
        _STEP.c.kind.in_(wanted.kinds),
        _STEP.c.place.in_(wanted.places),
    )
    if wanted.ordered:
        ready = ready.where(_FIRST_OF_ITS_ORDER)
    return session.scalar(ready.limit(1))


def finish(
    session: Session,
    claimed: Claim,
    result: dict[str, Any] | None = None,
    *,
    state: StepState = StepState.DONE,
    problem: str | None = None,
) -> None:
    """End a step for good: done, or set aside with its problem. Without a result, an earlier attempt's is kept.

    Raises
    ------
    LostClaimError
        The attempt is no longer ours; the caller's whole transaction must be given up.
    """
    # Who sets a step aside by its end tells people too; the sweeper tells of those that nobody ended.
    told = state == StepState.SET_ASIDE
    values: dict[str, Any] = {"to": state, "at": database_now(session), "why": problem, "told": told}
    if result is None:
        _end(session, _FINISH, claimed, values)
        return
    _end(session, _FINISH_WITH_RESULT, claimed, {**values, "result_json": result})


def wait(session: Session, claimed: Claim, wait_: Wait, result: dict[str, Any] | None = None) -> None:
    """Put a step down until its key is woken or its time has come; it holds nothing meanwhile.

    The caller re-checks its condition in the same transaction, after ``hold_key``. Without a result, an earlier
    attempt's is kept.
    """
    values = {**_waiting(wait_, database_now(session)), "tries": 0}
    if result is not None:
        values["result"] = result
    _end(session, _END.values(**values), claimed, {})


def wake(session: Session, waiting_for: str, key: str) -> int:
    """Make ready what waits for this; return how many steps."""
    hold_key(session, waiting_for, key)
    return _rows(session.execute(_WAKE, {"what": waiting_for, "key": key}))


def give_back(
    session: Session,
    claimed: Claim,
    *,
    retry_after: timedelta | None = None,
    problem: str = "",
    waiting_for: str = "another try",
) -> None:
    """Put a step back: ready at once (a clean stop), or after a pause because a neighbour was not ready."""
    if retry_after is None:
        # Neither an end nor a death: the next claim must know as much of this step as we did.
        as_before = {"state": "ready", "lost": claimed.lost, "expired": claimed.expired}
        _end(session, _END.values(**as_before), claimed, {})
        return
    now = database_now(session)
    pause = Wait(waiting_for, str(claimed.id), now + retry_after, "tried again")
    values = {**_waiting(pause, now), "tries": claimed.tries + 1, "problem": problem}
    _end(session, _END.values(**values), claimed, {})


def rerun(session: Session, new: NewStep) -> int:
    """Do a kind again for a subject: open steps of older generations end as superseded.

    Returns
    -------
    int
        The generation that was added; ``new.generation`` is ignored.
    """
    end_open(session, new.subject_id, (new.kind,), StepState.SUPERSEDED)
    latest = session.scalar(_LATEST_GENERATION, {"subject": new.subject_id, "of_kind": new.kind})
    generation = (latest or 0) + 1
    session.execute(_INSERT, [_row(new, database_now(session), generation)])
    return generation


def add(session: Session, steps: Iterable[NewStep]) -> None:
    """Add steps; one that is there already stays as it is."""
    now = database_now(session)
    rows = [_row(step, now, step.generation) for step in steps]
    insert_unless_there(session, Step, rows)


def add_for_each(session: Session | PlainWrite, step: NewStep, subject_ids: Iterable[str]) -> None:
    """Add a step like this one for each of many subjects, in this order, as ``add`` does with one."""
    alike = _row(step, database_now(session), step.generation)
    insert_many(session, _STEP, alike, [{"subject_id": subject_id} for subject_id in subject_ids])


def end_open(session: Session, subject_id: str, kinds: Sequence[str], state: StepState) -> int:
    """End the open steps of these kinds as superseded or cancelled; a running one loses its claim."""
    return _end_all(session, subject_id, kinds, OPEN_STEP_STATES, state)


def supersede(session: Session, subject_id: str, kinds: Sequence[str]) -> None:
    """Make steps obsolete, ended ones too: what was made from an older result must be made again."""
    ended = (*OPEN_STEP_STATES, StepState.DONE, StepState.SET_ASIDE)
    _end_all(session, subject_id, kinds, ended, StepState.SUPERSEDED)


def reprioritise(session: Session, subject_ids: Sequence[str], lane: int, due_at: datetime | None) -> None:
    """Move the open steps of these subjects to another lane and due time."""
    values = {"subjects": subject_ids, "states": OPEN_STEP_STATES, "to_lane": lane}
    if due_at is None:
        session.execute(_MOVE, values)
    else:
        session.execute(_MOVE_UP, {**values, "due": due_at})


def rank_at(since: datetime, due_at: datetime | None) -> datetime:
    """Return what ready steps of one lane are sorted by: the due time, or a plain turn by age.

    A step without a due time ranks as if due after the usual time, so its rank rises as it ages.
    """
    usual = since + _USUAL_TURNAROUND
    return usual if due_at is None else min(usual, due_at)


def hold_key(session: Session, waiting_for: str, key: str, *, shared: bool = False) -> None:
    """Make a waiter and its waker take turns, so that no wake is lost between a check and its wait.

    PostgreSQL: an advisory lock until the end of the transaction, which many hold at once if they share it. SQLite has
    one writer anyway.
    """
    if session.get_bind().dialect.name == "postgresql":
        lock = func.pg_advisory_xact_lock_shared if shared else func.pg_advisory_xact_lock
        session.execute(select(lock(func.hashtextextended(f"{waiting_for}\x1f{key}", 0))))


def pause_slot(session: Session, name: str, pause: timedelta, because: str) -> None:
    """Keep everybody from a silent neighbour for a while: one of them has tried."""
    now = database_now(session)
    session.execute(
        update(_SLOT)
        .where(_SLOT.c.name == name)
        .values(paused_until=now + pause, paused_because=because, silent_since=func.coalesce(_SLOT.c.silent_since, now))
    )


def open_slot(session: Session, name: str) -> None:
    """Say that a neighbour talks again."""
    session.execute(_TALKS_AGAIN, {"of": name})


def _end_all(
    session: Session, subject_id: str, kinds: Sequence[str], states: Sequence[StepState], to: StepState
) -> int:
    """End steps of a subject whoever holds them, and free what they held."""
    values = {"subject": subject_id, "kinds": kinds, "states": states, "to": to, "at": database_now(session)}
    ended = session.scalars(_END_ALL, values).all()
    if ended:
        session.execute(_FREE_OF_ENDED, {"ended": ended})
    return len(ended)


def _candidates(session: Session, wanted: Wanted, slot: str, most: int) -> list[Any]:
    if most == 0:
        return []
    values = {
        "stage": wanted.stage,
        "slot": slot,
        "most_lane": wanted.most_lane,
        "kinds": wanted.kinds,
        "places": wanted.places,
        "most": most,
    }
    return list(session.execute(_FIND_IN_ORDER if wanted.ordered else _FIND, values))


def _free_slots(session: Session, wanted: Wanted) -> dict[str, list[int]]:
    """Return the numbers of free slots that ready steps need, by name, locked: who comes second finds fewer."""
    free: dict[str, list[int]] = {}
    for name, number in session.execute(_FREE_SLOTS_LOCKED, _asked(session, wanted)):
        free.setdefault(name, []).append(number)
    return free


def _asked(session: Session, wanted: Wanted) -> dict[str, Any]:
    return {"at": database_now(session), "stage": wanted.stage}


def _set_aside_unclaimed(session: Session, step_id: int) -> None:
    session.execute(
        update(_STEP)
        .where(_STEP.c.id == step_id)
        .values(state=StepState.SET_ASIDE, problem=_STOPPED_ITS_WORKER, ended_at=database_now(session))
    )


def _end(session: Session, statement: Any, claimed: Claim, values: dict[str, Any]) -> None:  # noqa: ANN401 - an UPDATE with parameters
    ours = {"claimed": claimed.id, "our_attempt": claimed.attempt, "worker": claimed.worker_id}
    if _rows(session.execute(statement, {**ours, **values})) != 1:
        message = f"attempt {claimed.attempt} of step {claimed.id} ({claimed.kind}) was taken over: nothing was changed"
        raise LostClaimError(message)
    if claimed.slot:
        session.execute(_FREE, {"claimed": claimed.id})


def _claimed(row: Any, worker_id: str) -> Claim:  # noqa: ANN401 - a row of _CANDIDATE
    values = row._asdict()
    values["attempt"] += 1
    return Claim(**values, worker_id=worker_id)


def _waiting(wait_: Wait, since: datetime) -> dict[str, Any]:
    return {
        "state": "waiting",
        "waiting_for": wait_.waiting_for,
        "waiting_key": wait_.key,
        "waiting_since": since,
        "waiting_until": wait_.until,
        "waiting_then": wait_.then,
    }


def _row(step: NewStep, now: datetime, generation: int) -> dict[str, Any]:
    return {
        "kind": step.kind,
        "stage": step.stage,
        "subject_kind": step.subject_kind,
        "subject_id": step.subject_id,
        "generation": generation,
        "edition": step.edition,
        "lane": step.lane,
        "rank_at": step.rank_at,
        "place": step.place,
        "slot": step.slot,
        "order_key": step.order_key,
        "created_at": now,
        "state": "ready",
        **_NO_WAIT,
        **(_waiting(step.wait, now) if step.wait else {}),
    }


def _rows(result: Any) -> int:  # noqa: ANN401 - SQLAlchemy types an UPDATE's result as Result
    return result.rowcount if isinstance(result, CursorResult) else 0
