"""Apache Kafka, read in no group: a stretch of a topic whose ends are known before the first record is read."""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any, Final

from kafka import KafkaConsumer, TopicPartition
from kafka.errors import LogTruncationError, OffsetOutOfRangeError

from connectors.eventlog.kafka import Say, away, record_of, said
from connectors.eventlog.kafka_consumer import (
    THEIR_ERRORS,
    Limits,
    connected,
    consumer_settings,
    expect_allowed,
    quieten,
    topic_id_of,
)
from connectors.eventlog.protocol import Extent, Partition, Record
from models.errors import TransientError

_SLICE: Final = timedelta(milliseconds=250)
_GONE: Final = (OffsetOutOfRangeError, LogTruncationError)


class KafkaReader:
    """Reads in no group; see ``EventReader``. It connects when it is made.

    Parameters
    ----------
    options
        Where and how to connect, in kafka-python's words.
    say
        Makes a sentence, without its own words, of an error of kafka-python.
    """

    def __init__(self, options: Mapping[str, Any], limits: Limits | None = None, say: Say | None = None) -> None:
        quieten()
        self._say = say or said
        self._limits = limits or Limits()
        settings = {**consumer_settings(self._limits), **options, "group_id": None}
        try:
            self._consumer = connected(KafkaConsumer, settings)
        except THEIR_ERRORS as error:
            raise away(error, self._say) from error
        self._cluster = self._consumer._cluster  # noqa: SLF001 - the only place that knows topic ids

    @property
    def cluster_id(self) -> str:
        """The cluster's own name."""
        return str(self._cluster.cluster_id)

    def extents(self, topic: str, since: datetime | int, before: datetime | int | None) -> Sequence[Extent]:
        """Return what a topic holds at this moment; see ``EventReader``."""
        try:
            numbers = self._consumer.partitions_for_topic(topic) or ()
            partitions = [TopicPartition(topic, number) for number in sorted(numbers)]
            if not partitions:
                expect_allowed(self._consumer, topic, self._answer_ms)
                return ()
            firsts = self._consumer.beginning_offsets(partitions, timeout_ms=self._answer_ms)
            ends = self._consumer.end_offsets(partitions, timeout_ms=self._answer_ms)
            begins = self._offsets(since, ends)
            stops = ends if before is None else self._offsets(before, ends)
        except THEIR_ERRORS as error:
            raise away(error, self._say) from error
        extents = []
        for one in partitions:
            begin = max(firsts[one], min(begins[one], ends[one]))
            extents.append(Extent(self._partition(one), begin, max(begin, min(stops[one], ends[one]))))
        return extents

    def read(self, extent: Extent, most: int) -> Iterator[Sequence[Record]]:
        """Yield its records; see ``EventReader``."""
        where = TopicPartition(extent.partition.topic, extent.partition.number)
        try:
            self._consumer.assign([where])
            self._consumer.seek(where, extent.first)
            at, moved_at = extent.first, time.monotonic()
            while at < extent.end:
                found = self._consumer.poll(_SLICE.total_seconds() * 1_000, max_records=most).get(where, ())
                if topic_id_of(self._cluster, where.topic) not in {None, extent.partition.topic_id}:
                    raise extent.gone()
                # Beyond the last record: what a transaction took back and its marks have offsets too.
                was, at = at, self._consumer.position(where, timeout_ms=self._answer_ms)
                if at > was:
                    moved_at = time.monotonic()
                elif time.monotonic() - moved_at > self._limits.answer.total_seconds() * 2:
                    raise TransientError(f"Kafka has given nothing more of {extent.partition.topic} for a while")
                yield [record_of(extent.partition, one) for one in found if one.offset < extent.end]
                if found:
                    # Whoever reads takes the time it needs.
                    moved_at = time.monotonic()
        except _GONE as error:
            raise extent.gone() from error
        except THEIR_ERRORS as error:
            raise away(error, self._say) from error

    def close(self) -> None:
        """Let the connections go."""
        with suppress(*THEIR_ERRORS):
            self._consumer.close(autocommit=False, timeout_ms=0)

    @property
    def _answer_ms(self) -> int:
        return round(self._limits.answer.total_seconds() * 1_000)

    def _offsets(self, at: datetime | int, ends: Mapping[TopicPartition, int]) -> Mapping[TopicPartition, int]:
        """Return the offset of the first record that was written then or later, or the offset that is said."""
        if isinstance(at, int):
            return dict.fromkeys(ends, at)
        asked = dict.fromkeys(ends, max(0, round(at.timestamp() * 1_000)))
        found = self._consumer.offsets_for_times(asked, timeout_ms=self._answer_ms)
        return {one: end if found.get(one) is None else found[one].offset for one, end in ends.items()}

    def _partition(self, where: TopicPartition) -> Partition:
        return Partition(where.topic, topic_id_of(self._cluster, where.topic) or "", where.partition)
