"""DICOM UIDs that come out the same every time they are asked for.

Nothing here is random: the same names give the same UID on every machine and after every restart, so
storing an object again is storing the same object.
"""

import re
from hashlib import sha256
from typing import Final
from uuid import UUID

_UUID_ROOT: Final = "2.25."
"""PS3.5 B.2: the root whose next component is a UUID as a decimal number; at most 44 characters."""

_UID: Final = re.compile(r"(0|[1-9][0-9]*)(\.(0|[1-9][0-9]*))+")
_LONGEST_UID: Final = 64


def is_uid(text: str) -> bool:
    """Tell whether this is a UID (PS3.5 9.1): numbers and dots, at most 64 characters, so also a safe file name."""
    return len(text) <= _LONGEST_UID and _UID.fullmatch(text) is not None


def framed(parts: tuple[str, ...]) -> bytes:
    """Return the parts as bytes that no other parts give, wherever their boundaries lie.

    Each part is preceded by its length in bytes (8, big-endian), so ``("ab", "c")`` is not ``("a", "bc")``.
    """
    encoded = [part.encode() for part in parts]
    return b"".join(len(part).to_bytes(8, "big") + part for part in encoded)


def uuid_of(digest: bytes) -> UUID:
    """Return the first 128 bits of a digest as a version 8 UUID (RFC 9562 5.8: bits of our own making)."""
    number = int.from_bytes(digest[:16], "big")
    number = (number & ~(0xF << 76)) | (0x8 << 76)
    number = (number & ~(0x3 << 62)) | (0x2 << 62)
    return UUID(int=number)


def derive_uid(*parts: str) -> str:
    """Return the UID that these names, in this order, always have (PS3.5 9 and B.2)."""
    return f"{_UUID_ROOT}{uuid_of(sha256(framed(parts)).digest()).int}"


def study_uid(case_id: str, issuer: str) -> str:
    """Return the Study Instance UID (0020,000D) of a case whose LIMS and PACS gave none."""
    return derive_uid("study", case_id, issuer)


def series_uid(scan_id: str, edition: int) -> str:
    """Return the Series Instance UID (0020,000E) of one edition of a scan."""
    return derive_uid("series", scan_id, str(edition))


def instance_uid(scan_id: str, edition: int, role: str) -> str:
    """Return the SOP Instance UID (0008,0018) of one role (``level-0``, ``label``, ...) in an edition."""
    return derive_uid("instance", scan_id, str(edition), role)
