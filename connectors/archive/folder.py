"""An archive that is a folder of DICOM Part 10 files: the whole of it can be read without Coverslip.

``<study>/<series>/<instance>.dcm`` by UID; a rejected series lies below ``rejected/`` beside the reason.
"""

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Final

from connectors.archive.durable import Part, make_folders, write_whole
from connectors.archive.protocol import Holding, RejectionReason, StoredInstance, check_uids
from connectors.disk import sync_folder
from models.errors import RejectedError, TransientError
from models.failpoint import failpoint
from models.uid import is_uid

_MARK: Final = ".coverslip-archive"
"""Lies in the root. Without it the share is not mounted, and writing would fill the disk below it."""

_REJECTED: Final = "rejected"
_REASON: Final = "rejection.json"
_SUFFIX: Final = ".dcm"

_CHUNK_BYTES: Final = 1 << 20

_IS_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})


class FolderArchive:
    """Keeps the promises of ``Archive`` in a folder of a local or mounted file system."""

    def __init__(self, root: Path, name: str = "folder") -> None:
        self._root = root
        self._name = name

    @property
    def name(self) -> str:
        """The archive's name in the settings."""
        return self._name

    def prepare(self) -> None:
        """Make the folder an archive: once, when the laboratory is set up; again changes nothing."""
        with self._our_errors():
            self._root.mkdir(parents=True, exist_ok=True)
            if not (self._root / _MARK).exists():
                failpoint("archive.before_prepare")
                write_whole(self._root / _MARK, b"This folder is an archive of Coverslip.\n")
                failpoint("archive.after_prepare")

    def store(self, instance: StoredInstance, path: Path) -> None:
        """Keep the object in this file; see ``Archive.store``."""
        with self._mounted(needed=instance.bytes):
            if self._reason(instance.study_instance_uid, instance.series_instance_uid) is not None:
                raise RejectedError("The series was rejected, so the archive takes no object of it; use a new edition.")
            kept = self._live(instance.study_instance_uid, instance.series_instance_uid) / _file_name(instance)
            make_folders(kept.parent, below=self._root)
            Part.remove_leftovers(kept)
            if kept.exists() or not self._put(instance, path, kept):
                self._check_same(instance, kept)
            sync_folder(kept.parent)

    def listed(self, study_instance_uid: str, series_instance_uid: str) -> frozenset[str]:
        """Return the UIDs of the objects that readers are offered; see ``Archive.listed``."""
        check_uids(study_instance_uid, series_instance_uid)
        with self._mounted():
            if self._reason(study_instance_uid, series_instance_uid) is not None:
                return frozenset()
            return frozenset(_instances(self._live(study_instance_uid, series_instance_uid)))

    def digest(self, instance: StoredInstance) -> str:
        """Return the digest of the bytes on the disk; see ``Archive.digest``."""
        with self._mounted():
            kept = self._kept(instance)
            if kept is not None:
                return _digest_from_disk(kept)
        raise TransientError(f"The archive {self._name} does not hold the object; store it again.")

    def fetch(self, instance: StoredInstance, path: Path) -> bool:
        """Copy the object out; see ``Archive.fetch``."""
        with self._mounted():
            kept = self._kept(instance)
            if kept is None:
                return False
            with kept.open("rb") as source:
                _copy_out(source, path)
        return True

    def reject(self, study_instance_uid: str, series_instance_uid: str, reason: RejectionReason) -> None:
        """Write the reason, from when on the series is rejected, then move its objects; see ``Archive.reject``."""
        check_uids(study_instance_uid, series_instance_uid)
        with self._mounted():
            live = self._live(study_instance_uid, series_instance_uid)
            away = self._away(study_instance_uid, series_instance_uid)
            if self._reason(study_instance_uid, series_instance_uid) is None:
                make_folders(away, below=self._root)
                text = json.dumps({"code": reason.value, "scheme": "DCM", "meaning": reason.meaning})
                failpoint("archive.before_reject")
                write_whole(away / _REASON, text.encode())
                failpoint("archive.after_reject")
            for uid in _instances(live):
                (live / f"{uid}{_SUFFIX}").rename(away / f"{uid}{_SUFFIX}")
                failpoint("archive.after_move")
            if live.exists():
                sync_folder(live)
            sync_folder(away)

    def holdings(self) -> Iterator[Holding]:
        """Yield every object held; see ``Archive.holdings``."""
        with self._mounted():
            for place in (self._root, self._root / _REJECTED):
                for study in _uid_folders(place):
                    for series in _uid_folders(place / study):
                        rejected = self._reason(study, series)
                        for uid in _instances(place / study / series):
                            yield Holding(study, series, uid, rejected)

    def _live(self, study: str, series: str) -> Path:
        return self._root / study / series

    def _away(self, study: str, series: str) -> Path:
        return self._root / _REJECTED / study / series

    def _kept(self, instance: StoredInstance) -> Path | None:
        """Return where an object lies, offered or rejected."""
        for place in (self._live, self._away):
            kept = place(instance.study_instance_uid, instance.series_instance_uid) / _file_name(instance)
            if kept.exists():
                return kept
        return None

    def _reason(self, study: str, series: str) -> RejectionReason | None:
        try:
            stated = json.loads((self._away(study, series) / _REASON).read_bytes())
        except FileNotFoundError:
            return None
        return RejectionReason(stated["code"])

    def _put(self, instance: StoredInstance, path: Path, kept: Path) -> bool:
        """Copy the file in under its name; ``False`` when another process was quicker."""
        with _opened(path) as source, Part(kept) as part:
            digest, size = part.copy_from(source)
            if (digest, size) != (instance.sha256, instance.bytes):
                raise RejectedError(
                    f"The object to be stored is not the one in the books: it has {size} bytes, "
                    f"{instance.bytes} expected, or another digest; convert the scan again."
                )
            failpoint("archive.before_rename")
            published = part.publish()
            failpoint("archive.after_rename")
        return published

    def _check_same(self, instance: StoredInstance, kept: Path) -> None:
        if _digest_from_disk(kept) != instance.sha256:
            raise RejectedError(
                f"The archive {self._name} holds other bytes under the same SOP Instance UID; it keeps its own. "
                "Store the object under a new edition."
            )

    @contextmanager
    def _our_errors(self, needed: int = 0) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if error.errno in _IS_FULL:
                free = shutil.disk_usage(self._root).free
                text = f"The archive {self._name} is full: {needed} bytes are needed, {free} are free; make room."
            else:
                text = f"The archive {self._name} can't be reached ({errno.errorcode.get(error.errno or 0, 'EIO')})."
            raise TransientError(text) from error

    @contextmanager
    def _mounted(self, needed: int = 0) -> Iterator[None]:
        with self._our_errors(needed):
            if not (self._root / _MARK).exists():
                raise TransientError(f"The archive {self._name} is not there: mount it, or set it up.")
            yield


def _opened(path: Path) -> BinaryIO:
    try:
        return path.open("rb")
    except FileNotFoundError as error:
        raise RejectedError("The object to be stored is gone from the spool; convert the scan again.") from error


def _copy_out(source: BinaryIO, path: Path) -> None:
    """Copy to the caller's disk; leave nothing half there."""
    with path.open("xb") as copy:
        try:
            shutil.copyfileobj(source, copy, _CHUNK_BYTES)
            copy.flush()
        except OSError as error:
            path.unlink()
            name = errno.errorcode.get(error.errno or 0, "EIO")
            text = f"An object can't be copied out of the archive ({name}): make room, or see to the disks."
            raise TransientError(text) from error


def _file_name(instance: StoredInstance) -> str:
    return f"{instance.sop_instance_uid}{_SUFFIX}"


def _instances(folder: Path) -> Iterator[str]:
    """Yield the UIDs of the objects that lie whole in this folder."""
    for name in _names(folder):
        uid = name.removesuffix(_SUFFIX)
        if name.endswith(_SUFFIX) and is_uid(uid):
            yield uid


def _uid_folders(folder: Path) -> Iterator[str]:
    yield from (name for name in _names(folder) if is_uid(name))


def _names(folder: Path) -> list[str]:
    try:
        return sorted(path.name for path in folder.iterdir())
    except FileNotFoundError:
        return []


def _digest_from_disk(path: Path) -> str:
    with path.open("rb") as file:
        # Ask the disk, not the memory in which what was just written still lies.
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        return hashlib.file_digest(file, "sha256").hexdigest()
