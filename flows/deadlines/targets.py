"""Which deadlines a case has by the laboratory's policy, and when each of them is. Rules only."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from flows.deadlines.calendar import (
    Calendar,
    Span,
    after_calendar_days,
    after_minutes,
    after_working_days,
    after_working_minutes,
)
from models.facets import LANE_OF_PRIORITY
from models.policy import Policy, Target

ORDERED: Final = "ordered"
"""The kind of deadline that the LIMS itself asked for."""

MDT: Final = "mdt"
"""The kind that a multidisciplinary meeting sets."""

A_MOMENT: Final = "moment"
"""The basis of a deadline that is not counted from anything: nothing pauses it."""

# What a LIMS says of when tissue came is believed within so much of when it was ordered.
_BELIEVED: Final = timedelta(days=366)


@dataclass(frozen=True)
class Round:
    """A round of a case as its deadlines count: what it is, and when each clock began."""

    lane: int
    subspecialty: str | None
    registered_at: datetime
    """When its order, or what opened this round, reached us."""
    received_at: datetime | None = None
    """When its first specimen came into the laboratory, as the LIMS says."""
    ready_at: datetime | None = None
    """When its images could be read first."""


@dataclass(frozen=True)
class Counted:
    """A deadline that the policy makes: of which kind, counted how, from when until when."""

    kind: str
    source: str
    basis: str
    starts_at: datetime
    due_at: datetime


def concerned(policy: Policy, lane: int, subspecialty: str | None) -> dict[str, Target]:
    """Return the targets that a case of this lane and subspecialty has, by kind."""
    return {
        kind: target
        for kind, target in policy.targets.items()
        if kind not in (ORDERED, MDT)
        and (not target.lanes or lane in {LANE_OF_PRIORITY[one] for one in target.lanes})
        and (not target.subspecialties or (subspecialty or "general") in target.subspecialties)
    }


def counted(policy: Policy, of: Round, calendar: Calendar, pauses: Sequence[Span] = ()) -> Iterator[Counted]:
    """Yield the deadlines that a policy makes for a round; a clock that has not begun makes none."""
    for kind, target in concerned(policy, of.lane, of.subspecialty).items():
        starts_at = _began(target, of)
        if starts_at is not None:
            due_at = _due(target, starts_at, calendar, pauses if target.pausable else ())
            yield Counted(kind, _in_words(target), target.basis, starts_at, due_at)


def is_pausable(policy: Policy, kind: str) -> bool:
    """Whether the clock of a kind of deadline stands still while its case is paused."""
    target = policy.targets.get(kind)
    return target is not None and target.pausable and kind not in (ORDERED, MDT)


def _began(target: Target, of: Round) -> datetime | None:
    if target.since == "ready":
        return of.ready_at
    received = of.received_at
    if target.since == "registered" or received is None or abs(received - of.registered_at) > _BELIEVED:
        return of.registered_at
    return received


def _due(target: Target, starts_at: datetime, calendar: Calendar, pauses: Sequence[Span]) -> datetime:
    working = target.basis == "working"
    if target.minutes is not None:
        if working:
            return after_working_minutes(starts_at, target.minutes, calendar, pauses)
        return after_minutes(starts_at, target.minutes, pauses)
    days = target.days or 0.0
    count = after_working_days if working else after_calendar_days
    return count(starts_at, days, calendar, pauses)


def _in_words(target: Target) -> str:
    if target.minutes is not None:
        length = f"{target.minutes:g} {'working ' if target.basis == 'working' else ''}minutes"
    else:
        length = f"{target.days:g} {target.basis} {'day' if target.days == 1 else 'days'}"
    return f"{length} since {target.since}"
