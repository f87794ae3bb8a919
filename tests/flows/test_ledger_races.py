"""Real processes that want the same thing at the same moment, on both databases (F17)."""

import multiprocessing
import os
import signal
import threading
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import insert, select, text

from connectors.settings import Work
from connectors.wiring import Lab
from flows import ledger
from flows.books import Subject, raise_alert
from flows.changes import lock_scan
from flows.ledger import Claim, NewStep, Wanted
from flows.sweep import sweep
from models.database import database_now
from models.tables.case import Case
from models.tables.scan import Scan
from models.tables.step import Slot, Step, Worker
from tests.flows import racers
from tests.flows.looking import A, the_case
from tests.small_lab import ON_BOTH, SmallSlide, message_arrives, order, run_until_calm, scan_arrives

RACERS = 4


@pytest.fixture(scope="module")
def processes() -> Iterator[ProcessPoolExecutor]:
    """Four processes that begin each race together."""
    spawned = multiprocessing.get_context("spawn")
    barrier = spawned.Barrier(RACERS)
    with ProcessPoolExecutor(RACERS, mp_context=spawned, initializer=racers.meet, initargs=(barrier,)) as pool:
        yield pool


@pytest.fixture(scope="module")
def pairs() -> Iterator[ProcessPoolExecutor]:
    """Two processes that begin each round together."""
    spawned = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(2, mp_context=spawned, initializer=racers.meet, initargs=(spawned.Barrier(2),)) as pool:
        yield pool


def add(lab: Lab, many: int, slot: str = "") -> None:
    with lab.database.write("add") as session:
        now = database_now(session)
        ids = [str(uuid.UUID(int=number)) for number in range(1, many + 1)]
        ledger.add(session, [NewStep("race", "stage", "message", one, now, slot=slot) for one in ids])


def claim(lab: Lab, many: int) -> list[Claim]:
    with lab.database.write("claim") as session:
        return list(ledger.claim(session, "test", Wanted("stage", ("race",), many, racers.DEADLINE)))


def states(lab: Lab) -> Counter[str]:
    with lab.database.read() as session:
        return Counter(session.scalars(select(Step.state)))


def address(lab: Lab) -> str:
    return lab.settings.database


@ON_BOTH
def test_processes_that_claim_the_same_steps_get_each_step_once(lab: Lab, processes: ProcessPoolExecutor) -> None:
    add(lab, 120)
    urls, workers = [address(lab)] * RACERS, [str(uuid.uuid4()) for _ in range(RACERS)]
    won = [one for part in processes.map(racers.claim_all, urls, workers) for one in part]

    assert sorted(won) == sorted({(step, 1) for step, _attempt in won})
    assert len(won) == 120
    assert states(lab) == {"running": 120}


@ON_BOTH
def test_no_more_steps_run_at_once_than_there_are_slots(lab: Lab, processes: ProcessPoolExecutor) -> None:
    add(lab, 40, slot="peer")
    with lab.database.write("slots") as session:
        session.execute(insert(Slot), [{"name": "peer", "number": number} for number in range(2)])
    urls, workers = [address(lab)] * RACERS, [str(uuid.uuid4()) for _ in range(RACERS)]
    most = max(processes.map(racers.work_within_limits, urls, workers))

    assert 1 <= most <= 2
    assert states(lab) == {"done": 40}
    with lab.database.read() as session:
        assert session.scalars(select(Slot.step_id).where(Slot.name == "peer")).all() == [None, None]


@ON_BOTH
def test_no_wake_is_lost_between_a_look_and_a_wait(lab: Lab, pairs: ProcessPoolExecutor) -> None:
    add(lab, 40)
    claims = claim(lab, 40)
    waiting = pairs.submit(racers.wait_unless_there, address(lab), claims)
    waking = pairs.submit(racers.bring_and_wake, address(lab), claims)
    waiting.result(90)
    waking.result(90)

    assert states(lab).keys() <= {"done", "ready"}


@ON_BOTH
def test_of_two_that_finish_one_attempt_one_does(lab: Lab, pairs: ProcessPoolExecutor) -> None:
    add(lab, 60)
    claims = claim(lab, 60)
    both = [pairs.submit(racers.finish_all, address(lab), claims) for _ in range(2)]
    ended = [step for one in both for step in one.result(90)]

    assert sorted(ended) == sorted(one.id for one in claims)
    assert states(lab) == {"done": 60}


@ON_BOTH
def test_a_worker_that_was_paused_until_it_counted_as_dead_can_not_finish(lab: Lab, pairs: ProcessPoolExecutor) -> None:
    lab = replace(lab, settings=lab.settings.model_copy(update={"work": Work(heartbeat_grace=timedelta(seconds=1))}))
    add(lab, 1)
    paused = pairs.submit(racers.hold_then_finish, address(lab), str(uuid.uuid4()), 0.1)
    pid = _pid_of_the_worker(lab)
    os.kill(pid, signal.SIGSTOP)
    try:
        assert _swept_within(lab, seconds=20) == 1
        (other,) = claim(lab, 1)
        with lab.database.write("finish") as session:
            ledger.finish(session, other, {"made": "by another"})
            raise_alert(session, Subject("message", "go"), "go", "finish now", database_now(session))
    finally:
        os.kill(pid, signal.SIGCONT)

    assert paused.result(60) == "lost"
    with lab.database.read() as session:
        assert session.scalars(select(Step.result)).one() == {"made": "by another"}


@pytest.mark.postgres
def test_a_scan_that_is_matched_while_we_wait_for_it_is_locked_with_its_case(lab_on_postgres: Lab) -> None:
    lab = lab_on_postgres
    message_arrives(lab, order("26H1", A))
    scan_id = scan_arrives(lab, SmallSlide(codes=("unknown",), quality="review"))
    run_until_calm(lab)
    case, began, locked, let_go = the_case(lab), threading.Event(), threading.Event(), threading.Event()

    def lock_it() -> None:
        with lab.database.write("second") as session:
            began.set()
            assert lock_scan(session, scan_id).case_id == case.id
            locked.set()
            let_go.wait(30)

    second = threading.Thread(target=lock_it)
    with lab.database.write("first") as session:
        scan = lock_scan(session, scan_id, case.id)
        second.start()
        began.wait(30)
        assert not locked.wait(0.3)
        scan.identity, scan.case_id, scan.slide_id = "matched", case.id, lab.ids.of("slide", "NET", A)
    assert locked.wait(30)
    with lab.database.read() as session:
        free = session.scalars(select(Case.id).with_for_update(skip_locked=True)).all()
    let_go.set()
    second.join()
    assert free == []


@pytest.mark.postgres
def test_many_workers_on_few_cases_never_wait_for_each_other_in_a_circle(lab_on_postgres: Lab) -> None:
    lab = lab_on_postgres
    names = [[f"26H00000{case}-A1-{slide}" for slide in range(1, 7)] for case in range(1, 4)]
    for round_ in range(3):
        for number, slides in enumerate(names):
            payload = order(
                f"26H{number}",
                *slides,
                control_id=f"M{round_}",
                sent_at=f"2025010{round_ + 1}120000+0000",
                stain=f"S{round_}",
            )
            message_arrives(lab, payload)
    for name in sorted((name for slides in names for name in slides), key=lambda name: name[-1]):
        scan_arrives(lab, SmallSlide(codes=(name,)))
    run_until_calm(lab, threads=4)

    with lab.database.read() as session:
        assert Counter(session.scalars(select(Scan.storage))) == {"proven": 18}
        assert Counter(session.scalars(select(Case.reading))) == {"assigned": 3}
        assert set(session.scalars(select(Step.state))) <= {"done", "superseded"}
    lab.database.close()
    with lab.database.read() as session:
        deadlocks = text("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()")
        assert session.scalars(deadlocks).one() == 0


def _pid_of_the_worker(lab: Lab) -> int:
    for _ in range(600):
        with lab.database.read() as session:
            pids = session.scalars(select(Worker.pid)).all()
        if pids:
            return int(pids[0])
        time.sleep(0.05)
    raise AssertionError("no worker began")


def _swept_within(lab: Lab, seconds: float) -> int:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if moved := sweep(lab):
            return moved
        time.sleep(0.1)
    return 0
