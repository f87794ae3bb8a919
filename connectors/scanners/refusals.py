"""Why a thing in a scanner's folder is not taken: one sentence that says what, which and what to do."""

import os
import stat
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Final

from connectors.scanners.names import stored_name
from connectors.scanners.watched import WatchedFolder
from models.relative_path import name_fault

_NOT_A_FILE: Final = {
    stat.S_IFLNK: "is a symbolic link, which could lead anywhere: put the slide itself into the folder",
    stat.S_IFIFO: "is a named pipe: remove it, slides come as files",
    stat.S_IFSOCK: "is a socket: remove it, slides come as files",
    stat.S_IFCHR: "is a device: remove it, slides come as files",
    stat.S_IFBLK: "is a device: remove it, slides come as files",
    stat.S_IFDIR: "is a folder too deep or on another disk: move its slides up, or set it up as a folder of its own",
}


@dataclass(frozen=True)
class Sighting:
    """One thing in the folder: its path below it, what it is, and the folder's own device."""

    path: str
    status: os.stat_result
    device: int

    @property
    def label(self) -> str:
        """Its name as people may read it, whatever it is made of."""
        return shown(self.path)


def shown(path: str) -> str:
    """Return the last part of a path as people may read it."""
    folder, _, name = path.rpartition("/")
    return stored_name(os.fsencode(name or folder)).partition("//")[0]


def no_slide(seen: Sighting, folder: WatchedFolder) -> str | None:
    """Say why this can't be a slide whatever is written into it, in one sentence, or nothing."""
    kind = stat.S_IFMT(seen.status.st_mode)
    if kind in _NOT_A_FILE:
        return f"{seen.label} {_NOT_A_FILE[kind]}"
    if fault := name_fault(os.fsencode(seen.path)):
        return f"the name {seen.label} {fault}: rename it, and it is taken"
    if PurePosixPath(seen.path).suffix.lower() not in folder.suffixes:
        taken = ", ".join(sorted(folder.suffixes))
        return f"{seen.label} is no slide that is taken from here ({taken}): export it as one of these, or move it away"
    return None


def refusal(seen: Sighting, folder: WatchedFolder, twin: str | None) -> str | None:
    """Say why a file that no longer changes is not taken, in one sentence, or nothing.

    Parameters
    ----------
    twin
        Another file of the folder whose path differs only by capitals or by how an accent is written.
    """
    return no_slide(seen, folder) or _mistakable(seen, twin) or _unfit(seen, folder)


def _mistakable(seen: Sighting, twin: str | None) -> str | None:
    if twin is None:
        return None
    return (
        f"{seen.label} and {shown(twin)} have the same name but for capitals or accents, so people could take one "
        "for the other: give this one a name of its own, and it is taken"
    )


def _unfit(seen: Sighting, folder: WatchedFolder) -> str | None:
    if seen.status.st_dev != seen.device:
        return f"{seen.label} lies on another disk than its folder: copy it into the folder"
    if seen.status.st_nlink != 1:
        return (
            f"{seen.label} has {seen.status.st_nlink} names (hard links), so it could change from elsewhere: "
            "copy it into the folder as a file of its own"
        )
    if seen.status.st_size == 0:
        return f"{seen.label} is empty: export it again, or scan the slide again"
    if seen.status.st_size > folder.largest_bytes:
        return (
            f"{seen.label} has {seen.status.st_size} bytes, more than the {folder.largest_bytes} that are taken: "
            "see whether it is one slide"
        )
    return None
