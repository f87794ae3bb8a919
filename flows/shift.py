"""A shift: one stage at work. It claims, keeps its child slots full, writes the ends, and stops when it is calm.

The work of a step runs in a thread (whose heavy part runs in a child process) outside of any transaction. The
ends of all steps that are ready together are written in one; when one of them can't be, each is written alone,
so that nobody pays for a neighbour.
"""

import logging
import threading
import time
from collections.abc import Mapping
from concurrent.futures import ALL_COMPLETED, FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field

from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from connectors.wiring import Lab
from flows import ledger
from flows.journey import Stage
from flows.ledger import Claim, LostClaimError, Wanted
from flows.step import End, StepFunction
from flows.trouble import in_trouble
from models.errors import TransientError
from models.facets import Lane

_log = logging.getLogger(__name__)

# A shift ends after so much, so that a run in Prefect's list stays a readable portion of work.
_MOST_STEPS = 1_000
_LONGEST_SECONDS = 20.0
# Short steps are claimed in larger portions, or the claims would cost more than the work.
_MOST_AT_ONCE = 50
_SHORT_SECONDS = 0.25
_POLL_SECONDS = 0.1
_DATABASE_PAUSE_SECONDS = 0.5


class Stir:
    """Lets the stages of one process hear at once that there may be work."""

    def __init__(self) -> None:
        self._changed = threading.Condition()

    def stir(self) -> None:
        """Wake whoever waits."""
        with self._changed:
            self._changed.notify_all()

    def wait(self, seconds: float) -> None:
        """Wait until somebody stirs, at most so long."""
        with self._changed:
            self._changed.wait(seconds)


@dataclass
class Shift:
    """One stage's loop in one worker process."""

    lab: Lab
    stage: Stage
    functions: Mapping[str, StepFunction]
    worker_id: str
    child_slots: int
    stop: threading.Event
    stir: Stir = field(default_factory=Stir)

    def __post_init__(self) -> None:
        # One thread more than slots: room that only the first lane may use.
        self._threads = ThreadPoolExecutor(self.child_slots + 1, thread_name_prefix=self.stage.name)
        self._portion = self.child_slots
        self._running: dict[Future[End], Claim] = {}
        self._alone: list[Claim] = []

    def has_work(self) -> str | None:
        """Return the subject that would be claimed next, without claiming it."""
        with self.lab.database.read() as session:
            return ledger.next_subject(session, self._wanted(1, Lane.ROUTINE))

    def run(self) -> int:
        """Work until the stage is calm or the shift is long enough; return how many steps ended."""
        began, ended = time.monotonic(), 0
        ends: list[tuple[Claim, End]] = []
        while True:
            over = self.stop.is_set() or ended >= _MOST_STEPS or time.monotonic() - began > _LONGEST_SECONDS
            wanted = None if over else self._what_to_claim()
            if ends or wanted:
                self._turn(ends, wanted)
            if not self._running:
                if self._alone and not over:
                    self._start(self._alone.pop())
                else:
                    self._give_back_alone()
                    return ended
            ends = self._wait_for_ends()
            ended += len(ends)

    def close(self) -> None:
        """Let the threads go; call it when no shift runs."""
        self._threads.shutdown(wait=True)

    def _wanted(self, limit: int, most_lane: int) -> Wanted:
        return Wanted(
            stage=self.stage.name,
            kinds=tuple(kind for kind in self.stage.kinds if kind in self.functions),
            limit=limit,
            deadline=self.stage.deadline,
            most_lane=most_lane,
            places=("", self.lab.spool.place),
            slotted=self.stage.slotted,
            ordered=self.stage.ordered,
        )

    def _turn(self, ends: list[tuple[Claim, End]], wanted: Wanted | None) -> None:
        """Write what has ended and claim what comes next."""
        # Each end locks its own cases in order; on PostgreSQL two shifts' ends of several would wait for each other.
        together = self.lab.database.is_sqlite or len(ends) <= 1
        self._begin((self._turn_together if together else self._turn_one_by_one)(ends, wanted))
        if ends:
            self.stir.stir()

    def _turn_together(self, ends: list[tuple[Claim, End]], wanted: Wanted | None) -> tuple[Claim, ...]:
        """Do a turn in one transaction; when some part of it can't be done, each part alone."""
        try:
            with self.lab.database.write(f"{self.stage.name}.{'end' if ends else 'claim'}") as session:
                for _claim, end in ends:
                    end(session)
                return ledger.claim(session, self.worker_id, wanted) if wanted else ()
        except Exception:  # noqa: BLE001 - sorted out one by one
            return self._turn_one_by_one(ends, wanted)

    def _turn_one_by_one(self, ends: list[tuple[Claim, End]], wanted: Wanted | None) -> tuple[Claim, ...]:
        """Do what a turn does, each part in a transaction of its own."""
        for claim, end in ends:
            self._write_alone(claim, end)
        try:
            with self.lab.database.write(f"{self.stage.name}.claim_alone") as session:
                return ledger.claim(session, self.worker_id, wanted) if wanted else ()
        except TransientError:
            time.sleep(_DATABASE_PAUSE_SECONDS)
            return ()

    def _begin(self, claimed: tuple[Claim, ...]) -> None:
        for claim in claimed:
            if claim.alone:
                self._alone.append(claim)
            else:
                self._start(claim)

    def _what_to_claim(self) -> Wanted | None:
        """Return what there is room for: usually anything; beside full slots, one of the first lane."""
        if self._alone or any(claim.alone for claim in self._running.values()):
            return None
        room = max(self._portion, self.child_slots) - len(self._running)
        if room > 0:
            return self._wanted(room, Lane.ROUTINE)
        return self._wanted(1, Lane.INTRA_OPERATIVE) if len(self._running) <= self.child_slots else None

    def _start(self, claim: Claim) -> None:
        self._running[self._threads.submit(self._work, claim)] = claim

    def _work(self, claim: Claim) -> End:
        with self.lab.telemetry.step(claim.kind, claim.stage, claim.subject_kind, claim.subject_id, claim.attempt):
            return self.functions[claim.kind](self.lab, claim)

    def _wait_for_ends(self) -> list[tuple[Claim, End]]:
        began = time.monotonic()
        # Short steps end together in one transaction; a long one is written as soon as it has ended.
        until = ALL_COMPLETED if self._portion > self.child_slots else FIRST_COMPLETED
        done, _ = wait(self._running, timeout=_POLL_SECONDS, return_when=until)
        ends = [(claim, self._end_of(claim, future)) for claim, future in self._popped(done)]
        if done:
            quick = not self._running and time.monotonic() - began < _SHORT_SECONDS
            self._portion = min(self._portion * 2, _MOST_AT_ONCE) if quick else self.child_slots
        return ends

    def _popped(self, done: set[Future[End]]) -> list[tuple[Claim, Future[End]]]:
        return [(self._running.pop(future), future) for future in done]

    def _end_of(self, claim: Claim, future: Future[End]) -> End:
        try:
            return future.result()
        except Exception as error:  # noqa: BLE001 - the one place where any trouble of a step becomes its end
            return in_trouble(self.lab, claim, error)

    def _write_alone(self, claim: Claim, end: End) -> None:
        """Write one end; when only the writing found the trouble, the trouble is its end."""
        try:
            self._write_when_possible(end)
        except LostClaimError:
            return
        except Exception as error:  # noqa: BLE001 - as in _end_of
            trouble = in_trouble(self.lab, claim, error)
            try:
                self._write_when_possible(trouble)
            except Exception:  # noqa: BLE001 - as in _end_of
                # The step's deadline brings it back: nothing is lost, and the stage goes on.
                _log.exception("the end of step %s of %s could not be written", claim.kind, claim.subject_id)

    def _write_when_possible(self, end: End) -> None:
        """Write one end; while the database is away the result is kept and written when it is back.

        What the end itself has to say is raised: waiting here for anything but the database would hold the stage.
        """
        said: list[TransientError] = []
        came_second = False
        while True:
            try:
                with self.lab.database.write(f"{self.stage.name}.end_alone") as session:
                    _noting(said, end, session)
            except TransientError:
                if said:
                    raise
                if self.stop.wait(_DATABASE_PAUSE_SECONDS):
                    return
            except IntegrityError:
                # Another worker made the same row at the same moment: now it is there to be seen.
                if came_second:
                    raise
                came_second = True
            else:
                return

    def _give_back_alone(self) -> None:
        for claim in self._alone:
            with self.lab.database.write(f"{self.stage.name}.give_back") as session:
                ledger.give_back(session, claim)
        self._alone.clear()


def _noting(said: list[TransientError], end: End, session: Session) -> None:
    """Write an end; note that a trouble is the end's own and not the database's."""
    try:
        end(session)
    except TransientError as error:
        said.append(error)
        raise
