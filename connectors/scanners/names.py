"""What a scanner may call a file, and how a name is kept and compared; no name of theirs ever becomes one of ours."""

import hashlib
import unicodedata
from typing import Final

from models.relative_path import is_visible, name_fault

SLIDE_SUFFIXES: Final = frozenset(
    {".svs", ".tif", ".tiff", ".ndpi", ".scn", ".bif", ".svslide", ".mrxs", ".czi", ".isyntax", ".dcm"}
)
"""The endings that a copy of ours may carry, since readers choose a format by them; the rest of a name is not used."""

# How much of a refused name is shown.
_SHOWN: Final = 200


def stored_name(raw: bytes) -> str:
    """Return the text under which a path is kept: itself, or for one that is refused a readable, unmistakable stand-in.

    No path holds two slashes in a row, so a stand-in never equals one; its digest keeps two of them apart.
    """
    if name_fault(raw) is None:
        return raw.decode("utf-8")
    readable = raw.decode("utf-8", "backslashreplace")
    shown = "".join(letter if is_visible(letter) else f"\\u{ord(letter):04x}" for letter in readable[-_SHOWN:])
    return f"{shown}//{hashlib.sha256(raw).hexdigest()[:32]}"


def folded(path: str) -> str:
    """Return what two paths share that differ only by capitals or by how an accent is written."""
    if path.isascii():
        return path.lower()
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", path).casefold())
