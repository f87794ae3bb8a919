"""Files that are there whole or not at all, also after a power cut: bytes to the disk first, then the name."""

import fcntl
import hashlib
import os
import secrets
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Final, Self

from connectors.disk import sync_folder

_CHUNK_BYTES: Final = 4 * 1024 * 1024
_READ_ONLY: Final = 0o444
_PART_SUFFIX: Final = ".part"


def make_folders(folder: Path, *, below: Path) -> None:
    """Make the folder and its missing parents below one that exists, and put each name on the disk."""
    made = below
    for name in folder.relative_to(below).parts:
        made /= name
        if not made.exists():
            made.mkdir(exist_ok=True)
            sync_folder(made.parent)


def write_whole(path: Path, content: bytes) -> None:
    """Write a small file, replacing one that is there."""
    Part.remove_leftovers(path)
    with Part(path) as part:
        part.write(content)
        part.replace()
    sync_folder(path.parent)


class Part:
    """A file that is being written beside its final name, locked so that what a killed process left is told apart."""

    def __init__(self, final: Path) -> None:
        self._final = final
        self._path = final.with_name(f".{final.name}.{secrets.token_hex(8)}{_PART_SUFFIX}")
        self._file: BinaryIO

    def __enter__(self) -> Self:
        self._file = self._path.open("xb")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._file.close()
            self._path.unlink(missing_ok=True)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._path.unlink(missing_ok=True)
        self._file.close()

    @staticmethod
    def remove_leftovers(final: Path) -> None:
        """Remove what processes that were killed left of this file; one that is still writing holds its lock."""
        for leftover in final.parent.glob(f".{final.name}.*{_PART_SUFFIX}"):
            with leftover.open("rb") as file:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    continue
                leftover.unlink(missing_ok=True)

    def write(self, content: bytes) -> None:
        """Write and put it on the disk."""
        self._file.write(content)
        self._sync()

    def copy_from(self, source: BinaryIO) -> tuple[str, int]:
        """Copy and put it on the disk; return the SHA-256 (hex) and the number of the bytes that were written."""
        hashed = hashlib.sha256()
        size = 0
        while chunk := source.read(_CHUNK_BYTES):
            self._file.write(chunk)
            hashed.update(chunk)
            size += len(chunk)
        self._sync()
        return hashed.hexdigest(), size

    def publish(self) -> bool:
        """Give the file its final name; ``False``, and nothing changed, when another file has it."""
        try:
            os.link(self._path, self._final)
        except FileExistsError:
            return False
        return True

    def replace(self) -> None:
        """Give the file its final name, in place of another."""
        self._path.rename(self._final)

    def _sync(self) -> None:
        self._file.flush()
        os.fchmod(self._file.fileno(), _READ_ONLY)
        os.fsync(self._file.fileno())
