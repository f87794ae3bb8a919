"""The generator and the scorer that state the problem, where they lie beside the checkout."""

import csv
import importlib.util
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from flows.case_assignment.plan.answer import as_csv
from flows.case_assignment.plan.instance import read_instance
from flows.case_assignment.plan.model import model_of
from flows.case_assignment.plan.objective import objective
from flows.case_assignment.plan.online import assign_one_by_one
from flows.case_assignment.plan.solve import solve

_SHARED = Path(__file__).resolve().parents[5] / "shared" / "assignment"


@pytest.fixture(scope="module")
def scorer() -> Iterator[ModuleType]:
    if not _SHARED.is_dir():
        pytest.skip("needs the generator and the scorer in ../shared/assignment, which are not here")
    # The generator imports the scorer by its bare name.
    yield _module("score_assignments")
    del sys.modules["score_assignments"]


def _module(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, _SHARED / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(("seed", "online"), [(3, False), (4, False), (3, True), (4, True)])
def test_the_scorer_finds_no_broken_rule_and_the_same_j(scorer: ModuleType, seed: int, online: bool) -> None:  # noqa: FBT001
    document = _module("generate_instance").generate(400, 60, 12, seed)
    model = model_of(read_instance(json.dumps(document)))
    owner = assign_one_by_one(model)[0] if online else solve(model)

    theirs = scorer.Model(document)
    answer, broken = scorer.violations(theirs, list(csv.DictReader(as_csv(model, owner).splitlines())))

    assert broken == []
    assert scorer.evaluate(theirs, answer)["J"] == pytest.approx(objective(model, owner).total)
