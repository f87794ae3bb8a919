"""Eight processes that assign the same reads: each has one owner, decisions are serial, nobody passes a maximum."""

import multiprocessing
import random
from collections import Counter, defaultdict
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from connectors.settings import Settings
from flows import reads
from flows.books import Cause
from flows.case_assignment.choice import Choice
from flows.case_assignment.giving import decide, give
from flows.case_assignment.replaying import replay
from flows.cases import lock_case
from models.database import Database, database_now
from models.tables.reading import Assignment, Read
from tests.flows import racers
from tests.flows.case_assignment.network import Size, settings_of, stock
from tests.migrated import migrated
from tests.small_lab import ON_BOTH

PROCESSES = 8


def assign_all(settings: Settings, read_ids: tuple[str, ...], seed: int) -> Counter[str]:
    """Assign every read that nobody has, in an order of one's own; return how often that came too late, and so on."""
    database = Database(settings.database)
    found: Counter[str] = Counter()
    racers.go()
    for read_id in random.Random(seed).sample(read_ids, len(read_ids)):
        with database.read() as session:
            if reads.owner_of(session, read_id) is not None:
                continue
        with database.write("race") as session:
            found[_assign(settings, session, session.get_one(Read, read_id))] += 1
    database.close()
    return found


def _assign(settings: Settings, session: Session, read: Read) -> str:
    case = lock_case(session, read.case_id)
    assert case is not None
    if reads.owner_of(session, read.id) is not None:
        return "too late"
    now = database_now(session)
    chosen = decide(session, case, read, now, frozenset())
    if not isinstance(chosen, Choice):
        return "escalated"
    record: dict[str, Any] = {"decided_by": "coverslip", "explanation": chosen.explanation.model_dump(mode="json")}
    give(session, settings, case, read, chosen.pathologist_id, cause=Cause("race"), now=now, **record)
    return "given"


@ON_BOTH
@pytest.mark.parametrize(
    "size",
    [
        pytest.param(Size(people=24, sites=6, reads=120, max_points=32.0), id="120", marks=pytest.mark.faults),
        pytest.param(Size(max_points=60.0), id="2000", marks=[pytest.mark.long, pytest.mark.timeout(900)]),
    ],
)
def test_eight_processes_that_assign_the_same_reads(database_url: str, tmp_path: Path, size: Size) -> None:
    settings = settings_of(tmp_path, database_url, size)
    database = migrated(settings.database)
    with database.read() as session:
        now = database_now(session)
    read_ids = stock(database, size, now)
    database.close()
    spawned = multiprocessing.get_context("spawn")
    barrier = spawned.Barrier(PROCESSES)
    with ProcessPoolExecutor(PROCESSES, spawned, racers.meet, (barrier,)) as processes:
        work = [processes.submit(assign_all, settings, read_ids, seed) for seed in range(PROCESSES)]
        counted: Counter[str] = Counter()
        for one in work:
            counted += one.result()
    assert size.reads * 0.8 < counted["given"] <= size.reads
    hold_the_record(settings, counted["given"], size.max_points)


def hold_the_record(settings: Settings, given: int, max_points: float) -> None:
    """Go through the decisions in the order in which they were made: each saw what those before it had given."""
    database = Database(settings.database)
    with database.read() as session:
        made = session.scalars(select(Assignment).order_by(Assignment.id)).all()
        points = {read.id: read.points for read in session.scalars(select(Read))}
    database.close()
    desks: defaultdict[str, float] = defaultdict(float)
    # Nobody's assignment was ever ended, so each read had one owner, ever.
    assert given == len(made) == len({one.read_id for one in made})
    for one in made:
        record = one.explanation
        seen = {person["pathologist_id"]: person["open_points"] for person in record["best"]}
        assert seen == {person: desks[person] for person in seen}
        assert replay(record) == one.pathologist_id
        desks[one.pathologist_id] += points[one.read_id]
    assert max(desks.values()) <= max_points
