"""Invented people and reads that the tests of assignment vary."""

from dataclasses import replace
from datetime import UTC, datetime, time
from typing import Any

from flows.case_assignment.candidate import Candidate, ReadToAssign, WeeklySession

# A Monday morning in winter, when London's clock shows UTC.
MONDAY = datetime(2026, 11, 23, 10, 0, tzinfo=UTC)

OFFICE_HOURS = tuple(WeeklySession(weekday, time(9), time(17)) for weekday in range(5))

_READ = ReadToAssign("read-1", "case-1", "site-a", "breast", 4.0, 2, None)
_CANDIDATE = Candidate("a", "Dr A. Nobody", "site-a", "Europe/London", 100.0, {"breast": 1}, OFFICE_HOURS)


def a_read(**changes: Any) -> ReadToAssign:  # noqa: ANN401 - any field of a read
    """Return a routine read of breast without a deadline, changed as said."""
    return replace(_READ, **changes)


def somebody(**changes: Any) -> Candidate:  # noqa: ANN401 - any field of a candidate
    """Return a full-timer at site-a who leads in breast and has an empty desk, changed as said."""
    return replace(_CANDIDATE, **changes)
