"""The audit of the books: a table of checks, each of which must find nothing."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from itertools import islice
from typing import Final

from sqlalchemy import func, select

from flows.audit.conservation import scans_are_conserved
from flows.audit.covered import specimens_are_read_once
from flows.audit.due import cases_are_due_by_their_deadlines
from flows.audit.holdings import archive_holds_what_the_books_say
from flows.audit.inbox import messages_have_their_steps
from flows.audit.names import human_actions_are_named
from flows.audit.outbox import events_are_told_once_and_in_order
from flows.audit.owners import reads_have_one_owner
from flows.audit.rebuilt_cases import cases_are_their_facts
from flows.audit.rebuilt_patients import patients_are_their_facts
from flows.audit.rebuilt_scans import scans_are_their_facts
from flows.audit.snapshots import Books, snapshot
from flows.audit.spool_files import spool_holds_what_the_books_say
from flows.audit.waiting import everything_goes_on, nothing_is_past_its_time
from models.tables.case import Case, Patient
from models.tables.scan import Instance, Scan, ScanFile

# Sentences that are kept of one check: more would not be read.
_MOST_SENTENCES: Final = 1_000
# What was under way at the first look is over at the second.
_SECOND_LOOK_AFTER: Final = timedelta(seconds=2)


@dataclass(frozen=True)
class Check:
    """One promise, and how every breach of it is found: a sentence each, of ids only."""

    name: str
    promise: str
    breaches: Callable[[Books], Iterator[str]]


#         name            promise                                                              found by
CHECKS: Final = (
    Check("scans", "no scan is lost", scans_are_conserved),
    Check("inbox", "every message that came in is applied, will be, or was set aside", messages_have_their_steps),
    Check(
        "archive", "the archive holds exactly what the books say, each object once", archive_holds_what_the_books_say
    ),
    Check("owners", "no read ever had two owners", reads_have_one_owner),
    Check("outbox", "each event is told once, and in order", events_are_told_once_and_in_order),
    Check("time", "nothing is past its time in silence", nothing_is_past_its_time),
    Check("waiting", "nothing waits unseen", everything_goes_on),
    Check("spool", "the spool holds exactly what the books say", spool_holds_what_the_books_say),
    Check("scan facts", "every scan is what its facts say", scans_are_their_facts),
    Check("case facts", "every case is what its facts say", cases_are_their_facts),
    Check("specimens", "each specimen is in exactly one open primary read", specimens_are_read_once),
    Check("due", "every case is due by the earliest of its deadlines", cases_are_due_by_their_deadlines),
    Check("patient facts", "every patient is what its facts say", patients_are_their_facts),
    Check("names", "every human action has a name on it", human_actions_are_named),
)


@dataclass(frozen=True)
class Finding:
    """What one check found; the books agree when it is nothing."""

    check: Check
    sentences: tuple[str, ...]


def audit(
    books: Books, checks: tuple[Check, ...] = CHECKS, *, second_look_after: timedelta = _SECOND_LOOK_AFTER
) -> Iterator[Finding]:
    """Make every check and yield what it found, at most a thousand sentences each.

    A laboratory at work changes while it is looked at. So what a check finds counts only when it finds it again a
    moment later.

    Raises
    ------
    TransientError
        The database, the archive or the spool is away: nothing can be said.
    """
    for check in checks:
        found = list(islice(check.breaches(books), _MOST_SENTENCES))
        if found:
            time.sleep(second_look_after.total_seconds())
            again = set(check.breaches(books))
            found = [sentence for sentence in found if sentence in again]
        yield Finding(check, tuple(found))


def rows_to_look_at(books: Books) -> int:
    """Return how many rows an audit reads portion by portion, for a progress bar."""
    with snapshot(books.database) as session:
        tables = (Scan, Case, Patient, Instance, ScanFile)
        return sum(session.scalar(select(func.count()).select_from(table)) or 0 for table in tables)
