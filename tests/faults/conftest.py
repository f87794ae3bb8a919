"""What the fault tests share: a laboratory to copy, the end of an undisturbed run, and some laboratories at a time."""

import os
import shutil
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final, cast

import pytest

from tests.faults.decoding import Decoding
from tests.faults.experiment import Bench, Plan
from tests.faults.lab import NO_LABEL, NO_TISSUE, SLIDES, foreign_order, laboratory, make_template
from tests.faults.lims import Lims
from tests.faults.oracle import End, breaches, end_of
from tests.faults.zygote import Zygote

# Most of a journey is waiting: for files to settle, for a dead worker's grace. Two cores keep three of them busy, or
# two beside another test process.
_AT_ONCE: Final = 2 if "PYTEST_XDIST_WORKER" in os.environ else 3

_FIRST: Final = (
    *("test_kill.py", "test_kafka_chaos.py", "test_event_log.py", "test_kill_elsewhere.py", "test_demo_kafka.py"),
    *("test_conformance.py", "test_demo.py", "test_killed.py"),
    *("test_processes.py", "test_mutants.py", "test_gateway_cut_off.py", "test_cut_wires.py", "test_events_killed.py"),
)
"""The files that take longest, so that two processes are done at the same time; what computes beside what waits."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the longest files first."""
    items.sort(key=_turn)


def _turn(item: pytest.Item) -> int:
    is_first = item.path.name in _FIRST and item.get_closest_marker("faults") is not None
    return _FIRST.index(item.path.name) if is_first else len(_FIRST)


@pytest.fixture(scope="session")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """Laboratories to copy, and the journey as it should be."""
    folder = tmp_path_factory.mktemp("bench")
    with (
        Decoding() as decoding,
        Zygote(interpreter=decoding.interpreter) as zygote,
        ThreadPoolExecutor(2) as pool,
    ):
        template = make_template(folder / "template")
        asking = pool.submit(_ask_people, template, folder / "asking", zygote)
        finished = pool.submit(_undisturbed, template, folder / "finished", zygote)
        lims, end, passed = finished.result()
        yield Bench(template, folder / "finished", asking.result(), lims, end, passed, zygote)


def _undisturbed(template: Path, home: Path, zygote: Zygote) -> tuple[Lims, End, dict[str, Counter[str]]]:
    """Let the journey go by; its end is judged before anything is compared with it."""
    counted = "SELECT count(*) FROM step WHERE kind = 'count_deadlines' AND state = 'done'"
    with laboratory(template, home, zygote=zygote) as lab:
        logs = {process: home.parent / f"{process}.passed" for process in ("doors", "worker")}
        for process, log in logs.items():
            lab.start(process, COVERSLIP_FAILPOINT_LOG=str(log))
        # A case that came sooner would have its deadlines counted twice, or not, as it happens.
        lab.wait(lambda: lab.rows(counted) == [(1,)], "the first policy did not begin")
        lab.deliver()
        lab.until_quiet()
        passed = {process: Counter(log.read_text().split()) for process, log in logs.items()}
        assert lab.stop() == {"doors": 0, "worker": 0}
        assert breaches(lab) == []
        return lab.lims, end_of(lab), passed


def _ask_people(template: Path, home: Path, zygote: Zygote) -> Path:
    """Scan a slide without a label and one without tissue, until both wait for a person; and order what can't be."""
    asked = "SELECT count(*) FROM step WHERE waiting_for = 'a person'"
    with laboratory(template, home, zygote=zygote) as lab:
        for process in ("doors", "worker"):
            lab.start(process)
        lab.order()
        lab.lims.send(foreign_order(), lab.mllp)
        lab.scan(NO_LABEL, "unnamed.svs")
        lab.scan(NO_TISSUE, f"{SLIDES[1]}.svs")
        lab.wait(lambda: lab.rows(asked) == [(2,)] and not lab.moving(), "nobody is asked")
        lab.stop()
    return home


@dataclass(frozen=True)
class Experiments:
    """What is being found out, in several laboratories at a time and in the order of the tests that ask."""

    found: dict[Plan, Future[list[str]]]

    def __getitem__(self, plan: Plan) -> list[str]:
        return self.found[plan].result()


@pytest.fixture(scope="module")
def experiments(
    request: pytest.FixtureRequest, bench: Bench, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Experiments]:
    """Every experiment that the chosen tests of a file are parametrised with, begun in their order."""
    homes = tmp_path_factory.mktemp("experiments")

    def one(number: int, plan: Plan) -> list[str]:
        home = homes / str(number)
        found = plan.carry_out(bench, home)
        if not found:
            shutil.rmtree(home)
        return found

    beside = [item for item in request.session.items if item.path == request.path]
    asked = [item for item in beside if isinstance(item, pytest.Function)]
    plans = [plan for item in asked if "experiments" in item.fixturenames for plan in _plans(item)]
    with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="experiment") as pool:
        yield Experiments({plan: pool.submit(one, number, plan) for number, plan in enumerate(plans)})
        pool.shutdown(wait=True, cancel_futures=True)


def _plans(item: pytest.Function) -> list[Plan]:
    parameters: dict[str, object] = item.callspec.params if hasattr(item, "callspec") else {}
    return [cast("Plan", parameters["plan"])] if "plan" in parameters else []
