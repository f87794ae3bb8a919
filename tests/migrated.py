"""Databases with all tables, made once by the real migrations and copied from then on: a copy costs a tenth."""

import atexit
import shutil
import tempfile
from functools import cache
from pathlib import Path
from typing import Final

import psycopg
from psycopg import sql
from sqlalchemy import URL, Engine, make_url

from models.database import Database
from models.migrate import migrate

_LIKE: Final = "like_new"


def migrated(url: str) -> Database:
    """Open a database; one that nobody made yet has all tables then, another is brought up to date."""
    address = make_url(url)
    database = Database(url, checkpoints=True)
    if address.drivername == "sqlite":
        like = _sqlite_file()
        is_new = not Path(str(address.database)).exists()
        if is_new:
            shutil.copyfile(str(like.url.database), str(address.database))
    else:
        like = _postgres_database(address.set(database=_LIKE))
        is_new = _became_a_copy(address)
    _say_as(like, database)
    if not is_new:
        migrate(database)
    return database


def _say_as(like: Engine, database: Database) -> None:
    """Have a database share the statements that SQLAlchemy has compiled for another one of its kind.

    Compiling them anew for each test's own database took a third of the time. There is no public way.
    """
    for engine in (database._engine, database._writes):
        engine.dialect = like.dialect
        engine._compiled_cache = like._compiled_cache
    database._engine.pool._dialect = like.dialect


@cache
def _sqlite_file() -> Engine:
    """Return a file with all tables and nothing in them, made once in a process."""
    folder = Path(tempfile.mkdtemp(prefix="coverslip-tables-"))
    atexit.register(shutil.rmtree, folder)
    database = Database(f"sqlite:///{folder}/made.db", checkpoints=True)
    migrate(database)
    # The last to close it folds the write-ahead log into the file.
    database.close()
    return database.engine


@cache
def _postgres_database(address: URL) -> Engine:
    """Return the database that others are copies of, made unless this cluster has it; nobody is connected to it."""
    with _connected(address) as connection:
        if not _is_there(connection, _LIKE):
            connection.execute(sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(sql.Identifier(_LIKE)))
    database = Database(address.render_as_string(hide_password=False))
    migrate(database)
    database.close()
    return database.engine


def _became_a_copy(address: URL) -> bool:
    """Make a PostgreSQL database as a copy of one with all tables, unless it is there."""
    name = str(address.database)
    with _connected(address) as connection:
        if _is_there(connection, name):
            return False
        copied = sql.SQL("CREATE DATABASE {} TEMPLATE {}")
        connection.execute(copied.format(sql.Identifier(name), sql.Identifier(_LIKE)))
    return True


def _is_there(connection: psycopg.Connection, name: str) -> bool:
    return connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", (name,)).fetchone() is not None


def _connected(address: URL) -> psycopg.Connection:
    return psycopg.connect(
        host=address.host,
        port=address.port,
        user=address.username,
        password=address.password,
        dbname="postgres",
        autocommit=True,
        connect_timeout=5,
    )
