"""What giving a read to somebody costs: the whole step, from event to waiting message, beside the bare decision.

The step is the laboratory's own, in one worker, on SQLite that waits for its disk: a case becomes ready and its read is
to be assigned (a commit), the step is claimed, the people and their desks are read under the locks of their pools,
somebody is chosen, and the assignment, its record, the notice and the LIMS's message are stored (another commit, of up
to fifty ends). The bare decision is the choosing alone, of the same reads, out of the same people with full desks.
"""

import resource
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

from sqlalchemy import func, select

from connectors.wiring import Lab
from flows import reads
from flows.case_assignment.candidate import Candidate, ReadToAssign
from flows.case_assignment.choice import SmallestMarginalCost
from flows.case_assignment.eligibility import ruled_out_at_once
from flows.case_assignment.wanted import wanted
from flows.cases import lock_case
from flows.journey import CASE_ASSIGNMENT, STAGES
from flows.people.candidates import load_candidates
from flows.people.policies import policy_in_force
from flows.shift import Shift
from flows.steps import STEPS
from models.database import database_now
from models.tables.books import OutboxMessage
from models.tables.reading import Assignment, Read
from tests.flows.case_assignment.network import Size, settings_of, stock
from tests.small_lab import small_lab

_COMPARED = 500


@dataclass(frozen=True)
class Cost:
    """Milliseconds a read: by the clock, and of a processor."""

    wall_ms: float
    cpu_ms: float


@dataclass(frozen=True)
class Measured:
    """The whole step and its parts, and the bare decision."""

    reads: int
    event: Cost
    step: Cost
    bare: Cost
    bare_p99_ms: float
    candidates: float
    """How many may have a read, in the mean."""

    @property
    def ratio(self) -> float:
        """How much more processor time the whole takes than the choosing."""
        return (self.event.cpu_ms + self.step.cpu_ms) / self.bare.cpu_ms


def measure(folder: Path, size: Size) -> Measured:
    """Assign the reads of an invented network, and choose for some of them again without storing anything."""
    url = f"sqlite:///{folder / 'coverslip.db'}"
    small = small_lab(folder, url)
    lab = replace(small, settings=settings_of(folder, url, size))
    with lab.database.read() as session:
        now = database_now(session)
    read_ids = stock(lab.database, size, now)
    event = _timed(len(read_ids), lambda: _become_ready(lab, read_ids))
    step = _timed(len(read_ids), lambda: _work(lab))
    _expect_all_told(lab, len(read_ids))
    asked = [_asked(lab, one) for one in read_ids[:: max(1, len(read_ids) // _COMPARED)]]
    assigner, took = SmallestMarginalCost(), []
    before = time.process_time()
    for want, people in asked:
        began = time.perf_counter()
        assigner.choose(want, people, now)
        took.append(1e3 * (time.perf_counter() - began))
    bare = Cost(median(took), 1e3 * (time.process_time() - before) / len(asked))
    lab.database.close()
    could = sum(sum(ruled_out_at_once(want, one) is None for one in people) for want, people in asked) / len(asked)
    return Measured(len(read_ids), event, step, bare, sorted(took)[int(0.99 * len(took))], could)


def _timed(count: int, work: Callable[[], object]) -> Cost:
    wall, cpu = time.perf_counter(), _cpu_seconds()
    work()
    return Cost(1e3 * (time.perf_counter() - wall) / count, 1e3 * (_cpu_seconds() - cpu) / count)


def _become_ready(lab: Lab, read_ids: Sequence[str]) -> None:
    for read_id in read_ids:
        with lab.database.write("benchmark") as session:
            case = lock_case(session, session.get_one(Read, read_id).case_id)
            assert case is not None
            reads.have_it_read(session, case, database_now(session))


def _work(lab: Lab) -> None:
    stage = next(one for one in STAGES if one.name == CASE_ASSIGNMENT)
    shift = Shift(lab, stage, STEPS, "benchmark", 1, threading.Event())
    while shift.run():
        pass
    shift.close()


def _expect_all_told(lab: Lab, count: int) -> None:
    with lab.database.read() as session:
        given = session.scalar(select(func.count()).select_from(Assignment))
        told = session.scalar(select(func.count()).where(OutboxMessage.event_key.startswith("assigned:")))
    assert given == told == count, (given, told, count)


def _asked(lab: Lab, read_id: str) -> tuple[ReadToAssign, tuple[Candidate, ...]]:
    """Return what a decision about a read looks at, its people's desks as they are at the end."""
    with lab.database.read() as session:
        now = database_now(session)
        read = session.get_one(Read, read_id)
        case = lock_case(session, read.case_id)
        assert case is not None
        want = replace(wanted(session, case, read, policy_in_force(session, now).policy), before=None)
        among = load_candidates(
            session,
            now,
            subspecialty=want.subspecialty,
            among=lambda one: ruled_out_at_once(want, one) is None,
            lock_pool=False,
        )
    return want, among


def _cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime
