"""One way of taking events, in a process of its own: prints one JSON line."""

import json
import logging
import os
import sqlite3
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

from kafka import KafkaConsumer
from kafka.consumer.subscription_state import ConsumerRebalanceListener
from pydantic import SecretStr
from rich.console import Console

from connectors.eventlog.kafka import KafkaSource
from connectors.eventlog.protocol import Partition, Positions, Record
from connectors.settings import Settings
from connectors.settings_doors import LimsPeer, Listener, ScannerFolder
from connectors.settings_site import SiteRules
from dashboards.intake import all_is_loaded
from flows.intake.events import Doorway, take_events
from models.database import Database
from models.migrate import migrate
from models.opaque import OpaqueIds
from tests.faults.events.feed import LIMS, SCANNERS, SITES

_POLL = 500
_TOPICS = ("scanner", "lims.hl7v2")
_TABLES = ("inbox", "step")


class Watch:
    """Time, processor time and memory from the moment when it is known what is to be read until the last record."""

    def __init__(self, events: int) -> None:
        self.events, self.taken = events, 0
        self._early = self._late = 0
        self._began = self._cpu = self._took = self._used = 0.0

    def begin(self) -> None:
        """Start; what was started goes on."""
        if not self._began:
            self._began, self._cpu = time.perf_counter(), time.process_time()

    def count(self, records: int) -> bool:
        """Note that so many more are done; tell whether these were the last."""
        self.taken += records
        if not self._early and self.taken >= self.events / 10:
            self._early = _memory()
        if self.taken < self.events:
            return False
        self._took, self._used = time.perf_counter() - self._began, time.process_time() - self._cpu
        self._late = _memory()
        return True

    def rate(self) -> float:
        """Return how many a second so far."""
        return self.taken / max(1e-9, time.perf_counter() - self._began)

    def told(self) -> dict[str, Any]:
        """Return what was measured."""
        measured = {"events": self.events, "seconds": self._took, "cpu": self._used}
        return measured | {"early_bytes": self._early, "late_bytes": self._late}


class WatchedSource(KafkaSource):
    """Our source, looked at from outside: what it gave, and when that was in the database."""

    def __init__(self, bootstrap: str, prefix: str, positions: Positions, watch: Watch, stop: threading.Event) -> None:
        topics = [prefix + topic for topic in _TOPICS]
        super().__init__({"bootstrap_servers": bootstrap}, f"{prefix}ours-{os.getpid()}", topics, self._asked)
        self._known = positions
        self._watch, self._stop = watch, stop
        self._pending, self._told_at = 0, time.monotonic()
        self._console = Console(stderr=True)

    def poll(self, within: timedelta, most: int) -> Sequence[Record]:
        """Poll, and note how many came."""
        records = super().poll(within, most)
        self._pending = len(records)
        return records

    def commit(self, positions: Mapping[Partition, int], within: timedelta) -> bool:
        """Commit; what was polled is in the database now."""
        is_heard = super().commit(positions, within)
        if self._watch.count(self._pending):
            self._stop.set()
        if time.monotonic() >= self._told_at + 1:
            self._told_at = time.monotonic()
            lag, rate = sum(self.lag().values()), self._watch.rate()
            self._console.print(
                f"{self._watch.taken:,} taken, {lag:,} to come: {lag / rate:.0f} s at {rate:,.0f} a second"
            )
        return is_heard

    def _asked(self, partitions: Sequence[Partition]) -> Mapping[Partition, int]:
        self._watch.begin()
        return self._known(partitions)


class _Begins(ConsumerRebalanceListener):  # type: ignore[misc] # kafka-python has no types
    def __init__(self, watch: Watch) -> None:
        self._watch = watch

    def on_partitions_assigned(self, assigned: object) -> None:  # noqa: ARG002 - kafka-python's signature
        self._watch.begin()

    def on_partitions_revoked(self, revoked: object) -> None:
        pass


def main() -> None:
    """Take as the arguments say."""
    way, bootstrap, prefix, count, folder = sys.argv[1:]
    logging.getLogger("kafka").setLevel(logging.CRITICAL)
    watch = Watch(int(count))
    match way:
        case "bare client":
            _bare_client(bootstrap, prefix, watch)
        case "bare rows":
            _bare_rows(Path(folder), watch)
        case _:
            _ours(bootstrap, prefix, Path(folder), watch)
    print(json.dumps(watch.told()))


def _bare_client(bootstrap: str, prefix: str, watch: Watch) -> None:
    """Poll as much as our door does, and do nothing with it but to tell Kafka."""
    options = {"group_id": f"{prefix}bare-{os.getpid()}", "enable_auto_commit": False, "auto_offset_reset": "earliest"}
    options |= {"isolation_level": "read_committed", "check_crcs": True}
    consumer = KafkaConsumer(bootstrap_servers=bootstrap, **options)
    consumer.subscribe([prefix + topic for topic in _TOPICS], listener=_Begins(watch))
    while True:
        records = sum(len(found) for found in consumer.poll(1_000, max_records=_POLL).values())
        if records:
            consumer.commit()
            if watch.count(records):
                break
    consumer.close(autocommit=False)


def _ours(bootstrap: str, prefix: str, folder: Path, watch: Watch) -> None:
    """Have our door take them into an empty database."""
    database = _empty(folder / "ours.db")
    stop = threading.Event()
    doorway = Doorway(_laboratory(folder), database, OpaqueIds(b"benchmark key of sufficient size"))
    take_events(doorway, lambda ask: WatchedSource(bootstrap, prefix, ask, watch, stop), stop, all_is_loaded)
    database.close()


def _bare_rows(folder: Path, watch: Watch) -> None:
    """Write the rows that came of them into an empty database, as many in a transaction, by the bare driver."""
    _empty(folder / "rows.db").close()
    source = sqlite3.connect(folder / "ours.db")
    kept = {table: source.execute(f"SELECT * FROM {table} ORDER BY rowid").fetchall() for table in _TABLES}  # noqa: S608 - names of our own
    position = source.execute("SELECT * FROM consumer_position").fetchone()
    source.close()
    into = {table: f"INSERT INTO {table} VALUES ({', '.join('?' * len(rows[0]))})" for table, rows in kept.items()}  # noqa: S608 - as above
    moved = f"INSERT OR REPLACE INTO consumer_position VALUES ({', '.join('?' * len(position))})"  # noqa: S608 - as above
    connection = sqlite3.connect(folder / "rows.db", isolation_level=None)
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}")
    portions = -(-watch.events // _POLL)
    watch.begin()
    for number in range(portions):
        connection.execute("BEGIN IMMEDIATE")
        for table, rows in kept.items():
            connection.executemany(
                into[table], rows[number * len(rows) // portions : (number + 1) * len(rows) // portions]
            )
        connection.execute(moved, position)
        connection.execute("COMMIT")
        watch.count(min(_POLL, watch.events - watch.taken))
    connection.close()


def _empty(path: Path) -> Database:
    database = Database(f"sqlite:///{path}", checkpoints=True)
    migrate(database)
    return database


def _laboratory(folder: Path) -> Settings:
    return Settings(
        home=folder,
        installation_key=SecretStr("0f" * 32),
        sites=tuple(SiteRules(id=site, name=site, lims="lims") for site in SITES),
        lims=(LimsPeer(name="lims"),),
        listeners=tuple(
            Listener(peer=peer, site=site, issuer=site, port=port)
            for port, (peer, site) in enumerate(LIMS.items(), start=2575)
        ),
        scanners=tuple(ScannerFolder(name=name, site=site, path=Path(name)) for name, site in SCANNERS.items()),
        readers=(),
    )


def _memory() -> int:
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")


if __name__ == "__main__":
    main()
