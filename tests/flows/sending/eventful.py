"""A small laboratory with a small event log: what was published, in the order of each topic."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

from connectors.eventlog.memory import MemoryLog
from connectors.eventlog.protocol import Record
from connectors.settings_kafka import Gateway, Kafka
from connectors.wiring import Lab
from flows.people.sync import sync_people
from models.events.envelope import Event, parse

TOPICS = ("scanner", "lims.hl7v2", "slide", "case", "dead-letters")
PREFIX = "small."


def with_log(lab: Lab, *, gateway: bool = False) -> tuple[Lab, MemoryLog]:
    """Give a laboratory Kafka, or make it a gateway."""
    log = MemoryLog()
    for topic in TOPICS:
        log.create(f"{PREFIX}{topic}", most_bytes=9 << 20)
    return with_sink(lab, log, Kafka(bootstrap=("localhost:9092",), prefix=PREFIX), gateway=gateway), log


def with_sink(lab: Lab, log: MemoryLog, kafka: Kafka, *, gateway: bool) -> Lab:
    """Set what a settings file would say, and bring the slots in line."""
    said = {"kafka": kafka, "gateway": Gateway() if gateway else None}
    settings = lab.settings.model_copy(update=said)
    with lab.database.write("small_log") as session:
        sync_people(session, settings)
    return replace(lab, settings=settings, events=log.sink())


def records(log: MemoryLog, *topics: str) -> Sequence[Record]:
    """Return everything that some topics hold."""
    source = log.source("onlooker", [f"{PREFIX}{topic}" for topic in topics], lambda _partitions: {})
    try:
        return source.poll(timedelta(seconds=0.1), 100_000)
    finally:
        source.close(timedelta(0))


def events(log: MemoryLog, *topics: str) -> list[Event]:
    """Return what the records of some topics say."""
    return [parse(record.value or b"") for record in records(log, *topics)]


def types(log: MemoryLog, *topics: str) -> list[str]:
    """Return the types of the events of some topics."""
    return [event.type for event in events(log, *topics)]
