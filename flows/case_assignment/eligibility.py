"""Who may get a read: a table of rules, of which the first that speaks excludes."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from flows.case_assignment.candidate import Candidate, ReadToAssign
from flows.case_assignment.hours import absence_at, first_reading

# Somebody who reads nothing for so long can't be waited for by a read without a deadline.
_WITHOUT_DEADLINE: Final = timedelta(days=7)
# No roster is worth searching further ahead.
_FURTHEST: Final = timedelta(days=92)
_LEAD: Final = 1
_TRAINEE: Final = 3
_NONE: Final = 0

_Rule = Callable[[ReadToAssign, Candidate], str | None]


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
    excluded = ruled_out_at_once(read, candidate)
    if excluded is not None:
        return excluded
    absence = absence_at(candidate, now)
    if absence is not None:
        return Excluded("leave", f"is on leave up to and including {absence.last_day.isoformat()}")
    reads_from = first_reading(candidate, now, horizon_of(read, now))
    if reads_from is None:
        return Excluded("sessions", f"has no reading session {_deadline(read, now)}")
    if candidate.max_points is not None and candidate.open_points + read.points > candidate.max_points:
        has = f"has {candidate.open_points:g} of at most {candidate.max_points:g} points open"
        return Excluded("maximum", f"{has}: {read.points:g} more would be too many")
    level = level_of(read, candidate)
    assert level is not None  # noqa: S101 - or it was ruled out
    return Eligible(level, reads_from)


def level_of(read: ReadToAssign, candidate: Candidate) -> int | None:
    """Return at which level somebody reads such a case, on all that it is read on; the lowest one of several."""
    asked = ((read.medium.digital, candidate.levels), (read.medium.glass, candidate.glass_levels))
    found = [levels.get(read.subspecialty, _NONE) for needed, levels in asked if needed]
    return max(found) if _NONE not in found else None


def ruled_out_at_once(read: ReadToAssign, candidate: Candidate) -> Excluded | None:
    """Return what keeps a candidate from a read whatever the hour is and lies on their desk."""
    for rule, objection in _RULES:
        sentence = objection(read, candidate)
        if sentence is not None:
            return Excluded(rule, sentence)
    return None


def horizon_of(read: ReadToAssign, now: datetime) -> datetime:
    """Return before when somebody has to read next who is to have a read; one that is overdue has as long as any."""
    if read.due_at is None or read.due_at <= now:
        return now + _WITHOUT_DEADLINE
    return min(read.due_at, now + _FURTHEST)


def _deadline(read: ReadToAssign, now: datetime) -> str:
    if read.due_at is None or read.due_at <= now:
        return f"within the next {_WITHOUT_DEADLINE.days} days"
    return "before the deadline"


def _inactive(_read: ReadToAssign, candidate: Candidate) -> str | None:
    return None if candidate.active else "reads no longer for this laboratory"


def _not_competent(read: ReadToAssign, candidate: Candidate) -> str | None:
    level = level_of(read, candidate)
    if level is None:
        return f"has no valid competence to read {read.subspecialty} {_how(read)}"
    if read.role == "trainee":
        return None if level == _TRAINEE else f"is no trainee in {read.subspecialty}"
    if level == _TRAINEE:
        return f"is a trainee in {read.subspecialty}: reads it ahead of a supervisor only"
    if read.role == "second" and level != _LEAD:
        return f"does not lead in {read.subspecialty}: only who does reads it second"
    return None


def _how(read: ReadToAssign) -> str:
    if not read.medium.glass:
        return "digitally"
    return "digitally and on glass" if read.medium.digital else "on glass"


def _out_of_scope(read: ReadToAssign, candidate: Candidate) -> str | None:
    if read.role == "trainee":
        return None if candidate.site_id == read.site_id else "works at another site: a trainee reads at their own"
    if read.scope == "national" or candidate.network_id == read.network_id or candidate.network_id in read.aided_by:
        return None
    if read.scope == "network":
        return f"works for another network: {read.subspecialty} is read within the network and by those who aid it"
    if read.region is not None and candidate.region == read.region:
        return None
    return f"works in another region: {read.subspecialty} is read within the region and by those who aid the network"


def _reads_it_otherwise(read: ReadToAssign, candidate: Candidate) -> str | None:
    return "has another read of this case" if candidate.pathologist_id in read.reads_otherwise else None


def _in_conflict(read: ReadToAssign, candidate: Candidate) -> str | None:
    return "may not have this read: a conflict is recorded" if candidate.pathologist_id in read.conflicts else None


def _declined(read: ReadToAssign, candidate: Candidate) -> str | None:
    return "gave this read back" if candidate.pathologist_id in read.declined else None


def _cut_off(_read: ReadToAssign, candidate: Candidate) -> str | None:
    return "works at a site that is cut off, and can't open images now" if candidate.cut_off else None


# The first rule that speaks is the one that people are told.
_RULES: Final[tuple[tuple[str, _Rule], ...]] = (
    ("active", _inactive),
    ("competence", _not_competent),
    ("scope", _out_of_scope),
    ("other read", _reads_it_otherwise),
    ("conflict", _in_conflict),
    ("declined", _declined),
    ("cut off", _cut_off),
)
