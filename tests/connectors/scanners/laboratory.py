"""A scanner's folder, a spool and the books, with a clock that a test moves on."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

from sqlalchemy import event, select
from sqlalchemy.orm import Session

from connectors.scanners.folder import FolderState, FolderWatcher
from connectors.scanners.spool import Spool
from connectors.scanners.watched import WatchedFolder
from models.database import Database, database_now
from models.tables.books import InboxMessage
from models.tables.place import Site
from models.tables.scan import ScanFile
from tests.migrated import migrated

STABLE_S = 5.0
PATIENCE_S = 600.0


@dataclass
class Clock:
    """Seconds that go forward when they are told to."""

    now: float = 1_000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Laboratory:
    """One scanner's folder with everything around it."""

    database: Database
    spool: Spool
    folder: WatchedFolder
    clock: Clock = field(default_factory=Clock)
    watchers: list[FolderWatcher] = field(default_factory=list)

    @property
    def path(self) -> Path:
        return self.folder.path

    def end(self) -> None:
        """Let go of everything."""
        for watcher in self.watchers:
            watcher.close()
        self.database.close()

    def start(self) -> FolderWatcher:
        """Start a watcher in place of the last one, as a restarted process does."""
        for watcher in self.watchers:
            watcher.close()
        self.watchers.append(FolderWatcher(self.database, self.spool, self.folder, received, self.clock))
        return self.watchers[-1]

    def look(self, after_s: float = 0.0) -> FolderState:
        """Let time pass, then look once."""
        self.clock.now += after_s
        return (self.watchers[-1] if self.watchers else self.start()).look()

    def settle(self) -> FolderState:
        """Look as often as it takes for what lies there to be dealt with."""
        self.look()
        return self.look(STABLE_S)

    def rows(self) -> list[ScanFile]:
        with self.database.read() as session:
            return list(session.scalars(select(ScanFile).order_by(ScanFile.relative_path, ScanFile.first_seen_at)))

    def row(self, path: str | None = None) -> ScanFile:
        """The only row, or the only one of this path."""
        [row] = [row for row in self.rows() if path in {None, row.relative_path}]
        return row

    def states(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for row in self.rows():
            found.setdefault(row.relative_path, []).append(row.state)
        return found

    def told(self) -> list[str]:
        """What the rest of Coverslip was told of: one digest for each call."""
        with self.database.read() as session:
            return sorted(session.scalars(select(InboxMessage.sha256)))

    @contextmanager
    def statements(self) -> Iterator[list[str]]:
        """Collect every statement that the database is given meanwhile."""
        found: list[str] = []

        def hear(_connection: object, _cursor: object, statement: str, *_rest: object) -> None:
            found.append(statement)

        event.listen(self.database.engine, "before_cursor_execute", hear)
        try:
            yield found
        finally:
            event.remove(self.database.engine, "before_cursor_execute", hear)

    def spooled(self) -> set[str]:
        return {held.id for held in self.spool.files()}

    def write(self, name: str, content: bytes = b"a slide", *, older_s: float = 0.0) -> Path:
        """Write a file, as changed ``older_s`` seconds ago."""
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        if older_s:
            status = path.stat()
            os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns - int(older_s * 1e9)))
        return path


def received(session: Session, scan_file: ScanFile) -> None:
    """Put the taken file into the inbox, which refuses the same bytes twice."""
    assert scan_file.sha256 is not None
    message = InboxMessage(id=str(uuid4()), source="scanner", peer=scan_file.root, sha256=scan_file.sha256)
    message.payload, message.received_at = scan_file.id.encode(), database_now(session)
    session.add(message)


def furnished(url: str, folder: Path, **settings: object) -> Laboratory:
    """Make a laboratory in an empty folder, on an empty database."""
    database = migrated(url)
    with database.write("furnish") as session:
        session.add(Site(id="north", name="North", zone="Europe/London"))
    (folder / "scanner").mkdir()
    watched = WatchedFolder(
        "scanner-1",
        "north",
        folder / "scanner",
        stable_for=timedelta(seconds=STABLE_S),
        patience=timedelta(seconds=PATIENCE_S),
        **settings,  # type: ignore[arg-type]
    )
    return Laboratory(database, Spool(folder / "spool", "north-spool", 0), watched)
