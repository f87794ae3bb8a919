"""A shift: one stage at work. It claims, keeps its child slots full, writes the ends, and stops when it is calm.

The work of a step runs in a thread (whose heavy part runs in a child process) outside of any transaction. The
ends of all steps that are ready together are written in one; when one of them can't be, each is written alone,
so that nobody pays for a neighbour.
"""

import logging
import threading
import time
from collections.abc import Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field

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
        while True:
            over = self.stop.is_set() or ended >= _MOST_STEPS or time.monotonic() - began > _LONGEST_SECONDS
            if not over:
                self._claim()
            if not self._running:
                if self._alone and not over:
                    self._start(self._alone.pop())
                    continue
                self._give_back_alone()
                return ended
            ended += self._write_what_ended()

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

    def _claim(self) -> None:
        if self._alone or any(claim.alone for claim in self._running.values()):
            return
        room = max(self._portion, self.child_slots) - len(self._running)
        lane = Lane.ROUTINE
        if room <= 0:
            if len(self._running) > self.child_slots:
                return
            room, lane = 1, Lane.INTRA_OPERATIVE
        try:
            with self.lab.database.write(f"{self.stage.name}.claim") as session:
                claimed = ledger.claim(session, self.worker_id, self._wanted(room, lane))
        except TransientError:
            time.sleep(_DATABASE_PAUSE_SECONDS)
            return
        for claim in claimed:
            if claim.alone:
                self._alone.append(claim)
            else:
                self._start(claim)

    def _start(self, claim: Claim) -> None:
        self._running[self._threads.submit(self._work, claim)] = claim

    def _work(self, claim: Claim) -> End:
        with self.lab.telemetry.step(claim.kind, claim.stage, claim.subject_kind, claim.subject_id, claim.attempt):
            return self.functions[claim.kind](self.lab, claim)

    def _write_what_ended(self) -> int:
        began = time.monotonic()
        done, _ = wait(self._running, timeout=_POLL_SECONDS, return_when=FIRST_COMPLETED)
        if not done:
            return 0
        ends = [(claim, self._end_of(claim, future)) for claim, future in self._popped(done)]
        quick = len(ends) >= self._portion and time.monotonic() - began < _SHORT_SECONDS
        self._portion = min(self._portion * 2, _MOST_AT_ONCE) if quick else self.child_slots
        self._write(ends)
        self.stir.stir()
        return len(ends)

    def _popped(self, done: set[Future[End]]) -> list[tuple[Claim, Future[End]]]:
        return [(self._running.pop(future), future) for future in done]

    def _end_of(self, claim: Claim, future: Future[End]) -> End:
        try:
            return future.result()
        except Exception as error:  # noqa: BLE001 - the one place where any trouble of a step becomes its end
            return in_trouble(self.lab, claim, error)

    def _write(self, ends: list[tuple[Claim, End]]) -> None:
        try:
            with self.lab.database.write(f"{self.stage.name}.end") as session:
                for _claim, end in ends:
                    end(session)
        except Exception:  # noqa: BLE001 - sorted out one by one below
            for claim, end in ends:
                self._write_alone(claim, end)

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
        """Write one end; while the database is away the result is kept and written when it is back."""
        while True:
            try:
                with self.lab.database.write(f"{self.stage.name}.end_alone") as session:
                    end(session)
            except TransientError:
                if self.stop.wait(_DATABASE_PAUSE_SECONDS):
                    return
            else:
                return

    def _give_back_alone(self) -> None:
        for claim in self._alone:
            with self.lab.database.write(f"{self.stage.name}.give_back") as session:
                ledger.give_back(session, claim)
        self._alone.clear()
