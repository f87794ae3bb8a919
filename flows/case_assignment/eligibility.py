"""Who may get a read: a table of rules, of which the first that speaks excludes."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from flows.case_assignment.candidate import Candidate, ReadToAssign
from flows.case_assignment.hours import absence_at, first_reading

GENERAL: Final = "general"
"""What a case is whose order names no subspecialty."""

# Somebody who reads nothing for so long can't be waited for by a read without a deadline.
_WITHOUT_DEADLINE: Final = timedelta(days=7)
# No roster is worth searching further ahead.
_FURTHEST: Final = timedelta(days=92)


@dataclass(frozen=True)
class Eligible:
    """May get the read: at which level, and when they read next (UTC)."""

    level: int
    reads_from: datetime


@dataclass(frozen=True)
class Excluded:
    """May not get the read: the first rule against it, and the sentence for people."""

    rule: str
    sentence: str


def eligible(read: ReadToAssign, candidate: Candidate, now: datetime) -> Eligible | Excluded:
    """Return whether a candidate may get a read at this moment.

    A deadline that has passed excludes nobody: such a read is looked at like one without.
    """
    for rule, objection in _RULES:
        sentence = objection(read, candidate, now)
        if sentence is not None:
            return Excluded(rule, sentence)
    before, deadline = _horizon(read, now)
    reads_from = first_reading(candidate, now, before)
    if reads_from is None:
        return Excluded("sessions", f"has no reading session {deadline}")
    return Eligible(candidate.levels[subspecialty_of(read)], reads_from)


def subspecialty_of(read: ReadToAssign) -> str:
    """Return the subspecialty that a reader of this read needs."""
    return read.subspecialty or GENERAL


def _horizon(read: ReadToAssign, now: datetime) -> tuple[datetime, str]:
    if read.due_at is None or read.due_at <= now:
        return now + _WITHOUT_DEADLINE, f"within the next {_WITHOUT_DEADLINE.days} days"
    return min(read.due_at, now + _FURTHEST), "before the deadline"


def _inactive(_read: ReadToAssign, candidate: Candidate, _now: datetime) -> str | None:
    return None if candidate.active else "reads no longer for this laboratory"


def _not_competent(read: ReadToAssign, candidate: Candidate, _now: datetime) -> str | None:
    wanted = subspecialty_of(read)
    return None if wanted in candidate.levels else f"has no valid competence to read {wanted} digitally"


def _in_conflict(read: ReadToAssign, candidate: Candidate, _now: datetime) -> str | None:
    return "may not have this read: a conflict is recorded" if candidate.pathologist_id in read.conflicts else None


def _on_leave(_read: ReadToAssign, candidate: Candidate, now: datetime) -> str | None:
    absence = absence_at(candidate, now)
    return None if absence is None else f"is on leave up to and including {absence.last_day.isoformat()}"


# The first rule that speaks is the one that people are told.
_RULES: Final[tuple[tuple[str, Callable[[ReadToAssign, Candidate, datetime], str | None]], ...]] = (
    ("active", _inactive),
    ("competence", _not_competent),
    ("conflict", _in_conflict),
    ("leave", _on_leave),
)
