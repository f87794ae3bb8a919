"""The event logs that Coverslip has, each with what its administrators can do to it."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Protocol

from confluent_kafka import ConsumerGroupTopicPartitions, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from connectors.eventlog.kafka import KafkaSink, KafkaSource
from connectors.eventlog.kafka_consumer import Limits
from connectors.eventlog.memory import MemoryLog
from connectors.eventlog.protocol import EventSink, EventSource, Partition, Positions, Record

SECOND = timedelta(seconds=1)
QUICK = Limits(session=timedelta(seconds=6), answer=timedelta(seconds=2), quiet=SECOND, fresh=SECOND)


def from_the_start(_partitions: Sequence[Partition]) -> Mapping[Partition, int]:
    """Nobody knows any position."""
    return {}


class Site(Protocol):
    """A log, and who looks after it."""

    def create(self, topic: str, partitions: int = 1, most_bytes: int = 1 << 20) -> None: ...

    def delete(self, topic: str) -> None: ...

    def forget(self, topic: str, number: int, before: int) -> None: ...

    def committed(self, group: str, topic: str) -> Mapping[int, int]: ...

    def source(self, group: str, topics: Iterable[str], positions: Positions) -> EventSource: ...

    def sink(self) -> EventSink: ...


class KafkaSite:
    """Apache Kafka, looked after by a client that shares no code with ours."""

    def __init__(self, bootstrap: str) -> None:
        self.bootstrap = bootstrap
        self._admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0})

    def create(self, topic: str, partitions: int = 1, most_bytes: int = 1 << 20, compression: str = "producer") -> None:
        wanted = {"max.message.bytes": str(most_bytes), "compression.type": compression}
        made = NewTopic(topic, partitions, 1, config=wanted)
        self._admin.create_topics([made])[topic].result(10)

    def delete(self, topic: str) -> None:
        self._admin.delete_topics([topic])[topic].result(10)
        waited(lambda: topic not in self._admin.list_topics(timeout=5).topics)

    def forget(self, topic: str, number: int, before: int) -> None:
        where = TopicPartition(topic, number, before)
        next(iter(self._admin.delete_records([where]).values())).result(10)

    def committed(self, group: str, topic: str) -> Mapping[int, int]:
        asked = ConsumerGroupTopicPartitions(group)
        found = self._admin.list_consumer_group_offsets([asked])[group].result(10)
        return {one.partition: one.offset for one in found.topic_partitions if one.topic == topic}

    def source(self, group: str, topics: Iterable[str], positions: Positions) -> KafkaSource:
        return KafkaSource({"bootstrap_servers": self.bootstrap}, group, topics, positions, QUICK)

    def sink(self) -> KafkaSink:
        return KafkaSink({"bootstrap_servers": self.bootstrap}, timedelta(seconds=4))


def memory_site() -> Site:
    return MemoryLog()


def read(source: EventSource, wanted: int, within: float = 20, most: int = 500) -> list[Record]:
    """Poll until so many records came, or the time is over."""
    found: list[Record] = []
    limit = time.monotonic() + within
    while len(found) < wanted and time.monotonic() < limit:
        found += source.poll(timedelta(seconds=0.25), most)
    return found


def waited(is_so: Callable[[], bool], within: float = 20) -> bool:
    """Wait until something is so; tell whether it was in time."""
    limit = time.monotonic() + within
    while time.monotonic() < limit:
        if is_so():
            return True
        time.sleep(0.05)
    return False
