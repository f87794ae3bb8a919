"""What a path below somebody's folder must be like: it can't lead out of it, and people can read and type it."""

import re
import unicodedata
from typing import Final

MOST_BYTES: Final = 1_024
MOST_PARTS: Final = 32
_DRIVE_OR_SHARE: Final = re.compile(r"[A-Za-z]:|\\\\|/")
# Control characters, line and paragraph separators: none of them can be seen, and some turn a list into two lines.
_UNSEEN_CATEGORIES: Final = frozenset({"Cc", "Zl", "Zp"})
# What makes a name read otherwise than it is (Unicode Technical Report 36, bidirectional text).
_TURNING: Final = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


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
    # Whatever of ASCII can be printed can be seen: most paths need no look at each letter.
    if not (path.isascii() and path.isprintable()) and not all(is_visible(letter) for letter in path):
        return "holds characters that can't be seen"
    return None


def is_visible(letter: str) -> bool:
    """Tell whether a character can be seen where it stands, and leaves the others where they are."""
    return letter not in _TURNING and unicodedata.category(letter) not in _UNSEEN_CATEGORIES
