"""What the processes of a race do: each function runs in a process of its own, beside others that do the same."""

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from multiprocessing.synchronize import Barrier
from typing import Final

from sqlalchemy import func, insert, select, update

from flows import ledger
from flows.ledger import Claim, LostClaimError, Wait, Wanted
from models.database import Database, database_now
from models.tables.books import Alert
from models.tables.step import Step, Worker

DEADLINE: Final = timedelta(minutes=5)
_AT_ONCE: list[Barrier] = []


def meet(barrier: Barrier) -> None:
    """Prepare a process: it begins each race together with the others."""
    _AT_ONCE.append(barrier)


def go() -> None:
    """Wait for all the others of the race."""
    _AT_ONCE[0].wait(60)


def claim_all(url: str, worker_id: str) -> list[tuple[int, int]]:
    """Claim until nothing is left; return (step, attempt) of every claim."""
    with _opened(url) as database:
        go()
        won: list[tuple[int, int]] = []
        while True:
            with database.write("race") as session:
                got = ledger.claim(session, worker_id, Wanted("stage", ("race",), 3, DEADLINE))
                left = session.scalar(select(Step.id).where(Step.state == "ready").limit(1))
            won += [(one.id, one.attempt) for one in got]
            if not got and left is None:
                return won


def work_within_limits(url: str, worker_id: str) -> int:
    """Claim and finish slotted steps; return the most that ever ran at once, as seen from here."""
    with _opened(url) as database:
        go()
        most = 0
        while True:
            with database.write("race") as session:
                got = ledger.claim(session, worker_id, Wanted("stage", ("race",), 3, DEADLINE, slotted=True))
            with database.read() as session:
                running = select(func.count()).select_from(Step).where(Step.state == "running")
                most = max(most, session.scalars(running).one())
                left = session.scalar(select(Step.id).where(Step.state.in_(("ready", "running"))).limit(1))
            for one in got:
                with database.write("race") as session:
                    ledger.finish(session, one)
            if left is None:
                return most


def wait_unless_there(url: str, claims: list[Claim]) -> None:
    """Wait for what is not there yet, each time with a pause between the look and the wait."""

    def look_and_wait(database: Database, claimed: Claim) -> None:
        with database.write("race") as session:
            ledger.hold_key(session, "an order", claimed.subject_id)
            there = session.scalar(select(Alert.id).where(Alert.subject_id == claimed.subject_id))
            time.sleep(0.005)
            if there is not None:
                ledger.finish(session, claimed)
                return
            until = database_now(session) + DEADLINE
            ledger.wait(session, claimed, Wait("an order", claimed.subject_id, until, "then"))

    _round_by_round(url, claims, look_and_wait)


def bring_and_wake(url: str, claims: list[Claim]) -> None:
    """Bring what is waited for, and wake whoever waits for it."""

    def bring(database: Database, claimed: Claim) -> None:
        with database.write("race") as session:
            now = database_now(session)
            said = {"subject_kind": "case", "kind": "an order", "sentence": "it is there", "raised_at": now}
            session.execute(insert(Alert).values(subject_id=claimed.subject_id, **said))
            ledger.wake(session, "an order", claimed.subject_id)
            time.sleep(0.005)

    _round_by_round(url, claims, bring)


def finish_all(url: str, claims: list[Claim]) -> list[int]:
    """Finish claims that others finish too; return those whose end was ours."""
    ours: list[int] = []

    def finish(database: Database, claimed: Claim) -> None:
        try:
            with database.write("race") as session:
                ledger.finish(session, claimed)
        except LostClaimError:
            return
        ours.append(claimed.id)

    _round_by_round(url, claims, finish)
    return ours


def hold_then_finish(url: str, worker_id: str, every_s: float) -> str:
    """Claim a step, beat as a worker does, and finish when the books say "go"; say how that went."""
    with _opened(url) as database:
        with database.write("race") as session:
            now = database_now(session)
            values = {"id": worker_id, "host": "here", "pid": os.getpid(), "started_at": now, "heartbeat_at": now}
            session.execute(insert(Worker).values(**values, engine=""))
            (claimed,) = ledger.claim(session, worker_id, Wanted("stage", ("race",), 1, DEADLINE))
        done = threading.Event()
        beating = threading.Thread(target=_beat, args=(database, worker_id, every_s, done))
        beating.start()
        try:
            _until_told(database)
            with database.write("race") as session:
                ledger.finish(session, claimed, {"made": worker_id})
        except LostClaimError:
            return "lost"
        else:
            return "finished"
        finally:
            done.set()
            beating.join()


def _until_told(database: Database) -> None:
    """Wait for the word, at most a minute."""
    for _ in range(1_200):
        with database.read() as session:
            if session.scalar(select(Alert.id).where(Alert.subject_id == "go")) is not None:
                return
        time.sleep(0.05)


def _beat(database: Database, worker_id: str, every_s: float, done: threading.Event) -> None:
    while not done.wait(every_s):
        with database.write("beat") as session:
            session.execute(update(Worker).where(Worker.id == worker_id).values(heartbeat_at=database_now(session)))


def _round_by_round(url: str, claims: list[Claim], do: Callable[[Database, Claim], None]) -> None:
    with _opened(url) as database:
        for claimed in claims:
            go()
            do(database, claimed)


@contextmanager
def _opened(url: str) -> Iterator[Database]:
    database = Database(url)
    try:
        yield database
    finally:
        database.close()
