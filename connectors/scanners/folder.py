"""Watching a scanner's folder: every file has a row from its first sight and is taken once it no longer changes.

Polling, since network shares tell nobody what others write to them. The order that makes a power cut harmless:
a row before any copying; the copy whole and durable in the spool; then the row says *taken*, in the transaction that
also tells the rest of Coverslip.
"""

import fnmatch
import os
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Final

from connectors.scanners.file_rows import Change, FileRows, Received
from connectors.scanners.judging import Look
from connectors.scanners.memory import Arrival, Memory
from connectors.scanners.names import stored_name
from connectors.scanners.refusals import shown
from connectors.scanners.spool import Spool, Taken
from connectors.scanners.walk import Seen, open_below, opened, walk
from connectors.scanners.watched import Version, WatchedFolder
from models.database import Database
from models.errors import CoverslipError, TransientError
from models.facets import FileState

_LONGEST_COPYING_S: Final = 10.0
"""A look that has copied for so long ends after the file in hand, so that new files are soon seen."""
_LONGEST_BACK_OFF_S: Final = 60.0
"""A file that could not be taken is tried again after 1, 2, 4 … seconds, at most so many."""


@dataclass(frozen=True)
class FolderState:
    """How a look went: ``problem`` is about the folder as a whole, those of single files stand in their rows."""

    folder: str
    problem: str | None = None
    arriving: int = 0
    taken: int = 0


class FolderWatcher:
    """One scanner's folder. ``look`` never raises for trouble that may pass; one bad file does not stop the others.

    A look on a share that hangs may never return, so give each watcher a thread of its own and watch
    ``looking_since``.

    Parameters
    ----------
    received
        Called with each taken file inside the transaction that takes it; never for the same bytes twice at a site.
    clock
        Seconds that only go forward.
    """

    def __init__(
        self,
        database: Database,
        spool: Spool,
        folder: WatchedFolder,
        received: Received,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.folder = folder
        self.looking_since: float | None = None
        """When the look that is under way began, by ``clock``."""
        self._rows = FileRows(database, folder)
        self._spool = spool
        self._received = received
        self._clock = clock
        self._ignored = re.compile("|".join(map(fnmatch.translate, folder.ignored)) or r"(?!)", re.IGNORECASE)
        self._memory: Memory | None = None
        self._full_look_at = clock()
        self._lock: int | None = None
        self._is_swept = False

    def look(self) -> FolderState:
        """Look once: note what arrives, take what is whole."""
        self.looking_since = self._clock()
        try:
            return self._look(self.looking_since)
        except TransientError as error:
            return FolderState(self.folder.name, str(error))
        finally:
            self.looking_since = None

    def close(self) -> None:
        """Let another process watch this folder."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _look(self, now: float) -> FolderState:
        if not self._is_alone():
            return FolderState(self.folder.name, "another process watches this folder: end one of the two")
        is_full = self._memory is None or now >= self._full_look_at
        with opened(self.folder.path) as root:
            seen = walk(root, self._skipping(is_full=is_full))
            # Put back only when all went well: what the database may not have, nobody may remember.
            memory, self._memory = self._memory or self._recall(now), None
            look = Look(self.folder, memory, seen, now, is_full=is_full)
            news = look.news()
            self._note(look.judge(news, self._rows.of(list(news.values()))))
            taken = self._take_all(root, look, memory)
            self._memory = memory
        if is_full:
            self._full_look_at = now + self.folder.recheck_after.total_seconds()
        return FolderState(self.folder.name, _unread(seen), len(memory.arriving), taken)

    def _is_alone(self) -> bool:
        if self._lock is None:
            self._lock = self._spool.lock(self.folder.name)
        return self._lock is not None

    def _skipping(self, *, is_full: bool) -> Callable[[str, str], bool]:
        """Return what says which names need no look: not ours, or dealt with before."""
        ended = {} if is_full or self._memory is None else self._memory.ended
        is_ignored, mark = self._ignored.match, self.folder.done_suffix

        def skip(path: str, name: str) -> bool:
            if path in ended or is_ignored(name):
                return True
            return mark is not None and path.endswith(mark) and path.removesuffix(mark) in ended

        return skip

    def _recall(self, now: float) -> Memory:
        """Learn from the books what is on its way; the first time, clear what a killed watcher left in the spool."""
        if not self._is_swept:
            ids = {held.id for held in self._spool.files() if held.what in {"part", "file"}}
            for file_id in self._rows.spent(ids):
                self._spool.remove(file_id)
            self._is_swept = True
        return Memory(self._rows.arriving(), now)

    def _note(self, changes: Sequence[Change]) -> None:
        if not changes:
            return
        self._rows.note(changes)
        for change in changes:
            if change.state == FileState.REFUSED:
                self._spool.remove(change.id)

    def _take_all(self, root: int, look: Look, memory: Memory) -> int:
        """Take what is due; return how many files that were."""
        ends_at = self._clock() + _LONGEST_COPYING_S
        changes: list[Change] = []
        count = 0
        for path, arrival in [*look.whole(), *look.gone()]:
            if self._clock() > ends_at:
                break
            try:
                copy = self._copied(root, look, path, arrival)
                if copy is not None:
                    count += self._finish(memory, path, arrival, copy)
                elif arrival.missing_since is not None:
                    changes.append(_vanished(path, arrival))
                    memory.forget(path)
            except CoverslipError as error:
                changes += self._put_off(memory, path, arrival, str(error))
        self._note(changes)
        return count

    def _copied(self, root: int, look: Look, path: str, arrival: Arrival) -> Taken | None:
        """Return our copy of a file; nothing when it is not there or not what the look saw: the next look says so."""
        if arrival.missing_since is not None:
            # Killed after the copy was whole, and the file is gone since: ours is the only one.
            return self._spool.kept(arrival.id, *arrival.version)
        try:
            descriptor = open_below(root, path)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise TransientError(
                f"{shown(path)} can't be opened ({os.strerror(error.errno or 0)}): give Coverslip the right to read it "
                "or see to its share; it is tried again"
            ) from error
        try:
            status = os.fstat(descriptor)
            if Version.of(status) != arrival.version or look.refusal(path, status):
                return None
            kept = self._spool.kept(arrival.id, *arrival.version)
            return kept or self._spool.take(descriptor, status.st_size, arrival.id, PurePosixPath(path).suffix)
        finally:
            os.close(descriptor)

    def _finish(self, memory: Memory, path: str, arrival: Arrival, copy: Taken) -> bool:
        """Enter a copy into the books; return whether it was new to them."""
        state = self._rows.finish(arrival.id, arrival.version, copy, self._spool.place, self._received)
        if state == FileState.ARRIVING:
            memory.forget(path)
            return False
        memory.end(path, arrival.version, state)
        if state != FileState.TAKEN:
            self._spool.remove(arrival.id)
        return state == FileState.TAKEN

    def _put_off(self, memory: Memory, path: str, arrival: Arrival, problem: str) -> list[Change]:
        """Try a file again later, and tell people why: once, since the figures differ each time."""
        wait_s = min(2.0**arrival.tries, _LONGEST_BACK_OFF_S)
        is_told = arrival.problem is not None and arrival.problem.partition(":")[0] == problem.partition(":")[0]
        told = arrival.problem if is_told else problem
        memory.arriving[path] = replace(
            arrival, problem=told, tries=arrival.tries + 1, not_before=self._clock() + wait_s
        )
        stored = stored_name(os.fsencode(path))
        return [] if is_told else [Change(arrival.id, stored, arrival.version, FileState.ARRIVING, problem)]


def _vanished(path: str, arrival: Arrival) -> Change:
    reason = (
        f"{shown(path)} disappeared before it could be taken: if it was not moved or renamed on purpose, export it "
        "again or scan the slide again"
    )
    return Change(arrival.id, stored_name(os.fsencode(path)), arrival.version, FileState.REFUSED, reason)


def _unread(seen: Seen) -> str | None:
    if not seen.unread:
        return None
    reasons = ", ".join(sorted({os.strerror(error.errno or 0) for error in seen.unread.values()}))
    return (
        f"{len(seen.unread)} of the things in the folder can't be looked at ({reasons}): see to their rights or to "
        "the share; the others are taken"
    )
