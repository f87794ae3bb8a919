"""Events as scanners and gateways write them, and a door that reads them from a small log."""

import hashlib
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import select

from connectors.eventlog.memory import MemoryLog
from connectors.eventlog.protocol import EventSource, Positions
from connectors.wiring import Lab
from flows.intake.events import Doorway, take_events
from models.events.envelope import Event, build, source_of
from models.events.fields import EventData
from models.events.kinds import Hl7Received, ScannerStatus
from models.tables.books import Alert, InboxMessage
from models.tables.intake import ConsumerPosition

SCANNER, LIMS = "coverslip.scanner", "coverslip.lims.hl7v2"
TOPICS = (SCANNER, LIMS)
NOW = datetime(2026, 3, 2, 9, 30, tzinfo=UTC)
_PATIENCE_S = 30.0


def a_log(partitions: int = 2) -> MemoryLog:
    """Return a log with the two topics that are read."""
    log = MemoryLog()
    for topic in TOPICS:
        log.create(topic, partitions, most_bytes=16 << 20)
    return log


def event(event_id: str, data: EventData, *, site: str = "site-a", name: str = "", at: datetime = NOW) -> bytes:
    """Return an event's bytes, from the site's own scanner or LIMS unless named otherwise."""
    if data.FROM == "lims":
        return build(Event(event_id, source_of(site, "lims", name or f"lims-{site[-1]}"), at, data))
    return build(Event(event_id, source_of(site, "scanners", name or f"scanner-{site}"), at, data))


def status(number: int) -> bytes:
    """Return what the scanner says of itself at this second."""
    return event(f"s{number}", ScannerStatus(state="idle", stated_at=NOW + timedelta(seconds=number)))


def hl7(payload: bytes, at: datetime = NOW) -> Hl7Received:
    """Return what a gateway tells of a message."""
    digest = hashlib.sha256(payload).hexdigest()
    return Hl7Received(received_at=at, sha256=digest, bytes=len(payload), payload=payload)


def written(log: MemoryLog, topic: str, *values: bytes, key: bytes = b"site-a/scanner-site-a") -> None:
    """Write records into a topic, in this order and into one partition."""
    for value in values:
        log.sink().publish(topic, key, value)


@dataclass
class Reading:
    """A door that is open, in a thread of its own."""

    stop: threading.Event = field(default_factory=threading.Event)
    ready: threading.Event = field(default_factory=threading.Event)
    failed: list[BaseException] = field(default_factory=list)
    thread: threading.Thread | None = None

    def end(self) -> None:
        """Close the door; raise what it died of."""
        self.stop.set()
        if self.thread is not None:
            self.thread.join(_PATIENCE_S)
            assert not self.thread.is_alive(), "the door did not close"
        if self.failed:
            raise self.failed[0]


@contextmanager
def door(
    lab: Lab, log: MemoryLog, opened: Callable[[Positions], EventSource] | None = None, group: str = "coverslip"
) -> Iterator[Reading]:
    """Open the door for a while."""
    reading = Reading()
    doorway = Doorway(lab.settings, lab.database, lab.ids, timedelta(milliseconds=20))

    def run() -> None:
        try:
            take_events(
                doorway,
                opened or (lambda positions: log.source(group, TOPICS, positions)),
                reading.stop,
                reading.ready.set,
            )
        except BaseException as error:  # noqa: BLE001 - told to the test
            reading.failed.append(error)

    reading.thread = threading.Thread(target=run)
    reading.thread.start()
    try:
        yield reading
    finally:
        reading.end()


def take_all(lab: Lab, log: MemoryLog) -> None:
    """Open the door until everything that lies in the log was read."""
    with door(lab, log) as reading:
        until(lambda: bool(reading.failed) or is_read(lab, log), "the log was not read to its end")


def is_read(lab: Lab, log: MemoryLog) -> bool:
    """Return whether every partition was read to its end."""
    with lab.database.read() as session:
        rows = session.scalars(select(ConsumerPosition)).all()
    known = {(row.topic_id, row.partition): row.position for row in rows}
    ends = {
        (topic.id, number): len(one) for topic in log._shared.topics.values() for number, one in enumerate(topic.logs)
    }
    return all(known.get(where, 0) >= end for where, end in ends.items())


def until(is_so: Callable[[], bool], otherwise: str) -> None:
    """Wait until something is so."""
    deadline = time.monotonic() + _PATIENCE_S
    while not is_so():
        assert time.monotonic() < deadline, otherwise
        time.sleep(0.01)


def rows(lab: Lab) -> list[InboxMessage]:
    """Return the inbox, by the order in which it was written into the log."""
    with lab.database.read() as session:
        found = session.scalars(select(InboxMessage)).all()
    return sorted(found, key=lambda row: (row.received_at, str((row.origin or {}).get("topic")), _offset(row)))


def sentences(lab: Lab, kind: str) -> list[str]:
    """Return what the open alerts of a kind say."""
    with lab.database.read() as session:
        found = select(Alert.sentence).where(Alert.kind == kind, Alert.cleared_at.is_(None)).order_by(Alert.id)
        return list(session.scalars(found))


def _offset(row: InboxMessage) -> int:
    origin: dict[str, Any] = row.origin or {}
    return int(origin.get("offset", -1))
