"""What a watcher remembers between two looks, so that a quiet look asks nobody and writes nothing.

All of it can be learnt again from the books and the folder: a restart forgets it, and so does any trouble with the
database. Times are those of a clock that only goes forward, since a stepped one would make growing files look still.
"""

import os
from collections.abc import Iterable
from dataclasses import dataclass

from connectors.scanners.file_rows import Row
from connectors.scanners.names import folded
from connectors.scanners.watched import Version
from models.facets import FileState

Home = tuple[int, int]
"""Which folder it really was: device and inode. A share that is away leaves its bare mount point in its place."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """A file that is on its way: its row, the version last seen, and since when it looks so."""

    id: str
    version: Version
    unchanged_since: float
    first_seen: float
    problem: str | None = None
    home: Home | None = None
    missing_since: float | None = None
    tries: int = 0
    not_before: float = 0.0


@dataclass(frozen=True, slots=True)
class Ended:
    """A version that was dealt with: taken, or a twice delivered one, or refused."""

    version: Version
    refused: bool


class Memory:
    """What was seen of each path."""

    def __init__(self, arriving: Iterable[Row], now: float) -> None:
        self.arriving: dict[str, Arrival] = {}
        self.ended: dict[str, Ended] = {}
        self.odd: dict[str, tuple[Version, float]] = {}
        self._first_called: dict[str, str] = {}
        for row in sorted(arriving, key=lambda row: row.path):
            path = os.fsdecode(row.path.encode())
            self.expect(path, Arrival(row.id, row.version, now, now - row.age_s, row.problem))

    def expect(self, path: str, arrival: Arrival) -> None:
        """Remember a file that is on its way."""
        self.ended.pop(path, None)
        self.arriving[path] = arrival
        self._first_called.setdefault(folded(path), path)

    def end(self, path: str, version: Version, state: FileState) -> None:
        """Remember that this version was dealt with."""
        self.arriving.pop(path, None)
        self.odd.pop(path, None)
        refused = state == FileState.REFUSED
        self.ended[path] = Ended(version, refused)
        if refused:
            self._give_up_name(path)
        elif self._first_called.get(folded(path)) not in self.ended:
            self._first_called[folded(path)] = path

    def forget(self, path: str) -> None:
        """Forget a path that is gone from the folder."""
        self.arriving.pop(path, None)
        self.ended.pop(path, None)
        self.odd.pop(path, None)
        self._give_up_name(path)

    def twin(self, path: str) -> str | None:
        """Return the other path that had this name first, but for capitals and accents."""
        first = self._first_called.get(folded(path), path)
        return None if first == path else first

    def _give_up_name(self, path: str) -> None:
        if self._first_called.get(folded(path)) == path:
            del self._first_called[folded(path)]
