"""One experiment: the journey with one of its processes killed somewhere, its successor killed again or not."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.faults.lab import FaultLab, laboratory
from tests.faults.oracle import End, breaches

IN_A_CHILD: Final = "conversion."
"""Begins the names that only a decoding child passes: it dies alone, and its worker is killed after it."""

_DEATH_SECONDS: Final = 40.0


@dataclass(frozen=True)
class Plan:
    """Where to kill, and at which hit."""

    failpoint: str
    hit: int

    def __str__(self) -> str:
        return f"{self.failpoint}-{self.hit}"


@dataclass(frozen=True)
class Killed:
    """How often a process died, and every promise that was broken."""

    deaths: int
    breaches: tuple[str, ...]


def carry_out(
    plan: Plan, template: Path, home: Path, expected: End, process: str | None, passed: Mapping[str, int]
) -> Killed:
    """Run one journey disturbed as planned, then hold its end against an undisturbed one.

    A failpoint that a journey passes once is hit for the second time by the killed process's successor.
    """
    if process is None:
        return Killed(0, ())
    rounds = [f"{plan.failpoint}:{plan.hit}"]
    if plan.failpoint.startswith(IN_A_CHILD):
        rounds = [f"{plan.failpoint}:1"]
    elif passed[plan.failpoint] < plan.hit:
        rounds = [f"{plan.failpoint}:1"] * plan.hit
    with laboratory(template, home) as lab:
        deaths = _disturb(lab, process, rounds, plan.hit)
        if deaths == 0 and plan.hit > 1:
            # Two passes fell together this time (a shared commit): there is no second one to be killed at.
            deaths = 1
        lab.kill()
        return Killed(deaths, tuple(breaches(lab, expected)))


def _disturb(lab: FaultLab, process: str, rounds: Sequence[str], hit: int) -> int:
    """Run the journey to its end, killing one process once per round; return how often it died."""
    deaths = 0
    lab.start("worker" if process == "doors" else "doors")
    for number, failpoint in enumerate(rounds):
        log = lab.home / f"{number}.passed"
        lab.start(process, failpoint, COVERSLIP_FAILPOINT_LOG=str(log))
        if number == 0:
            lab.deliver()
        if failpoint.startswith(IN_A_CHILD):
            _kill_after_child(lab, log, failpoint, hit)
        if not _dies(lab, process):
            return deaths
        deaths += 1
    lab.start(process)
    lab.until_quiet()
    return deaths


def _dies(lab: FaultLab, process: str) -> bool:
    """Wait until a process was killed; false when the journey came to its end without it."""
    deadline = time.monotonic() + _DEATH_SECONDS
    while time.monotonic() < deadline:
        status = lab.running[process].process.poll()
        if status is not None:
            assert status == -9, f"{process} ended with {status}:\n{lab.logs()}"
            return True
        if not lab.unfinished():
            return False
        time.sleep(0.02)
    message = f"{process} neither died nor finished in {_DEATH_SECONDS:g} s: {lab.unfinished()}\n{lab.logs()}"
    raise AssertionError(message)


def _kill_after_child(lab: FaultLab, log: Path, failpoint: str, hit: int) -> None:
    """Wait until so many children were killed at their failpoint, each at its first hit; then kill the worker too."""
    name = failpoint.partition(":")[0]
    deadline = time.monotonic() + _DEATH_SECONDS
    while not log.exists() or log.read_text().split().count(name) < hit:
        assert time.monotonic() < deadline, f"{name} was not passed {hit} times\n{lab.logs()}"
        time.sleep(0.02)
    lab.running["worker"].process.kill()
