"""Whole processes that die, hang or lose one another: nobody is left behind, and the journey ends the same."""

import os
import random
import signal
import time
from pathlib import Path
from typing import Final

import pytest

from tests.faults.experiment import Bench, pause_outside_of_writes
from tests.faults.lab import FaultLab, laboratory, wait_for_port
from tests.faults.oracle import breaches

pytestmark = [pytest.mark.faults, pytest.mark.timeout(300)]

_SEEDS: Final = (1, 2, 3, 4)
_LONGEST_PAUSE_S: Final = 2.5
_RUNS: Final = "Prefect runs and shows the flows"


@pytest.mark.parametrize("seed", _SEEDS)
def test_processes_that_are_killed_at_any_moment_break_no_promise(bench: Bench, tmp_path: Path, seed: int) -> None:
    moments = random.Random(seed)
    with laboratory(bench.template, tmp_path / "home") as lab:
        for name in ("doors", "worker"):
            lab.start(name)
        lab.deliver()
        # The doors at any time; the worker twice, since a step that a third one loses is set aside, and rightly.
        for name in moments.sample(("doors", "doors", "worker", "worker"), k=4):
            time.sleep(moments.uniform(0.0, _LONGEST_PAUSE_S))
            lab.running[name].process.kill()
            lab.running[name].ended()
            lab.start(name)
        lab.until_quiet()
        lab.kill()

        assert breaches(lab, bench.end) == [], f"seed {seed}"


def test_a_killed_supervisor_leaves_no_orphan(bench: Bench, tmp_path: Path) -> None:
    with laboratory(bench.template, tmp_path / "home") as lab:
        up = lab.start("up")
        wait_for_port(lab.mllp)
        lab.wait(lambda: len(_descendants(up.process.pid)) >= 3, "the fork server was never started")
        ours = _descendants(up.process.pid)

        up.process.kill()
        up.ended()

        _all_end(lab, ours)


def test_a_supervisor_that_is_killed_while_its_children_start_leaves_no_orphan(bench: Bench, tmp_path: Path) -> None:
    with laboratory(bench.template, tmp_path / "home") as lab:
        up = lab.start("up")
        lab.wait(lambda: len(_children(up.process.pid)) == 2, "the children were never started")
        ours = _descendants(up.process.pid)

        up.process.kill()
        up.ended()

        _all_end(lab, ours)


def test_a_supervisor_starts_again_what_was_killed_and_the_journey_ends_the_same(bench: Bench, tmp_path: Path) -> None:
    with laboratory(bench.template, tmp_path / "home") as lab:
        up = lab.start("up")
        wait_for_port(lab.mllp)
        lab.deliver()
        _until_running(lab, "slide_qc")
        os.kill(_pid_of(lab, "worker"), signal.SIGKILL)
        os.kill(_pid_of(lab, "doors"), signal.SIGKILL)
        lab.until_quiet()
        up.process.terminate()

        assert up.ended() == 0
        assert breaches(lab, bench.end) == []


def test_a_killed_fork_server_costs_a_try_and_nothing_else(bench: Bench, tmp_path: Path) -> None:
    with laboratory(bench.template, tmp_path / "home") as lab:
        lab.start("doors")
        worker = lab.start("worker")
        lab.deliver()
        for kind in ("slide_qc", "convert"):
            _until_running(lab, kind)
            [server] = _children(worker.process.pid)
            os.kill(server, signal.SIGKILL)
        lab.until_quiet()
        lab.kill()

        assert breaches(lab, bench.end) == []


def test_a_worker_that_wakes_after_its_grace_ends_nothing_that_another_took_over(bench: Bench, tmp_path: Path) -> None:
    with laboratory(bench.template, tmp_path / "home") as lab:
        lab.start("doors")
        lab.deliver()
        paused = lab.start("worker")
        _until_running(lab, "slide_qc")
        pause_outside_of_writes(lab, paused)
        try:
            lab.start("worker")
            lab.until_quiet()
            # It wakes with its work done, and finds that its attempt is another's.
            paused.process.send_signal(signal.SIGCONT)
            paused.process.terminate()
            assert paused.ended() == 0
        finally:
            paused.process.kill()

        assert lab.stop()["worker"] == 0
        assert breaches(lab, bench.end) == []


def test_slides_move_on_when_prefect_is_killed_and_all_that_it_knew_is_lost(bench: Bench, tmp_path: Path) -> None:
    standing = "SELECT engine FROM worker ORDER BY heartbeat_at DESC LIMIT 1"
    with laboratory(bench.template, tmp_path / "home") as lab:
        lab.run_with_prefect()
        up = lab.start("up")
        lab.wait(lambda: lab.rows(standing) == [(_RUNS,)], "Prefect never ran", seconds=120)
        lab.deliver()
        _until_running(lab, "slide_qc")
        os.kill(_pid_of(lab, "prefect"), signal.SIGKILL)
        for lost in (lab.home / "prefect").glob("*.db*"):
            lost.unlink()
        lab.until_quiet()
        lab.wait(lambda: lab.rows(standing) == [(_RUNS,)], "Prefect never came back", seconds=120)
        up.process.terminate()

        assert up.ended(60) == 0
        assert breaches(lab, bench.end) == []


def _all_end(lab: FaultLab, pids: set[int]) -> None:
    """Wait until none of these processes lives; end those that do not end by themselves."""
    try:
        lab.wait(lambda: not any(map(_lives, pids)), "a child outlived its supervisor")
    finally:
        for pid in filter(_lives, pids):
            os.kill(pid, signal.SIGKILL)


def _until_running(lab: FaultLab, kind: str) -> None:
    running = f"SELECT id FROM step WHERE kind = '{kind}' AND state = 'running'"  # noqa: S608 - a word of our own
    lab.wait(lambda: lab.rows(running) != [], f"{kind} never ran")


def _pid_of(lab: FaultLab, name: str) -> int:
    pids = dict(line.split() for line in (lab.home / "pids").read_text("ascii").splitlines())
    return int(pids[name])


def _children(pid: int) -> list[int]:
    """Return the children of a process, as Linux lists them by the thread that started each."""
    tasks = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(child) for task in tasks for child in task.read_text().split()]


def _descendants(pid: int) -> set[int]:
    children = _children(pid)
    return {*children, *(below for child in children for below in _descendants(child))}


def _lives(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"
