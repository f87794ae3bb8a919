"""A person has what lies in the event log read again: shown by kind first, then taken in as the intake would.

What is there already stays as it is, so the same may be asked for again after it was stopped. No position moves.
"""

import hashlib
import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from sqlalchemy import and_, bindparam, select
from sqlalchemy.orm import Session

from connectors.eventlog.protocol import EventReader, Extent, Record
from connectors.settings import Settings
from flows.actions.desk import Desk, Person
from flows.actions.replaying import put_back
from flows.books import Cause, Subject, note_changes
from flows.intake.events import keep_records
from flows.intake.inbox import Arrival, row_id
from flows.intake.parts import is_kept
from flows.intake.records import PartArrived, read_record, unread
from models.base import table_of
from models.database import database_now
from models.errors import CoverslipError, RefusedError, RejectedError
from models.events.envelope import parse
from models.tables.books import InboxMessage

_log = logging.getLogger(__name__)

Kind: TypeAlias = Literal["new", "would change", "duplicate", "poison"]
"""*new* never came into the inbox. *Would change* was set aside, and is tried again. A *duplicate* is there, and was
applied or waits: nothing changes. *Poison* can't be read as an event; where it is not there yet it is kept."""
KINDS: Final[tuple[Kind, ...]] = ("new", "would change", "duplicate", "poison")

Passed: TypeAlias = Callable[[int], None]
"""Told how many more records were looked at."""

_MOST_RECORDS: Final = 500
_INBOX = table_of(InboxMessage)
# What is in quarantine is let out by itself, and for what was edited another message stands.
_WAITS_FOR_A_PERSON = and_(
    _INBOX.c.state == "set aside", _INBOX.c.quarantined_at.is_(None), _INBOX.c.replaced_by_id.is_(None)
)
_THERE = select(_INBOX.c.id, _WAITS_FOR_A_PERSON.label("waits")).where(
    _INBOX.c.id.in_(bindparam("ids", expanding=True))
)


@dataclass(frozen=True)
class Stretch:
    """What is to be read again: parts of one topic, of one site's events or of all; at most so many a second."""

    topic: str
    extents: Sequence[Extent]
    site: str | None = None
    most: int = 10_000
    """More records than that would change are refused."""
    per_second: int = 500

    @property
    def size(self) -> int:
        """How many records it has at most."""
        return sum(extent.size for extent in self.extents)


@dataclass(frozen=True)
class Reread:
    """How many records of each kind there were, and how many of them change something, or did.

    ``ended_by`` says why it ended before its end, if it did.
    """

    counts: Mapping[Kind, int]
    changes: int
    ended_by: str | None = None


@dataclass(frozen=True)
class _Found:
    """A record: what it is to the inbox, and what holds it there or would."""

    read: Arrival | PartArrived
    kind: Kind
    place: tuple[str, int]
    is_there: bool

    @property
    def changes(self) -> bool:
        """Whether anything would be otherwise after it was taken."""
        return self.kind == "would change" or (not self.is_there and self.kind != "duplicate")


def preview_reread(desk: Desk, reader: EventReader, stretch: Stretch, passed: Passed, stop: threading.Event) -> Reread:
    """Look at each record, and say what taking it in would do.

    Raises
    ------
    RefusedError
        More records than ``most`` would change something; or some are not there any more.
    TransientError
        Log or database could not be reached.
    """
    counts: Counter[Kind] = Counter()
    changing: set[tuple[str, int]] = set()
    for records in _batches(desk.settings, reader, stretch, passed):
        if stop.is_set():
            return Reread(counts, len(changing), "it was stopped")
        with desk.database.read() as session:
            found = _sorted(session, desk, reader.cluster_id, records)
        counts += _counted(found, changing)
        if len(changing) > stretch.most:
            raise RefusedError(
                f"of {stretch.size} records more than {stretch.most} would change something: choose a shorter stretch, "
                "or allow more with --at-most"
            )
    return Reread(counts, len(changing))


def reread(
    desk: Desk, reader: EventReader, stretch: Stretch, person: Person, passed: Passed, stop: threading.Event
) -> Reread:
    """Take each record in that would change something; what was done stays done whatever ends it.

    Each transaction keeps who wanted it, and why, with every row that it adds or puts back.
    """
    counts: Counter[Kind] = Counter()
    changes = 0
    pace = _Pace(stretch.per_second)
    try:
        for records in _batches(desk.settings, reader, stretch, passed):
            if stop.is_set():
                return Reread(counts, changes, "it was stopped")
            if not records:
                continue
            changed: set[tuple[str, int]] = set()
            found = _take(desk, reader.cluster_id, stretch, records, person.cause("kafka replay"))
            counts += _counted(found, changed)
            changes += len(changed)
            pace.wait(len(changed), stop)
    except CoverslipError as error:
        return Reread(counts, changes, str(error).removesuffix(": tried again later").rstrip("."))
    return Reread(counts, changes)


class _Pace:
    """Holds back whoever is faster than so many a second."""

    def __init__(self, per_second: int) -> None:
        self._per_second = per_second
        self._due = time.monotonic()

    def wait(self, count: int, stop: threading.Event) -> None:
        """Return when these many are over, or at once when it is stopped."""
        self._due = max(self._due, time.monotonic() - 1) + count / self._per_second
        stop.wait(max(0.0, self._due - time.monotonic()))


def _batches(settings: Settings, reader: EventReader, stretch: Stretch, passed: Passed) -> Iterator[Sequence[Record]]:
    """Yield what is to be looked at; nothing now and then, so that it can be stopped."""
    most = min(_MOST_RECORDS, stretch.per_second)
    for extent in stretch.extents:
        at = extent.first
        for records in reader.read(extent, most):
            yield (
                records
                if stretch.site is None
                else [record for record in records if _site_of(settings, record) == stretch.site]
            )
            if records:
                passed(records[-1].offset + 1 - at)
                at = records[-1].offset + 1
        # What a transaction took back, and the log's own marks, have offsets and no records.
        passed(extent.end - at)


def _take(desk: Desk, cluster_id: str, stretch: Stretch, records: Sequence[Record], cause: Cause) -> list[_Found]:
    """Take in what changes something; return what was found."""
    with desk.database.write("rereading") as session:
        now = database_now(session)
        found = _sorted(session, desk, cluster_id, records)
        fresh = [one.read for one in found if one.changes and not one.is_there]
        new = keep_records(session, desk.settings, desk.ids, fresh, now)
        for row in sorted(new):
            note_changes(session, Subject("inbox", row), [("replayed", None, "taken in")], cause, now)
        again = sorted({one.place[0] for one in found if one.kind == "would change"})
        back = sum(put_back(session, desk, row, cause, now) for row in again)
        if fresh or back:
            said = f"offsets {records[0].offset} to {records[-1].offset} of partition {records[0].partition.number}"
            topic = Subject("topic", desk.ids.of("topic", cluster_id, stretch.topic))
            note_changes(session, topic, [("replayed", None, said)], cause, now)
    return found


def _sorted(session: Session, desk: Desk, cluster_id: str, records: Sequence[Record]) -> list[_Found]:
    """Say of each record what it would be to the inbox that there is now."""
    read = [_read(desk.settings, cluster_id, record) for record in records]
    rows = [
        _rows(desk, one, unread(desk.settings, cluster_id, record)) for one, record in zip(read, records, strict=True)
    ]
    asked = sorted({row for of_one in rows for row in of_one})
    there = {row: bool(waits) for row, waits in session.execute(_THERE, {"ids": asked})}
    return [_found(session, one, of_one, there) for one, of_one in zip(read, rows, strict=True)]


def _found(session: Session, read: Arrival | PartArrived, rows: Sequence[str], there: Mapping[str, bool]) -> _Found:
    row = next((row for row in rows if row in there), None)
    place = (row or rows[0], read.part.number if isinstance(read, PartArrived) and row is None else 0)
    if isinstance(read, Arrival) and read.source == "event" and read.message_type is None:
        return _Found(read, "poison", place, row is not None)
    if row is not None:
        return _Found(read, "would change" if there[row] else "duplicate", place, is_there=True)
    waits = isinstance(read, PartArrived) and is_kept(session, read)
    return _Found(read, "duplicate" if waits else "new", place, is_there=False)


def _rows(desk: Desk, read: Arrival | PartArrived, as_it_came: Arrival) -> list[str]:
    """Return the rows that may hold a record: as it is read, in its envelope, or from when it could not be read."""
    if isinstance(read, PartArrived):
        first, others = row_id(desk.ids, read.peer, read.part.sha256), (read.record, as_it_came)
    else:
        first = _row_of(desk, read)
        others = (*((read.otherwise,) if read.otherwise else ()), as_it_came)
    return [first, *(_row_of(desk, one) for one in others)]


def _row_of(desk: Desk, arrival: Arrival) -> str:
    return row_id(desk.ids, arrival.peer, hashlib.sha256(arrival.payload).hexdigest())


def _read(settings: Settings, cluster_id: str, record: Record) -> Arrival | PartArrived:
    try:
        return read_record(settings, cluster_id, record)
    except Exception as error:  # noqa: BLE001 - what our own code stumbles over is kept as it came, as at the intake
        _log.error("a record could not be read (%s): kept as it came", type(error).__name__)
        return unread(settings, cluster_id, record)


def _counted(found: Sequence[_Found], changing: set[tuple[str, int]]) -> "Counter[Kind]":
    """Count records by kind; what comes twice changes something once."""
    counts: Counter[Kind] = Counter()
    for one in found:
        comes_again = one.changes and one.place in changing
        counts["duplicate" if comes_again and one.kind != "poison" else one.kind] += 1
        if one.changes:
            changing.add(one.place)
    return counts


def _site_of(settings: Settings, record: Record) -> str | None:
    """Return the site that a record says it is from; what can't be read is from where its key says."""
    try:
        return parse(record.value or b"").origin.site
    except RejectedError:
        sites = {one.name: one.site for one in settings.scanners} | {one.peer: one.site for one in settings.listeners}
        return sites.get(unread(settings, "", record).peer)
