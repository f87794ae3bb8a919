"""A laboratory that reads events: three readers, two workers and a broker, each of which may be killed or frozen."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final

from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewPartitions, NewTopic
from sqlalchemy import text

from connectors.settings import load
from flows.people.sync import sync_people
from infra.kafka.broker import Broker
from models.database import Database
from tests.faults.events.feed import LIMS, SCANNERS, SITES
from tests.faults.survey import ROOT
from tests.migrated import migrated

PREFIX: Final = "coverslip."
READ_TOPICS: Final = (f"{PREFIX}scanner", f"{PREFIX}lims.hl7v2")
READERS: Final = ("reader-1", "reader-2", "reader-3")
THE_COMMAND: Final = READERS[0]
"""The reader that is ``coverslip intake`` itself; the others are the same with a shorter session."""
WORKERS: Final = ("worker-1", "worker-2")
_TIMEOUT_S: Final = 30.0
_WARM_S: Final = 8.0
"""After so long a process has imported what it needs, and has kept its first records, unless the machine is busy."""

_TABLE: Final = "CREATE TABLE went_back (topic TEXT, at BIGINT, was BIGINT)"
_NOTE: Final = "INSERT INTO went_back VALUES (NEW.topic, NEW.position, OLD.position);"
_TRIGGER: Final = "CREATE TRIGGER forward AFTER UPDATE ON consumer_position"
_FUNCTION: Final = f"CREATE FUNCTION forward() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {_NOTE} RETURN NEW; END $$"
_IS_BACK: Final = "NEW.position < OLD.position"
_WENT_BACK: Final = {
    "sqlite": (_TABLE, f"{_TRIGGER} WHEN {_IS_BACK} BEGIN {_NOTE} END"),
    "postgresql": (_TABLE, _FUNCTION, f"{_TRIGGER} FOR EACH ROW WHEN ({_IS_BACK}) EXECUTE FUNCTION forward()"),
}
"""The database itself tells of every position that went back, even between two looks."""


@dataclass
class EventLab:
    """The state folder, who runs, and how much memory each has had."""

    home: Path
    broker: Broker
    database: Database
    running: dict[str, "subprocess.Popen[bytes]"] = field(default_factory=dict)
    memory: dict[int, list[int]] = field(default_factory=dict)
    """Of each reader that was ever warm, by its process id: bytes in memory, at each look."""
    _begun: dict[int, float] = field(default_factory=dict)

    def start(self, name: str) -> None:
        """Start a reader or a worker; from the main thread, with which it dies."""
        module = ["tests.faults.events.process", "apply" if name in WORKERS else "read", str(self.home)]
        if name == THE_COMMAND:
            module = ["dashboards.cli.main", "--home", str(self.home), "intake"]
        with (self.home / f"{name}.log").open("ab") as log:
            command = [sys.executable, "-m", *module]
            under = ("setpriv", "--pdeathsig", "KILL")
            process = subprocess.Popen([*under, *command], cwd=ROOT, stdout=log, stderr=log)
        self.running[name], self._begun[process.pid] = process, time.monotonic()

    def kill(self, name: str) -> None:
        """End one at once."""
        self.running[name].kill()
        self.running[name].wait()

    def freeze(self, name: str) -> None:
        """Make one hang."""
        self.running[name].send_signal(signal.SIGSTOP)

    def thaw(self, name: str) -> None:
        """Let one go on."""
        self.running[name].send_signal(signal.SIGCONT)

    def stop(self) -> dict[str, int]:
        """Ask all to end, as soon as each is far enough to hear it; return how each did."""
        for name, process in self.running.items():
            self.wait_for(partial(_hears, process.pid, signal.SIGTERM), f"{name} never began")
        for process in self.running.values():
            process.send_signal(signal.SIGTERM)
        return {name: process.wait(_TIMEOUT_S) for name, process in self.running.items()}

    def look(self) -> None:
        """Note how much memory each reader has; one that ended by itself is a failure."""
        for name, process in self.running.items():
            assert process.poll() is None, f"{name} ended by itself:\n{self.said(name)}"
            if name in READERS and time.monotonic() > self._begun[process.pid] + _WARM_S:
                pages = int(Path(f"/proc/{process.pid}/statm").read_text().split()[1])
                self.memory.setdefault(process.pid, []).append(pages * os.sysconf("SC_PAGE_SIZE"))

    def wait_for(self, holds: Callable[[], bool], otherwise: str) -> None:
        """Wait until something is so."""
        deadline = time.monotonic() + _TIMEOUT_S
        while not holds():
            self.look()
            assert time.monotonic() < deadline, otherwise
            time.sleep(0.05)

    def said(self, name: str) -> str:
        """Return the last that a process said."""
        return (self.home / f"{name}.log").read_text("utf-8", "replace")[-3_000:]

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """Return the rows of one query."""
        with self.database.read() as session:
            return [tuple(row) for row in session.execute(text(query))]

    def positions(self) -> dict[tuple[str, int], int]:
        """Return how far each partition was read, by the books."""
        found = self.rows("SELECT topic, partition, position FROM consumer_position")
        return {(topic, partition): position for topic, partition, position in found}

    def ends(self) -> dict[tuple[str, int], int]:
        """Return how far each partition goes; whatever has no record is left out."""
        with _reading(self.broker) as consumer:
            found = {where: consumer.get_watermark_offsets(where, timeout=20)[1] for where in _partitions(consumer)}
        return {(where.topic, where.partition): end for where, end in found.items() if end}

    def log(self) -> list[tuple[str, bytes]]:
        """Return every topic and value that lie in the log, read by a client that is not ours."""
        found: list[tuple[str, bytes]] = []
        ends = self.ends()
        with _reading(self.broker) as consumer:
            consumer.assign([TopicPartition(topic, number, 0) for topic, number in ends])
            deadline = time.monotonic() + _TIMEOUT_S
            while len(found) < sum(ends.values()) and time.monotonic() < deadline:
                found += [
                    (one.topic() or "", one.value() or b"") for one in consumer.consume(1_000, 0.5) if not one.error()
                ]
        return found

    def add_partition(self, topic: str) -> None:
        """Give a topic one more partition."""
        admin = AdminClient({"bootstrap.servers": self.broker.bootstrap, "log_level": 0})
        more = len(admin.list_topics(topic, timeout=20).topics[topic].partitions) + 1
        admin.create_partitions([NewPartitions(topic, more)])[topic].result(20)


@contextmanager
def event_lab(home: Path, broker: Broker, url: str = "") -> Iterator[EventLab]:
    """Set one up, with the topics that are read, and end it."""
    home.mkdir(parents=True)
    (home / "coverslip.toml").write_text(_settings(broker.bootstrap, url), encoding="utf-8")
    settings = load(home)
    database = migrated(settings.database)
    with database.write("people") as session:
        sync_people(session, settings)
    with database.write("watched") as session:
        for statement in _WENT_BACK[session.get_bind().dialect.name]:
            session.execute(text(statement))
    _make_topics(broker, {READ_TOPICS[0]: 3, READ_TOPICS[1]: 3, f"{PREFIX}dead-letters": 1})
    lab = EventLab(home, broker, database)
    try:
        yield lab
    finally:
        for name, process in lab.running.items():
            if process.poll() is None:
                lab.kill(name)
        database.close()


def _hears(pid: int, number: signal.Signals) -> bool:
    """Tell whether a process catches a signal; one that has just begun is still ended by it."""
    status = Path(f"/proc/{pid}/status").read_text()
    [caught] = [line.split()[1] for line in status.splitlines() if line.startswith("SigCgt:")]
    return bool(int(caught, 16) >> (number - 1) & 1)


def _make_topics(broker: Broker, partitions: Mapping[str, int]) -> None:
    admin = AdminClient({"bootstrap.servers": broker.bootstrap, "log_level": 0})
    config = {"max.message.bytes": "8650752"}
    for made in admin.create_topics(
        [NewTopic(name, count, 1, config=config) for name, count in partitions.items()]
    ).values():
        made.result(20)


@contextmanager
def _reading(broker: Broker) -> Iterator[Consumer]:
    known = {"bootstrap.servers": broker.bootstrap, "group.id": "a look", "enable.auto.commit": False, "log_level": 0}
    consumer = Consumer(known)
    try:
        yield consumer
    finally:
        consumer.close()


def _partitions(consumer: Consumer) -> Sequence[TopicPartition]:
    topics = consumer.list_topics(timeout=20).topics
    return [TopicPartition(topic, number) for topic in READ_TOPICS for number in topics[topic].partitions]


def _settings(bootstrap: str, url: str) -> str:
    parts = [f'installation_key = "{"5a" * 32}"', f'database_url = "{url}"', "readers = []"]
    parts += [f'[[sites]]\nid = "{site}"\nname = "{site}"\nlims = "lims"\nsettle_after = 3600' for site in SITES]
    parts += [f'[[scanners]]\nname = "{name}"\nsite = "{site}"\npath = "{name}"' for name, site in SCANNERS.items()]
    parts += [
        f'[[listeners]]\npeer = "{peer}"\nsite = "{site}"\nissuer = "{site}"\nport = {port}'
        for port, (peer, site) in enumerate(LIMS.items(), start=2575)
    ]
    parts += ['[[lims]]\nname = "lims"', "[engine]\nenabled = false", "[work]\nheartbeat_grace = 2"]
    parts += [f'[kafka]\nbootstrap = ["{bootstrap}"]\nprefix = "{PREFIX}"']
    return "\n\n".join(parts) + "\n"
