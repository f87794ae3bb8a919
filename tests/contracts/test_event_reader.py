"""What reading in no group promises, kept by the log in memory and by a real Apache Kafka."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

import pytest
from confluent_kafka import Producer

from connectors.eventlog.kafka_reader import KafkaReader
from connectors.eventlog.memory import MemoryLog
from connectors.eventlog.protocol import EventReader, Record
from infra.kafka.broker import Broker
from models.errors import RefusedError, TransientError
from tests.contracts.event_logs import QUICK, SECOND, KafkaSite, Site, from_the_start, read


@contextmanager
def reading(site: Site) -> Iterator[EventReader]:
    if isinstance(site, MemoryLog):
        reader: EventReader = site.reader()
    else:
        assert isinstance(site, KafkaSite)
        reader = KafkaReader({"bootstrap_servers": site.bootstrap}, QUICK)
    try:
        yield reader
    finally:
        reader.close()


def written(site: Site, topic: str, *values: bytes) -> None:
    sink = site.sink()
    for value in values:
        sink.publish(topic, value[:1], value)
    sink.close(SECOND)


def all_of(
    reader: EventReader, topic: str, since: datetime | int = 0, before: datetime | int | None = None
) -> list[Record]:
    extents = reader.extents(topic, since, before)
    return [one for extent in extents for records in reader.read(extent, 500) for one in records]


def test_the_ends_are_frozen_and_what_is_between_them_is_read_in_order(site: Site, name: str) -> None:
    site.create(name, partitions=3)
    written(site, name, *(b"%d" % number for number in range(10)))
    with reading(site) as reader:
        extents = reader.extents(name, 0, None)
        written(site, name, b"later", b"0 later")
        batches = [list(records) for extent in extents for records in reader.read(extent, 2)]
        assert reader.cluster_id
    assert len(extents) == 3
    assert sum(extent.size for extent in extents) == 10
    assert max(map(len, batches)) <= 2
    records = [record for batch in batches for record in batch]
    assert sorted(record.value or b"" for record in records) == [b"%d" % number for number in range(10)]
    assert [(one.partition, one.offset) for one in records] == sorted((one.partition, one.offset) for one in records)


def test_it_is_read_as_a_member_of_a_group_reads_it_and_no_group_is_told(site: Site, name: str) -> None:
    site.create(name)
    written(site, name, b"0", b"1")
    source = site.source(name, [name], from_the_start)
    as_member = read(source, 2)
    with reading(site) as reader:
        assert all_of(reader, name) == as_member
        written(site, name, b"2")
        assert [record.value for record in read(source, 1)] == [b"2"]
    source.close(SECOND)
    assert site.committed(name, name) == {}


@pytest.mark.apache_kafka("the end of a partition is known")
def test_both_ends_may_be_offsets_and_stop_at_what_there_is(site: Site, name: str) -> None:
    site.create(name)
    written(site, name, b"0", b"1", b"2", b"3", b"4")
    site.forget(name, 0, 1)
    with reading(site) as reader:
        assert [record.offset for record in all_of(reader, name, 2, 4)] == [2, 3]
        assert [record.offset for record in all_of(reader, name, 0, 99)] == [1, 2, 3, 4]
        assert all_of(reader, name, 3, 2) == []
        assert all_of(reader, name, 99) == []


@pytest.mark.apache_kafka("offsets are found by time")
def test_both_ends_may_be_times_of_writing(site: Site, name: str) -> None:
    site.create(name)
    moments = []
    for number in range(3):
        moments.append(datetime.now(UTC))
        time.sleep(0.01)
        written(site, name, b"%d" % number)
        time.sleep(0.01)
    with reading(site) as reader:
        assert [record.value for record in all_of(reader, name, moments[1])] == [b"1", b"2"]
        assert [record.value for record in all_of(reader, name, moments[0], moments[2])] == [b"0", b"1"]
        assert all_of(reader, name, datetime.now(UTC)) == []


@pytest.mark.apache_kafka("a topic is missing until it is made")
def test_a_topic_that_is_not_there_holds_nothing_and_is_not_made(site: Site, name: str) -> None:
    with reading(site) as reader:
        assert list(reader.extents(name, 0, None)) == []
        assert list(reader.extents(name, 0, None)) == []


@pytest.mark.apache_kafka("records are deleted")
def test_what_is_deleted_meanwhile_is_told(site: Site, name: str) -> None:
    site.create(name)
    written(site, name, b"0", b"1", b"2")
    with reading(site) as reader:
        extents = reader.extents(name, 0, None)
        site.forget(name, 0, 2)
        with pytest.raises(RefusedError, match=f"records of {name}/0 were deleted"):
            list(reader.read(extents[0], 500))


def test_a_topic_made_again_meanwhile_is_not_read_for_the_other(site: Site, name: str) -> None:
    site.create(name)
    written(site, name, b"0", b"1", b"2")
    with reading(site) as reader:
        extents = reader.extents(name, 0, None)
        site.delete(name)
        site.create(name)
        written(site, name, b"3", b"4", b"5")
        time.sleep(0 if isinstance(site, MemoryLog) else 1.5)
        with pytest.raises((RefusedError, TransientError)):
            list(reader.read(extents[0], 500))


def test_what_a_transaction_took_back_is_not_read_and_nobody_waits_for_it(kafka_broker: Broker, name: str) -> None:
    site = KafkaSite(kafka_broker.bootstrap)
    site.create(name)
    producer = Producer({"bootstrap.servers": site.bootstrap, "transactional.id": name, "log_level": 0})
    producer.init_transactions(10)
    for value, is_kept in ((b"kept", True), (b"taken back", False)):
        producer.begin_transaction()
        producer.produce(name, value, b"k")
        (producer.commit_transaction if is_kept else producer.abort_transaction)(10)
    with reading(site) as reader:
        began = time.monotonic()
        assert [record.value for record in all_of(reader, name)] == [b"kept"]
        assert time.monotonic() - began < QUICK.answer.total_seconds()
