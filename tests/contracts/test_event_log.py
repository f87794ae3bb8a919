"""What every event log promises, kept by the one in memory and by a real Apache Kafka."""

import secrets
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime

import pytest

from connectors.eventlog.protocol import EventSource, Partition, Positions, Record
from models.errors import RejectedError, TransientError
from tests.contracts.event_logs import SECOND, Site, from_the_start, read, waited


@contextmanager
def member(site: Site, name: str, positions: Positions = from_the_start, group: str = "") -> Iterator[EventSource]:
    source = site.source(group or name, [name], positions)
    try:
        yield source
    finally:
        source.close(SECOND)


def written(site: Site, topic: str, count: int, key: Callable[[int], bytes] = lambda _: b"one") -> None:
    sink = site.sink()
    for number in range(count):
        sink.publish(topic, key(number), b"%d" % number)
    sink.close(SECOND)


def polled(
    sources: Sequence[EventSource],
    is_enough: Callable[[], bool],
    keep: Callable[[Sequence[Record]], Sequence[Record]] = tuple,
) -> list[Record]:
    """Poll members in turn until it is enough."""
    found: list[Record] = []

    def is_enough_now() -> bool:
        for source in sources:
            found.extend(keep(source.poll(SECOND / 10, 500)))
        return is_enough()

    assert waited(is_enough_now)
    return found


def values(records: Sequence[Record]) -> list[bytes]:
    return [record.value or b"" for record in records]


def test_what_is_written_is_read_as_it_was_in_order_and_where_the_answer_said(site: Site, name: str) -> None:
    site.create(name, partitions=3)
    sink = site.sink()
    before = datetime.now(UTC) - SECOND
    sent = [sink.publish(name, b"\x00key", b"\xff%d" % n, (("content-type", b"a/b"), ("n", b""))) for n in range(5)]
    sink.close(SECOND)
    with member(site, name) as source:
        records = read(source, 5)
        assert source.cluster_id
    assert values(records) == [b"\xff%d" % n for n in range(5)]
    assert [(one.partition.topic, one.partition.number, one.offset) for one in records] == [
        (one.topic, one.partition, one.offset) for one in sent
    ]
    assert {(one.key, one.headers) for one in records} == {(b"\x00key", (("content-type", b"a/b"), ("n", b"")))}
    assert all(before < one.written_at < datetime.now(UTC) + SECOND for one in records)
    assert len({one.partition.topic_id for one in records}) == 1


def test_reading_goes_on_where_the_positions_say_whatever_was_committed(site: Site, name: str) -> None:
    site.create(name)
    written(site, name, 5)
    with member(site, name) as source:
        records = read(source, 5)
        assert source.commit({records[0].partition: 5}, 2 * SECOND)
    assert site.committed(name, name) == {0: 5}
    with member(site, name, lambda partitions: dict.fromkeys(partitions, 2)) as source:
        assert values(read(source, 3)) == [b"2", b"3", b"4"]


def test_nothing_is_committed_unless_it_is_told_to(site: Site, name: str) -> None:
    site.create(name)
    written(site, name, 3)
    with member(site, name) as source:
        assert len(read(source, 3)) == 3
        assert list(source.poll(SECOND / 4, 500)) == []
    assert site.committed(name, name) == {}


def test_a_poll_returns_no_more_than_was_asked_for(site: Site, name: str) -> None:
    site.create(name)
    written(site, name, 7)
    with member(site, name) as source:
        read(source, 1, most=1)
        batches = [list(source.poll(2 * SECOND, 4)), list(source.poll(2 * SECOND, 4))]
    assert [values(batch) for batch in batches] == [[b"1", b"2", b"3", b"4"], [b"5", b"6"]]


def test_who_has_no_room_gets_nothing_and_misses_nothing(site: Site, name: str) -> None:
    site.create(name)
    written(site, name, 3)
    with member(site, name) as source:
        for _ in range(4):
            assert list(source.poll(SECOND / 4, 0)) == []
        assert values(read(source, 3)) == [b"0", b"1", b"2"]
        assert list(source.poll(SECOND / 4, 0)) == []
        written(site, name, 2)
        assert list(source.poll(SECOND / 4, 0)) == []
        assert values(read(source, 2)) == [b"0", b"1"]


def test_what_could_not_be_kept_is_polled_again(site: Site, name: str) -> None:
    site.create(name)
    written(site, name, 4)
    kept = 0
    with member(site, name, lambda partitions: dict.fromkeys(partitions, kept)) as source:
        assert values(read(source, 4)) == [b"0", b"1", b"2", b"3"]
        kept = 2
        source.rewind()
        assert values(read(source, 2)) == [b"2", b"3"]


def test_positions_that_can_not_be_had_are_asked_again_and_nothing_is_read_before(site: Site, name: str) -> None:
    site.create(name)
    written(site, name, 2)
    asked = 0

    def positions(partitions: Sequence[Partition]) -> Mapping[Partition, int]:
        nonlocal asked
        asked += 1
        if asked < 3:
            raise TransientError("the database is away")
        return dict.fromkeys(partitions, 1)

    with member(site, name, positions) as source:
        for _ in range(2):
            with pytest.raises(TransientError, match="the database is away"):
                read(source, 1)
        assert values(read(source, 1)) == [b"1"]


@pytest.mark.apache_kafka("members share partitions anew within seconds")
def test_members_share_the_partitions_and_take_over_what_another_leaves(site: Site, name: str) -> None:
    site.create(name, partitions=4)
    kept: dict[Partition, int] = {}

    def positions(partitions: Sequence[Partition]) -> Mapping[Partition, int]:
        return {one: kept[one] for one in partitions if one in kept}

    def keep(records: Sequence[Record]) -> Sequence[Record]:
        for record in records:
            kept[record.partition] = max(kept.get(record.partition, 0), record.offset + 1)
        return records

    first, second = (site.source(name, [name], positions) for _ in range(2))
    seen = polled([first], lambda: len(first.lag()) == 4)
    seen += polled([first, second], lambda: len(first.lag()) == len(second.lag()) == 2)
    written(site, name, 40, lambda number: b"key %d" % number)
    seen += polled([first, second], lambda: bool(kept), keep)
    second.close(2 * SECOND)
    seen += polled([first], lambda: sum(kept.values()) == 40, keep)
    first.close(SECOND)
    assert Counter(values(seen)) == Counter(b"%d" % number for number in range(40))


def test_a_commit_for_a_partition_that_another_has_is_refused_and_no_error(site: Site, name: str) -> None:
    site.create(name)
    written(site, name, 1)
    with member(site, name) as source:
        [record] = read(source, 1)
    assert not source.commit({record.partition: 1}, SECOND)
    with member(site, name) as other:
        assert not other.commit({record.partition: 1}, SECOND)
    assert site.committed(name, name) == {}


@pytest.mark.apache_kafka("records are deleted")
def test_records_that_were_deleted_unread_are_told_and_the_rest_is_read(site: Site, name: str) -> None:
    site.create(name)
    written(site, name, 5)
    site.forget(name, 0, 3)
    with member(site, name, lambda partitions: dict.fromkeys(partitions, 1)) as source:
        assert values(read(source, 2)) == [b"3", b"4"]
        [trouble] = source.troubles()
        assert list(source.troubles()) == []
    assert (trouble.partition.topic, trouble.wanted, trouble.resumed_at) == (name, 1, 3)
    assert "2 records" in trouble.sentence


@pytest.mark.apache_kafka("records are deleted")
def test_who_knows_no_position_starts_with_what_is_left(site: Site, name: str) -> None:
    site.create(name)
    written(site, name, 3)
    site.forget(name, 0, 2)
    with member(site, name) as source:
        assert values(read(source, 1)) == [b"2"]
        assert list(source.troubles()) == []


@pytest.mark.apache_kafka("an offset beyond the end is refused")
def test_a_log_that_ends_before_our_position_is_told_and_read_again(site: Site, name: str) -> None:
    site.create(name)
    written(site, name, 2)
    with member(site, name, lambda partitions: dict.fromkeys(partitions, 9)) as source:
        assert values(read(source, 2)) == [b"0", b"1"]
        [trouble] = source.troubles()
    assert (trouble.wanted, trouble.resumed_at) == (9, 0)
    assert "lost records" in trouble.sentence


def test_a_topic_made_again_while_it_is_read_has_another_id_and_is_read_from_its_start(site: Site, name: str) -> None:
    site.create(name)
    written(site, name, 3)
    asked: list[Partition] = []

    def positions(partitions: Sequence[Partition]) -> Mapping[Partition, int]:
        asked.extend(partitions)
        return {one: 2 for one in partitions if one == asked[0]}

    with member(site, name, positions) as source:
        assert values(read(source, 1)) == [b"2"]
        site.delete(name)
        site.create(name)
        written(site, name, 6)
        records = read(source, 6)
    again = [record for record in records if record.partition != asked[0]]
    assert values(again) == [b"0", b"1", b"2", b"3", b"4", b"5"][: len(again)]
    assert len(again) >= 5
    assert len({partition.topic_id for partition in asked}) == 2


@pytest.mark.apache_kafka("a topic is missing until it is made")
def test_a_topic_that_is_missing_is_told_and_read_once_it_is_there(site: Site, name: str) -> None:
    with member(site, name) as source:
        assert list(source.poll(SECOND, 9)) == []
        assert source.missing_topics() == {name}
        site.create(name)
        written(site, name, 1)
        assert values(read(source, 1)) == [b"0"]
        assert source.missing_topics() == frozenset()


def test_what_was_not_polled_yet_is_the_lag(site: Site, name: str) -> None:
    site.create(name)
    written(site, name, 5)
    with member(site, name) as source:
        assert len(read(source, 1, most=2)) == 2
        assert sum(source.lag().values()) == 3
        read(source, 3)
        assert sum(source.lag().values()) == 0


@pytest.mark.apache_kafka("a topic limits its records")
def test_a_record_that_the_log_will_never_take_is_rejected(site: Site, name: str) -> None:
    site.create(name, most_bytes=2_000)
    sink = site.sink()
    with pytest.raises(RejectedError, match="too large"):
        sink.publish(name, b"k", secrets.token_bytes(3_000))
    with pytest.raises(RejectedError, match="no topic"):
        sink.publish(f"{name}-missing", b"k", b"v")
    assert sink.publish(name, b"k", b"v").offset == 0
    sink.close(SECOND)


def test_many_threads_write_through_one_sink(site: Site, name: str) -> None:
    site.create(name)
    sink = site.sink()
    with ThreadPoolExecutor(8) as threads:
        sent = list(threads.map(lambda number: sink.publish(name, b"k", b"%d" % number), range(80)))
    sink.close(SECOND)
    assert sorted(one.offset for one in sent) == list(range(80))
