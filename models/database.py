"""The database: one function opens a write, one opens a read, on SQLite and on PostgreSQL."""

import fcntl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, create_engine, event, func, select
from sqlalchemy.engine import Connection, make_url
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from models.errors import TransientError
from models.failpoint import failpoint

# How long SQLite itself waits for a lock that the file lock doesn't cover (a checkpoint, a foreign reader).
_BUSY_TIMEOUT_MS = 10_000
# SQLite pages the log may grow by before the one checkpointing process folds it back (4 KiB each).
_CHECKPOINT_PAGES = 1_000


class Database:
    """One database and the only two ways into it.

    Parameters
    ----------
    url
        ``sqlite:///path/to/file.db`` or ``postgresql+psycopg://…``.
    checkpoints
        SQLite only: whether this process folds the write-ahead log back into the file. One process of an
        installation does, since SQLite 3.7.0 to 3.51.2 may corrupt a file that several checkpoint.
    """

    def __init__(self, url: str, *, checkpoints: bool = False) -> None:
        self.url = make_url(url)
        self.is_sqlite = self.url.get_backend_name() == "sqlite"
        self._engine = create_engine(self.url, **_engine_options(sqlite=self.is_sqlite))
        self._writes = self._engine.execution_options(writes=True)
        self._one_writer = threading.Lock()
        self._lock_path: Path | None = None
        if self.is_sqlite:
            if not self.url.database:
                message = "SQLite needs a file: sqlite:///path/to/file.db"
                raise ValueError(message)
            self._lock_path = Path(self.url.database + ".lock")
            _prepare_sqlite(self._engine, checkpoints=checkpoints)

    @property
    def engine(self) -> Engine:
        """The engine itself, for migrations and benchmarks."""
        return self._engine

    @contextmanager
    def write(self, name: str) -> Iterator[Session]:
        """Open one write transaction: committed at the end of the block, rolled back by any exception.

        No I/O but the database's own belongs inside. ``name`` names the failpoints around the commit:
        ``name.before_commit`` and ``name.after_commit``.

        Raises
        ------
        TransientError
            The database was away, locked, full or chose this transaction to end a deadlock.
        """
        with self._exclusively(), Session(self._writes, expire_on_commit=False, autoflush=False) as session:
            try:
                yield session
                session.flush()
                failpoint(f"{name}.before_commit")
                session.commit()
            except OperationalError as error:
                message = f"the database could not take the change ({type(error.orig).__name__}): tried again later"
                raise TransientError(message) from error
        failpoint(f"{name}.after_commit")

    @contextmanager
    def read(self) -> Iterator[Session]:
        """Open one read transaction, let go at the end of the block.

        Raises
        ------
        TransientError
            The database was away.
        """
        with Session(self._engine, expire_on_commit=False, autoflush=False) as session:
            try:
                yield session
            except OperationalError as error:
                message = f"the database could not be read ({type(error.orig).__name__}): tried again later"
                raise TransientError(message) from error

    def close(self) -> None:
        """Close every pooled connection."""
        self._engine.dispose()

    @contextmanager
    def _exclusively(self) -> Iterator[None]:
        """Queue fairly for the right to write: SQLite's own busy handler let a writer wait for seconds."""
        if self._lock_path is None:
            yield
            return
        with self._one_writer, self._lock_path.open("ab") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def utc_now() -> datetime:
    """Return this machine's time, for what no claim, wait or heartbeat depends on."""
    return datetime.now(UTC)


def database_now(session: Session) -> datetime:
    """Return the database's time, the only clock that claims, waits and heartbeats go by."""
    if session.get_bind().dialect.name == "sqlite":
        # SQLite has no clock but its process's.
        return utc_now()
    now: datetime = session.scalars(select(func.clock_timestamp())).one()
    return now


def _engine_options(*, sqlite: bool) -> dict[str, Any]:
    if sqlite:
        return {"connect_args": {"timeout": _BUSY_TIMEOUT_MS / 1000, "check_same_thread": False}}
    return {
        "pool_size": 10,
        "max_overflow": 20,
        "pool_pre_ping": True,
        "isolation_level": "READ COMMITTED",
        "connect_args": {"connect_timeout": 5},
    }


def _prepare_sqlite(engine: Engine, *, checkpoints: bool) -> None:
    """Have every connection keep the promises: FULL so that a commit is durable, explicit BEGIN."""

    def connected(dbapi_connection: Any, _record: object) -> None:  # noqa: ANN401 - the driver's own connection
        # The driver's implicit transactions run a SELECT outside of any: we say BEGIN ourselves.
        dbapi_connection.isolation_level = None
        cursor = dbapi_connection.cursor()
        for pragma in (
            "journal_mode=WAL",
            "synchronous=FULL",
            "foreign_keys=ON",
            f"busy_timeout={_BUSY_TIMEOUT_MS}",
            f"wal_autocheckpoint={_CHECKPOINT_PAGES if checkpoints else 0}",
        ):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    def begin(connection: Connection) -> None:
        writes = connection.get_execution_options().get("writes", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    event.listen(engine, "connect", connected)
    event.listen(engine, "begin", begin)
