"""An event log that is killed or frozen: nobody waits without end, nothing is missing, and all goes on by itself."""

import gc
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta

import pytest

from connectors.eventlog.kafka import KafkaSink, KafkaSource
from connectors.eventlog.protocol import Partition, Record
from infra.kafka.broker import Broker
from models.errors import TransientError
from tests.contracts.event_logs import KafkaSite, waited

pytestmark = [
    pytest.mark.faults,
    # kafka-python leaves the sockets of refused connections to the garbage collector.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

SECOND = timedelta(seconds=1)
LONGEST_CALL_S = 12.0
"""More than any call may take: the sink's own six seconds, as much to connect anew, and none of it twice."""


@pytest.fixture(autouse=True)
def collected() -> Iterator[None]:
    """Collect garbage at the end, so that its warnings come in the test that made it."""
    yield
    gc.collect()


class Keeper:
    """Keeps records as the intake does: once each, with the position, however often they come."""

    def __init__(self) -> None:
        self.kept: dict[tuple[Partition, int], bytes] = {}
        self.positions: dict[Partition, int] = {}
        self.longest_s = 0.0
        self.refusals = 0

    def asked(self, partitions: Sequence[Partition]) -> Mapping[Partition, int]:
        return {one: self.positions[one] for one in partitions if one in self.positions}

    def keep(self, records: Sequence[Record]) -> int:
        """Keep them, and return how many there are now."""
        for record in records:
            self.kept[record.partition, record.offset] = record.value or b""
            self.positions[record.partition] = max(self.positions.get(record.partition, 0), record.offset + 1)
        return len(self.kept)

    def timed(self, call: Callable[[], object]) -> None:
        began = time.monotonic()
        try:
            call()
        except TransientError:
            self.refusals += 1
            time.sleep(0.1)
        self.longest_s = max(self.longest_s, time.monotonic() - began)


@contextmanager
def writing_and_reading(site: KafkaSite, topic: str) -> Iterator[tuple[Keeper, Keeper, list[bytes]]]:
    """Write numbers until each is answered, and read them, in two threads; yield both keepers and what was answered."""
    reader, writer, sent = Keeper(), Keeper(), list[bytes]()
    source, sink = site.source(topic, [topic], reader.asked), site.sink()
    is_over = threading.Event()

    def poll() -> None:
        records = source.poll(SECOND / 4, 500)
        reader.keep(records)
        if records:
            source.commit(dict(reader.positions), SECOND)

    def write() -> None:
        sink.publish(topic, b"key", b"%d" % len(sent))
        sent.append(b"%d" % len(sent))

    def loop(keeper: Keeper, call: Callable[[], None]) -> None:
        while not is_over.is_set():
            keeper.timed(call)

    threads = [threading.Thread(target=loop, args=one) for one in ((reader, poll), (writer, write))]
    for thread in threads:
        thread.start()
    try:
        yield reader, writer, sent
    finally:
        is_over.set()
        for thread in threads:
            thread.join(30)
        source.close(SECOND)
        sink.close(SECOND)


def goes_on(reader: Keeper, sent: list[bytes]) -> bool:
    """Tell whether, from now on, ten more are written and all answered ones are read, within half a minute."""
    wanted = len(sent) + 10
    return waited(lambda: len(sent) >= wanted, 30) and waited(lambda: {*sent} <= {*reader.kept.values()}, 30)


def test_a_broker_that_is_killed_and_comes_back_loses_nothing_and_nobody_is_started_again(
    own_kafka_broker: Broker,
) -> None:
    site = KafkaSite(own_kafka_broker.bootstrap)
    site.create("t")
    with writing_and_reading(site, "t") as (reader, writer, sent):
        assert goes_on(reader, sent)
        for _ in range(2):
            own_kafka_broker.kill()
            time.sleep(4)
            own_kafka_broker.start()
            assert goes_on(reader, sent)
    assert writer.refusals > 0
    assert max(reader.longest_s, writer.longest_s) < LONGEST_CALL_S
    values = [value for _, value in sorted(reader.kept.items())]
    # An answer that was lost is sent again, so a number may stand there twice, and never after a later one.
    assert [int(value) for value in values] == sorted(int(value) for value in values)


def test_a_broker_that_freezes_holds_nobody_for_long_and_all_goes_on_when_it_thaws(own_kafka_broker: Broker) -> None:
    site = KafkaSite(own_kafka_broker.bootstrap)
    site.create("t")
    with writing_and_reading(site, "t") as (reader, writer, sent):
        assert goes_on(reader, sent)
        own_kafka_broker.freeze()
        refusals = reader.refusals
        assert waited(lambda: reader.refusals > refusals + 1 and writer.refusals > 0, 40)
        own_kafka_broker.thaw()
        assert goes_on(reader, sent)
    assert max(reader.longest_s, writer.longest_s) < LONGEST_CALL_S


def test_a_commit_to_a_frozen_broker_is_given_up_in_time(own_kafka_broker: Broker) -> None:
    site = KafkaSite(own_kafka_broker.bootstrap)
    site.create("t")
    sink, keeper = site.sink(), Keeper()
    sink.publish("t", b"k", b"v")
    sink.close(SECOND)
    source = site.source("g", ["t"], keeper.asked)
    assert waited(lambda: keeper.keep(source.poll(SECOND / 4, 9)) > 0)
    own_kafka_broker.freeze()
    began = time.monotonic()
    assert not source.commit(keeper.positions, SECOND)
    assert time.monotonic() - began < 3
    began = time.monotonic()
    source.close(SECOND)
    assert time.monotonic() - began < 5
    own_kafka_broker.thaw()


def test_a_member_that_was_frozen_wakes_as_a_zombie_and_does_no_harm(own_kafka_broker: Broker) -> None:
    """Two members in turn: one does not poll nor live for longer than its session, as a stopped process would."""
    site = KafkaSite(own_kafka_broker.bootstrap)
    site.create("t")
    keeper = Keeper()
    zombie: KafkaSource = site.source("g", ["t"], keeper.asked)
    sink: KafkaSink = site.sink()
    sink.publish("t", b"k", b"first")
    assert waited(lambda: keeper.keep(zombie.poll(SECOND / 4, 9)) > 0)
    assert zombie._consumer is not None
    zombie._consumer._consumer._coordinator._disable_heartbeat()
    other = site.source("g", ["t"], keeper.asked)
    sink.publish("t", b"k", b"second")
    assert waited(lambda: keeper.keep(other.poll(SECOND / 4, 9)) == 2, 40)
    assert not zombie.commit(keeper.positions, 2 * SECOND)
    assert other.commit(keeper.positions, 2 * SECOND)
    sink.publish("t", b"k", b"third")
    for _ in range(8):
        for member in (zombie, other):
            keeper.timed(lambda member=member: keeper.keep(member.poll(SECOND / 4, 9)))  # type: ignore[misc]
    assert [value for _, value in sorted(keeper.kept.items())] == [b"first", b"second", b"third"]
    for one in (zombie, other):
        one.close(SECOND)
    sink.close(SECOND)
