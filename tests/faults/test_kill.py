"""Kill -9 at every failpoint that a slide passes on its way: the journey ends as if nothing had happened."""

import sys
from collections.abc import Iterator
from typing import Final

import pytest

from flows.journey import STAGES
from tests.faults.conftest import Experiments
from tests.faults.experiment import Bench, OnTheWay
from tests.faults.survey import survey

_ANY_STAGE: Final = {
    "claim_alone": "only after a shared turn failed; the same line for every stage",
    "end_alone": "only after a shared turn failed; the same line for every stage",
    "give_back": "only when a worker is told to end between two lines; the same lines for every stage",
}
ELSEWHERE: Final = {
    "archive.after_move": "only when an edition is withdrawn",
    "archive.after_prepare": "only at set-up",
    "archive.after_reject": "only when an edition is withdrawn",
    "archive.before_prepare": "only at set-up",
    "archive.before_reject": "only when an edition is withdrawn",
    "consumer_": "only where Kafka is read: tests/flows/intake/test_events_killed.py kills there",
    "correct.": "only when an archived scan's case turns out to be another patient's",
    "deadlines.count": "only when there are open cases from before: deadlines/test_recounting.py kills there",
    "deadlines.forgotten": "only when a clock stood still too long: deadlines/test_recounting.py kills there",
    "deadlines.watch": "only when something is late: deadlines/test_recounting.py kills there",
    "edit.": "only when a person acts",
    "event.": "only where Kafka is written to: tests/flows/sending/test_published_killed.py kills there",
    "events.": "only where Kafka is read: tests/flows/intake/test_events_killed.py kills there",
    "events_anew.": "only when a topic of Kafka was made anew: test_events_killed.py kills there",
    "events_house.": "only where Kafka is read: tests/flows/intake/test_events_killed.py kills there",
    "first_lab.": "only at the first start",
    "migrate.": "only at set-up",
    "people.": "only at set-up, or when a person acts",
    "policy.": "only when a person acts: tests/flows/people/test_killed.py kills there",
    "preview.": "only when a person looks: it commits nothing",
    "rereading.": "only when a person acts: tests/flows/actions/test_rereading.py kills there",
    "rebalance.": "only when open reads are looked at: case_assignment/rebalance/test_killed.py kills there",
    "reject.": "only when an edition is withdrawn",
    "replay.": "only when a person acts",
    "spool.after_remove": "only when a file is refused or delivered twice",
    "spool.before_remove": "only when a file is refused or delivered twice",
    "sweep_alerts.": "only when what an alert tells of is over",
    "sweep_lost.": "only after a worker died",
    "sweep_places.": "only when nobody works at a place: tests/flows/test_sweep_places.py kills there",
    "sweep_storms.": "only when a peer's storm is over: tests/flows/intake/test_events_killed.py kills there",
    "sweep_set_aside.": "only when a step stopped its worker three times",
    "topics.": "only when topics of Kafka are made: tests/dashboards/cli/test_kafka.py kills there",
    "worker.end.": "only when a worker is told to end",
    **{f"{stage.name}.{verb}.": why for stage in STAGES for verb, why in _ANY_STAGE.items()},
}
"""How names begin that an undisturbed journey does not pass, and why; test_kill_elsewhere.py kills there."""

NAMES: Final = tuple(survey().names)
JOURNEY: Final = [name for name in NAMES if not name.startswith(tuple(ELSEWHERE))]
# Each of two scans is converted, stored and proven: six ends, and each is a place of its own to die.
_MORE_HITS: Final = {"archive_upload.end.before_commit": 6, "archive_upload.end.after_commit": 6}
PLANS: Final = [OnTheWay(name, hit) for name in JOURNEY for hit in range(1, _MORE_HITS.get(name, 2) + 1)]
_LATER: Final = [plan for plan in PLANS if plan.hit > 1 and plan.failpoint not in _MORE_HITS]
_MARKED: Final = [
    pytest.param(plan, id=str(plan), marks=pytest.mark.long if plan in _LATER else pytest.mark.faults) for plan in PLANS
]
"""Every place where a process can die is tried with every change; the same place once more, before a release."""


@pytest.mark.timeout(300)
@pytest.mark.parametrize("plan", _MARKED)
def test_the_journey_ends_as_if_no_process_had_been_killed(plan: OnTheWay, experiments: Experiments) -> None:
    assert experiments[plan] == []


@pytest.mark.faults
def test_every_failpoint_is_passed_by_the_journey_or_has_its_reason(
    bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    with capsys.disabled():
        sys.stdout.write("\n" + "".join(f"{line}\n" for line in _table(bench)))

    assert [name for name in NAMES if (bench.process_of(name) is not None) != (name in JOURNEY)] == []


@pytest.mark.faults
def test_no_reason_is_given_for_what_is_not_there() -> None:
    assert [start for start in ELSEWHERE if not any(name.startswith(start) for name in NAMES)] == []


def _table(bench: Bench) -> Iterator[str]:
    """Yield which failpoints the journey passes, how often and in which process, then the others by their reason."""
    for process, passed in bench.passed.items():
        yield f"{process} passes " + ", ".join(f"{name} x{count}" for name, count in sorted(passed.items()))
    for reason in sorted(set(ELSEWHERE.values())):
        starts = tuple(start for start, why in ELSEWHERE.items() if why == reason)
        yield f"not passed, {reason}: " + ", ".join(name for name in NAMES if name.startswith(starts))
