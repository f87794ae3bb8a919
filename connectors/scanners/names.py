"""What a scanner may call a file, and how a name is kept and compared; no name of theirs ever becomes one of ours."""

import hashlib
import re
import unicodedata
from typing import Final

SLIDE_SUFFIXES: Final = frozenset(
    {".svs", ".tif", ".tiff", ".ndpi", ".scn", ".bif", ".svslide", ".mrxs", ".czi", ".isyntax", ".dcm"}
)
"""The endings that a copy of ours may carry, since readers choose a format by them; the rest of a name is not used."""

MOST_BYTES: Final = 1_024
MOST_PARTS: Final = 32
_DRIVE_OR_SHARE: Final = re.compile(r"[A-Za-z]:|\\\\|/")
# Control characters, line and paragraph separators: none of them can be seen, and some turn a list into two lines.
_UNSEEN_CATEGORIES: Final = frozenset({"Cc", "Zl", "Zp"})
# What makes a name read otherwise than it is (Unicode Technical Report 36, bidirectional text).
_TURNING: Final = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
# How much of a refused name is shown.
_SHOWN: Final = 200


def name_fault(raw: bytes) -> str | None:
    """Say what is wrong with a path below a scanner's folder, or nothing: the end of a sentence about the name.

    Refused are paths that could lead out of the folder, paths of more than 1,024 bytes or 32 parts, and names that
    nobody can read or type.
    """
    if len(raw) > MOST_BYTES:
        return f"is {len(raw)} bytes long, at most {MOST_BYTES} are taken"
    try:
        path = raw.decode("utf-8")
    except UnicodeDecodeError:
        return "is not UTF-8"
    parts = path.split("/")
    if len(parts) > MOST_PARTS:
        return f"lies {len(parts)} folders deep, at most {MOST_PARTS} are taken"
    if _DRIVE_OR_SHARE.match(path) or any(part in {"", ".", ".."} for part in parts):
        return "leads out of the folder"
    if any(letter in _TURNING or unicodedata.category(letter) in _UNSEEN_CATEGORIES for letter in path):
        return "holds characters that can't be seen"
    return None


def stored_name(raw: bytes) -> str:
    """Return the text under which a path is kept: itself, or for one that is refused a readable, unmistakable stand-in.

    No path holds two slashes in a row, so a stand-in never equals one; its digest keeps two of them apart.
    """
    if name_fault(raw) is None:
        return raw.decode("utf-8")
    readable = raw.decode("utf-8", "backslashreplace")
    shown = "".join(letter if _visible(letter) else f"\\u{ord(letter):04x}" for letter in readable[-_SHOWN:])
    return f"{shown}//{hashlib.sha256(raw).hexdigest()[:32]}"


def folded(path: str) -> str:
    """Return what two paths share that differ only by capitals or by how an accent is written."""
    if path.isascii():
        return path.lower()
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", path).casefold())


def _visible(letter: str) -> bool:
    return letter not in _TURNING and unicodedata.category(letter) not in _UNSEEN_CATEGORIES
