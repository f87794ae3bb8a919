"""What we ask of an event log: records in order per partition, read from our own positions, written with an answer.

The real one is Apache Kafka; the small one, for tests, keeps its records in memory. The same contract tests hold
both to what is written here.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

Headers = tuple[tuple[str, bytes], ...]


@dataclass(frozen=True, order=True)
class Partition:
    """One ordered part of a topic; a topic that was deleted and made again has another ``topic_id``."""

    topic: str
    topic_id: str
    number: int


@dataclass(frozen=True)
class Record:
    """One record as it lies in the log. ``value`` is ``None`` for a tombstone."""

    partition: Partition
    offset: int
    key: bytes | None
    value: bytes | None
    headers: Headers
    written_at: datetime


@dataclass(frozen=True)
class Acknowledged:
    """Where a record that was sent lies."""

    topic: str
    partition: int
    offset: int


Positions = Callable[[Sequence[Partition]], Mapping[Partition, int]]
"""Tells where to go on reading each partition; one that it leaves out is read from its start."""


class EventSource(Protocol):
    """A member of a consumer group. Not for two threads at once; nothing is committed unless it is told to.

    The positions come from whoever keeps the effects (our database), each time partitions are assigned; what the log
    itself remembers is for its own displays of lag.
    """

    @property
    def cluster_id(self) -> str:
        """The log's own name, which a position belongs to."""
        ...

    def poll(self, within: timedelta, most: int) -> Sequence[Record]:
        """Return at most so many records, in order per partition; none when there are none within the time.

        Raises
        ------
        TransientError
            The log could not be reached; ask again.
        """
        ...

    def commit(self, positions: Mapping[Partition, int], within: timedelta) -> bool:
        """Tell the log how far we are, for its displays; return whether it heard. A refusal is no error."""
        ...

    def lag(self) -> Mapping[Partition, int]:
        """Return how many records of each assigned partition were not polled yet, as far as is known."""
        ...

    def close(self, within: timedelta) -> None:
        """Leave the group, so that others take over at once; commit nothing."""
        ...


class EventSink(Protocol):
    """Writes records. Safe for several threads."""

    def publish(self, topic: str, key: bytes, value: bytes, headers: Headers = ()) -> Acknowledged:
        """Return once every in-sync replica has the record.

        Raises
        ------
        TransientError
            No answer in time, or no leader: whether it was written is not known. Send the same again.
        RejectedError
            The log will never take it as it is: too large, or the topic does not exist.
        """
        ...

    def close(self, within: timedelta) -> None:
        """Let the connections go."""
        ...
