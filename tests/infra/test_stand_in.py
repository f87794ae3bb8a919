"""The broker that stands in for Apache Kafka where that can't be had: started for real, whatever is there."""

import os
import signal
from datetime import timedelta
from pathlib import Path

import pytest
from confluent_kafka import Producer

from tests import kafka_broker as kafka
from tests.contracts.event_logs import KafkaSite, from_the_start, read, waited

SECOND = timedelta(seconds=1)


@pytest.mark.skipif(bool(kafka.why_no_stand_in()), reason=kafka.why_no_stand_in() or "it is here")
def test_what_another_client_writes_into_the_stand_in_is_read_in_order_and_forgotten_at_its_end() -> None:
    with kafka.standing_in() as broker:
        assert broker.bootstrap.startswith("127.0.0.1:")
        site = KafkaSite(broker.bootstrap)
        site.create("scans")
        producer = Producer({"bootstrap.servers": broker.bootstrap, "log_level": 0})
        for number in range(5):
            producer.produce("scans", key=b"one", value=b"%d" % number)
        assert producer.flush(10) == 0
        source = site.source("readers", ["scans"], from_the_start)
        try:
            assert [record.value for record in read(source, 5)] == [b"%d" % number for number in range(5)]
        finally:
            source.close(SECOND)
        process = Path("/proc") / str(broker.pid)
        assert process.exists()
    assert not process.exists()


@pytest.mark.skipif(bool(kafka.why_no_stand_in()), reason=kafka.why_no_stand_in() or "it is here")
def test_a_stand_in_that_is_killed_is_not_waited_for() -> None:
    with kafka.standing_in() as broker:
        os.kill(broker.pid, signal.SIGKILL)
        process = Path("/proc") / str(broker.pid) / "cmdline"
        assert waited(lambda: not process.read_bytes())
    assert not process.exists()


def test_it_is_asked_for_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(kafka.WANTED, "tansu")
    assert kafka.why_not() == "COVERSLIP_TESTS_KAFKA asks for Tansu in place of Apache Kafka"
