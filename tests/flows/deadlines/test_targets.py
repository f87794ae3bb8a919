"""Which deadlines a case has by the policy."""

from datetime import UTC, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

import pytest
from pydantic import ValidationError

from flows.deadlines.calendar import Calendar, Span
from flows.deadlines.targets import Counted, Round, counted, is_pausable
from models.facets import Lane
from models.policy import Policy, Target

MONDAY: Final = datetime(2026, 11, 23, 14, tzinfo=UTC)
LONDON: Final = Calendar(ZoneInfo("Europe/London"))
DAY: Final = timedelta(days=1)


def made(
    target: Target, of: Round | None = None, pauses: tuple[Span, ...] = (), lane: int = Lane.ROUTINE
) -> Counted | None:
    policy = Policy(targets={"one": target})
    return next(counted(policy, of or Round(lane, None, MONDAY), LONDON, pauses), None)


def due(target: Target, of: Round | None = None, pauses: tuple[Span, ...] = ()) -> datetime:
    found = made(target, of, pauses)
    assert found is not None
    return found.due_at


@pytest.mark.parametrize(
    ("target", "of", "starts"),
    [
        (Target(days=1), Round(2, None, MONDAY, MONDAY - DAY, MONDAY + DAY), MONDAY),
        (Target(days=1, since="received"), Round(2, None, MONDAY, MONDAY - DAY, MONDAY + DAY), MONDAY - DAY),
        (Target(days=1, since="ready"), Round(2, None, MONDAY, MONDAY - DAY, MONDAY + DAY), MONDAY + DAY),
        # Nobody said when it came, or said what can't be.
        (Target(days=1, since="received"), Round(2, None, MONDAY), MONDAY),
        (Target(days=1, since="received"), Round(2, None, MONDAY, MONDAY + 400 * DAY), MONDAY),
        (Target(days=1, since="received"), Round(2, None, MONDAY, datetime.max.replace(tzinfo=UTC)), MONDAY),
    ],
)
def test_a_clock_begins_with_what_its_target_says(target: Target, of: Round, starts: datetime) -> None:
    found = made(target, of)

    assert found is not None
    assert (found.starts_at, found.due_at) == (starts, starts + DAY)


def test_a_clock_that_has_not_begun_makes_no_deadline() -> None:
    assert made(Target(minutes=20, since="ready")) is None


@pytest.mark.parametrize(
    ("target", "said"),
    [
        (Target(days=10), "10 calendar days since registered"),
        (Target(days=1, basis="working", since="received"), "1 working day since received"),
        (Target(days=2.5), "2.5 calendar days since registered"),
        (Target(minutes=20), "20 minutes since registered"),
        (Target(minutes=90, basis="working"), "90 working minutes since registered"),
    ],
)
def test_a_deadline_says_how_it_is_counted(target: Target, said: str) -> None:
    found = made(target)

    assert found is not None
    assert found.source == said


def test_only_a_target_that_may_be_paused_is() -> None:
    paused = (Span(MONDAY, MONDAY + DAY),)

    assert due(Target(days=1), pauses=paused) == MONDAY + 2 * DAY
    assert due(Target(days=1, pausable=False), pauses=paused) == MONDAY + DAY
    assert due(Target(minutes=60, basis="working"), pauses=paused) == MONDAY + DAY + timedelta(hours=1)
    policy = Policy(targets={"one": Target(days=1), "two": Target(days=1, pausable=False)})
    assert [is_pausable(policy, kind) for kind in ("one", "two", "ordered", "mdt")] == [True, False, False, False]


@pytest.mark.parametrize(
    ("lanes", "subspecialties", "of", "concerned"),
    [
        ((), (), Round(Lane.ROUTINE, None, MONDAY), True),
        (("urgent",), (), Round(Lane.URGENT, None, MONDAY), True),
        (("urgent",), (), Round(Lane.ROUTINE, None, MONDAY), False),
        ((), ("breast",), Round(Lane.ROUTINE, "breast", MONDAY), True),
        ((), ("breast",), Round(Lane.ROUTINE, None, MONDAY), False),
        ((), ("general",), Round(Lane.ROUTINE, None, MONDAY), True),
        (("urgent",), ("breast",), Round(Lane.URGENT, "skin", MONDAY), False),
    ],
)
def test_a_target_concerns_its_lanes_and_subspecialties(
    lanes: tuple[str, ...],
    subspecialties: tuple[str, ...],
    of: Round,
    concerned: bool,  # noqa: FBT001 - a parameter
) -> None:
    target = Target.model_validate({"days": 1, "lanes": lanes, "subspecialties": subspecialties})

    assert (made(target, of) is not None) == concerned


@pytest.mark.parametrize("name", ["ordered", "mdt"])
def test_what_others_set_is_no_target(name: str) -> None:
    with pytest.raises(ValidationError, match="is what a LIMS asks for or a meeting sets"):
        Policy(targets={name: Target(days=1)})
