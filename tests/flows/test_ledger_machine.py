"""The six verbs and the sweeper against a plain-Python model of the queue, on both databases."""

import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import delete, insert, select, update
from sqlalchemy.orm import Session

from connectors.wiring import Lab
from flows import ledger
from flows.ledger import Claim, LostClaimError, NewStep, Wait, Wanted
from flows.sweep import sweep
from models.database import database_now
from models.facets import StepState
from models.tables.books import Alert
from models.tables.step import Slot, Step, Worker
from tests.flows.queue_model import Held, QueuedStep, QueueModel
from tests.small_lab import ON_BOTH, small_lab

LIMITS = {"narrow": 1, "wide": 2}
KINDS = ("look", "send")
FIRST_RANK = datetime(2026, 1, 1, tzinfo=UTC)
HOURS = timedelta(hours=1)
PAST = datetime(2001, 1, 1, tzinfo=UTC)

subjects = st.integers(1, 4).map(lambda number: str(uuid.UUID(int=number)))
kinds = st.sampled_from(KINDS)
lanes = st.integers(0, 2)
ranks = st.integers(0, 3)
keys = st.sampled_from(["left", "right"])
reasons = st.sampled_from(["an order", "a person"])
slots = st.sampled_from(["", *LIMITS])
new_steps = st.fixed_dictionaries(
    {
        "kind": kinds,
        "subject": subjects,
        "generation": st.integers(1, 2),
        "lane": lanes,
        "rank": ranks,
        "slot": slots,
        "order_key": st.sampled_from([None, "case"]),
    }
)


class QueueMachine(RuleBasedStateMachine):
    """Does to the ledger what it does to the model, and compares every row after every step."""

    claims: Bundle[tuple[Claim, Held]] = Bundle("claims")

    lab: Lab

    def __init__(self) -> None:
        super().__init__()
        self.model = QueueModel(LIMITS)
        self.workers: list[str] = []

    @initialize()
    def empty_tables(self) -> None:
        with self.lab.database.write("test") as session:
            for table in (Slot, Alert, Step, Worker):
                session.execute(delete(table))
            rows = [{"name": name, "number": n} for name, most in LIMITS.items() for n in range(most)]
            session.execute(insert(Slot), rows)
        self.workers = [self.new_worker(), self.new_worker()]

    def new_worker(self) -> str:
        worker_id = str(uuid.uuid4())
        with self.lab.database.write("test") as session:
            now = database_now(session)
            values = {"id": worker_id, "host": "here", "pid": 1, "started_at": now, "heartbeat_at": now, "engine": ""}
            session.execute(insert(Worker).values(**values))
        return worker_id

    @rule(new=st.lists(new_steps, min_size=1, max_size=5))
    def add(self, new: list[dict[str, Any]]) -> None:
        with self.lab.database.write("test") as session:
            ledger.add(session, [_new(**said) for said in new])
            found = [session.scalar(_row_of(one["kind"], one["subject"], one["generation"])) for one in new]
        for row, said in zip(found, new, strict=True):
            assert row is not None
            self.model.add(QueuedStep(id=row.id, **said))

    @rule(
        target=claims,
        worker=st.integers(0, 1),
        limit=st.integers(1, 3),
        most_lane=st.sampled_from([2, 2, 1, 0]),
        wanted=st.lists(kinds, unique=True, min_size=1),
        ordered=st.booleans(),
    )
    def claim(self, worker: int, limit: int, most_lane: int, wanted: list[str], *, ordered: bool) -> Any:  # noqa: ANN401 - hypothesis's own
        who = self.workers[worker]
        able = Wanted("stage", tuple(wanted), limit, HOURS, most_lane, slotted=True, ordered=ordered)
        expected = self.model.claim(who, wanted, limit, most_lane, ordered=ordered)
        with self.lab.database.write("test") as session:
            got = ledger.claim(session, who, able)
        assert [(one.id, one.attempt, one.worker_id, one.lost, one.tries) for one in got] == [
            (one.step, one.attempt, one.worker, one.lost_before, one.tries_before) for one in expected
        ]
        assert [one.alone for one in got] == [one.lost_before > 0 for one in expected]
        return multiple(*zip(got, expected, strict=True))

    @rule(claim=claims, result=st.sampled_from([None, "made"]), end=st.sampled_from(["done", "set aside"]))
    def finish(self, claim: tuple[Claim, Held], result: str | None, end: str) -> None:
        said = {"made": result} if result else None
        step = self.end(claim, lambda session: ledger.finish(session, claim[0], said, state=StepState(end)))
        if step is not None:
            self.model.put_down(step, end)
            step.tries, step.result, step.alerted = 0, result or step.result, end == "set aside"

    @rule(claim=claims, reason=reasons, key=keys, result=st.sampled_from([None, "asked"]))
    def wait(self, claim: tuple[Claim, Held], reason: str, key: str, result: str | None) -> None:
        said = {"made": result} if result else None
        until = datetime.now(UTC) + HOURS
        step = self.end(claim, lambda session: ledger.wait(session, claim[0], Wait(reason, key, until, "then"), said))
        if step is not None:
            self.model.put_down(step, "waiting", (reason, key))
            step.tries, step.result = 0, result or step.result

    @rule(claim=claims)
    def give_back_unharmed(self, claim: tuple[Claim, Held]) -> None:
        """A clean stop: the claim neither counts as lost nor proves that the step can end."""
        step = self.end(claim, lambda session: ledger.give_back(session, claim[0]))
        if step is not None:
            expired = step.expired
            self.model.put_down(step, "ready")
            step.lost, step.expired = claim[1].lost_before, expired

    @rule(claim=claims)
    def give_back_for_later(self, claim: tuple[Claim, Held]) -> None:
        step = self.end(claim, lambda session: ledger.give_back(session, claim[0], retry_after=HOURS, problem="away"))
        if step is not None:
            self.model.put_down(step, "waiting", ("another try", str(step.id)))
            step.tries += 1

    @rule(claim=consumes(claims))
    def forget(self, claim: tuple[Claim, Held]) -> None:
        """A worker that died with its claim: only the sweeper can bring the step back."""

    @rule(reason=reasons, key=keys)
    def wake(self, reason: str, key: str) -> None:
        waiting = [one for one in self.model.steps if one.waiting == (reason, key)]
        with self.lab.database.write("test") as session:
            assert ledger.wake(session, reason, key) == len(waiting)
        for one in waiting:
            one.state, one.waiting = "ready", None

    @rule(kind=kinds, subject=subjects, lane=lanes, rank=ranks, slot=slots)
    def rerun(self, **said: Any) -> None:  # noqa: ANN401 - the columns above
        with self.lab.database.write("test") as session:
            generation = ledger.rerun(session, _new(**said))
            found = session.scalar(_row_of(said["kind"], said["subject"], generation))
        assert found is not None
        self.model.rerun(QueuedStep(id=found.id, generation=0, **said))

    @rule(subject=subjects, wanted=st.lists(kinds, unique=True, min_size=1), end=st.sampled_from(["done", "cancelled"]))
    def end_open(self, subject: str, wanted: list[str], end: str) -> None:
        with self.lab.database.write("test") as session:
            ledger.end_open(session, subject, wanted, StepState(end))
        self.model.end_all(subject, wanted, ("ready", "running", "waiting"), end)

    @rule(subject=subjects, kind=kinds)
    def supersede(self, subject: str, kind: str) -> None:
        with self.lab.database.write("test") as session:
            ledger.supersede(session, subject, (kind,))
        self.model.end_all(subject, (kind,), ("ready", "running", "waiting", "done", "set aside"), "superseded")

    @rule(worker=st.integers(0, 1), how=st.sampled_from(["silent", "ended"]))
    def worker_dies(self, worker: int, how: str) -> None:
        """Its steps come back, each with one more claim that never ended."""
        gone = self.workers[worker]
        dead = {"heartbeat_at": PAST} if how == "silent" else {"ended_at": database_clock(self.lab)}
        with self.lab.database.write("test") as session:
            session.execute(update(Worker).where(Worker.id == gone).values(**dead))
        self.come_back([one for one in self.model.steps if one.worker == gone])
        self.workers[worker] = self.new_worker()

    @rule(data=st.data())
    def deadline_passes(self, data: st.DataObject) -> None:
        running = [one for one in self.model.steps if one.state == "running"]
        if running:
            late = data.draw(st.sampled_from(running))
            self.change(late.id, deadline_at=PAST)
            self.come_back([late])

    @rule(data=st.data())
    def time_passes(self, data: st.DataObject) -> None:
        """A wait that reaches its end makes the step ready, and says so."""
        waiting = [one for one in self.model.steps if one.state == "waiting"]
        if waiting:
            due = data.draw(st.sampled_from(waiting))
            self.change(due.id, waiting_until=PAST)
            assert sweep(self.lab) == 1
            due.state, due.waiting, due.expired = "ready", None, True

    @rule()
    def sweep_in_vain(self) -> None:
        """Nothing is due but to tell of what was set aside with nobody there."""
        untold = [one for one in self.model.steps if one.state == "set aside" and not one.alerted]
        assert sweep(self.lab) == len(untold)
        for one in untold:
            one.alerted = True

    @invariant()
    def rows_are_as_the_model_says(self) -> None:
        with self.lab.database.read() as session:
            rows = session.scalars(select(Step).order_by(Step.id)).all()
        assert [_seen(row) for row in rows] == sorted(
            (_modelled(one) for one in self.model.steps), key=lambda one: one[0]
        )

    @invariant()
    def slots_are_held_by_what_runs_and_by_nothing_else(self) -> None:
        with self.lab.database.read() as session:
            held = session.execute(select(Slot.name, Slot.step_id).where(Slot.step_id.is_not(None)))
            taken = sorted((name, step_id) for name, step_id in held)
        running = sorted((one.slot, one.id) for one in self.model.steps if one.state == "running" and one.slot)
        assert taken == running

    def end(self, claim: tuple[Claim, Held], verb: Callable[[Session], None]) -> QueuedStep | None:
        """Use a verb on a claim: it works when the model says so, and else changes nothing at all."""
        step = self.model.held(claim[1])
        if step is None:
            with pytest.raises(LostClaimError), self.lab.database.write("test") as session:
                verb(session)
            return None
        with self.lab.database.write("test") as session:
            verb(session)
        return step

    def come_back(self, lost: list[QueuedStep]) -> None:
        told = [one for one in self.model.steps if one.state == "set aside" and not one.alerted]
        assert sweep(self.lab) == len(lost) + (len(told) if lost or told else 0)
        for one in told:
            one.alerted = True
        for one in lost:
            one.state, one.worker = "ready", None

    def change(self, step_id: int, **values: object) -> None:
        with self.lab.database.write("test") as session:
            session.execute(update(Step).where(Step.id == step_id).values(**values))


def database_clock(lab: Lab) -> datetime:
    with lab.database.read() as session:
        return database_now(session)


def _new(
    *,
    kind: str,
    subject: str,
    lane: int,
    rank: int,
    slot: str,
    generation: int = 1,
    order_key: str | None = None,
) -> NewStep:
    return NewStep(
        kind=kind,
        stage="stage",
        subject_kind="message",
        subject_id=subject,
        rank_at=FIRST_RANK + rank * HOURS,
        lane=lane,
        generation=generation,
        slot=slot,
        order_key=order_key,
    )


def _row_of(kind: str, subject: str, generation: int) -> Any:  # noqa: ANN401 - SQLAlchemy's generic Select
    return select(Step).where(Step.kind == kind, Step.subject_id == subject, Step.generation == generation)


def _seen(row: Step) -> tuple[object, ...]:
    waiting = (row.waiting_for, row.waiting_key) if row.waiting_for else None
    result = row.result["made"] if row.result else None
    place = (row.id, row.kind, row.subject_id, row.generation, row.lane, row.slot, row.order_key, row.state)
    return (*place, row.attempt, row.lost, row.tries, row.expired, row.alerted, row.worker_id, waiting, result)


def _modelled(one: QueuedStep) -> tuple[Any, ...]:
    place = (one.id, one.kind, one.subject, one.generation, one.lane, one.slot, one.order_key, one.state)
    return (*place, one.attempt, one.lost, one.tries, one.expired, one.alerted, one.worker, one.waiting, one.result)


@ON_BOTH
def test_the_queue_does_what_a_plain_list_would(tmp_path: Path, database_url: str) -> None:
    lab = small_lab(tmp_path, database_url)
    machine = type("QueueMachine", (QueueMachine,), {"lab": lab})
    try:
        run_state_machine_as_test(
            machine,
            settings=settings(
                max_examples=50,
                stateful_step_count=40,
                suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
            ),
        )
    finally:
        lab.database.close()
