"""The spool: our own copy of every file that a scanner wrote, whole and durable before the books mention it."""

import errno
import fcntl
import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal
from uuid import UUID

from connectors.disk import sync_folder
from connectors.scanners.names import SLIDE_SUFFIXES
from models.errors import NeedsPersonError, TransientError
from models.failpoint import failpoint

_CHUNK_BYTES: Final = 1 << 20
"""Read, hashed and written at a time: large enough that the calls cost nothing."""


@dataclass(frozen=True)
class Taken:
    """A file of ours: its SHA-256 (hex), its size and where it lies."""

    sha256: str
    bytes: int
    path: Path


@dataclass(frozen=True)
class Held:
    """One thing in the spool and the row that has to account for it.

    A *file*'s copy or a *part* of it belongs to a ``ScanFile``, *work* to a ``Scan``; nothing ever explains *unknown*.
    """

    what: Literal["file", "part", "work", "unknown"]
    id: str
    path: Path


class Spool:
    """The bytes of one place, kept by the ids of our rows.

    ``incoming/<file id>.part`` is being copied, ``scans/<file id>/slide.svs`` is whole, ``work/<scan id>/<attempt>/``
    belongs to a step. No name from outside gets in here.

    Parameters
    ----------
    root
        A folder of ours alone, made when it is missing.
    place
        What the books call this spool.
    reserve_bytes
        Left free for the database and the logs, which may share the disk.
    """

    def __init__(self, root: Path, place: str, reserve_bytes: int) -> None:
        self.root = root
        self.place = place
        self._reserve_bytes = reserve_bytes
        self._incoming, self._scans, self._work = root / "incoming", root / "scans", root / "work"
        self._locks = root / "locks"
        with self._on_our_disk():
            for folder in (root, self._incoming, self._scans, self._work, self._locks):
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            sync_folder(root)

    def take(self, descriptor: int, size: int, file_id: str, suffix: str = "") -> Taken:
        """Copy a file of ``size`` bytes from an open descriptor; when this returns, the copy survives a power cut.

        What a killed attempt at the same file left behind is removed first. The copy keeps the file's time of
        change, so that ``kept`` can tell which version it holds.

        Raises
        ------
        TransientError
            The spool is full or can't be written, the file can't be read, or it changed while it was copied.
        """
        name = _own(file_id)
        part = self._incoming / f"{name}.part"
        try:
            with self._on_our_disk(size):
                part.unlink(missing_ok=True)
                self._ask_for_room(size)
                failpoint("spool.before_copy")
                sha256 = _copy(descriptor, part, size)
                failpoint("spool.after_copy")
                path = self._put_in_place(part, self._scans / name / f"slide{_safe(suffix)}")
        except TransientError:
            with suppress(OSError):
                part.unlink(missing_ok=True)
            raise
        return Taken(sha256, size, path)

    def kept(self, file_id: str, size: int, modified_ns: int) -> Taken | None:
        """Return the whole copy that an earlier attempt left of exactly this version of a file, or nothing."""
        folder = self._scans / _own(file_id)
        with self._on_our_disk():
            for path in _content(folder):
                status = path.stat()
                if (status.st_size, status.st_mtime_ns) == (size, modified_ns):
                    sha256 = _digest(path)
                    # The attempt may have been killed between the rename and making it durable.
                    self._make_durable(folder)
                    return Taken(sha256, size, path)
        return None

    def path_of(self, file_id: str) -> Path:
        """Return where a taken file lies.

        Raises
        ------
        NeedsPersonError
            It is not here although the books say so.
        """
        for path in _content(self._scans / _own(file_id)):
            return path
        raise NeedsPersonError(
            f"the spool of place {self.place} does not hold file {file_id}: "
            "restore it from the backup, or have the slide scanned again"
        )

    def remove(self, file_id: str) -> None:
        """Remove what is held of a file; removing nothing is fine."""
        name = _own(file_id)
        part, folder = self._incoming / f"{name}.part", self._scans / name
        if not part.exists() and not folder.exists():
            return
        failpoint("spool.before_remove")
        with self._on_our_disk():
            part.unlink(missing_ok=True)
            _clear(folder)
        failpoint("spool.after_remove")

    def work_folder(self, scan_id: str, attempt: int) -> Path:
        """Make an empty folder for one attempt at a step, in place of whatever stood there."""
        folder = self._work / _own(scan_id) / str(int(attempt))
        with self._on_our_disk():
            _clear(folder)
            folder.mkdir(mode=0o700, parents=True)
        return folder

    def made_in(self, scan_id: str, attempt: int) -> Path:
        """Return the folder that an earlier attempt worked in, as it left it."""
        return self._work / _own(scan_id) / str(int(attempt))

    def discard(self, scan_id: str, attempt: int | None = None) -> None:
        """Remove every work folder of a scan, or that of one attempt; removing nothing is fine."""
        folder = self._work / _own(scan_id)
        with self._on_our_disk():
            _clear(folder if attempt is None else folder / str(int(attempt)))

    def files(self) -> list[Held]:
        """Return everything in the spool, for the audit to compare with the books."""
        with self._on_our_disk():
            parts = [_held("part", path.name.removesuffix(".part"), path) for path in _content(self._incoming)]
            files = [_held("file", path.name, path) for path in _content(self._scans)]
            work = [_held("work", path.name, path) for path in _content(self._work)]
        return parts + files + work

    def free_bytes(self) -> int:
        """Return how many bytes may still be written here, the reserve not counted off."""
        status = os.statvfs(self.root)
        return status.f_bavail * status.f_frsize

    def lock(self, name: str) -> int | None:
        """Take a lock that lasts until the descriptor is closed or the process ends; nothing when somebody has it.

        ``name`` is one of ours, from the settings.
        """
        with self._on_our_disk():
            descriptor = os.open(self._locks / f"{name}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return None
        return descriptor

    def _ask_for_room(self, size: int) -> None:
        if self.free_bytes() - size < self._reserve_bytes:
            raise TransientError(self._full(size))

    def _full(self, size: int) -> str:
        return (
            f"the spool of place {self.place} is full: needs {size} bytes beside a reserve of {self._reserve_bytes}, "
            f"has {self.free_bytes()}; free space on its disk, the file waits where it is"
        )

    @contextmanager
    def _on_our_disk(self, size: int = 0) -> Iterator[None]:
        """Say in our own words what is wrong with the spool's disk."""
        try:
            yield
        except OSError as error:
            if error.errno in {errno.ENOSPC, errno.EDQUOT}:
                raise TransientError(self._full(size)) from error
            raise TransientError(
                f"the spool of place {self.place} can't be used ({os.strerror(error.errno or 0)}): "
                "see to its disk, what was to be kept there waits"
            ) from error

    def _put_in_place(self, part: Path, path: Path) -> Path:
        folder = path.parent
        folder.mkdir(mode=0o700, exist_ok=True)
        for old in _content(folder):
            if old != path:
                old.unlink()
        failpoint("spool.before_rename")
        part.rename(path)
        failpoint("spool.after_rename")
        self._make_durable(folder)
        return path

    def _make_durable(self, folder: Path) -> None:
        """Have a copy's name on the disk too: only then may the books speak of it."""
        for changed in (folder, self._scans, self._incoming):
            sync_folder(changed)


def _copy(descriptor: int, part: Path, size: int) -> str:
    """Copy, hash and make durable; refuse a file that changed meanwhile. Return the SHA-256."""
    before = os.fstat(descriptor)
    digest = hashlib.sha256()
    copied = 0
    with part.open("xb") as copy:
        # One byte more than it should have is enough to know that it grew.
        while copied <= size and (chunk := _read(descriptor, copied)):
            digest.update(chunk)
            copy.write(chunk)
            copied += len(chunk)
        if copied != size or _version(os.fstat(descriptor)) != _version(before):
            raise TransientError("the file changed while it was copied: it is taken when it no longer does")
        copy.flush()
        os.utime(copy.fileno(), ns=(before.st_mtime_ns, before.st_mtime_ns))
        os.fchmod(copy.fileno(), 0o440)
        os.fsync(copy.fileno())
    return digest.hexdigest()


def _read(descriptor: int, offset: int) -> bytes:
    try:
        return os.pread(descriptor, _CHUNK_BYTES, offset)
    except OSError as error:
        reason = os.strerror(error.errno or 0)
        raise TransientError(
            f"the file can't be read ({reason}): see to the scanner's disk or share, at byte {offset} and beyond"
        ) from error


def _version(status: os.stat_result) -> tuple[int, int, int]:
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _digest(path: Path) -> str:
    with path.open("rb") as copy:
        return hashlib.file_digest(copy, "sha256").hexdigest()


def _own(row_id: str) -> str:
    """Return the name that a row's bytes have; ``ValueError`` for anything but an id of ours."""
    return str(UUID(row_id))


def _safe(suffix: str) -> str:
    known = suffix.lower()
    return known if known in SLIDE_SUFFIXES else ""


def _held(what: Literal["file", "part", "work"], name: str, path: Path) -> Held:
    try:
        return Held(what, _own(name), path)
    except ValueError:
        return Held("unknown", "", path)


def _content(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except FileNotFoundError:
        return []


def _clear(folder: Path) -> None:
    with suppress(FileNotFoundError):
        shutil.rmtree(folder)
