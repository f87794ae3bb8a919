"""How fast events come from Apache Kafka into the database, beside the bare client and the bare rows, in one run.

``python -m tests.benchmarks.events`` writes a mix of events into its own Kafka, then takes them in three ways, each in
a process: kafka-python's consumer alone, SQLite's ``executemany`` of the rows that come of it alone, and our door of
the event log. It prints events a second, processor time an event, and memory; then the same with many more waiting,
the bare ways too: rows with random ids cost SQLite the more the more there are, whoever writes them. While our door is
at work, a line a second says how many records are still to come, and for how long.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic
from rich.console import Console
from rich.table import Table

from tests import kafka_broker
from tests.faults.events.feed import feed

_SEED = 20_261_122
_PARTITIONS = 3
_LONGEST_SECONDS = 1_800
_WAYS = ("bare client", "ours", "bare rows")
"""Ours before the rows, which are its own."""


def main() -> None:
    """Measure everything and print it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--few", type=int, default=10_000, help="events that wait, for the comparison")
    parser.add_argument("--many", type=int, default=200_000, help="events that wait, for the cost of a backlog; 0: not")
    parser.add_argument("--rounds", type=int, default=3, help="how often the comparison is made")
    wanted = parser.parse_args()
    with kafka_broker.running() as broker, TemporaryDirectory() as folder:
        _write(broker.bootstrap, "few.", wanted.few)
        rounds = [
            {way: _taken(way, broker.bootstrap, "few.", wanted.few, Path(folder) / f"round-{number}") for way in _WAYS}
            for number in range(wanted.rounds)
        ]
        many = {}
        if wanted.many:
            _write(broker.bootstrap, "many.", wanted.many)
            many = {way: _taken(way, broker.bootstrap, "many.", wanted.many, Path(folder) / "many") for way in _WAYS}
    _report(rounds, many)


def _write(bootstrap: str, prefix: str, count: int) -> None:
    """Write so many events, by a client that is not ours."""
    records = feed(_SEED, count, prefix)
    admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0})
    topics = [NewTopic(topic, _PARTITIONS, 1) for topic in sorted({one.topic for one in records})]
    for made in admin.create_topics(topics).values():
        made.result(20)
    producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": 50, "log_level": 0})
    for number, one in enumerate(records):
        producer.produce(one.topic, value=one.value, key=one.key)
        if number % 1_000 == 0:
            producer.poll(0.05)
    assert producer.flush(60) == 0


def _taken(way: str, bootstrap: str, prefix: str, count: int, folder: Path) -> dict[str, Any]:
    """Take the events in one of the ways, in a process of its own."""
    folder.mkdir(exist_ok=True)
    arguments = (way, bootstrap, prefix, str(count), str(folder))
    command = (sys.executable, "-m", "tests.benchmarks.taking", *arguments)
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, timeout=_LONGEST_SECONDS)
    measured: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return measured


def _report(rounds: Sequence[dict[str, dict[str, Any]]], many: dict[str, dict[str, Any]]) -> None:
    console = Console(width=120)
    table = Table("events", "waiting", "events/s", "CPU µs/event", "memory at a tenth, MiB", "at the end, MiB")
    lines = [(way, [one[way] for one in rounds]) for way in _WAYS] + [(way, [one]) for way, one in many.items()]
    for way, runs in lines:
        rate, cpu = _middle(runs, "seconds"), _middle(runs, "cpu")
        memory = [f"{runs[0][when] / (1 << 20):.0f}" for when in ("early_bytes", "late_bytes")]
        table.add_row(way, f"{runs[0]['events']:,}", f"{1 / rate:,.0f}", f"{1e6 * cpu:.0f}", *memory)
    console.print(table)
    for what, name in (("speed", "seconds"), ("processor time", "cpu")):
        shares = sorted((one["bare client"][name] + one["bare rows"][name]) / one["ours"][name] for one in rounds)
        said = ", ".join(f"{share:.2f}" for share in shares)
        console.print(f"{what}: {median(shares):.2f} of the two bare ones one after the other (aim: 0.5; {said})")
    for way, one in many.items():
        dearer = (one["cpu"] / one["events"]) / _middle([few[way] for few in rounds], "cpu")
        console.print(f"with {one['events']:,} waiting an event costs {way} {dearer:.2f} times the processor time")


def _middle(runs: Sequence[dict[str, Any]], name: str) -> float:
    """Return the median of what an event takes."""
    return float(median(one[name] / one["events"] for one in runs))


if __name__ == "__main__":
    main()
