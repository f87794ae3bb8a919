"""What a run asked of the database, and how fast the same transactions are alone."""

import shutil
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
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


@dataclass(frozen=True)
class Alone:
    """What the same transactions take when nothing else happens, one after the other in one thread."""

    seconds: float
    cpu: float


def replay_by_driver(made: Recording, before: Path, folder: Path) -> Alone:
    """Run the same transactions on a copy of the same database by the bare driver."""
    connection = sqlite3.connect(shutil.copy(before, folder / "by-driver.db"), isolation_level=None)
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}")

    def run(sql: str, parameters: Any, many: bool) -> None:  # noqa: ANN401, FBT001 - as recorded
        if many:
            connection.executemany(sql, parameters)
        else:
            connection.execute(sql, parameters).fetchall()

    taken = _timed(made, run, connection.commit)
    connection.close()
    return taken


def replay_by_sqlalchemy(made: Recording, before: Path, folder: Path) -> Alone:
    """Run the same SQL on a copy of the same database through SQLAlchemy's connection: no ORM, nothing to compile."""
    database = Database(f"sqlite:///{shutil.copy(before, folder / 'by-sqlalchemy.db')}")
    with database.engine.connect() as connection:
        connection.exec_driver_sql("COMMIT")

        def run(sql: str, parameters: Any, many: bool) -> None:  # noqa: ANN401, ARG001, FBT001 - as recorded
            result = connection.exec_driver_sql(sql, parameters or None)
            if result.returns_rows:
                result.all()

        taken = _timed(made, run, lambda: connection.exec_driver_sql("COMMIT"))
        connection.exec_driver_sql("BEGIN")
    database.close()
    return taken


def _timed(made: Recording, run: Callable[[str, Any, bool], object], commit: Callable[[], object]) -> Alone:
    began, cpu = time.perf_counter(), time.process_time()
    for statements in made.transactions:
        for statement in statements:
            run(*statement)
        if statements[0][0].startswith("BEGIN"):
            commit()
    return Alone(time.perf_counter() - began, time.process_time() - cpu)
