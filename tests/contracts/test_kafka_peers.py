"""Kafka as others use it: clients that share no code with ours, and what they may send."""

import gc
import logging
import secrets
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import pytest
from confluent_kafka import Consumer, Message, Producer, TopicPartition

from connectors.eventlog.kafka import KafkaSink, KafkaSource
from connectors.eventlog.kafka_consumer import Limits
from connectors.eventlog.protocol import Partition
from infra.kafka.broker import Broker
from models.errors import RejectedError, TransientError
from tests.contracts.event_logs import SECOND, KafkaSite, from_the_start, read, waited

NOBODY = "127.0.0.1:1"


@pytest.fixture
def site(kafka_broker: Broker) -> KafkaSite:
    return KafkaSite(kafka_broker.bootstrap)


@pytest.fixture
def collected() -> Iterator[None]:
    """Collect garbage at the end, so that its warnings come in the test that made it."""
    yield
    gc.collect()


def theirs(site: KafkaSite, **config: object) -> Producer:
    return Producer({"bootstrap.servers": site.bootstrap, "partitioner": "murmur2_random", **config})


def test_what_we_write_a_foreign_consumer_reads_in_the_partition_a_foreign_producer_would_choose(
    site: KafkaSite, name: str
) -> None:
    site.create(name, partitions=5)
    sink = site.sink()
    ours = {n: sink.publish(name, b"key %d" % n, b"v", (("content-type", b"a/b"),)).partition for n in range(20)}
    sink.close(SECOND)
    placed: dict[int, int] = {}

    def note(_error: object, found: Message) -> None:
        placed[int((found.key() or b"")[4:])] = found.partition() or 0

    producer = theirs(site)
    for n in range(20):
        producer.produce(name, b"v", b"key %d" % n, on_delivery=note)
    producer.flush(10)
    assert ours == placed
    consumer = Consumer({"bootstrap.servers": site.bootstrap, "group.id": name, "auto.offset.reset": "earliest"})
    consumer.assign([TopicPartition(name, number, 0) for number in range(5)])
    found = consumer.consume(40, 15)
    consumer.close()
    assert sorted(record.key() or b"" for record in found) == sorted([b"key %d" % n for n in range(20)] * 2)
    assert [record.headers() for record in found].count([("content-type", b"a/b")]) == 20


def test_tombstones_missing_keys_and_empty_headers_of_a_foreign_producer_arrive(site: KafkaSite, name: str) -> None:
    site.create(name)
    producer = theirs(site)
    producer.produce(name, None, None)
    producer.produce(name, b"", b"", headers=[("none", None), ("twice", b"1"), ("twice", b"2"), ("", b"\xff")])
    producer.flush(10)
    source = site.source(name, [name], from_the_start)
    first, second = read(source, 2)
    source.close(SECOND)
    assert (first.key, first.value, first.headers) == (None, None, ())
    assert (second.key, second.value) == (b"", b"")
    assert second.headers == (("none", b""), ("twice", b"1"), ("twice", b"2"), ("", b"\xff"))


def test_what_a_foreign_transaction_took_back_is_never_read_and_leaves_no_lag(site: KafkaSite, name: str) -> None:
    site.create(name)
    producer = theirs(site, **{"transactional.id": name})
    producer.init_transactions(10)
    for value, is_kept in ((b"kept", True), (b"taken back", False), (b"kept too", True)):
        producer.begin_transaction()
        producer.produce(name, value, b"k")
        (producer.commit_transaction if is_kept else producer.abort_transaction)(10)
    source = site.source(name, [name], from_the_start)
    assert [record.value for record in read(source, 2)] == [b"kept", b"kept too"]
    assert waited(lambda: not source.poll(SECOND / 10, 9) and sum(source.lag().values()) == 0)
    source.close(SECOND)


def test_a_record_that_can_not_be_read_stops_its_partition_only_and_is_told(site: KafkaSite, name: str) -> None:
    site.create(name, partitions=2)
    for codec, number in (("none", 0), ("zstd", 0), ("none", 1)):
        producer = theirs(site, **{"compression.type": codec})
        producer.produce(name, b"%d " % number * 500, b"k", partition=number)
        producer.flush(10)
    source = site.source(name, [name], from_the_start)
    found = read(source, 2)
    assert sorted(record.partition.number for record in found) == [0, 1]
    assert waited(lambda: not source.poll(SECOND / 10, 9) and bool(source._troubles))
    [trouble] = source.troubles()
    assert (trouble.partition.number, trouble.wanted, trouble.resumed_at) == (0, 1, None)
    assert "stands still" in trouble.sentence
    producer = theirs(site)
    producer.produce(name, b"later", b"k", partition=1)
    producer.flush(10)
    assert b"later" in [record.value for record in read(source, 1)]
    source.close(SECOND)


@pytest.mark.apache_kafka("a topic has a compression of its own")
def test_a_topic_that_compresses_again_is_read_whatever_its_producer_chose(site: KafkaSite, name: str) -> None:
    site.create(name, compression="gzip")
    producer = theirs(site, **{"compression.type": "zstd"})
    producer.produce(name, b"x" * 5_000, b"k")
    producer.flush(10)
    source = site.source(name, [name], from_the_start)
    assert [record.value for record in read(source, 1)] == [b"x" * 5_000]
    source.close(SECOND)


def test_a_record_larger_than_a_fetch_is_read(site: KafkaSite, name: str) -> None:
    site.create(name, most_bytes=12 << 20)
    sink = site.sink()
    sink.publish(name, b"k", bytes(10 << 20))
    sink.close(SECOND)
    source = site.source(name, [name], from_the_start)
    [record] = read(source, 1)
    source.close(SECOND)
    assert record.value == bytes(10 << 20)


# kafka-python leaves the sockets of refused connections to the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.usefixtures("collected")
def test_a_log_that_is_not_there_is_told_in_time_and_leaves_no_thread_behind() -> None:
    before = threading.active_count()
    source = KafkaSource({"bootstrap_servers": NOBODY}, "g", ["t"], from_the_start, Limits(answer=SECOND / 2))
    sink = KafkaSink({"bootstrap_servers": NOBODY}, SECOND)
    began = time.monotonic()
    for _ in range(3):
        with pytest.raises(TransientError, match="can't be reached"):
            source.poll(SECOND, 9)
        with pytest.raises(TransientError, match="can't be reached"):
            sink.publish("t", b"k", b"v")
    assert time.monotonic() - began < 15
    assert not source.commit({Partition("t", "x", 0): 1}, SECOND)
    assert source.lag() == {}
    source.close(SECOND)
    sink.close(SECOND)
    assert waited(lambda: threading.active_count() <= before, within=5)


def test_a_client_that_was_closed_leaves_no_thread_behind(site: KafkaSite, name: str) -> None:
    site.create(name)
    before = threading.active_count()
    for _ in range(3):
        sink, source = site.sink(), site.source(name, [name], from_the_start)
        sink.publish(name, b"k", b"v")
        source.poll(SECOND / 2, 9)
        source.close(SECOND)
        sink.close(SECOND)
    assert waited(lambda: threading.active_count() <= before, within=5)


@pytest.mark.apache_kafka("a topic limits its records")
def test_a_record_that_is_refused_does_no_harm_to_those_sent_beside_it(site: KafkaSite, name: str) -> None:
    site.create(name, most_bytes=2_000)
    sink = site.sink()
    refused, sent = [], []

    def send(number: int) -> None:
        try:
            sent.append(sink.publish(name, b"k", secrets.token_bytes(3_000 if number % 3 == 0 else 10)))
        except RejectedError:
            refused.append(number)

    threads = [threading.Thread(target=send, args=(number,)) for number in range(9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    sink.close(SECOND)
    assert sorted(refused) == [0, 3, 6]
    assert len(sent) == 6


def test_payloads_never_come_into_the_log_whatever_level_is_set(
    site: KafkaSite, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    site.create(name)
    sink, source = site.sink(), site.source(name, [name], from_the_start)
    sink.publish(name, b"k", b"DOE^JANE")
    assert len(read(source, 1)) == 1
    sink.close(SECOND)
    source.close(SECOND)
    assert "DOE" not in caplog.text


def test_who_only_knows_of_kafka_does_not_wait_for_its_client() -> None:
    said = "import sys, connectors.eventlog.kafka; print('kafka' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", said], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "False"
