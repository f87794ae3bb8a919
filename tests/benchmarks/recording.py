"""What a run asked of the database, and how fast the same transactions are alone."""

import shutil
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import event

from models.database import Database


@dataclass
class Recording:
    """Every transaction of a run, in the order in which it ended, as statements with their parameters."""

    transactions: list[list[tuple[str, Any, bool]]] = field(default_factory=list)
    _open: dict[int, list[tuple[str, Any, bool]]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def statements(self) -> int:
        """How many statements the transactions hold."""
        return sum(len(one) for one in self.transactions)


@contextmanager
def recording(database: Database) -> Iterator[Recording]:
    """Record all that happens on an SQLite database inside the block."""
    made = Recording()

    def executed(connection: Any, _cursor: Any, sql: str, parameters: Any, _context: Any, many: bool) -> None:  # noqa: ANN401, FBT001 - SQLAlchemy's signature
        made._open.setdefault(id(connection.connection.dbapi_connection), []).append((sql, parameters, many))

    def ended(connection: Any) -> None:  # noqa: ANN401 - SQLAlchemy's signature
        with made._lock:
            done = made._open.pop(id(connection.connection.dbapi_connection), [])
            if done:
                made.transactions.append(done)

    event.listen(database.engine, "before_cursor_execute", executed)
    event.listen(database.engine, "commit", ended)
    event.listen(database.engine, "rollback", ended)
    try:
        yield made
    finally:
        event.remove(database.engine, "before_cursor_execute", executed)
        event.remove(database.engine, "commit", ended)
        event.remove(database.engine, "rollback", ended)


def replay(made: Recording, before: Path, folder: Path) -> tuple[float, float]:
    """Run the same transactions on a copy of the same database by the bare driver; return seconds, CPU seconds."""
    copy = folder / "replayed.db"
    shutil.copy(before, copy)
    connection = sqlite3.connect(copy, isolation_level=None)
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}")
    began, cpu = time.perf_counter(), time.process_time()
    for statements in made.transactions:
        _run(connection, statements)
    took = time.perf_counter() - began, time.process_time() - cpu
    connection.close()
    return took


def _run(connection: sqlite3.Connection, statements: list[tuple[str, Any, bool]]) -> None:
    began = False
    for sql, parameters, many in statements:
        if sql.startswith("BEGIN"):
            connection.execute(sql)
            began = True
        elif many:
            connection.executemany(sql, parameters)
        else:
            connection.execute(sql, parameters).fetchall()
    if began:
        connection.execute("COMMIT")
