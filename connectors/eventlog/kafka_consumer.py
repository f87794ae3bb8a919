"""One client of kafka-python: the settings that lose nothing, waits that end, and its errors told apart.

Partitions come paused, at their first offset, and stay so until somebody says where to go on: whatever the group has
committed is never read. All that is not public in kafka-python is touched here and nowhere else.
"""

import base64
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from kafka import KafkaConsumer, OffsetAndMetadata, TopicPartition
from kafka.consumer.subscription_state import ConsumerRebalanceListener
from kafka.coordinator.assignors.cooperative_sticky import CooperativeStickyAssignor
from kafka.errors import (
    BrokerResponseError,
    CorruptRecordError,
    KafkaError,
    LogTruncationError,
    OffsetOutOfRangeError,
    UnknownTopicOrPartitionError,
    UnsupportedCodecError,
)
from kafka.net.compat import KafkaNetClient

# A record may be larger: the first of a partition is always sent whole.
_FETCH_BYTES: Final = 16 << 20
_PARTITION_BYTES: Final = 1 << 20
_LONGEST_SILENCE_MS: Final = 60_000
"""A member that does not poll for so long makes the others wait no longer when partitions are shared out again."""

THEIR_ERRORS: Final = (KafkaError, OSError, RuntimeError)
"""What kafka-python raises when the log does not answer, or its own state is beyond repair."""


@dataclass(frozen=True)
class Limits:
    """How long is waited for what.

    Parameters
    ----------
    session
        A member that is not heard of for so long loses its partitions.
    answer
        The log answers any question within this, or counts as away.
    quiet
        When nothing came for so long the log is asked whether it is there.
    fresh
        News of topics, such as one made again, arrive at the latest after this.
    """

    session: timedelta = timedelta(seconds=20)
    answer: timedelta = timedelta(seconds=5)
    quiet: timedelta = timedelta(seconds=5)
    fresh: timedelta = timedelta(seconds=15)


class LostPositionsError(Exception):
    """The log does not have the offsets that were to be read; each comes with where it was cut, if that is known."""

    def __init__(self, cut_at: Mapping[TopicPartition, int | None]) -> None:
        super().__init__(f"{len(cut_at)} partitions")
        self.cut_at = cut_at


class UnreadableError(Exception):
    """A record, or the batch it is in, can't be understood; this client is of no more use."""

    def __init__(self, where: TopicPartition, why: str) -> None:
        super().__init__(why)
        self.where = where
        self.why = why


class _Listener(ConsumerRebalanceListener):  # type: ignore[misc]
    """Called by kafka-python's thread, but only while ours waits in ``poll``."""

    def __init__(self, consumer: "Consumer") -> None:
        self._consumer = consumer

    def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        self._consumer.hold(assigned)

    def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        self._consumer.let_go(revoked)


class Consumer:
    """One connection as a member of a group. It is made, used, and thrown away when it fails.

    Parameters
    ----------
    options
        Where and how to connect, in kafka-python's words.
    """

    def __init__(self, options: Mapping[str, Any], group: str, topics: Iterable[str], limits: Limits) -> None:
        quieten()
        self.unplaced: set[TopicPartition] = set()
        self._placed: set[TopicPartition] = set()
        self._topics = sorted(topics)
        self._limits = limits
        self._is_held_back = False
        self._ids: dict[str, str] = {}
        self._consumer = connected(KafkaConsumer, {**consumer_settings(limits), **options, "group_id": group})
        self._cluster = self._consumer._cluster  # noqa: SLF001 - the only place that knows topic ids
        self._consumer.subscribe(topics=self._topics, listener=_Listener(self))
        try:
            self._learn_topics()
        except BaseException:
            self.close(timedelta(0))
            raise

    @property
    def cluster_id(self) -> str:
        """The cluster's own name."""
        return str(self._cluster.cluster_id)

    def missing_topics(self) -> frozenset[str]:
        """Return the topics that the cluster does not have, as far as is known."""
        return frozenset(topic for topic in self._topics if not self._cluster.partitions_for_topic(topic))

    def topic_id(self, topic: str) -> str | None:
        """Return the id of a topic as Kafka's own tools write it; nothing while the topic is unknown."""
        name = topic_id_of(self._cluster, topic)
        if name is not None:
            self._ids.setdefault(topic, name)
        return name

    def is_stale(self) -> bool:
        """Tell whether a topic was made again since it was first seen: this client may hold records of both."""
        return any(self.topic_id(topic) not in {None, known} for topic, known in list(self._ids.items()))

    def poll(self, within: timedelta, most: int) -> Mapping[TopicPartition, Sequence[Any]]:
        """Return what there is; with ``most`` 0 only stay in the group.

        Raises
        ------
        LostPositionsError, UnreadableError
            About single partitions.
        KafkaError, OSError, RuntimeError
            The log could not be reached.
        """
        self._hold_back(is_held_back=most == 0)
        try:
            found: Mapping[TopicPartition, Sequence[Any]] = self._consumer.poll(_ms(within), max_records=max(most, 1))
        except OffsetOutOfRangeError as error:
            raise LostPositionsError(dict.fromkeys(error.args[0])) from error
        except LogTruncationError as error:
            cut_at = {where: known.offset if known else None for where, known in error.divergent_offsets.items()}
            raise LostPositionsError(cut_at) from error
        except (CorruptRecordError, UnsupportedCodecError) as error:
            records = self._consumer._fetcher._next_partition_records  # noqa: SLF001 - the error names no partition
            if records is None:
                raise
            raise UnreadableError(records.topic_partition, str(error)) from error
        return found

    def first_offsets(self, partitions: Iterable[TopicPartition]) -> Mapping[TopicPartition, int]:
        """Return the first offset that each partition has."""
        found: Mapping[TopicPartition, int] = self._consumer.beginning_offsets(
            list(partitions), timeout_ms=_ms(self._limits.answer)
        )
        return found

    def position(self, partition: TopicPartition) -> int:
        """Return the offset that is read next; 0 when it is not known."""
        return self._consumer.position(partition, timeout_ms=_ms(self._limits.answer)) or 0

    def place(self, partition: TopicPartition, offset: int) -> None:
        """Go on reading a partition from an offset."""
        self._consumer.seek(partition, offset)
        self.unplaced.discard(partition)
        self._placed.add(partition)
        if not self._is_held_back:
            self._consumer.resume(partition)

    def hold(self, partitions: Iterable[TopicPartition]) -> None:
        """Read nothing of these partitions until they are placed."""
        for partition in partitions:
            # A position of its own keeps kafka-python from taking the one that the group has committed.
            self._consumer.seek(partition, 0)
            self._consumer.pause(partition)
            self._placed.discard(partition)
            self.unplaced.add(partition)

    def let_go(self, partitions: Iterable[TopicPartition]) -> None:
        """Forget partitions that others read now."""
        self.unplaced -= set(partitions)
        self._placed -= set(partitions)

    def rewind(self) -> None:
        """Hold all partitions, as if they had just been assigned."""
        self.hold(self._consumer.assignment())

    def commit(self, positions: Mapping[TopicPartition, int], within: timedelta) -> None:
        """Tell the group's coordinator, or raise one of ``THEIR_ERRORS``."""
        offsets = {where: OffsetAndMetadata(offset, "", -1) for where, offset in positions.items()}
        self._consumer.commit(offsets, timeout_ms=_ms(within))

    def lag(self) -> Mapping[TopicPartition, int]:
        """Return how many records of each partition were not polled yet, where that is known."""
        ends = {where: self._consumer.highwater(where) for where in self._placed}
        return {where: max(0, end - self.position(where)) for where, end in ends.items() if end is not None}

    def ask(self) -> None:
        """Return if a broker answers, or raise one of ``THEIR_ERRORS``; news of the topics come along."""
        # Not the group's coordinator: it answers nothing on a connection where somebody waits for the others to join.
        news = self._cluster.request_update()
        with suppress(BrokerResponseError):  # that a topic is missing is an answer
            self._consumer._net.run(self._consumer._manager.wait_for, news, _ms(self._limits.answer))  # noqa: SLF001

    def _learn_topics(self) -> None:
        self.ask()
        if self.missing_topics():
            # The first answer may belong to a question that was asked before there were topics.
            self.ask()

    def close(self, within: timedelta) -> None:
        """Leave the group if that can be done in time, and end the connection in any case."""
        with suppress(*THEIR_ERRORS):
            self._consumer.close(autocommit=False, timeout_ms=_ms(within))

    def _hold_back(self, *, is_held_back: bool) -> None:
        if is_held_back == self._is_held_back:
            return
        (self._consumer.pause if is_held_back else self._consumer.resume)(*self._placed)
        self._is_held_back = is_held_back


def quieten() -> None:
    """Keep kafka-python out of the logs: it writes payloads at DEBUG, and an ERROR for each try to connect."""
    logging.getLogger("kafka").setLevel(logging.CRITICAL)


def connected(make: Callable[..., Any], settings: Mapping[str, Any]) -> Any:  # noqa: ANN401 - kafka-python has no types
    """Return a client of theirs that has found its cluster; one that has not leaves no thread and no socket behind."""
    clients: list[Any] = []

    def client(**configs: object) -> object:
        clients.append(KafkaNetClient(**configs))
        return clients[-1]

    try:
        return make(**settings, kafka_client=client)
    except BaseException:
        # kafka-python 3.0 forgets what it opened when its first question is not answered.
        for one in clients:
            with suppress(*THEIR_ERRORS):
                one.close()
        raise


def expect_allowed(consumer: Any, topic: str, answer_ms: int) -> None:  # noqa: ANN401 - kafka-python has no types
    """Raise one of ``THEIR_ERRORS`` if a topic may not be read; a consumer in no group forgets what it was assigned.

    Asked for all topics, as kafka-python does of its own, Kafka leaves those out that are forbidden.
    """
    consumer.assign([TopicPartition(topic, 0)])
    news = consumer._cluster.request_update()  # noqa: SLF001 - nothing public asks for one topic
    with suppress(UnknownTopicOrPartitionError):
        consumer._net.run(consumer._manager.wait_for, news, answer_ms)  # noqa: SLF001


def topic_id_of(cluster: Any, topic: str) -> str | None:  # noqa: ANN401 - kafka-python has no types
    """Return the id of a topic as Kafka's own tools write it; nothing while the topic is unknown."""
    found = cluster.topic_id(topic)
    return None if found is None else base64.urlsafe_b64encode(found.bytes).decode().rstrip("=")


def consumer_settings(limits: Limits) -> Mapping[str, Any]:
    """Return what keeps a consumer from losing anything, and from waiting without end."""
    return {
        "enable_auto_commit": False,
        "auto_offset_reset": "none",  # an offset that is not there is told, never passed over
        "isolation_level": "read_committed",
        "partition_assignment_strategy": [CooperativeStickyAssignor],
        "allow_auto_create_topics": False,
        "session_timeout_ms": _ms(limits.session),
        "max_poll_interval_ms": _LONGEST_SILENCE_MS,
        "heartbeat_interval_ms": min(3_000, _ms(limits.session) // 3),
        "bootstrap_timeout_ms": _ms(limits.answer),
        "request_timeout_ms": _ms(limits.answer) + 5_000,
        "metadata_max_age_ms": _ms(limits.fresh),
        "reconnect_backoff_max_ms": 2_000,
        "fetch_max_bytes": _FETCH_BYTES,
        "max_partition_fetch_bytes": _PARTITION_BYTES,
        "metrics_enabled": False,
    }


def _ms(time: timedelta) -> int:
    return max(0, round(time.total_seconds() * 1_000))
