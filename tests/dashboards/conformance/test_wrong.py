"""The conformance run can fail: each of its tests does, against a Coverslip with a fault that it is there for."""

from collections.abc import Iterator

import pytest

from dashboards.conformance.run import TESTS, Stand
from dashboards.conformance.wrong import WRONG

pytestmark = [pytest.mark.long, pytest.mark.timeout(300)]

BY_ID = {test.id: test for test in TESTS}
# A relay keeps to a limit of a frame of its own, and waits longer for a silent PAWM than we do.
NOT_BY_RELAY = ("N15", "N19")
# What does not happen in this time does not happen.
_PATIENCE_SECONDS = 1.0
_NO_PATIENCE_SECONDS = 0.2


@pytest.fixture(scope="module")
def stand(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    """One Coverslip for all faults: what is wrong with it sits on the wire."""
    with Stand(tmp_path_factory.mktemp("wrong") / "home", _PATIENCE_SECONDS, relayed=True) as stand:
        yield stand


def test_a_relay_that_changes_nothing_lets_every_test_pass(stand: Stand) -> None:
    stand.be_wrong(None, patience=30.0)
    for test in TESTS:
        if test.id not in NOT_BY_RELAY:
            outcome = stand.play(test, "26H")
            assert outcome.passed, (test.id, [one for one in outcome.checks if not one.passed])


@pytest.mark.parametrize("name", [name for name in WRONG if name != "yes-man"])
def test_a_fault_fails_the_tests_that_are_there_for_it(stand: Stand, name: str) -> None:
    number = list(WRONG).index(name)
    stand.be_wrong(WRONG[name], _PATIENCE_SECONDS)
    assert WRONG[name].reddens
    for test in (BY_ID[one] for one in WRONG[name].reddens):
        outcome = stand.play(test, f"26F{number:02}")
        assert not outcome.passed, f"{test.id} passed against a Coverslip that {WRONG[name].what}"


def test_a_coverslip_that_says_yes_and_keeps_nothing_passes_no_test(stand: Stand) -> None:
    stand.be_wrong(WRONG["yes-man"], _NO_PATIENCE_SECONDS)
    for test in TESTS:
        outcome = stand.play(test, "26Y")
        assert not outcome.passed, test.id
