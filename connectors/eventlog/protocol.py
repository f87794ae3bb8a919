"""What we ask of an event log: records in order per partition, read from our own positions, written with an answer.

The real one is Apache Kafka; the small one, for tests, keeps its records in memory. The same contract tests hold
both to what is written here.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol, Self

from models.errors import RefusedError

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


@dataclass(frozen=True)
class Trouble:
    """Something about a partition that people must see: records that are gone, a log cut short, an unreadable record.

    Parameters
    ----------
    wanted
        The offset that was to be read next.
    resumed_at
        Where reading goes on: what lies between ``wanted`` and a higher one is lost; from a lower one on records are
        read again, or for the first time. ``None``: this partition stands still, the others flow.
    sentence
        Without patient data.
    """

    partition: Partition
    wanted: int
    resumed_at: int | None
    sentence: str

    @classmethod
    def out_of_range(cls, partition: Partition, wanted: int, first: int) -> Self:
        """Return what is told when the log does not have the offset that was to be read: it is read from its first."""
        where = f"{partition.topic}/{partition.number}"
        if wanted < first:
            lost = f"{first - wanted} records of {where}, from offset {wanted} on, were deleted before they were read"
            return cls(partition, wanted, first, f"{lost}: keep them longer, and ask their senders for them.")
        cut = f"{where} ends before offset {wanted}, where reading was to go on: the log lost records"
        return cls(partition, wanted, first, f"{cut}. What it has is read again from offset {first}.")


@dataclass(frozen=True)
class Extent:
    """What lies in a partition from the offset ``first`` on, up to ``end`` and without it."""

    partition: Partition
    first: int
    end: int

    @property
    def size(self) -> int:
        """How many records it has at most: a log also counts what it deleted in between, and its own marks."""
        return self.end - self.first

    def gone(self) -> RefusedError:
        """Return what is told when the log does not have all of it any more."""
        where = f"{self.partition.topic}/{self.partition.number}"
        return RefusedError(f"records of {where} were deleted while they were being read: look again at what is there")


Positions = Callable[[Sequence[Partition]], Mapping[Partition, int]]
"""Tells where to go on reading each partition; one that it leaves out is read from its start.

A topic that was deleted and made again comes with a ``topic_id`` that nobody has a position of, so it is read from its
start; who knows the topic by another id tells people. What it raises comes out of ``poll``, which asks again the next
time; no record of those partitions is returned before.
"""


class EventSource(Protocol):
    """A member of a consumer group, which it joins by polling. Not for two threads at once; it commits only when told.

    The positions come from whoever keeps the effects (our database), each time partitions are assigned; what the log
    itself remembers is for its own displays of lag.
    """

    @property
    def cluster_id(self) -> str:
        """The log's own name, which a position belongs to."""
        ...

    def poll(self, within: timedelta, most: int) -> Sequence[Record]:
        """Return at most so many records, in order per partition; none when there are none within the time.

        Whoever has no room for more asks for 0: it stays in the group, so that others need not wait for it, and gets
        nothing. Who does not ask at all for a minute loses its partitions to others until it asks again.

        Raises
        ------
        TransientError
            The log could not be reached; ask again. The connection is made anew when that happens often.
        """
        ...

    def rewind(self) -> None:
        """Ask for the positions again before the next record: what was polled could not be kept."""
        ...

    def troubles(self) -> Sequence[Trouble]:
        """Return what went wrong with partitions since this was last asked; each is told once, or after ``rewind``.

        Keep them in the transaction that keeps the polled records, with ``resumed_at`` as the position: it may lie
        before the one that is kept.
        """
        ...

    def missing_topics(self) -> frozenset[str]:
        """Return the topics, of those to be read, that the log does not have; they are read once they are made."""
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


class EventReader(Protocol):
    """Reads what lies in a log once more, in no group: nobody's partitions move, and nothing is committed.

    Not for two threads at once. Its errors are ``TransientError``, when the log could not be reached, and
    ``RefusedError``, when what was to be read is not there any more.
    """

    @property
    def cluster_id(self) -> str:
        """The log's own name."""
        ...

    def extents(self, topic: str, since: datetime | int, before: datetime | int | None) -> Sequence[Extent]:
        """Return what a topic holds at this moment, by partition; nothing when there is no such topic.

        Both ends are times of writing, or offsets, which count in each partition; a record at ``before`` is not in it.
        What comes later is in it neither, whatever ``before`` says.
        """
        ...

    def read(self, extent: Extent, most: int) -> Iterator[Sequence[Record]]:
        """Yield its records in order, at most so many at a time; none now and then, so that the reader can stop."""
        ...

    def close(self) -> None:
        """Let the connections go."""
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
