"""Looking through a scanner's folder without ever following where a name may lead."""

import errno
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from models.errors import TransientError
from models.relative_path import MOST_BYTES, MOST_PARTS

_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
# Not blocking: a pipe that was put in a file's place must not hold us.
_FILE: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


@dataclass(frozen=True)
class Seen:
    """What one look through a folder found, by path below it.

    ``home`` says which folder it really was (device and inode): a share that is away leaves its bare mount point.
    ``files`` has everything that is no folder, and the folders that were not entered: too deep, too long a path, or
    on another file system. ``unread`` has what could not be looked at, and why; nothing is known of what lies below.
    """

    home: tuple[int, int]
    files: dict[str, os.stat_result] = field(default_factory=dict)
    unread: dict[str, OSError] = field(default_factory=dict)

    def knows_about(self, path: str) -> bool:
        """Return whether this look would have found ``path`` had it been there."""
        return not any(path == trouble or path.startswith(f"{trouble}/") for trouble in self.unread)


@contextmanager
def opened(path: Path) -> Iterator[int]:
    """Open a scanner's folder itself for one look; a link that leads to it is its administrator's affair.

    Raises
    ------
    TransientError
        It isn't there, isn't a folder or can't be read.
    """
    with _speaking():
        root = os.open(path, _FOLDER)
    try:
        yield root
    finally:
        os.close(root)


def walk(root: int, skip: Callable[[str, str], bool]) -> Seen:
    """Look through an open folder and what lies below it.

    Parameters
    ----------
    root
        The folder's descriptor.
    skip
        Asked with each path and its last part; what it says yes to is not looked at.

    Raises
    ------
    TransientError
        The folder itself can't be read any more.
    """
    with _speaking():
        status = os.fstat(root)
        seen = Seen((status.st_dev, status.st_ino))
        _look_through(root, "", skip, seen)
    return seen


def open_below(root: int, path: str) -> int:
    """Open a file below an open folder for reading, part by part, no link followed on the way; raise ``OSError``.

    The answer may be anything but a link: ask the descriptor what it is.
    """
    *folders, name = path.split("/")
    if not {"", ".", ".."}.isdisjoint((*folders, name)):
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
    here = os.dup(root)
    try:
        for folder in folders:
            below = os.open(folder, _FOLDER | os.O_NOFOLLOW, dir_fd=here)
            os.close(here)
            here = below
        return os.open(name, _FILE, dir_fd=here)
    finally:
        os.close(here)


@contextmanager
def _speaking() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        reason = os.strerror(error.errno or 0)
        raise TransientError(
            f"the folder can't be read ({reason}): mount its share, or correct its path or rights; it is tried again"
        ) from error


def _look_through(folder: int, path: str, skip: Callable[[str, str], bool], seen: Seen) -> None:
    """Look through one open folder; ``path`` is empty or ends with a slash. Raise ``OSError`` when it can't be read."""
    for name in os.listdir(folder):
        below = path + name
        if skip(below, name):
            continue
        try:
            status = os.stat(name, dir_fd=folder, follow_symlinks=False)
            if _is_entered(below, status, seen.home[0]):
                _enter(folder, below, skip, seen)
            else:
                seen.files[below] = status
        except FileNotFoundError:
            continue
        except OSError as error:
            seen.unread[below] = error


def _is_entered(path: str, status: os.stat_result, device: int) -> bool:
    is_near = path.count("/") < MOST_PARTS - 1 and len(os.fsencode(path)) < MOST_BYTES
    return stat.S_ISDIR(status.st_mode) and status.st_dev == device and is_near


def _enter(parent: int, path: str, skip: Callable[[str, str], bool], seen: Seen) -> None:
    folder = os.open(path.rsplit("/", 1)[-1], _FOLDER | os.O_NOFOLLOW, dir_fd=parent)
    try:
        _look_through(folder, f"{path}/", skip, seen)
    finally:
        os.close(folder)
