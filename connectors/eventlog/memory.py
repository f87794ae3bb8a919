"""The small event log: topics, partitions and groups in the memory of one process, for tests and demonstrations."""

import threading
import time
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final, Literal
from uuid import uuid4

from connectors.eventlog.protocol import Acknowledged, Extent, Headers, Partition, Positions, Record, Trouble
from models.errors import RejectedError, TransientError

Presence = Literal["there", "away", "mute"]
"""Whether the log answers: ``mute`` writes what it is sent and says nothing, so that the outcome is unknown."""

_MOST_BYTES: Final = 1 << 20


@dataclass
class _Topic:
    id: str
    most_bytes: int
    logs: list[list[Record]]
    firsts: list[int]


@dataclass
class _Group:
    members: list["MemorySource"] = field(default_factory=list)
    owners: dict[Partition, "MemorySource"] = field(default_factory=dict)
    committed: dict[Partition, int] = field(default_factory=dict)

    def rebalance(self, existing: set[Partition]) -> None:
        """Give each partition one owner; who has one keeps it unless others have too few."""
        self.owners = {one: who for one, who in self.owners.items() if one in existing and who in self.members}
        for partition in sorted(existing - self.owners.keys()):
            if wanting := [who for who in self.members if partition.topic in who.topics]:
                self.owners[partition] = min(wanting, key=self._held)
        while (move := self._uneven()) is not None:
            self.owners[move[0]] = move[1]

    def _held(self, member: "MemorySource") -> int:
        return sum(owner is member for owner in self.owners.values())

    def _uneven(self) -> tuple[Partition, "MemorySource"] | None:
        """Return a partition that a member with two fewer should have, and that member."""
        for partition, owner in sorted(self.owners.items(), reverse=True, key=lambda one: one[0]):
            for other in self.members:
                if partition.topic in other.topics and self._held(other) + 1 < self._held(owner):
                    return partition, other
        return None


class _Shared:
    """What a log, its members and its writers look at together, each only while it holds ``changed``."""

    def __init__(self) -> None:
        self.cluster_id = "memory"
        self.presence: Presence = "there"
        self.changed = threading.Condition()
        self.topics: dict[str, _Topic] = {}
        self.groups: dict[str, _Group] = {}

    def rebalance(self) -> None:
        """Let every group share the partitions that there are now."""
        existing = {
            Partition(name, topic.id, number)
            for name, topic in self.topics.items()
            for number in range(len(topic.logs))
        }
        for group in self.groups.values():
            group.rebalance(existing)
        self.changed.notify_all()


class MemoryLog:
    """A whole log, with what its administrators and its fate can do to it. Safe for several threads."""

    def __init__(self) -> None:
        self._shared = _Shared()

    @property
    def presence(self) -> Presence:
        """Whether the log answers."""
        return self._shared.presence

    @presence.setter
    def presence(self, presence: Presence) -> None:
        with self._shared.changed:
            self._shared.presence = presence
            self._shared.changed.notify_all()

    def create(self, topic: str, partitions: int = 1, most_bytes: int = _MOST_BYTES) -> None:
        """Make a topic; one that was deleted comes back empty, with another id."""
        with self._shared.changed:
            logs: list[list[Record]] = [[] for _ in range(partitions)]
            self._shared.topics[topic] = _Topic(str(uuid4()), most_bytes, logs, [0] * partitions)
            self._shared.rebalance()

    def delete(self, topic: str) -> None:
        """Delete a topic with everything in it."""
        with self._shared.changed:
            del self._shared.topics[topic]
            self._shared.rebalance()

    def forget(self, topic: str, number: int, before: int) -> None:
        """Delete the records of a partition before an offset, as retention does."""
        with self._shared.changed:
            self._shared.topics[topic].firsts[number] = before

    def cut(self, topic: str, number: int, end: int) -> None:
        """Lose the records of a partition from an offset on, as a disk that was restored does."""
        with self._shared.changed:
            del self._shared.topics[topic].logs[number][end:]

    def committed(self, group: str, topic: str) -> Mapping[int, int]:
        """Return what a group told the log about each partition of a topic."""
        with self._shared.changed:
            found = self._shared.groups[group].committed if group in self._shared.groups else {}
            return {one.number: offset for one, offset in found.items() if one.topic == topic}

    def source(self, group: str, topics: Iterable[str], positions: Positions) -> "MemorySource":
        """Return a new member of a group."""
        return MemorySource(self._shared, group, frozenset(topics), positions)

    def reader(self) -> "MemoryReader":
        """Return what reads in no group."""
        return MemoryReader(self._shared)

    def sink(self) -> "MemorySink":
        """Return what writes into this log."""
        return MemorySink(self._shared)


class MemorySource:
    """A member of a group; see ``EventSource``."""

    def __init__(self, shared: _Shared, group: str, topics: frozenset[str], positions: Positions) -> None:
        self.topics = topics
        self._shared = shared
        self._group = group
        self._ask = positions
        self._next: dict[Partition, int] = {}
        self._troubles: list[Trouble] = []

    @property
    def cluster_id(self) -> str:
        """The log's own name."""
        return self._shared.cluster_id

    def poll(self, within: timedelta, most: int) -> Sequence[Record]:
        """Return at most so many records; see ``EventSource``."""
        deadline = time.monotonic() + within.total_seconds()
        while True:
            self._place(self._joined())
            with self._shared.changed:
                records = self._taken(most)
                left = deadline - time.monotonic()
                if records or self._troubles or left <= 0:
                    return records
                self._shared.changed.wait(left)

    def rewind(self) -> None:
        """Ask for the positions again; see ``EventSource``."""
        self._next.clear()

    def troubles(self) -> Sequence[Trouble]:
        """Return what went wrong; see ``EventSource``."""
        told, self._troubles = self._troubles, []
        return told

    def missing_topics(self) -> frozenset[str]:
        """Return the topics that are not there."""
        with self._shared.changed:
            return self.topics - self._shared.topics.keys()

    def commit(self, positions: Mapping[Partition, int], within: timedelta) -> bool:  # noqa: ARG002 - memory is quick
        """Tell the log how far we are; refused for what this member does not have."""
        with self._shared.changed:
            group = self._shared.groups.get(self._group)
            if group is None or self._shared.presence != "there":
                return False
            if any(group.owners.get(partition) is not self for partition in positions):
                return False
            group.committed.update(positions)
            return True

    def lag(self) -> Mapping[Partition, int]:
        """Return how many records of each partition were not polled yet."""
        with self._shared.changed:
            ends = {one: self._log(one) for one in self._next}
            return {one: max(0, len(log) - self._next[one]) for one, log in ends.items() if log is not None}

    def close(self, within: timedelta) -> None:  # noqa: ARG002 - memory is quick
        """Leave the group."""
        with self._shared.changed:
            group = self._shared.groups.get(self._group)
            if group is not None and self in group.members:
                group.members.remove(self)
                self._shared.rebalance()
        self._next.clear()

    def _joined(self) -> frozenset[Partition]:
        """Return the partitions that are ours, joining the group when we are not in it."""
        with self._shared.changed:
            if self._shared.presence != "there":
                raise TransientError("The event log could not be reached: ask again.")
            group = self._shared.groups.setdefault(self._group, _Group())
            if self not in group.members:
                group.members.append(self)
                self._shared.rebalance()
            return frozenset(partition for partition, owner in group.owners.items() if owner is self)

    def _place(self, ours: frozenset[Partition]) -> None:
        """Know where to go on reading each partition; asked without holding the log, since the asked may take time."""
        self._next = {partition: offset for partition, offset in self._next.items() if partition in ours}
        if new := sorted(ours - self._next.keys()):
            kept = self._ask(new)
            self._next |= {one: kept.get(one, -1) for one in new}

    def _taken(self, most: int) -> list[Record]:
        found: list[Record] = []
        for partition, wanted in sorted(self._next.items()):
            log = self._log(partition)
            if log is None or len(found) >= most:
                continue
            first = self._shared.topics[partition.topic].firsts[partition.number]
            start = wanted
            if not first <= wanted <= len(log):
                start = first
                if wanted >= 0:
                    self._troubles.append(Trouble.out_of_range(partition, wanted, first))
            taken = log[start : start + most - len(found)]
            self._next[partition] = start + len(taken)
            found += taken
        return found

    def _log(self, partition: Partition) -> list[Record] | None:
        """Return the records of a partition, if its topic is still the same."""
        topic = self._shared.topics.get(partition.topic)
        return topic.logs[partition.number] if topic is not None and topic.id == partition.topic_id else None


class MemoryReader:
    """Reads a memory log in no group; see ``EventReader``."""

    def __init__(self, shared: _Shared) -> None:
        self._shared = shared

    @property
    def cluster_id(self) -> str:
        """The log's own name."""
        return self._shared.cluster_id

    def extents(self, topic: str, since: datetime | int, before: datetime | int | None) -> Sequence[Extent]:
        """Return what a topic holds at this moment; see ``EventReader``."""
        with self._shared.changed:
            self._expect_there()
            found = self._shared.topics.get(topic)
            if found is None:
                return ()
            extents = []
            for number, (log, first) in enumerate(zip(found.logs, found.firsts, strict=True)):
                begin = max(first, min(_offset(log, since), len(log)))
                end = len(log) if before is None else max(begin, min(_offset(log, before), len(log)))
                extents.append(Extent(Partition(topic, found.id, number), begin, end))
            return extents

    def read(self, extent: Extent, most: int) -> Iterator[Sequence[Record]]:
        """Yield its records; see ``EventReader``."""
        at, where = extent.first, extent.partition
        while at < extent.end:
            with self._shared.changed:
                self._expect_there()
                topic = self._shared.topics.get(where.topic)
                if topic is None or topic.id != where.topic_id or not topic.firsts[where.number] <= at:
                    raise extent.gone()
                found = topic.logs[where.number][at : min(at + most, extent.end)]
            at += len(found)
            yield found

    def close(self) -> None:
        """There is nothing to let go."""

    def _expect_there(self) -> None:
        if self._shared.presence != "there":
            raise TransientError("The event log could not be reached: ask again.")


class MemorySink:
    """Writes into a memory log; see ``EventSink``."""

    def __init__(self, shared: _Shared) -> None:
        self._shared = shared

    def publish(self, topic: str, key: bytes, value: bytes, headers: Headers = ()) -> Acknowledged:
        """Return where the record lies; see ``EventSink``."""
        with self._shared.changed:
            if self._shared.presence == "away":
                raise TransientError("The event log could not be reached: send the same again.")
            found = self._shared.topics.get(topic)
            if found is None:
                raise RejectedError(f"The event log has no topic {topic}: create it.")
            size = len(key) + len(value) + sum(len(name) + len(one) for name, one in headers)
            if size > found.most_bytes:
                raise RejectedError(f"A record of {size} bytes is too large for {topic}: at most {found.most_bytes}.")
            number = zlib.crc32(key) % len(found.logs)
            log = found.logs[number]
            log.append(Record(Partition(topic, found.id, number), len(log), key, value, headers, datetime.now(UTC)))
            self._shared.changed.notify_all()
            if self._shared.presence == "mute":
                raise TransientError("The event log did not answer: it is not known whether it has the record.")
            return Acknowledged(topic, number, len(log) - 1)

    def close(self, within: timedelta) -> None:
        """There is nothing to let go."""


def _offset(log: Sequence[Record], at: datetime | int) -> int:
    """Return the offset of the first record that was written then or later, or the offset that is said."""
    if isinstance(at, int):
        return at
    return next((record.offset for record in log if record.written_at >= at), len(log))
