"""The database: one function opens a write, one opens a read, on SQLite and on PostgreSQL."""

import fcntl
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from functools import cache, lru_cache
from io import FileIO
from pathlib import Path
from typing import Any

from sqlalchemy import Dialect, Engine, Executable, Select, Table, create_engine, event, func, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Connection, CursorResult, make_url
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.orm import Session
from sqlalchemy.pool import PoolProxiedConnection
from sqlalchemy.sql.compiler import SQLCompiler

from models.base import Base, table_of
from models.errors import TransientError
from models.failpoint import failpoint

# How long SQLite itself waits for a lock that the file lock doesn't cover (a checkpoint, a foreign reader).
_BUSY_TIMEOUT_MS = 10_000
# PostgreSQL ends a transaction that does nothing for so long: its process hangs, and others wait for its locks.
_LONGEST_IDLE_MS = 120_000
# A dead connection (a pulled cable, a fail-over) is noticed after about so long.
_SILENCE_S = 30
# SQLite pages the log may grow by before the one checkpointing process folds it back (4 KiB each).
_CHECKPOINT_PAGES = 1_000
# A transaction that reads first and then writes fails at once when somebody wrote in between.
_BEGIN_WRITE = "BEGIN IMMEDIATE"
_NOT_OUR_TURN = "others have been writing to the database for too long, or one of them hangs: tried again later"
_CLOCK = select(func.clock_timestamp())
# A server that is gone, locked, full or stopping, and a pool whose connections are all in use.
_AWAY = (OperationalError, PoolTimeoutError)


class Database:
    """One database and the only two ways into it.

    Parameters
    ----------
    url
        ``sqlite:///path/to/file.db`` or ``postgresql+psycopg://…``.
    checkpoints
        SQLite only: whether this process folds the write-ahead log back into the file. One process of an
        installation does, since SQLite 3.7.0 to 3.51.2 may corrupt a file that several checkpoint.
    lock_wait
        How long a write waits for its turn, on SQLite for the file and on PostgreSQL for a row.
    """

    def __init__(self, url: str, *, checkpoints: bool = False, lock_wait: timedelta = timedelta(seconds=30)) -> None:
        self.url = make_url(url)
        self.is_sqlite = self.url.get_backend_name() == "sqlite"
        self._lock_wait_s = lock_wait.total_seconds()
        self._engine = create_engine(self.url, **_engine_options(self._lock_wait_s, sqlite=self.is_sqlite))
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
        with self._exclusively(), _Writing(self._writes, expire_on_commit=False, autoflush=False) as session:
            try:
                yield session
                session.flush()
                failpoint(f"{name}.before_commit")
                session.commit()
            except _AWAY as error:
                message = f"the database could not take the change ({_kind(error)}): tried again later"
                raise TransientError(message) from error
        failpoint(f"{name}.after_commit")

    @contextmanager
    def write_plainly(self, name: str) -> Iterator["PlainWrite"]:
        """Open one write transaction as ``write`` does, in the driver's own words: for who opens hundreds a second.

        Raises
        ------
        TransientError
            As in ``write``; other errors are the driver's own.
        """
        away = (*_AWAY, self._engine.dialect.loaded_dbapi.OperationalError)
        with self._exclusively():
            try:
                with closing(self._engine.raw_connection()) as connection:
                    plain = PlainWrite(self._engine, connection)
                    yield plain
                    failpoint(f"{name}.before_commit")
                    plain.commit()
            except away as error:
                message = f"the database could not take the change ({_kind(error)}): tried again later"
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
            except _AWAY as error:
                message = f"the database could not be read ({_kind(error)}): tried again later"
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
        if not self._one_writer.acquire(timeout=self._lock_wait_s):
            raise TransientError(_NOT_OUR_TURN)
        try:
            with _opened(self._lock_path) as lock:
                _lock_within(lock, self._lock_wait_s)
                yield
        finally:
            self._one_writer.release()


class _Writing(Session):
    """A session that holds what it has read until it ends: a row that is asked for again is the same object."""

    def __init__(self, bind: Engine, **options: Any) -> None:  # noqa: ANN401 - the session's own
        super().__init__(bind, **options)
        self.held: list[object] = []


@event.listens_for(_Writing, "loaded_as_persistent")
def _hold(session: _Writing, row: object) -> None:
    session.held.append(row)


class PlainWrite:
    """An open write transaction without a session: what few statements need, by the names that they know."""

    def __init__(self, engine: Engine, connection: PoolProxiedConnection) -> None:
        self._engine = engine
        self._connection = connection
        self._cursor = connection.cursor()
        self._on_sqlite = engine.dialect.name == "sqlite"
        self._begin()

    def get_bind(self) -> Engine:
        """Return what this is a transaction of."""
        return self._engine

    def scalars(self, statement: Select[Any], parameters: Mapping[str, str] | None = None) -> list[Any]:
        """Return the first column of what a statement finds."""
        compiled = _compiled(statement, self._engine.dialect)
        named = compiled.construct_params(parameters)
        by_place = compiled.positiontup
        self._cursor.execute(str(compiled), named if by_place is None else [named[name] for name in by_place])
        return [row[0] for row in self._cursor.fetchall()]

    def run_for_each(self, statement: str, every: Sequence[Any]) -> int:
        """Run a statement in the driver's words for each of these parameters; return how many rows it wrote."""
        self._cursor.executemany(statement, every)
        return self._cursor.rowcount

    def commit(self) -> None:
        """Make it durable."""
        if self._on_sqlite:
            # Prepared once, unlike the connection's own: that lets go of the interpreter three times.
            self._cursor.execute("COMMIT")
        else:
            self._connection.commit()

    def start_again(self) -> None:
        """Take everything back, and go on from there."""
        self._connection.rollback()
        self._begin()

    def _begin(self) -> None:
        if self._on_sqlite:
            self._cursor.execute(_BEGIN_WRITE)


@lru_cache(maxsize=64)
def _compiled(statement: Select[Any], dialect: Dialect) -> SQLCompiler:
    return statement.compile(dialect=dialect)


def _opened(path: Path) -> FileIO:
    try:
        return path.open("ab", buffering=0)
    except OSError as error:
        message = f"the database's folder can't be used ({os.strerror(error.errno or 0)}): tried again later"
        raise TransientError(message) from error


def _lock_within(lock: FileIO, limit_s: float) -> None:
    """Lock a file for this process alone; a process that was stopped while it held the lock is not waited for ever.

    The kernel's queue is the fair one, and it knows no limit: so somebody else stands in it for us.
    """
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        is_ours = threading.Event()
        threading.Thread(target=_queue_up, args=(lock.fileno(), is_ours), daemon=True).start()
        if not is_ours.wait(limit_s):
            # The caller closes the file; a lock that is granted to a closed file is given back at once.
            raise TransientError(_NOT_OUR_TURN) from None


def _queue_up(descriptor: int, is_ours: threading.Event) -> None:
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    is_ours.set()


def insert_unless_there(session: Session, entity: type[Base], rows: list[dict[str, Any]]) -> int:
    """Insert rows, passing over those that some unique constraint says are there; return how many were new.

    The count is exact for a single row; some drivers can't tell it for several.
    """
    if not rows:
        return 0
    written = session.execute(_insert_unless_there(table_of(entity), session.get_bind().dialect.name), rows)
    return written.rowcount if isinstance(written, CursorResult) else 0


@cache
def _insert_unless_there(table: Table, dialect: str) -> Executable:
    made = sqlite.insert(table) if dialect == "sqlite" else postgresql.insert(table)
    # SQLAlchemy reads the count of an INSERT only when it is asked to: without, psycopg's is lost.
    return made.on_conflict_do_nothing().execution_options(preserve_rowcount=True)


def utc_now() -> datetime:
    """Return this machine's time, for what no claim, wait or heartbeat depends on."""
    return datetime.now(UTC)


def database_now(session: Session | PlainWrite) -> datetime:
    """Return the database's time, the only clock that claims, waits and heartbeats go by."""
    if session.get_bind().dialect.name == "sqlite":
        # SQLite has no clock but its process's.
        return utc_now()
    now: datetime
    [now] = session.scalars(_CLOCK)
    return now


def _kind(error: Exception) -> str:
    return type(error.orig if isinstance(error, DBAPIError) else error).__name__


def _engine_options(lock_wait_s: float, *, sqlite: bool) -> dict[str, Any]:
    if sqlite:
        return {"connect_args": {"timeout": _BUSY_TIMEOUT_MS / 1000, "check_same_thread": False}}
    limits = {
        "lock_timeout": int(lock_wait_s * 1000),
        "idle_in_transaction_session_timeout": _LONGEST_IDLE_MS,
    }
    silence = {
        "connect_timeout": 5,
        "keepalives_idle": _SILENCE_S // 3,
        "keepalives_interval": _SILENCE_S // 3,
        "keepalives_count": 2,
        "tcp_user_timeout": _SILENCE_S * 1000,
    }
    return {
        "pool_size": 10,
        "max_overflow": 20,
        "pool_pre_ping": True,
        "isolation_level": "READ COMMITTED",
        "connect_args": silence | {"options": " ".join(f"-c {name}={value}" for name, value in limits.items())},
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
            # INSERT OR REPLACE deletes the old row: without this no DELETE trigger sees it, and the books stay open.
            "recursive_triggers=ON",
            f"busy_timeout={_BUSY_TIMEOUT_MS}",
            f"wal_autocheckpoint={_CHECKPOINT_PAGES if checkpoints else 0}",
        ):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    def begin(connection: Connection) -> None:
        writes = connection.get_execution_options().get("writes", False)
        connection.exec_driver_sql(_BEGIN_WRITE if writes else "BEGIN")

    event.listen(engine, "connect", connected)
    event.listen(engine, "begin", begin)
