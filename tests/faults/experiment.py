"""Experiments: what is done to a laboratory, and which promises it breaks by that."""

import fcntl
import signal
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from tests.faults.lab import FaultLab, Running, laboratory
from tests.faults.lims import Lims
from tests.faults.oracle import End, breaches
from tests.faults.zygote import Zygote

_IN_A_CHILD: Final = "conversion."
"""Begins the names that only a decoding child passes: it dies alone, and its worker is killed after it."""

_DEATH_SECONDS: Final = 120.0
_LOOK_SECONDS: Final = 0.02
_LOOKS_A_QUESTION: Final = 10


@dataclass(frozen=True)
class Bench:
    """What experiments begin with and are held against.

    Attributes
    ----------
    template
        A state folder that is set up and empty.
    finished
        The state folder of the undisturbed run, at its end.
    asking
        A state folder in which one scan waits for a person to say which slide it is, and another for a verdict.
    lims
        What the LIMS of that run saw.
    end
        The rows of that end.
    passed
        How often each process passed each failpoint on its way there.
    zygote
        What processes are forked from, and their fork servers too.
    """

    template: Path
    finished: Path
    asking: Path
    lims: Lims
    end: End
    passed: dict[str, Counter[str]]
    zygote: Zygote

    def process_of(self, failpoint: str) -> str | None:
        """Return which process passes a failpoint on the journey, ``None`` when none does."""
        return next((process for process, names in self.passed.items() if names[failpoint]), None)


class Plan(Protocol):
    """One experiment, begun in a folder of its own, and told by a test's name."""

    def carry_out(self, bench: Bench, home: Path) -> list[str]:
        """Return every promise that was broken, a sentence each."""
        ...


@dataclass(frozen=True)
class OnTheWay:
    """One process is killed when it passes a failpoint for so many times, and started again.

    A failpoint that the journey passes less often is hit again by the killed process's successor.
    """

    failpoint: str
    hit: int

    def __str__(self) -> str:
        return f"{self.failpoint}-{self.hit}"

    def carry_out(self, bench: Bench, home: Path) -> list[str]:
        """Kill on the way, and hold the end against the undisturbed one."""
        process = bench.process_of(self.failpoint)
        if process is None:
            return [f"{self.failpoint} was never passed"]
        if self.failpoint.startswith(_IN_A_CHILD):
            return _with_children_killed(bench, home, self.failpoint, self.hit)
        reached = bench.passed[process][self.failpoint] >= self.hit
        rounds = [f"{self.failpoint}:{self.hit}"] if reached else [f"{self.failpoint}:1"] * 2
        with laboratory(bench.template, home, zygote=bench.zygote) as lab:
            deaths = killed_in_turn(lab, process, rounds)
            lab.until_quiet()
            lab.kill()
            # Two passes may fall together (a shared commit): then there is no second one to be killed at.
            alive = [] if deaths or self.hit > 1 else [f"nobody was killed at {self.failpoint}"]
            return [*alive, *breaches(lab, bench.end)]


@dataclass(frozen=True)
class InTurn:
    """The worker is killed at one failpoint, its successor at the next, and so on; the journey ends all the same."""

    failpoints: tuple[str, ...]

    def __str__(self) -> str:
        return self.failpoints[-1]

    def carry_out(self, bench: Bench, home: Path) -> list[str]:
        """Kill one after the other, and hold the end against the undisturbed one."""
        with laboratory(bench.template, home, zygote=bench.zygote) as lab:
            deaths = killed_in_turn(lab, "worker", self.failpoints)
            lab.until_quiet()
            lab.kill()
            alive = [] if deaths == len(self.failpoints) else [f"only {deaths} workers were killed"]
            return [*alive, *breaches(lab, bench.end)]


def killed_in_turn(
    lab: FaultLab, process: str, failpoints: Sequence[str], begin: Callable[[FaultLab], None] = FaultLab.deliver
) -> int:
    """Begin the journey and have a process killed once per failpoint; return how often it was, with all running again.

    It counts fewer than asked when the journey came to its end first.
    """
    lab.start("worker" if process == "doors" else "doors")
    for deaths, failpoint in enumerate(failpoints):
        lab.start(process, failpoint)
        if deaths == 0:
            begin(lab)
        if not dies(lab, process, finished=lambda: not lab.unfinished()):
            return deaths
    lab.start(process)
    return len(failpoints)


def dies(lab: FaultLab, process: str, finished: Callable[[], bool] = lambda: False) -> bool:
    """Wait until a process was killed; false when everything was finished without it."""
    deadline = time.monotonic() + _DEATH_SECONDS
    looks = 0
    while time.monotonic() < deadline:
        status = lab.running[process].process.poll()
        if status is not None:
            assert status == -9, f"{process} ended with {status}:\n{lab.logs()}"
            return True
        looks += 1
        # To ask the books costs much more than to ask whether it lives.
        if looks % _LOOKS_A_QUESTION == 0 and finished():
            return False
        time.sleep(_LOOK_SECONDS)
    message = f"{process} was not killed within {_DEATH_SECONDS:g} s: {lab.moving()}\n{lab.logs()}"
    raise AssertionError(message)


def pause_outside_of_writes(lab: FaultLab, running: Running) -> None:
    """Stop a process where it does not hold the database: one that does holds up every other, and rightly."""
    while True:
        running.process.send_signal(signal.SIGSTOP)
        with (lab.home / "coverslip.db.lock").open("ab") as lock, suppress(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        running.process.send_signal(signal.SIGCONT)
        time.sleep(0.01)


def _with_children_killed(bench: Bench, home: Path, failpoint: str, hit: int) -> list[str]:
    """Have so many decoding children killed, each where it first passes a failpoint; then kill their worker too."""
    with laboratory(bench.template, home, zygote=bench.zygote) as lab:
        log = home / "passed"
        lab.start("doors")
        worker = lab.start("worker", failpoint, COVERSLIP_FAILPOINT_LOG=str(log))
        lab.deliver()
        deadline = time.monotonic() + _DEATH_SECONDS
        while not log.exists() or log.read_text().split().count(failpoint) < hit:
            assert time.monotonic() < deadline, f"{failpoint} was not passed {hit} times\n{lab.logs()}"
            time.sleep(0.02)
        worker.process.kill()
        worker.ended()
        lab.start("worker")
        lab.until_quiet()
        lab.kill()
        return breaches(lab, bench.end)
