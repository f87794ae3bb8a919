"""A watched folder as it was set up, and what tells two versions of a file in it apart."""

import os
import re
import stat
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Final, NamedTuple, Self

SINGLE_FILE_SUFFIXES: Final = frozenset({".svs", ".tif", ".tiff", ".ndpi", ".scn", ".bif", ".svslide"})
"""Formats whose whole scan is one file."""

# What scanners, copying programs and file servers leave beside slides while they work, or for themselves.
_IGNORED: Final = (
    *(".*", "~*", "*~", "@eadir", "#recycle", "$recycle.bin", "lost+found", "system volume information"),
    *("*.tmp", "*.temp", "*.part", "*.partial", "*.filepart", "*.crdownload", "*.lock", "*.lck", "*.swp"),
    *("thumbs.db", "desktop.ini"),
)
_OUR_NAME: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
# What a 64-bit column holds; a file's time of change may lie beyond (the year 2262).
_MOST: Final = (1 << 63) - 1


class Version(NamedTuple):
    """What a look can tell about a file's content: another version has another size or time of change."""

    bytes: int
    modified_ns: int

    @classmethod
    def of(cls, status: os.stat_result) -> Self:
        """Return the version that a file's status shows; a folder has but one."""
        if stat.S_ISDIR(status.st_mode):
            return cls(0, 0)
        return cls(status.st_size, max(-_MOST, min(status.st_mtime_ns, _MOST)))


@dataclass(frozen=True)
class WatchedFolder:
    """A folder that one scanner writes into.

    Parameters
    ----------
    name
        Of the scanner, as the books call it: lower-case letters, digits and hyphens.
    stable_for
        So long a file's size and time of change stay the same before it is taken.
    patience
        A file that changes for longer than this is told to people; a file that is gone with its whole share is waited
        for as long.
    done_suffix
        A file ``slide.svs`` is whole at once when a file ``slide.svs<done_suffix>``, no older, lies beside it.
    suffixes
        Endings, in lower case, that slides of this scanner have.
    ignored
        Patterns (in lower case) of names that are nobody's slide: temporary files, and what file servers keep.
    largest_bytes
        A larger file is refused.
    recheck_after
        Files that were dealt with are looked at again so often, in case somebody wrote over one.
    """

    name: str
    site_id: str
    path: Path
    stable_for: timedelta = timedelta(seconds=5)
    patience: timedelta = timedelta(hours=1)
    done_suffix: str | None = None
    suffixes: frozenset[str] = SINGLE_FILE_SUFFIXES
    ignored: tuple[str, ...] = _IGNORED
    largest_bytes: int = 64 << 30
    recheck_after: timedelta = timedelta(seconds=60)

    def __post_init__(self) -> None:
        if not _OUR_NAME.fullmatch(self.name):
            raise ValueError(f"a scanner's name is lower-case letters, digits and hyphens, not {self.name!r}")
