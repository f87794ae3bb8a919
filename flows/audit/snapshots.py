"""What the audit compares, and how it reads: in portions, each one consistent view, never writing."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, TypeVar

from sqlalchemy import ColumnElement, select
from sqlalchemy.orm import InstrumentedAttribute, Session

from connectors.archive.protocol import Archive
from connectors.scanners.spool import Spool
from connectors.settings import Settings
from models.database import Database
from models.opaque import OpaqueIds

# Rows in one look: few enough for old SQLite's 999 values in a query, and for a snapshot that is soon let go.
PORTION: Final = 500

Key = TypeVar("Key", int, str)
Loaded = TypeVar("Loaded")


@dataclass(frozen=True)
class Books:
    """Everything that an audit compares.

    ``full`` has every object and file read back, not a sample; ``looked`` is told how many rows were looked at.
    """

    settings: Settings
    database: Database
    ids: OpaqueIds
    spool: Spool
    archive: Archive
    full: bool = False
    looked: Callable[[int], None] = lambda _rows: None


@contextmanager
def snapshot(database: Database) -> Iterator[Session]:
    """Open a read in which every query sees the same moment."""
    with database.read() as session:
        if not database.is_sqlite:
            # SQLite's read transactions are snapshots anyway.
            session.connection(execution_options={"isolation_level": "REPEATABLE READ"})
        yield session


def portions(
    books: Books,
    key: InstrumentedAttribute[Key],
    load: Callable[[Session, Sequence[Key]], Loaded],
    *which: ColumnElement[bool],
) -> Iterator[Loaded]:
    """Yield what ``load`` makes of a table's keys, so many at a time, each portion read in one snapshot.

    The snapshot is let go before a portion is yielded, so its reader may take as long as files and archives do.
    """
    last: Key | None = None
    while True:
        with snapshot(books.database) as session:
            after = which if last is None else (*which, key > last)
            found = session.scalars(select(key).where(*after).order_by(key).limit(PORTION)).all()
            loaded = load(session, found)
        yield loaded
        books.looked(len(found))
        if len(found) < PORTION:
            return
        last = found[-1]
