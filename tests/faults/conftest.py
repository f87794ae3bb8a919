"""What the fault tests share: a laboratory to copy, the end of an undisturbed run, and three laboratories at a time."""

import shutil
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from tests.faults.experiment import Killed, Plan, carry_out
from tests.faults.lab import laboratory, make_template
from tests.faults.oracle import End, Object, breaches, end_of, objects_of

# Most of a journey is waiting: for files to settle, for a dead worker's grace. Two cores keep three of them busy.
_AT_ONCE: Final = 3


@dataclass(frozen=True)
class Undisturbed:
    """How the journey ends when nobody disturbs it, and how often each process passes each failpoint on its way."""

    end: End
    objects: tuple[Object, ...]
    passed: dict[str, Counter[str]]

    def process_of(self, failpoint: str) -> str | None:
        """Return which process passes a failpoint, ``None`` when none does."""
        return next((process for process, names in self.passed.items() if names[failpoint]), None)


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A laboratory that is set up, to be copied."""
    return make_template(tmp_path_factory.mktemp("template") / "home")


@pytest.fixture(scope="session")
def undisturbed(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    """The journey as it should be; its end is judged before anything is compared with it."""
    home = tmp_path_factory.mktemp("undisturbed") / "home"
    with laboratory(template, home) as lab:
        for process in ("doors", "worker"):
            lab.start(process, COVERSLIP_FAILPOINT_LOG=str(home / f"{process}.passed"))
        lab.deliver()
        lab.until_quiet()
        assert lab.stop() == {"doors": 0, "worker": 0}
        assert breaches(lab) == []
        passed = {process: Counter((home / f"{process}.passed").read_text().split()) for process in ("doors", "worker")}
        return Undisturbed(end_of(lab), tuple(objects_of(lab)), passed)


@dataclass(frozen=True)
class Experiments:
    """What is being found out, in several laboratories at a time and in the order of the tests that ask."""

    found: dict[Plan, Future[Killed]]

    def __getitem__(self, plan: Plan) -> Killed:
        return self.found[plan].result()


@pytest.fixture(scope="session")
def experiments(
    request: pytest.FixtureRequest, template: Path, undisturbed: Undisturbed, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Experiments]:
    """Every experiment that the chosen tests are parametrised with, begun in their order."""
    homes = tmp_path_factory.mktemp("experiments")

    def one(number: int, plan: Plan) -> Killed:
        home = homes / str(number)
        passed = {name: count for names in undisturbed.passed.values() for name, count in names.items()}
        killed = carry_out(plan, template, home, undisturbed.end, undisturbed.process_of(plan.failpoint), passed)
        if not killed.breaches:
            shutil.rmtree(home)
        return killed

    asked = [item for item in request.session.items if isinstance(item, pytest.Function)]
    plans = [plan for item in asked if isinstance(plan := _parameters(item).get("plan"), Plan)]
    with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="experiment") as pool:
        yield Experiments({plan: pool.submit(one, number, plan) for number, plan in enumerate(plans)})
        pool.shutdown(wait=True, cancel_futures=True)


def _parameters(item: pytest.Function) -> dict[str, object]:
    return dict(item.callspec.params) if hasattr(item, "callspec") else {}
