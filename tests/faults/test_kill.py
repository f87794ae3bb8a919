"""Kill -9 at every failpoint that a slide passes on its way: the journey ends as if nothing had happened."""

import sys
from typing import Final

import pytest

from tests.faults.conftest import Experiments, Undisturbed
from tests.faults.experiment import Plan
from tests.faults.survey import survey

pytestmark = pytest.mark.faults

_SHARED_END: Final = "only when a shared end fails: test_kill_elsewhere, for one stage; the others run the same line"
_GIVEN_BACK: Final = "only when a worker is told to end between two lines: test_kill_elsewhere, for one stage"

ELSEWHERE: Final = {
    "archive.after_move": "only when an edition is withdrawn",
    "archive.after_prepare": "only at set-up",
    "archive.after_reject": "only when an edition is withdrawn",
    "archive.before_prepare": "only at set-up",
    "archive.before_reject": "only when an edition is withdrawn",
    "first_lab.": "only at the first start",
    "migrate.": "only at set-up",
    "people.": "only at set-up, and when a person acts",
    "reject.": "only when an edition is withdrawn",
    "spool.after_remove": "only when a file is refused or delivered twice",
    "spool.before_remove": "only when a file is refused or delivered twice",
    "sweep_lost.": "only after a worker died",
    "sweep_set_aside.": "only when a step stopped its worker three times",
    "worker.end.": "only when a worker is told to end",
    **{f"{stage}.end_alone.": _SHARED_END for stage in ("archive_upload", "barcode_matching", "case_assignment")},
    **{f"{stage}.end_alone.": _SHARED_END for stage in ("intake", "sending", "slide_qc")},
    **{f"{stage}.give_back.": _GIVEN_BACK for stage in ("archive_upload", "barcode_matching", "case_assignment")},
    **{f"{stage}.give_back.": _GIVEN_BACK for stage in ("intake", "sending", "slide_qc")},
}
"""How names begin that an undisturbed journey does not pass, and why; test_kill_elsewhere.py kills there."""

JOURNEY: Final = [name for name in survey().names if not name.startswith(tuple(ELSEWHERE))]


@pytest.mark.timeout(300)
@pytest.mark.parametrize("plan", [Plan(name, hit) for name in JOURNEY for hit in (1, 2)], ids=str)
def test_the_journey_ends_as_if_no_process_had_been_killed(plan: Plan, experiments: Experiments) -> None:
    killed = experiments[plan]

    assert killed.deaths >= 1, f"{plan.failpoint} was never passed"
    assert killed.breaches == ()


def test_every_failpoint_is_passed_by_the_journey_or_has_its_reason(
    undisturbed: Undisturbed, capsys: pytest.CaptureFixture[str]
) -> None:
    passed = {name: undisturbed.process_of(name) for name in survey().names}
    with capsys.disabled():
        sys.stdout.write("\n" + "".join(f"{_line(undisturbed, name)}\n" for name in passed))

    assert [name for name, process in passed.items() if (process is not None) != (name in JOURNEY)] == []


def _line(undisturbed: Undisturbed, name: str) -> str:
    process = undisturbed.process_of(name)
    if process is not None:
        return f"{undisturbed.passed[process][name]:4d} x {name:45s} {process}"
    return f"   - x {name:45s} {next((why for start, why in ELSEWHERE.items() if name.startswith(start)), '')}"


def test_no_reason_is_given_for_what_is_not_there() -> None:
    assert [start for start in ELSEWHERE if not any(name.startswith(start) for name in survey().names)] == []
