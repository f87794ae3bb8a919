"""Patterns that a laboratory sets, refused where a hostile text could make them search for long."""

import re
from functools import lru_cache
from typing import Final

MOST_TEXT: Final = 255
"""Characters of a text that is searched: the longest file name, and longer than any code that fits on a label."""

_PATTERN_CHARACTERS = 200
_WAYS = 100_000  # in which a pattern may try to match at one place; keeps the slowest search below a tenth of a second
_CONTAINER_ALONE = re.compile(r"\((?:\?P<container>|\?:)")
_ANY_GROUP = re.compile(r"\((?:\?P<\w+>|\?:|(?!\?))")


@lru_cache(maxsize=256)
def compiled(pattern: str) -> re.Pattern[str]:
    """Return a site's pattern ready for use.

    Raises
    ------
    ValueError
        It does not compile, has no group ``container``, uses more than characters, classes, groups, ``|`` and
        quantifiers, or could be made to search for long by a hostile text.
    """
    if len(pattern) > _PATTERN_CHARACTERS:
        raise ValueError(
            f"the identifier pattern has {len(pattern)} characters; at most {_PATTERN_CHARACTERS} are read"
        )
    try:
        expression = re.compile(pattern, re.ASCII | re.IGNORECASE)
    except re.error as error:
        raise ValueError(f"the identifier pattern is not a regular expression: {error}") from error
    if "container" not in expression.groupindex:
        raise ValueError("the identifier pattern names no group (?P<container>...): mark what identifies the slide")
    ways = _Ways(pattern, _CONTAINER_ALONE)
    try:
        too_many = ways.of_choices() > _WAYS
    except _NotCountedError as error:
        raise ValueError(f"the identifier pattern {error}") from None
    if too_many:
        raise ValueError("the identifier pattern can match in too many ways: write {1,9} instead of + and *")
    return expression


def searchable(pattern: str) -> re.Pattern[str]:
    """Return a pattern of a profile ready for use; it may have groups of any name, and + and * side by side.

    Raises
    ------
    ValueError
        It does not compile, looks around or back, or repeats a group that matches in several ways itself: the time of
        such a search doubles with each character.
    """
    try:
        expression = re.compile(pattern)
    except (re.error, OverflowError) as error:
        raise ValueError(f"is no regular expression: {error}") from error
    ways = _Ways(pattern, _ANY_GROUP)
    try:
        ways.of_choices()
    except _NotCountedError as error:
        raise ValueError(str(error)) from None
    if ways.multiply:
        raise ValueError(
            "repeats a group that can match in several ways itself: write {1,9} instead of the outer + or *"
        )
    return expression


class _NotCountedError(Exception):
    """A pattern has something in it whose ways are not counted."""


class _Ways:
    """Counts in how many ways a pattern, which compiles, can try to match: the bound on its backtracking."""

    def __init__(self, pattern: str, groups: re.Pattern[str]) -> None:
        self._rest = pattern
        self._groups = groups
        self.multiply = False
        """Whether what matches in several ways is repeated so often that no text is short enough."""

    def of_choices(self) -> int:
        """Return the ways of what stands up to the end or the closing bracket: ``|`` adds, a sequence multiplies."""
        total, ways = 0, 1
        while self._rest and not self._rest.startswith(")"):
            if self._took("|"):
                total, ways = total + ways, 1
                continue
            ways = min(ways * self._of_one(), _WAYS + 1)
        return total + ways

    def _of_one(self) -> int:
        inner = self._of_atom()
        counts = re.match(r"(?:([*+?])|\{(?=[\d,])(\d*)(,?)(\d*)\})[?+]?", self._rest)
        if counts is None:
            return inner
        self._rest = self._rest[counts.end() :]
        least, most = _counts(*counts.groups())
        if inner > 1 and most > 1 and (most > _WAYS.bit_length() or inner**most > _WAYS):
            self.multiply = True
            return _WAYS + 1
        return min((most - least + 1) * int(inner**most), _WAYS + 1)

    def _of_atom(self) -> int:
        if self._rest.startswith("("):
            begun = self._groups.match(self._rest)
            if begun is None:
                which = "(?P<container>...) and (?:...)" if self._groups is _CONTAINER_ALONE else "that it can name"
                raise _NotCountedError(f"may use only the groups {which}")
            self._rest = self._rest[begun.end() :]
            ways = self.of_choices()
            self._took(")")
            return ways
        if re.match(r"\\[1-9bABZ]", self._rest):
            raise _NotCountedError("may not refer back or look around")
        single = re.match(r"\[\^?\]?(?:\\.|[^\]\\])*\]|\\.|.", self._rest, re.DOTALL)
        self._rest = self._rest[single.end() :] if single else ""
        return 1

    def _took(self, start: str) -> bool:
        if not self._rest.startswith(start):
            return False
        self._rest = self._rest[len(start) :]
        return True


def _counts(sign: str | None, least: str | None, comma: str, most: str | None) -> tuple[int, int]:
    """Return the least and the most repetitions that a quantifier allows."""
    if sign is not None:
        return {"?": (0, 1), "*": (0, MOST_TEXT), "+": (1, MOST_TEXT)}[sign]
    fewest = int(least or 0)
    if not comma:
        return fewest, fewest
    return fewest, int(most) if most else max(fewest, MOST_TEXT)
