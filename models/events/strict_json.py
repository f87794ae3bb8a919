"""JSON from outside, read so that no two readers can see different things in the same bytes (RFC 8259)."""

import json
import math
from collections.abc import Mapping
from typing import Any, Final, NoReturn

from models.errors import RejectedError

_LONGEST_NUMBER: Final = 32
"""Digits, sign and exponent: more than any number of ours needs; reading a longer one costs more than its length."""
_DEEPEST: Final = 32


def read_object(raw: bytes, most_bytes: int) -> dict[str, Any]:
    """Return the one JSON object that these bytes are.

    Raises
    ------
    RejectedError
        More bytes than wanted; not UTF-8, or begun by a byte order mark; not JSON, NaN and Infinity included; a name
        twice in one object; a number beyond reason; nested too deep; text that is no Unicode; anything but an object.
    """
    if len(raw) > most_bytes:
        raise RejectedError(f"The event has {len(raw)} bytes; at most {most_bytes} are taken.")
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise RejectedError(f"The event is not UTF-8: byte {error.start} of {len(raw)}.") from None
    if text.startswith("\ufeff"):
        raise RejectedError("The event begins with a byte order mark, which JSON must not have.")
    try:
        value = _DECODER.decode(text)
    except RecursionError:
        raise RejectedError(f"The event is nested too deep; at most {_DEEPEST} levels are read.") from None
    except json.JSONDecodeError as error:
        raise RejectedError(f"The event is not JSON: {error.msg} at character {error.pos}.") from None
    if not isinstance(value, dict):
        raise RejectedError("The event is not a JSON object.")
    # Only an escape can stand for half a pair, and nothing lies deeper than there are brackets: most need no look.
    if "\\u" in text or text.count("{") + text.count("[") >= _DEEPEST:
        _check(value)
    return value


def written(value: Mapping[str, Any]) -> bytes:
    """Return the one canonical form of a value: names sorted, no space, UTF-8."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, sort_keys=True, separators=(",", ":"))
    return text.encode("utf-8")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise RejectedError("The event says the same name twice in one object.")
    return found


def _no_constant(_name: str) -> NoReturn:
    raise RejectedError("The event is not JSON: NaN and Infinity are no numbers.")


def _float(text: str) -> float:
    number = float(text) if len(text) <= _LONGEST_NUMBER else math.inf
    if not math.isfinite(number):
        raise RejectedError("The event holds a number beyond reason.")
    return number


def _integer(text: str) -> int:
    if len(text) > _LONGEST_NUMBER:
        raise RejectedError("The event holds a number beyond reason.")
    return int(text)


_DECODER: Final = json.JSONDecoder(
    object_pairs_hook=_object, parse_constant=_no_constant, parse_float=_float, parse_int=_integer
)


def _check(value: dict[str, Any]) -> None:
    """Refuse what is nested too deep, and halves of surrogate pairs, which no encoding can write again."""
    level: list[Any] = [value]
    for _ in range(_DEEPEST):
        level = [inner for outer in level for inner in _inside(outer)]
        if not level:
            return
    raise RejectedError(f"The event is nested too deep; at most {_DEEPEST} levels are read.")


def _inside(value: object) -> list[Any]:
    if isinstance(value, str):
        if not value.isascii() and any("\ud800" <= letter <= "\udfff" for letter in value):
            raise RejectedError("The event holds half a surrogate pair, which is no text.")
        return []
    if isinstance(value, dict):
        return [*value.keys(), *value.values()]
    return value if isinstance(value, list) else []
