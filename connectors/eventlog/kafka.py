"""Apache Kafka: reading as a member of a group from our own positions, and writing with an answer.

kafka-python is imported at the first connection, so that commands which only know the settings start at once.
"""

import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from connectors.eventlog.protocol import Acknowledged, Headers, Partition, Positions, Record, Trouble
from models.errors import RejectedError, TransientError

if TYPE_CHECKING:
    from kafka import KafkaProducer, TopicPartition

    from connectors.eventlog.kafka_consumer import Consumer, Limits, LostPositionsError, UnreadableError

# News of the group are seen at the latest after this.
_SLICE: Final = timedelta(milliseconds=250)
_FAILURES_OF_A_CLIENT: Final = 3
"""So often in a row a client may fail before another is made; it repairs most trouble by itself."""
_CLOSE: Final = timedelta(seconds=1)
_SEND: Final = timedelta(seconds=10)
# A record's own room beside its value: key, headers, and what Kafka puts around a batch.
_LARGEST_REQUEST: Final = 64 << 20


Say = Callable[[Any], str]


class KafkaSource:
    """A member of a consumer group; see ``EventSource``. It connects when it is first used.

    Parameters
    ----------
    options
        Where and how to connect, in kafka-python's words.
    positions
        Asked in the thread that polls.
    say
        Makes a sentence, without its own words, of an error of kafka-python.
    """

    def __init__(
        self,
        options: Mapping[str, Any],
        group: str,
        topics: Iterable[str],
        positions: Positions,
        limits: "Limits | None" = None,
        say: Say | None = None,
    ) -> None:
        self._options = options
        self._say = say or said
        self._group = group
        self._topics = frozenset(topics)
        self._ask = positions
        self._limits = limits
        self._consumer: Consumer | None = None
        self._failures = 0
        self._heard_at = 0.0
        self._partitions: dict[TopicPartition, Partition] = {}
        self._standing: dict[Partition, int] = {}
        self._troubles: list[Trouble] = []

    @property
    def cluster_id(self) -> str:
        """The cluster's own name; asked of the cluster, so it may raise ``TransientError``."""
        return self._connected().cluster_id

    def poll(self, within: timedelta, most: int) -> Sequence[Record]:
        """Return at most so many records; see ``EventSource``. What does not answer is waited for a little longer."""
        deadline = time.monotonic() + within.total_seconds()
        while True:
            left = timedelta(seconds=max(0.0, deadline - time.monotonic()))
            records = self._polled(self._connected(), min(left, _SLICE), most)
            if records or self._troubles or time.monotonic() >= deadline:
                return records

    def rewind(self) -> None:
        """Ask for the positions again; see ``EventSource``."""
        self._standing.clear()
        self._partitions.clear()
        if self._consumer is not None:
            self._consumer.rewind()

    def troubles(self) -> Sequence[Trouble]:
        """Return what went wrong; see ``EventSource``."""
        told, self._troubles = self._troubles, []
        return told

    def missing_topics(self) -> frozenset[str]:
        """Return the topics that the cluster does not have."""
        return self._consumer.missing_topics() if self._consumer is not None else frozenset()

    def commit(self, positions: Mapping[Partition, int], within: timedelta) -> bool:
        """Tell the log how far we are; see ``EventSource``."""
        if self._consumer is None:
            return False
        ours = {where: positions[one] for where, one in self._partitions.items() if one in positions}
        if len(ours) < len(positions):
            return False
        from connectors.eventlog.kafka_consumer import THEIR_ERRORS  # noqa: PLC0415 - see the module

        try:
            self._consumer.commit(ours, within)
        except THEIR_ERRORS:
            return False
        return True

    def lag(self) -> Mapping[Partition, int]:
        """Return how many records of each partition were not polled yet."""
        if self._consumer is None:
            return {}
        return {
            self._partitions[where]: lag for where, lag in self._consumer.lag().items() if where in self._partitions
        }

    def close(self, within: timedelta) -> None:
        """Leave the group."""
        self._drop(within)

    def _connected(self) -> "Consumer":
        if self._consumer is not None:
            return self._consumer
        from connectors.eventlog.kafka_consumer import THEIR_ERRORS, Consumer, Limits  # noqa: PLC0415 - see the module

        try:
            self._consumer = Consumer(self._options, self._group, self._topics, self._limits or Limits())
        except THEIR_ERRORS as error:
            raise away(error, self._say) from error
        self._limits = self._limits or Limits()
        self._failures, self._heard_at = 0, time.monotonic()
        return self._consumer

    def _drop(self, within: timedelta = _CLOSE) -> None:
        consumer, self._consumer = self._consumer, None
        self._partitions.clear()
        if consumer is not None:
            consumer.close(within)

    def _polled(self, consumer: "Consumer", within: timedelta, most: int) -> Sequence[Record]:
        from connectors.eventlog import kafka_consumer as theirs  # noqa: PLC0415 - see the module

        new = self._newly_assigned(consumer)
        kept = self._ask(sorted(new.values())) if new else {}
        try:
            _place(consumer, new, kept)
            found = consumer.poll(within, most)
            self._note_sign_of_life(consumer, is_heard=bool(found))
        except theirs.LostPositionsError as lost:
            return self._found_first(consumer, lost)
        except theirs.UnreadableError as unreadable:
            return self._stood_still(consumer, unreadable)
        except theirs.THEIR_ERRORS as error:
            self._failures += 1
            if self._failures >= _FAILURES_OF_A_CLIENT:
                self._drop()
            raise away(error, self._say) from error
        if consumer.is_stale():
            self._drop()
            return ()
        self._failures = 0
        return [record_of(self._partitions[where], one) for where, records in found.items() for one in records]

    def _newly_assigned(self, consumer: "Consumer") -> Mapping["TopicPartition", Partition]:
        """Return the partitions that wait to be told where to go on; one that stands still does not."""
        new = {
            where: Partition(where.topic, topic_id, where.partition)
            for where in consumer.unplaced
            if (topic_id := consumer.topic_id(where.topic)) is not None
        }
        self._partitions |= new
        if consumer.is_stale():
            return {}
        return {where: one for where, one in new.items() if one not in self._standing}

    def _note_sign_of_life(self, consumer: "Consumer", *, is_heard: bool) -> None:
        """Raise one of their errors if nothing was heard for long and nobody answers."""
        now = time.monotonic()
        if not is_heard:
            if self._limits is None or now - self._heard_at < self._limits.quiet.total_seconds():
                return
            consumer.ask()
        self._heard_at = time.monotonic()

    def _found_first(self, consumer: "Consumer", lost: "LostPositionsError") -> Sequence[Record]:
        """Go on where the log still has records, and say so."""
        from connectors.eventlog.kafka_consumer import THEIR_ERRORS  # noqa: PLC0415 - see the module

        try:
            firsts = consumer.first_offsets(lost.cut_at)
            for where, cut_at in lost.cut_at.items():
                resumed_at = firsts[where] if cut_at is None else cut_at
                wanted = consumer.position(where)
                self._troubles.append(Trouble.out_of_range(self._partitions[where], wanted, resumed_at))
                consumer.place(where, resumed_at)
        except THEIR_ERRORS as error:
            self._drop()
            raise away(error, self._say) from error
        return ()

    def _stood_still(self, consumer: "Consumer", unreadable: "UnreadableError") -> Sequence[Record]:
        """Leave a partition where it is, so that the others flow, and say so."""
        partition = self._partitions[unreadable.where]
        offset = consumer.position(unreadable.where)
        self._standing[partition] = offset
        where = f"{partition.topic}/{partition.number}"
        sentence = f"A record of {where} at or after offset {offset} can't be read, and {where} stands still: "
        self._troubles.append(Trouble(partition, offset, None, f"{sentence}{unreadable.why}."))
        self._drop()
        return ()


class KafkaSink:
    """Writes records; see ``EventSink``. Idempotent, and answered by all replicas in sync.

    One record is under way at a time: kafka-python's producer answers every later record with the trouble of an
    earlier one, so it is thrown away with the record that failed, and that record's trouble is its own.

    Parameters
    ----------
    within
        After so long without an answer the outcome counts as unknown.
    say
        Makes a sentence, without its own words, of an error of kafka-python.
    """

    def __init__(self, options: Mapping[str, Any], within: timedelta = _SEND, say: Say | None = None) -> None:
        self._options = options
        self._say = say or said
        self._within = within.total_seconds()
        self._turn = threading.Lock()
        self._producer: KafkaProducer | None = None

    def publish(self, topic: str, key: bytes, value: bytes, headers: Headers = ()) -> Acknowledged:
        """Return where the record lies; see ``EventSink``."""
        if not self._turn.acquire(timeout=self._within):
            raise TransientError("Kafka did not answer what others sent before: send the same again.")
        try:
            return self._published(topic, key, value, headers)
        finally:
            self._turn.release()

    def close(self, within: timedelta) -> None:
        """Let the connections go; what is not answered by then is unknown."""
        if self._turn.acquire(timeout=within.total_seconds()):
            self._drop(within)
            self._turn.release()

    def _published(self, topic: str, key: bytes, value: bytes, headers: Headers) -> Acknowledged:
        from kafka import errors  # noqa: PLC0415 - see the module

        try:
            producer = self._connected()
            placed = producer.send(topic, key=key, value=value, headers=list(headers)).get(timeout=self._within)
        except (errors.MessageSizeTooLargeError, errors.RecordListTooLargeError) as error:
            self._drop()
            raise RejectedError(f"A record of {len(value)} bytes is too large for {topic}.") from error
        except (errors.KafkaError, OSError, RuntimeError) as error:
            is_unknown = isinstance(error, errors.InvalidTopicError) or self._is_unknown(topic)
            self._drop()
            if is_unknown:
                raise RejectedError(f"The event log has no topic {topic}: create it.") from error
            raise away(error, self._say) from error
        return Acknowledged(placed.topic, placed.partition, placed.offset)

    def _connected(self) -> "KafkaProducer":
        if self._producer is None:
            from kafka import KafkaProducer  # noqa: PLC0415 - see the module

            from connectors.eventlog.kafka_consumer import connected, quieten  # noqa: PLC0415 - see the module

            quieten()
            self._producer = connected(KafkaProducer, {**_sink_settings(self._within), **self._options})
        return self._producer

    def _is_unknown(self, topic: str) -> bool:
        """Tell whether the cluster answered lately, and has no such topic; kafka-python only says that time is up."""
        if self._producer is None:
            return False
        known = self._producer._metadata  # noqa: SLF001 - there is no public way to know
        age = time.monotonic() - known._last_successful_refresh_ms / 1_000  # noqa: SLF001
        return known.partitions_for_topic(topic) is None and age < self._within / 4

    def _drop(self, within: timedelta = timedelta(0)) -> None:
        producer, self._producer = self._producer, None
        if producer is not None:
            with suppress(Exception):  # it is thrown away, whatever it says
                producer.close(timeout=within.total_seconds())


def _place(consumer: "Consumer", new: Mapping["TopicPartition", Partition], kept: Mapping[Partition, int]) -> None:
    """Go on reading each where its position says, or from its start."""
    unknown = [where for where, one in new.items() if one not in kept]
    firsts = consumer.first_offsets(unknown) if unknown else {}
    for where, one in new.items():
        consumer.place(where, kept[one] if one in kept else firsts[where])


def _sink_settings(within: float) -> Mapping[str, Any]:
    milliseconds = round(within * 1_000)
    return {
        "acks": "all",
        "enable_idempotence": True,
        "allow_auto_create_topics": False,
        "linger_ms": 0,
        "max_request_size": _LARGEST_REQUEST,  # what a topic takes is the broker's to say
        "bootstrap_timeout_ms": milliseconds // 2,
        "max_block_ms": milliseconds // 2,
        # kafka-python gives up a little before we do, so that nothing it still holds is written later.
        "request_timeout_ms": milliseconds // 2,
        "delivery_timeout_ms": milliseconds * 9 // 10,
        "reconnect_backoff_max_ms": 2_000,
        "metrics_enabled": False,
    }


def record_of(partition: Partition, found: Any) -> Record:  # noqa: ANN401 - kafka-python has no types
    """Return one of their records as one of ours."""
    headers = tuple((name, value or b"") for name, value in found.headers)
    written_at = datetime.fromtimestamp(max(found.timestamp, 0) / 1_000, UTC)
    return Record(partition, found.offset, found.key, found.value, headers, written_at)


def said(error: Exception) -> str:
    """Return what is told of an error by whoever knows no better."""
    return f"Kafka can't be reached now ({type(error).__name__})"


def away(error: Exception, say: Say) -> TransientError:
    """Return one of ``THEIR_ERRORS`` as what to tell: ask again later."""
    from kafka.errors import KafkaError  # noqa: PLC0415 - see the module

    return TransientError(say(error) if isinstance(error, KafkaError) else said(error))
