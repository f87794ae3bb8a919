"""Where a container identifier stands in a text, by the pattern of the site that wrote it."""

import re
from functools import lru_cache

from models.identifier_pattern import MOST_TEXT, compiled


def normalised(identifier: str) -> str:
    """Return the identifier as it is compared: without space around it, in capitals, otherwise untouched."""
    return identifier.strip().upper()


def whole(pattern: str, text: str) -> str | None:
    """Return the container identifier of a text that fits the pattern from end to end, as a printed code must."""
    stripped = text.strip()
    if len(stripped) > MOST_TEXT:
        return None
    found = compiled(pattern).fullmatch(stripped)
    return None if found is None else normalised(found["container"])


def find(pattern: str, text: str) -> tuple[str, ...]:
    """Return every distinct container identifier within a text, as in a file name, in order.

    One that is part of a longer word or number is none: ``A1-1`` is not in ``A1-12``. Of a long text only the end
    is searched: of a path, that is the file's own name.
    """
    alone = _alone(pattern).finditer(text, max(0, len(text) - MOST_TEXT))
    return tuple(dict.fromkeys(normalised(found["container"]) for found in alone))


@lru_cache(maxsize=256)
def _alone(pattern: str) -> re.Pattern[str]:
    return re.compile(f"(?<![0-9A-Za-z])(?:{compiled(pattern).pattern})(?![0-9A-Za-z])", re.ASCII | re.IGNORECASE)
