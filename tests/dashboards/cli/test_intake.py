"""The process that reads Kafka, on a real one: what another client wrote is in the inbox, whole and once."""

import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from connectors.settings import load
from dashboards.supervisor import Supervisor
from infra.kafka.broker import Broker
from models.events.kinds import ScannerStatus
from tests.dashboards.cli.conftest import Run
from tests.flows.intake.eventing import event, hl7
from tests.small_lab import order

NOW = datetime(2026, 3, 2, 9, 30, tzinfo=UTC)
STATUS = event("s1", ScannerStatus(state="idle", stated_at=NOW))
_PATIENCE_S = 40.0


def set_kafka(home: Path, bootstrap: str, prefix: str) -> None:
    said = f'\n[kafka]\nbootstrap = ["{bootstrap}"]\nprefix = "{prefix}"\ngroup = "{prefix}intake"\n'
    with (home / "coverslip.toml").open("a") as settings:
        settings.write(said)


def make_topics(broker: Broker, prefix: str) -> None:
    admin = AdminClient({"bootstrap.servers": broker.bootstrap, "log_level": 0})
    wanted = [NewTopic(f"{prefix}{name}", 2, 1) for name in ("scanner", "lims.hl7v2")]
    for made in admin.create_topics(wanted).values():
        made.result(10)


def produce(broker: Broker, topic: str, *values: bytes) -> None:
    producer = Producer({"bootstrap.servers": broker.bootstrap, "acks": "all", "log_level": 0})
    for number, value in enumerate(values):
        producer.produce(topic, key=f"key-{number}", value=value)
    assert producer.flush(20) == 0


@contextmanager
def started(home: Path) -> Iterator["subprocess.Popen[str]"]:
    command = [sys.executable, "-m", "dashboards.cli.main", "--home", str(home), "intake"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def asked(home: Path, query: str) -> list[tuple[object, ...]]:
    books = sqlite3.connect(home / "coverslip.db")
    try:
        return books.execute(query).fetchall()
    finally:
        books.close()


def until(is_so: Callable[[], bool], otherwise: str) -> None:
    deadline = time.monotonic() + _PATIENCE_S
    while not is_so():
        assert time.monotonic() < deadline, otherwise
        time.sleep(0.05)


@pytest.mark.faults
@pytest.mark.apache_kafka("a group goes on soon after a member was killed")
def test_what_another_client_wrote_is_in_the_inbox_once_however_often_the_process_is_killed(
    home: Path, kafka_broker: Broker, kafka_prefix: str
) -> None:
    count = "SELECT count(*) FROM inbox WHERE origin IS NOT NULL"
    set_kafka(home, kafka_broker.bootstrap, kafka_prefix)
    make_topics(kafka_broker, kafka_prefix)
    produce(kafka_broker, f"{kafka_prefix}scanner", STATUS, b"poison", STATUS)
    produce(kafka_broker, f"{kafka_prefix}lims.hl7v2", event("m1", hl7(order("26H77", "26H000077-A1-1"))))
    with started(home):
        until(lambda: asked(home, count) == [(3,)], "what lies in Kafka was not read")
    produce(kafka_broker, f"{kafka_prefix}scanner", STATUS, b"more poison")
    with started(home) as process:
        until(lambda: asked(home, count) == [(4,)], "it was not read on")
        until(lambda: asked(home, "SELECT sum(position) FROM consumer_position") == [(6,)], "positions stand still")
        lag = "SELECT sum(partitions), sum(lag) FROM consumer WHERE ended_at IS NULL AND away_since IS NULL"
        until(lambda: (4, 0) in asked(home, f"{lag} GROUP BY id"), "nobody says how it stands")
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0

    sources = "SELECT source, peer, event_id FROM inbox WHERE origin IS NOT NULL ORDER BY source DESC, event_id DESC"
    poison = ("event", f"{kafka_prefix}scanner", None)
    assert asked(home, sources) == [("hl7", "lims-a", "m1"), ("event", "scanner-site-a", "s1"), poison, poison]
    assert asked(home, "SELECT count(*) FROM alert WHERE kind IN ('topic made anew', 'records lost')") == [(0,)]


@pytest.mark.apache_kafka("a topic is missing until it is made")
def test_a_topic_that_is_missing_is_one_sentence_and_the_end(
    home: Path, kafka_broker: Broker, kafka_prefix: str
) -> None:
    set_kafka(home, kafka_broker.bootstrap, kafka_prefix)
    with started(home) as process:
        assert process.wait(_PATIENCE_S) == 1
        assert process.stderr is not None
        last = process.stderr.read().strip().splitlines()[-1]
    assert last == (
        f"coverslip: the event log has no topic {kafka_prefix}lims.hl7v2, {kafka_prefix}scanner: "
        "'coverslip kafka topics apply' makes what is missing"
    )


def test_a_host_that_nobody_knows_is_one_sentence_and_the_end(home: Path) -> None:
    set_kafka(home, "nobody.invalid:9092", "coverslip.")
    with started(home) as process:
        assert process.wait(_PATIENCE_S) == 1
        assert process.stderr is not None
        assert "nobody.invalid:9092 can't be found" in process.stderr.read()


def test_without_kafka_there_is_nothing_to_read(home: Path, run: Run) -> None:
    said = run("intake")

    assert (said.code, home.name in said.err, "has no [kafka] section" in said.err) == (1, True, True)


def test_a_gateway_reads_nothing(home: Path, run: Run) -> None:
    set_kafka(home, "127.0.0.1:1", "coverslip.")
    with (home / "coverslip.toml").open("a") as settings:
        settings.write("[gateway]\nforward = true\n")
    said = run("intake")

    assert (said.code, "this is a gateway" in said.err) == (1, True)


@pytest.mark.parametrize("is_set", [True, False])
def test_up_reads_kafka_when_it_is_set(home: Path, *, is_set: bool) -> None:
    if is_set:
        set_kafka(home, "127.0.0.1:1", "coverslip.")
    children = [child.name for child in Supervisor(load(home), lambda _said: None).children]

    assert ("intake" in children) is is_set


def test_who_asks_what_was_set_aside_hears_of_what_is_in_quarantine(home: Path, run: Run) -> None:
    books = sqlite3.connect(home / "coverslip.db")
    with books:
        books.executemany(
            "INSERT INTO inbox (id, source, peer, sha256, payload, state, received_at, quarantined_at)"
            " VALUES (?, 'event', 'scanner-site-a', ?, '', 'set aside', ?, ?)",
            [(f"held-{n}", f"{n}", "2026-03-02 09:30:00.000000", "2026-03-02 09:30:00.000000") for n in range(3)],
        )
    books.close()
    said = run("replay")

    assert said.out.splitlines()[-1] == (
        "3 more from scanner-site-a wait in quarantine: they are read again when one of its messages can be applied."
    )
