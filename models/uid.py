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
    return b"".join([len(part).to_bytes(8, "big") + part for part in encoded])


def uuid_text(digest: bytes) -> str:
    """Return the first 128 bits of a digest as a version 8 UUID (RFC 9562 5.8: bits of our own making), with dashes."""
    marked = bytearray(digest[:16])
    marked[6] = marked[6] & 0x0F | 0x80  # the version
    marked[8] = marked[8] & 0x3F | 0x80  # the variant
    digits = marked.hex()
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def uuid_of(digest: bytes) -> UUID:
    """Return the same as a value."""
    return UUID(uuid_text(digest))


def derive_uid(*parts: str) -> str:
    """Return the UID that these names, in this order, always have (PS3.5 9 and B.2)."""
    return f"{_UUID_ROOT}{uuid_of(sha256(framed(parts)).digest()).int}"


def study_uid(case_id: str, issuer: str) -> str:
    """Return the Study Instance UID (0020,000D) of a case whose LIMS and PACS gave none."""
    return derive_uid("study", case_id, issuer)


def study_of(supplied: str | None, case_id: str, issuer: str) -> str:
    """Return the study that a slide's objects belong to: the one that LIMS or PACS supplied, else ours."""
    return supplied or study_uid(case_id, issuer)


def series_uid(scan_id: str, edition: int) -> str:
    """Return the Series Instance UID (0020,000E) of one edition of a scan."""
    return derive_uid("series", scan_id, str(edition))


def instance_uid(scan_id: str, edition: int, role: str) -> str:
    """Return the SOP Instance UID (0008,0018) of one role (``level-0``, ``label``, ...) in an edition."""
    return derive_uid("instance", scan_id, str(edition), role)
