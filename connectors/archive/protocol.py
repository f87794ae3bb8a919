"""What Coverslip asks of an archive, whatever it is."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from models.errors import RejectedError
from models.uid import is_uid


class RejectionReason(StrEnum):
    """Why a series may no longer be used: codes of CID 7011, scheme DCM, as IHE IOCM uses them (RAD TF-1 36)."""

    QUALITY = "113001"
    PATIENT_SAFETY = "113037"
    WRONG_WORKLIST_ENTRY = "113038"

    @property
    def meaning(self) -> str:
        """The code's meaning in PS3.16 annex D."""
        return _MEANINGS[self]


_MEANINGS = {
    RejectionReason.QUALITY: "Rejected for Quality Reasons",
    RejectionReason.PATIENT_SAFETY: "Rejected for Patient Safety Reasons",
    RejectionReason.WRONG_WORKLIST_ENTRY: "Incorrect Modality Worklist Entry",
}


def check_uids(*uids: str) -> None:
    """Refuse what is no UID before it becomes part of a name; ``RejectedError``."""
    if not all(is_uid(uid) for uid in uids):
        raise RejectedError("An archive was asked about something that is no UID; nothing was done.")


@dataclass(frozen=True)
class StoredInstance:
    """One object as the books know it before a byte of it leaves; ``sha256`` in hex, of the whole file."""

    study_instance_uid: str
    series_instance_uid: str
    sop_instance_uid: str
    sha256: str
    bytes: int

    def __post_init__(self) -> None:
        """Refuse names that are no UIDs."""
        check_uids(self.study_instance_uid, self.series_instance_uid, self.sop_instance_uid)


@dataclass(frozen=True)
class Holding:
    """One object that an archive holds; ``rejected`` says why it is no longer listed, ``None`` that it is."""

    study_instance_uid: str
    series_instance_uid: str
    sop_instance_uid: str
    rejected: RejectionReason | None


class Archive(Protocol):
    """Keeps DICOM objects for ever, byte for byte, and can show what it keeps.

    Every method raises ``TransientError`` when the archive is away or full, with the sizes that matter, and then
    may be called again: nothing is half stored and nothing is stored twice.
    """

    @property
    def name(self) -> str:
        """The archive's name in the settings."""
        ...

    def store(self, instance: StoredInstance, path: Path) -> None:
        """Keep the object in this file; when it returns, a power cut no longer loses it.

        Storing the same object again changes nothing. Other bytes under the same SOP Instance UID, a file that is
        not the one in the books, and an object of a rejected series raise ``RejectedError`` and change nothing.
        """
        ...

    def listed(self, study_instance_uid: str, series_instance_uid: str) -> frozenset[str]:
        """Return the SOP Instance UIDs that readers are offered for a series; none of an unknown or rejected one."""
        ...

    def digest(self, instance: StoredInstance) -> str:
        """Return the SHA-256, in hex, of the object's bytes, read back from where they are kept.

        An object that is not there raises ``TransientError``: it has not come yet, or has to be stored again.
        """
        ...

    def fetch(self, instance: StoredInstance, path: Path) -> bool:
        """Copy an object's bytes, as they are kept, to a file that is not there yet.

        ``False``, and no file, when the archive does not hold it; one of a rejected series is held. Whether they are
        the right bytes is for the caller to ask. A full disk on the caller's side raises ``TransientError`` too.
        """
        ...

    def reject(self, study_instance_uid: str, series_instance_uid: str, reason: RejectionReason) -> None:
        """Stop offering a series, also what of it may still arrive; its objects stay in the books.

        Rejecting again changes nothing: the first reason stands.
        """
        ...

    def holdings(self) -> Iterator[Holding]:
        """Yield every object held, rejected ones too, for the audit of the books; in no particular order."""
        ...
