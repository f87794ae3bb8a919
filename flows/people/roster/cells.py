"""What a cell of a file may hold: how it is read, what is wrong with it, how it is written again."""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, time, timedelta
from typing import Any, Final

DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
"""Monday is 0."""
LEVELS: Final = ("lead", "may read", "trainee")
"""Level 1 leads."""

_WEEKDAYS: Final = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_YES: Final = ("yes", "y", "true", "1")
_NO: Final = ("no", "n", "false", "0")
_YEARS: Final = (1900, 2200)
_LARGEST: Final = 1e6
_SHORTEST_OF_A_DAY: Final = 2
_ID: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
_SUBSPECIALTY: Final = re.compile(r"[a-z0-9][a-z0-9_]{0,62}")
_WORD: Final = re.compile(r"[a-z][a-z -]{0,15}")
_NUMBER: Final = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
_DECIMAL_COMMA: Final = re.compile(r"[+-]?[0-9]+,[0-9]+")
_DAY: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_TIME: Final = re.compile(r"([0-9]{1,2}):([0-9]{2})(?::([0-9]{2}))?")
_OFFSET: Final = re.compile(r"([0-9]{1,2}:[0-9:.]+)\s*([zZ]|[+-][0-9]{2}.*|[A-Za-z/_]+)")
# A spreadsheet takes such a text for a formula: it is written with an apostrophe before it, which is taken off again.
_LIKE_A_FORMULA: Final = re.compile(r"'*[=+@-]")
_WITH_APOSTROPHE: Final = re.compile(r"'+[=+@-]")


@dataclass(frozen=True)
class Kind:
    """What a column holds; ``read`` raises ``ValueError`` with a sentence about a text that is nothing of the kind."""

    read: Callable[[str], Any]
    written: Callable[[Any], str] = str


def optional(kind: Kind) -> Kind:
    """Return the same, of which a cell may hold nothing."""
    return Kind(
        lambda text: kind.read(text) if text else None, lambda value: "" if value is None else kind.written(value)
    )


def text_of(longest: int) -> Kind:
    """Return one line of text of at most so many characters."""

    def read(text: str) -> str:
        text = text[1:] if _WITH_APOSTROPHE.match(text) else text
        if len(text) > longest or not text.isprintable():
            raise ValueError(f"must be one line of at most {longest} characters")
        return text

    return Kind(read, lambda text: f"'{text}" if _LIKE_A_FORMULA.match(text) else str(text))


def whole_words(words: tuple[str, ...]) -> Kind:
    """Return one of these words, as its number from 1 on; capitals and underscores do not matter."""

    def read(text: str) -> int:
        said = text.lower().replace("_", " ")
        if said not in words:
            raise ValueError(f"must be one of {', '.join(words)}")
        return words.index(said) + 1

    return Kind(read, lambda number: words[number - 1])


def _id(text: str) -> str:
    if not _ID.fullmatch(text):
        raise ValueError("must be small letters, digits and hyphens, at most 63, as in north-east")
    return text


def _subspecialty(text: str) -> str:
    if not _SUBSPECIALTY.fullmatch(text):
        raise ValueError("must be small letters, digits and underscores, at most 63, as in soft_tissue")
    return text


def _word(text: str) -> str:
    if not _WORD.fullmatch(text):
        raise ValueError("must be small letters, at most 16, as in leave, sick or study")
    return text


def _points(text: str) -> float:
    if _DECIMAL_COMMA.fullmatch(text):
        raise ValueError("must be written with a decimal point, as in 0.5")
    value = float(text) if _NUMBER.fullmatch(text) else math.nan
    if not math.isfinite(value):
        raise ValueError("must be a number, as in 80 or 0.5")
    if not 0 < value <= _LARGEST:
        raise ValueError("must be more than 0, and at most a million")
    return value


def _yes_no(text: str) -> bool:
    said = text.lower()
    if said not in (*_YES, *_NO):
        raise ValueError("must be yes or no")
    return said in _YES


def _day(text: str) -> date:
    try:
        day = date.fromisoformat(text) if _DAY.fullmatch(text) else None
    except ValueError:
        day = None
    if day is None or not _YEARS[0] <= day.year <= _YEARS[1]:
        raise ValueError("must be a day of the calendar, written year first as in 2026-03-02")
    return day


def _time(text: str) -> time:
    if _OFFSET.fullmatch(text):
        raise ValueError("must have neither zone nor offset: it is the civil time of their site, as in 08:30")
    found = _TIME.fullmatch(text)
    try:
        return time(int(found[1]), int(found[2]), int(found[3] or 0)) if found else time(24)
    except ValueError:
        raise ValueError("must be a time from 00:00 to 23:59, as in 08:30; midnight is 00:00") from None


def _days(text: str) -> tuple[int, ...]:
    """Return the days of the week, each once and in order; a stretch may be written as in mon-fri."""
    found: set[int] = set()
    for part in text.lower().replace(",", " ").replace(";", " ").split():
        ends = [_weekday(word) for word in part.split("-")]
        first, last = ends[0], ends[-1]
        if len(ends) > _SHORTEST_OF_A_DAY:
            raise ValueError("must be days of the week, as in mon-fri or mon wed")
        found.update((first + step) % 7 for step in range((last - first) % 7 + 1))
    return tuple(sorted(found))


def _weekday(word: str) -> int:
    fitting = [number for number, name in enumerate(_WEEKDAYS) if name.startswith(word)]
    if len(word) < _SHORTEST_OF_A_DAY or len(fitting) != 1:
        raise ValueError("must be days of the week, as in mon-fri or mon wed")
    return fitting[0]


def _names(text: str) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(part.strip() for part in text.split("|") if part.strip()))
    return tuple(ONE_LINE.read(name) for name in names)


def _number_written(value: float) -> str:
    return str(int(value)) if value.is_integer() else repr(value)


def _time_written(value: time) -> str:
    return value.isoformat("minutes" if value.second == 0 else "seconds")


ONE_LINE: Final = text_of(200)
ID: Final = Kind(_id)
SUBSPECIALTY: Final = Kind(_subspecialty)
WORD: Final = Kind(_word)
POINTS: Final = Kind(_points, _number_written)
YES_NO: Final = Kind(_yes_no, lambda value: "yes" if value else "no")
DAY: Final = Kind(_day, date.isoformat)
LAST_DAY: Final = Kind(lambda text: _day(text) + timedelta(days=1), lambda day: (day - timedelta(days=1)).isoformat())
"""The last day of something, held as the day after it."""
TIME: Final = Kind(_time, _time_written)
WEEKDAYS: Final = Kind(_days, lambda days: " ".join(DAYS[day] for day in days))
LEVEL: Final = whole_words(LEVELS)
NAMES: Final = Kind(_names, lambda names: " | ".join(map(ONE_LINE.written, names)))
"""Several names, apart by a bar, which no name in HL7 holds."""
