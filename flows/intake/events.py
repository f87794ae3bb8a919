"""The door of the event log: records become inbox rows, and how far we read is committed with them.

One poll is one write transaction, and never more than one poll is in memory. Whatever happens between two of its
instructions, each record is in the inbox exactly when the position is beyond it: the positions come from the database
whenever partitions are assigned, and what comes again changes nothing. Nothing is acted on here.
"""

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache, partial
from typing import Final, TypeAlias

from sqlalchemy.orm import Session

from connectors.eventlog.protocol import EventSource, Partition, Positions, Record, Trouble
from connectors.settings import Settings
from flows.intake import positions
from flows.intake.consumers import Standing
from flows.intake.inbox import Arrival, keep_all
from flows.intake.parts import raise_missing, take_parts
from flows.intake.profiles import profile_of
from flows.intake.records import PartArrived, read_record, unread
from models.database import Database, database_now
from models.errors import RefusedError, TransientError
from models.failpoint import failpoint
from models.opaque import OpaqueIds

_log = logging.getLogger(__name__)

_MOST_RECORDS: Final = 500
_TELL: Final = timedelta(seconds=2)
_LEAVE: Final = timedelta(seconds=5)
_HOUSE_SECONDS: Final = 60.0
_BACK_OFF_SECONDS: Final = (0.2, 0.5, 1.0, 2.0, 5.0)


@dataclass(frozen=True)
class Doorway:
    """What the door stands in: whose inbox it fills, under which rules; ``poll`` is how long it waits for records."""

    settings: Settings
    database: Database
    ids: OpaqueIds
    poll: timedelta = timedelta(seconds=1)


Opened: TypeAlias = Callable[[Positions], EventSource]
_Reading: TypeAlias = Callable[[Settings, str, Record], Arrival | PartArrived]


def take_events(doorway: Doorway, opened: Opened, stop: threading.Event, ready: Callable[[], None]) -> None:
    """Read an event log into the inbox until ``stop`` is set; then leave the group, so that others take over at once.

    Parameters
    ----------
    opened
        Makes the source, given what tells it where to go on reading.
    ready
        Called once, when the log has answered for the first time.

    Raises
    ------
    RefusedError
        The log can't be read as the settings say, or does not have a topic that is to be read; or a listener's
        profile can't be read.
    """
    standing = Standing(doorway.database)
    reader = _Reader(doorway, standing)
    standing.begin()
    try:
        reader.open(opened, stop)
        reader.run(stop, ready)
    finally:
        reader.close()
        standing.end()


class _Reader:
    """One member of the group, from its first poll to its last."""

    def __init__(self, doorway: Doorway, standing: Standing) -> None:
        self._doorway = doorway
        self._standing = standing
        # Made once, and now: they are read from files, and one that can't be is told of before the first record.
        profile_for = cache(partial(profile_of, doorway.settings))
        for listener in doorway.settings.listeners:
            profile_for(listener.peer)
        self._read_record = partial(read_record, profile_for=profile_for)
        self._misses = 0
        self._house_at = 0.0
        self._source: EventSource | None = None

    def open(self, opened: Opened, stop: threading.Event) -> None:
        """Open the log; while it is away, try again."""
        while self._source is None and not stop.is_set():
            try:
                self._source = opened(self._positions)
            except TransientError as error:
                self._standing.away(str(error))
                self._back_off(stop)

    def run(self, stop: threading.Event, ready: Callable[[], None]) -> None:
        """Poll until told to stop; trouble that may pass is waited for, and told."""
        is_ready = False
        while self._source is not None and not stop.is_set():
            try:
                self._take(self._source)
                if not is_ready:
                    _expect_topics(self._source)
                    ready()
                    is_ready = True
                self._misses = 0
                self._standing.reads(self._source)
                self._keep_house()
            except TransientError as error:
                self._standing.away(str(error))
                self._back_off(stop)

    def close(self) -> None:
        """Leave the group."""
        if self._source is not None:
            self._source.close(_LEAVE)

    def _take(self, source: EventSource) -> None:
        """Poll, and keep what came; what could not be kept is asked for again."""
        records = source.poll(self._doorway.poll, _MOST_RECORDS)
        troubles = source.troubles()
        if not records and not troubles:
            return
        try:
            read = self._keep(source.cluster_id, records, troubles)
        except BaseException:
            source.rewind()
            raise
        failpoint("events.before_tell")
        source.commit(read, _TELL)
        failpoint("events.after_tell")

    def _keep(self, cluster_id: str, records: Sequence[Record], troubles: Sequence[Trouble]) -> Mapping[Partition, int]:
        """Commit records and the positions behind them; what our own code stumbles over is kept as it came."""
        try:
            return self._write(cluster_id, records, troubles, self._read_record)
        except TransientError:
            raise
        except Exception as error:  # noqa: BLE001 - one record must not hold up all that come after it
            # Its text may quote the record.
            _log.error("%d records could not be read (%s): kept as they came", len(records), type(error).__name__)
            return self._write(cluster_id, records, troubles, unread)

    def _write(
        self, cluster_id: str, records: Sequence[Record], troubles: Sequence[Trouble], reading: _Reading
    ) -> Mapping[Partition, int]:
        settings, ids = self._doorway.settings, self._doorway.ids
        read = {record.partition: record.offset + 1 for record in records}
        found = [reading(settings, cluster_id, record) for record in records]
        with self._doorway.database.write("events") as session:
            now = database_now(session)
            keep_records(session, settings, ids, found, now)
            positions.note_troubles(session, ids, cluster_id, troubles, now)
            positions.advance(session, cluster_id, read, now)
        return read

    def _positions(self, partitions: Sequence[Partition]) -> Mapping[Partition, int]:
        """Tell the log where to go on, and people of a topic that is not the one that was read before."""
        assert self._source is not None  # noqa: S101 - it asks while it is polled
        cluster_id = self._source.cluster_id
        with self._doorway.database.read() as session:
            known = positions.positions(session, cluster_id, partitions)
            others = positions.made_anew(session, cluster_id, partitions)
        if others:
            with self._doorway.database.write("events_anew") as session:
                now = database_now(session)
                positions.raise_made_anew(session, self._doorway.ids, cluster_id, others, now)
        return known

    def _back_off(self, stop: threading.Event) -> None:
        """Wait, longer each time; a poll for nothing keeps our place in the group meanwhile."""
        seconds = _BACK_OFF_SECONDS[min(self._misses, len(_BACK_OFF_SECONDS) - 1)]
        self._misses += 1
        if not stop.wait(seconds) and self._source is not None:
            with suppress(TransientError):
                self._source.poll(timedelta(0), 0)

    def _keep_house(self) -> None:
        if time.monotonic() < self._house_at:
            return
        self._house_at = time.monotonic() + _HOUSE_SECONDS
        with self._doorway.database.write("events_house") as session:
            raise_missing(session, self._doorway.ids, database_now(session))


def keep_records(
    session: Session, settings: Settings, ids: OpaqueIds, found: Sequence[Arrival | PartArrived], now: datetime
) -> frozenset[str]:
    """Put what records are to the inbox into it, and each message whose last part came; return the ids of new rows."""
    parts = [one for one in found if isinstance(one, PartArrived)]
    arrivals = [one for one in found if isinstance(one, Arrival)]
    arrivals += take_parts(session, settings, ids, parts, now)
    return keep_all(session, ids, arrivals, now)


def _expect_topics(source: EventSource) -> None:
    missing = sorted(source.missing_topics())
    if missing:
        raise RefusedError(
            f"the event log has no topic {', '.join(missing)}: 'coverslip kafka topics apply' makes what is missing"
        )
