"""What the books know about the files of one scanner's folder."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import ColumnElement, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from connectors.scanners.spool import Taken
from connectors.scanners.watched import Version, WatchedFolder
from models.database import Database, database_now
from models.errors import TransientError
from models.facets import FileState
from models.tables.place import Site
from models.tables.scan import ScanFile

Received = Callable[[Session, ScanFile], None]
"""Told of a file within the transaction that takes it; what it raises takes the file back out of the books."""

_AT_ONCE: Final = 500
"""Values in one query; older SQLite allows no more than 999."""
_CHANGED: Final = "the books changed beside this watcher: see whether two watch its folder; it is looked at again"


@dataclass(frozen=True, slots=True)
class Row:
    """One version of one file, as the books have it; ``age_s`` is how long ago its first sight was."""

    id: str
    path: str
    version: Version
    state: FileState
    problem: str | None
    age_s: float


@dataclass(frozen=True, slots=True)
class Change:
    """What a look has to say about a file: a new row, or new values for one that was never taken.

    ``moved`` says that size or time of change differ from what the row had.
    """

    id: str
    path: str
    version: Version
    state: FileState
    problem: str | None
    is_new: bool = False
    moved: bool = False


class FileRows:
    """The rows of one folder's files."""

    def __init__(self, database: Database, folder: WatchedFolder) -> None:
        self._database = database
        self._folder = folder

    def arriving(self) -> list[Row]:
        """Return the files that were seen and not yet dealt with."""
        return self._rows(ScanFile.state == FileState.ARRIVING)

    def of(self, paths: Sequence[str]) -> dict[str, list[Row]]:
        """Return every version that the books have of each of these paths."""
        found: dict[str, list[Row]] = {}
        for some in _in_parts(paths):
            for row in self._rows(ScanFile.relative_path.in_(some)):
                found.setdefault(row.path, []).append(row)
        return found

    def spent(self, ids: Iterable[str]) -> list[str]:
        """Return those of these ids whose bytes the spool need not hold: refused and twice delivered files."""
        ended = ScanFile.state.in_((FileState.REFUSED, FileState.DUPLICATE))
        return [row.id for some in _in_parts(list(ids)) for row in self._rows(ended & ScanFile.id.in_(some))]

    def note(self, changes: Sequence[Change]) -> None:
        """Write all of these in one transaction.

        Raises
        ------
        TransientError
            The database was away, or its rows are no longer what this process remembers: ask again.
        """
        new = [change for change in changes if change.is_new]
        # A version that ends makes room for another one of the same path to arrive.
        known = sorted((c for c in changes if not c.is_new), key=lambda change: change.state == FileState.ARRIVING)
        with self._writing("scan_file_note") as session:
            now = database_now(session)
            for change in known:
                never_taken = ScanFile.state.in_((FileState.ARRIVING, FileState.REFUSED))
                values = _values(change) | ({"changed_at": now} if change.moved else {})
                session.execute(update(ScanFile).where(ScanFile.id == change.id, never_taken).values(values))
            if new:
                first: dict[str, Any] = {"site_id": self._folder.site_id, "root": self._folder.name}
                first |= {"first_seen_at": now, "changed_at": now}
                rows = [first | {"id": c.id, "relative_path": c.path} | _values(c) for c in new]
                session.execute(insert(ScanFile), rows)

    def finish(self, file_id: str, version: Version, taken: Taken, place: str, received: Received) -> FileState:
        """Take an arriving file into the books, or say that its bytes already were.

        Returns
        -------
        FileState
            *Taken*: ``received`` was told in this transaction, or in an earlier one of ours. *Duplicate*: the site has
            these bytes. *Arriving*: the row is not what it was, so ask for it again. *Refused*: somebody did.
        """
        with self._writing("scan_file_take") as session:
            # The site's row is the lock: two of its scanners may hand in the same bytes at the same moment.
            site = select(Site.id).where(Site.id == self._folder.site_id)
            session.execute(site.with_for_update(key_share=True))
            row = session.get(ScanFile, file_id)
            if row is None:
                return FileState.ARRIVING
            if row.state == FileState.TAKEN and row.place != place:
                return FileState.DUPLICATE
            if row.state != FileState.ARRIVING or (row.bytes, row.modified_ns) != version:
                return FileState(row.state)
            row.sha256, row.problem = taken.sha256, None
            if self._site_has(session, taken.sha256):
                row.state = FileState.DUPLICATE
                return FileState.DUPLICATE
            row.state, row.place, row.taken_at = FileState.TAKEN, place, database_now(session)
            session.flush()
            received(session, row)
            return FileState.TAKEN

    def _site_has(self, session: Session, sha256: str) -> bool:
        same = (ScanFile.site_id == self._folder.site_id, ScanFile.sha256 == sha256)
        return session.scalar(select(ScanFile.id).where(*same, ScanFile.state == FileState.TAKEN).limit(1)) is not None

    def _rows(self, which: ColumnElement[bool]) -> list[Row]:
        columns = (ScanFile.id, ScanFile.relative_path, ScanFile.bytes, ScanFile.modified_ns, ScanFile.state)
        statement = select(*columns, ScanFile.problem, ScanFile.first_seen_at)
        with self._database.read() as session:
            now = database_now(session)
            found = session.execute(statement.where(ScanFile.root == self._folder.name, which)).all()
        return [
            Row(id_, path, Version(size, modified), FileState(state), problem, (now - seen).total_seconds())
            for id_, path, size, modified, state, problem, seen in found
        ]

    @contextmanager
    def _writing(self, name: str) -> Iterator[Session]:
        try:
            with self._database.write(name) as session:
                yield session
        except IntegrityError as error:
            raise TransientError(_CHANGED) from error


def _values(change: Change) -> dict[str, Any]:
    version = change.version
    return {
        "bytes": version.bytes,
        "modified_ns": version.modified_ns,
        "state": change.state.value,
        "problem": change.problem,
    }


def _in_parts(values: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(values), _AT_ONCE):
        yield values[start : start + _AT_ONCE]
