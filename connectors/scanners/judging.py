"""What one look through a scanner's folder means, given what is remembered and what the books say. No I/O."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from uuid import uuid4

from connectors.scanners.file_rows import Change, Row
from connectors.scanners.memory import Arrival, Memory
from connectors.scanners.names import stored_name
from connectors.scanners.refusals import Sighting, no_slide, refusal, shown
from connectors.scanners.walk import Seen
from connectors.scanners.watched import Version, WatchedFolder
from models.facets import FileState


class Look:
    """One look: ``news`` asks for rows, ``judge`` takes them and remembers, ``whole`` and ``gone`` say what is due.

    Parameters
    ----------
    is_full
        Files that were dealt with were looked at too, so what is not there is gone.
    """

    def __init__(self, folder: WatchedFolder, memory: Memory, seen: Seen, now: float, *, is_full: bool) -> None:
        self._folder = folder
        self._memory = memory
        self._seen = seen
        self._now = now
        self._is_full = is_full
        self._stable_s = folder.stable_for.total_seconds()
        self._patience_s = folder.patience.total_seconds()
        marks, suffix = {}, folder.done_suffix
        if suffix:
            marks = {path: status for path, status in seen.files.items() if path.endswith(suffix)}
        self._files = {path: status for path, status in seen.files.items() if path not in marks}
        self._marked_ns = {path.removesuffix(suffix or ""): status.st_mtime_ns for path, status in marks.items()}

    def news(self) -> dict[str, str]:
        """Return what the books must be asked about: paths, each with the name it has in the books."""
        return {path: stored_name(os.fsencode(path)) for path in sorted(self._files) if self._is_news(path)}

    def judge(self, news: Mapping[str, str], rows: Mapping[str, Sequence[Row]]) -> list[Change]:
        """Return what has to be written, and remember it."""
        changes: list[Change] = []
        for path, arrival in list(self._memory.arriving.items()):
            if path not in news:
                changes += self._wait_for(path, arrival)
        # Those that were taken first: a name belongs to who had it.
        for path in sorted(news, key=lambda path: not any(_is_ours(row) for row in rows.get(news[path], ()))):
            changes += self._meet(path, news[path], rows.get(news[path], ()))
        self._forget_what_left()
        return changes

    def whole(self) -> list[tuple[str, Arrival]]:
        """Return the files to take now, longest unchanged first."""
        due = [
            (path, arrival)
            for path, arrival in self._memory.arriving.items()
            if self._is_whole(path, arrival) and arrival.not_before <= self._now
        ]
        return sorted(due, key=lambda item: item[1].unchanged_since)

    def gone(self) -> list[tuple[str, Arrival]]:
        """Return the files that won't come back: a share that is away is waited for longer than a missing file."""
        return [item for item in self._memory.arriving.items() if self._is_gone(*item)]

    def refusal(self, path: str, status: os.stat_result) -> str | None:
        """Say why a thing that stands at ``path`` is not taken, or nothing."""
        sighting = Sighting(path, status, self._seen.home[0])
        return refusal(sighting, self._folder, self._memory.twin(path))

    def _is_news(self, path: str) -> bool:
        status = self._files[path]
        version = Version.of(status)
        ended, arrival = self._memory.ended.get(path), self._memory.arriving.get(path)
        if ended is not None and ended.version == version:
            # A refusal holds as long as its reason does: a twin may have left, a setting may have changed.
            return ended.refused and self.refusal(path, status) is None
        if arrival is not None and arrival.version == version:
            return False
        return self._is_settled_oddity(path, status, version)

    def _is_settled_oddity(self, path: str, status: os.stat_result, version: Version) -> bool:
        """Return whether something is a slide to be, or has stayed what it is for long enough to be refused.

        Programs write under a name of their own and rename at the end: that is nothing to tell people about.
        """
        if no_slide(Sighting(path, status, self._seen.home[0]), self._folder) is None:
            return True
        known, since = self._memory.odd.get(path, (None, self._now))
        self._memory.odd[path] = (version, since if known == version else self._now)
        return known == version and self._now - since >= self._stable_s

    def _is_whole(self, path: str, arrival: Arrival) -> bool:
        status = self._files.get(path)
        if status is None or Version.of(status) != arrival.version:
            return False
        if self._now - arrival.unchanged_since >= self._stable_s:
            return True
        return path in self._marked_ns and self._marked_ns[path] >= status.st_mtime_ns

    def _is_gone(self, path: str, arrival: Arrival) -> bool:
        if arrival.missing_since is None or arrival.not_before > self._now or not self._seen.knows_about(path):
            return False
        is_same_folder = arrival.home == self._seen.home
        return self._now - arrival.missing_since >= (self._stable_s if is_same_folder else self._patience_s)

    def _wait_for(self, path: str, arrival: Arrival) -> list[Change]:
        """Judge a file that is on its way and did not change."""
        status = self._files.get(path)
        if status is None:
            return self._miss(path, arrival)
        if Version.of(status) != arrival.version:
            return []
        if self._is_whole(path, arrival) and (reason := self.refusal(path, status)):
            return [self._refuse(path, arrival.id, arrival.version, reason)]
        problem = arrival.problem if arrival.missing_since is None else None
        if not self._is_whole(path, arrival):
            problem = self._impatience(path, arrival.first_seen) or problem
        return self._still(path, arrival, replace(arrival, problem=problem, home=self._seen.home, missing_since=None))

    def _miss(self, path: str, arrival: Arrival) -> list[Change]:
        if not self._seen.knows_about(path):
            return []
        since = self._now if arrival.missing_since is None else arrival.missing_since
        problem = (
            f"{shown(path)} is not in the folder at the moment: it is taken when it is back; "
            "see whether the folder's share is mounted, or whether it was moved"
        )
        return self._still(path, arrival, replace(arrival, problem=problem, missing_since=since))

    def _still(self, path: str, before: Arrival, after: Arrival) -> list[Change]:
        self._memory.arriving[path] = after
        if before.problem == after.problem:
            return []
        return [Change(after.id, _stored(path), after.version, FileState.ARRIVING, after.problem)]

    def _meet(self, path: str, stored: str, rows: Sequence[Row]) -> list[Change]:
        """Judge a version of a file that is not remembered."""
        status = self._files[path]
        version = Version.of(status)
        same = next((row for row in rows if row.version == version), None)
        other = next((row for row in rows if row.state == FileState.ARRIVING and row is not same), None)
        if same is None:
            return [self._begin(path, stored, status, other)]
        replaced = [] if other is None else [self._replaced(other)]
        reason = self.refusal(path, status) if same.state == FileState.REFUSED else None
        if _is_ours(same) or reason:
            self._memory.end(path, version, same.state)
            return replaced
        first_seen = self._now - same.age_s
        self._memory.expect(path, Arrival(same.id, version, self._now, first_seen, home=self._seen.home))
        return [*replaced, Change(same.id, stored, version, FileState.ARRIVING, None)]

    def _begin(self, path: str, stored: str, status: os.stat_result, other: Row | None) -> Change:
        """Give a version that the books don't have a row: the one that is open for this path, or a new one."""
        version = Version.of(status)
        row_id = str(uuid4()) if other is None else other.id
        if reason := no_slide(Sighting(path, status, self._seen.home[0]), self._folder):
            return replace(self._refuse(path, row_id, version, reason), is_new=other is None, moved=True)
        first_seen = self._first_seen(path, other)
        problem = self._impatience(path, first_seen)
        self._memory.expect(path, Arrival(row_id, version, self._now, first_seen, problem, self._seen.home))
        return Change(row_id, stored, version, FileState.ARRIVING, problem, is_new=other is None, moved=True)

    def _first_seen(self, path: str, row: Row | None) -> float:
        known = self._memory.arriving.get(path)
        if known is not None:
            return known.first_seen
        return self._now if row is None else self._now - row.age_s

    def _refuse(self, path: str, row_id: str, version: Version, reason: str) -> Change:
        self._memory.end(path, version, FileState.REFUSED)
        return Change(row_id, _stored(path), version, FileState.REFUSED, reason)

    def _replaced(self, row: Row) -> Change:
        reason = f"{shown(row.path)} was replaced by a version that had come before, which counts: nothing to do"
        return Change(row.id, row.path, row.version, FileState.REFUSED, reason)

    def _impatience(self, path: str, first_seen: float) -> str | None:
        if self._now - first_seen <= self._patience_s:
            return None
        return (
            f"{shown(path)} has kept changing for more than {self._patience_s:.0f} s: see whether its scanner or a "
            f"copying program hangs; it is taken when it stays the same for {self._stable_s:.0f} s"
        )

    def _forget_what_left(self) -> None:
        for path in [path for path in self._memory.odd if path not in self._files]:
            del self._memory.odd[path]
        if not self._is_full:
            return
        for path in [path for path in self._memory.ended if path not in self._files and self._seen.knows_about(path)]:
            self._memory.forget(path)


def _is_ours(row: Row) -> bool:
    return row.state in {FileState.TAKEN, FileState.DUPLICATE}


def _stored(path: str) -> str:
    return stored_name(os.fsencode(path))
