"""Databases with all tables, made once by the real migrations and copied from then on: a copy costs a tenth."""

import atexit
import shutil
import tempfile
from functools import cache
from pathlib import Path
from typing import Final

import psycopg
from psycopg import sql
from sqlalchemy import URL, make_url

from models.database import Database
from models.migrate import migrate

_LIKE: Final = "like_new"


def migrated(url: str) -> Database:
    """Open a database; one that is new has all tables then, one that has tables already is brought up to date."""
    address = make_url(url)
    if address.drivername == "sqlite":
        path = Path(str(address.database))
        if not path.exists():
            shutil.copyfile(_sqlite_file(), path)
            return Database(url, checkpoints=True)
    elif _became_a_copy(address):
        return Database(url, checkpoints=True)
    database = Database(url, checkpoints=True)
    migrate(database)
    return database


@cache
def _sqlite_file() -> Path:
    """Return a file with all tables and nothing in them, made once in a process."""
    folder = Path(tempfile.mkdtemp(prefix="coverslip-tables-"))
    atexit.register(shutil.rmtree, folder)
    database = Database(f"sqlite:///{folder}/made.db", checkpoints=True)
    migrate(database)
    # The last to close it folds the write-ahead log into the file.
    database.close()
    return folder / "made.db"


def _became_a_copy(address: URL) -> bool:
    """Make an empty PostgreSQL database anew as a copy of one with all tables; one with tables is left alone."""
    with _connected(address, str(address.database)) as connection:
        if connection.execute("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'").fetchone() != (0,):
            return False
    _make_the_like(address)
    name = sql.Identifier(str(address.database))
    with _connected(address, "postgres") as connection:
        connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(name))
        connection.execute(sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(name, sql.Identifier(_LIKE)))
    return True


@cache
def _make_the_like(address: URL) -> None:
    """Make the database that others are copies of, unless this cluster has it."""
    whole = address.set(database=_LIKE)
    with _connected(address, "postgres") as connection:
        if connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", (_LIKE,)).fetchone():
            return
        connection.execute(sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(sql.Identifier(_LIKE)))
    database = Database(whole.render_as_string(hide_password=False))
    migrate(database)
    database.close()


def _connected(address: URL, database: str) -> psycopg.Connection:
    return psycopg.connect(
        host=address.host,
        port=address.port,
        user=address.username,
        password=address.password,
        dbname=database,
        autocommit=True,
        connect_timeout=5,
    )
