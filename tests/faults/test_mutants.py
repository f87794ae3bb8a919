"""The proof that these tests see anything: deliberate bugs, each caught by what it breaks."""

import pytest

from tests.faults.conftest import Experiments
from tests.faults.mutants import MUTANTS, Mutant
from tests.faults.power_cut import NO_TRACER

pytestmark = pytest.mark.faults


@pytest.mark.timeout(300)
@pytest.mark.parametrize("plan", MUTANTS, ids=str)
def test_a_deliberate_bug_is_caught(plan: Mutant, experiments: Experiments) -> None:
    found = "\n".join(experiments[plan])

    if NO_TRACER in found:
        pytest.skip(NO_TRACER)
    assert plan.caught_by in found
