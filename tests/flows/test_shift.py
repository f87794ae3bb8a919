import threading
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta

import pytest
from sqlalchemy import event, func, insert, select, text, update
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from connectors.wiring import Lab
from flows import ledger
from flows.journey import Stage
from flows.ledger import Claim, NewStep
from flows.shift import Shift
from flows.step import End, StepFunction
from models.database import database_now
from models.errors import RejectedError, TransientError
from models.facets import Lane
from models.tables.place import Site
from models.tables.step import Slot, Step
from tests.flows.looking import alerts
from tests.small_lab import ON_BOTH, begin_worker

WORK = Stage("work", ("do",), timedelta(minutes=5))


def add(lab: Lab, many: int, **said: object) -> list[str]:
    ids = [str(uuid.UUID(int=number)) for number in range(1, many + 1)]
    with lab.database.write("add") as session:
        now = database_now(session)
        ledger.add(session, [NewStep("do", "work", "message", one, now, **said) for one in ids])  # type: ignore[arg-type] # columns
    return ids


@contextmanager
def shift(lab: Lab, function: StepFunction, slots: int = 2, stage: Stage = WORK) -> Iterator[Shift]:
    functions: Mapping[str, StepFunction] = {"do": function}
    opened = Shift(lab, stage, functions, begin_worker(lab), slots, threading.Event())
    try:
        yield opened
    finally:
        opened.stop.set()
        opened.close()


def done(claimed: Claim) -> End:
    return lambda session: ledger.finish(session, claimed, {"by": claimed.subject_id})


def states(lab: Lab) -> list[str]:
    with lab.database.read() as session:
        return [str(state) for state in session.scalars(select(Step.state).order_by(Step.id))]


def test_a_shift_does_every_ready_step_once_and_stops_when_it_is_calm(lab: Lab) -> None:
    ids, worked = add(lab, 130), []

    def do(_lab: Lab, claimed: Claim) -> End:
        worked.append(claimed.subject_id)
        return done(claimed)

    with shift(lab, do) as calm:
        assert calm.has_work() is not None
        assert calm.run() == 130
        assert calm.has_work() is None
        assert calm.run() == 0

    assert sorted(worked) == ids
    assert states(lab) == ["done"] * 130


def test_a_step_in_trouble_costs_its_neighbours_nothing(lab: Lab) -> None:
    ids = add(lab, 12)

    def do(_lab: Lab, claimed: Claim) -> End:
        if claimed.subject_id == ids[3]:
            raise RejectedError("this one is broken: mend it")
        if claimed.subject_id == ids[5]:

            def broken(session: Session) -> None:
                ledger.finish(session, claimed)
                session.execute(insert(Site).values(id="site-a", name="again", zone="UTC"))

            return broken
        return done(claimed)

    with shift(lab, do) as calm:
        calm.run()

    assert [number for number, state in enumerate(states(lab)) if state != "done"] == [3, 5]
    assert states(lab)[3] == states(lab)[5] == "set aside"
    assert alerts(lab) == ["set aside", "set aside"]


def test_an_end_that_comes_second_at_making_a_row_looks_again(lab: Lab) -> None:
    add(lab, 1)
    tries = []

    def do(_lab: Lab, claimed: Claim) -> End:
        def make_once(session: Session) -> None:
            tries.append(claimed.attempt)
            if len(tries) < 3:
                # As when another worker commits the same row between our look and our insert.
                session.execute(insert(Site).values(id="site-a", name="again", zone="UTC"))
            ledger.finish(session, claimed)

        return make_once

    with shift(lab, do) as calm:
        calm.run()

    assert (states(lab), tries) == (["done"], [1, 1, 1])


def test_what_an_end_itself_can_not_do_now_is_tried_again_later_and_holds_nobody(lab: Lab) -> None:
    ids = add(lab, 3)

    def do(_lab: Lab, claimed: Claim) -> End:
        def not_now(_session: Session) -> None:
            raise TransientError("the people are not there yet")

        return not_now if claimed.subject_id == ids[0] else done(claimed)

    with shift(lab, do) as calm:
        began = time.monotonic()
        calm.run()

    assert time.monotonic() - began < 15
    assert states(lab) == ["waiting", "done", "done"]


def test_while_the_database_is_away_the_result_is_kept_and_written_when_it_is_back(lab: Lab) -> None:
    add(lab, 1)
    worked, away = [], []

    def do(_lab: Lab, claimed: Claim) -> End:
        worked.append(claimed.attempt)
        away.extend([True] * 3)
        return done(claimed)

    @event.listens_for(lab.database.engine, "before_cursor_execute")
    def refuse(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        if away and statement.startswith("UPDATE step"):
            away.pop()
            raise OperationalError(statement, {}, ConnectionError("gone"))

    with shift(lab, do) as calm:
        assert calm.run() == 1

    assert (states(lab), worked, away) == (["done"], [1], [])


@pytest.mark.postgres
def test_a_backend_killed_in_the_middle_of_an_end_leaves_no_part_of_it(lab_on_postgres: Lab) -> None:
    """F7: the transaction is gone, the step is written in a new one, over a new connection."""
    lab, backends = lab_on_postgres, list[int]()
    add(lab, 1)

    def do(_lab: Lab, claimed: Claim) -> End:
        def end(session: Session) -> None:
            session.execute(insert(Site).values(id=f"site-{len(backends)}", name="made by the end", zone="UTC"))
            backend = session.scalars(text("SELECT pg_backend_pid()").columns()).one()
            backends.append(backend)
            if len(backends) == 1:
                with lab.database.read() as other:
                    other.execute(text("SELECT pg_terminate_backend(:pid)"), {"pid": backend})
            ledger.finish(session, claimed)

        return end

    with shift(lab, do) as calm:
        calm.run()

    assert states(lab) == ["done"]
    assert len(set(backends)) == 2
    with lab.database.read() as session:
        assert session.scalars(select(Site.id).where(Site.name == "made by the end")).all() == ["site-1"]


def test_a_step_that_was_lost_before_runs_alone(lab: Lab) -> None:
    ids = add(lab, 6)
    with lab.database.write("lost once") as session:
        session.execute(update(Step).where(Step.subject_id == ids[2]).values(lost=1))
    running: set[str] = set()
    beside: dict[str, set[str]] = {}
    lock = threading.Lock()

    def do(_lab: Lab, claimed: Claim) -> End:
        with lock:
            running.add(claimed.subject_id)
            for one in running:
                beside.setdefault(one, set()).update(running - {one})
        time.sleep(0.05)
        with lock:
            running.discard(claimed.subject_id)
        return done(claimed)

    with shift(lab, do, slots=3) as calm:
        calm.run()

    assert beside[ids[2]] == set()
    assert any(beside.values())
    assert states(lab) == ["done"] * 6


@ON_BOTH
def test_a_step_that_waits_to_run_alone_is_given_back_unharmed_when_the_shift_ends(lab: Lab) -> None:
    ids = add(lab, 3)
    with lab.database.write("lost once") as session:
        session.execute(update(Step).where(Step.subject_id == ids[0]).values(lost=1))

    with shift(lab, lambda _lab, claimed: done(claimed)) as calm:
        stop = calm.stop

        def do(_lab: Lab, claimed: Claim) -> End:
            stop.set()
            return done(claimed)

        calm.functions = {"do": do}
        calm.run()

    assert states(lab) == ["ready", "done", "ready"]
    with lab.database.read() as session:
        assert session.scalars(select(Step.lost).where(Step.subject_id == ids[0])).one() == 1


@ON_BOTH
def test_a_stop_finishes_what_runs_and_claims_nothing_new(lab: Lab) -> None:
    add(lab, 40)

    def do(_lab: Lab, claimed: Claim) -> End:
        opened.stop.set()
        return done(claimed)

    with shift(lab, do) as opened:
        ended = opened.run()

    with lab.database.read() as session:
        counted = {
            str(state): many for state, many in session.execute(select(Step.state, func.count()).group_by(Step.state))
        }
    assert counted == {"done": ended, "ready": 40 - ended}
    assert 0 < ended < 10


def test_the_first_lane_gets_in_beside_full_slots(lab: Lab) -> None:
    add(lab, 2)
    let_go, urgent_ran = threading.Event(), threading.Event()

    def do(_lab: Lab, claimed: Claim) -> End:
        if claimed.lane == Lane.INTRA_OPERATIVE:
            urgent_ran.set()
            return done(claimed)
        let_go.wait(30)
        return done(claimed)

    with shift(lab, do, slots=2) as full:
        running = threading.Thread(target=full.run)
        running.start()
        _until(lambda: states(lab) == ["running", "running"])
        with lab.database.write("urgent") as session:
            now = database_now(session)
            first = NewStep("do", "work", "message", str(uuid.uuid4()), now, lane=Lane.INTRA_OPERATIVE)
            other = NewStep("do", "work", "message", str(uuid.uuid4()), now)
            ledger.add(session, [other, first])
        assert urgent_ran.wait(30)
        assert states(lab)[2] == "ready"
        let_go.set()
        running.join(30)

    assert states(lab) == ["done"] * 4


@ON_BOTH
def test_a_message_of_a_case_waits_behind_a_refused_one_and_other_cases_do_not(lab: Lab) -> None:
    stage = Stage("work", ("do",), timedelta(minutes=5), slotted=True, ordered=True)
    with lab.database.write("add") as session:
        session.execute(insert(Slot).values(name="peer", number=1))
        now = database_now(session)
        for number, key in enumerate(("case-1", "case-1", "case-2"), start=1):
            step = NewStep("do", "work", "message", str(uuid.UUID(int=number)), now, slot="peer", order_key=key)
            ledger.add(session, [step])
    refused: list[str] = []

    def do(_lab: Lab, claimed: Claim) -> End:
        if not refused:
            refused.append(claimed.subject_id)

            def wait(session: Session) -> None:
                until = database_now(session) + timedelta(hours=1)
                ledger.wait(session, claimed, ledger.Wait("a person", "message", until, "sent again"))

            return wait
        return done(claimed)

    with shift(lab, do, stage=stage) as sending:
        sending.run()
        assert states(lab) == ["waiting", "ready", "done"]
        assert sending.has_work() is None
        with lab.database.write("a person") as session:
            assert ledger.wake(session, "a person", "message") == 1
        sending.run()

    assert states(lab) == ["done", "done", "done"]


def _until(condition: object) -> None:
    assert callable(condition)
    for _ in range(600):
        if condition():
            return
        time.sleep(0.02)
    raise AssertionError("it did not come to that")
