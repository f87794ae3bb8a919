"""A copy of a message for a bug report: the same structure and the same faults, and nothing that names a person.

Delimiters, segments, fields, repetitions and character set stay; values go by an allow-list (``deidentify_fields``).
One key gives the same replacement for the same value, so that what belonged together still does. At the end the copy
is searched for everything that was taken out.
"""

import hashlib
import hmac
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final

from connectors.lims.deidentify_fields import CODED_TYPES, FIELDS, KEPT_COMPONENTS, NATIONAL_AUTHORITIES, PERSONS, How
from connectors.lims.header import Delimiters, read_header
from connectors.lims.nhs_number import is_valid, normalised
from models.errors import RejectedError

_NULL: Final = '""'
_BLANK: Final = "X"
_SEARCHED: Final = 4
"""A value that was taken out and is as long as this, or longer, may stand nowhere in the copy."""
_MOST_DAYS: Final = 364

_LINES: Final = re.compile(r"([\r\n\0]+)")
_NAMED: Final = re.compile(r"[A-Z][A-Z0-9]{2}")
_CODE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9 .:/_+-]{0,19}|[0-9.]{1,64}")
_DATE: Final = re.compile(r"([0-9]{8})([0-9.]*(?:[+-][0-9]{4})?)")
_UID: Final = re.compile(r"[0-9]+(?:\.[0-9]+){2,}")
# What a number is told by; its short parts (A1, 2) only say which of several.
_WORD: Final = re.compile(r"[^\W_]{4,}")
_ANY: Final = re.compile(r"[^\W_]+")
_TELLING: Final = re.compile(r"[^\W_]{3,}")


@dataclass(frozen=True, slots=True)
class Copy:
    """A message without what names a person, and how many values were treated how, by field (``PID-5``)."""

    raw: bytes
    kept: Mapping[str, int]
    replaced: Mapping[str, int]
    moved: Mapping[str, int]
    blanked: Mapping[str, int]


class Deidentifier:
    """Makes copies under one key: the same value is replaced by the same one in all of them."""

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._days = -1 - self._number("days", "") % _MOST_DAYS

    def copy(self, raw: bytes) -> Copy:
        """Return the copy of one message.

        Raises
        ------
        RejectedError
            The message has no delimiters to tell its fields by; or something that was taken out would still stand
            in the copy.
        """
        header = read_header(raw)
        if not header.fields:
            raise RejectedError(f"It can't be told what is a field here. {header.problem}")
        # Every byte is a letter of Latin-1, and comes back as it was: no character set is lost.
        text = raw.decode("latin-1")
        work = _Work(self, header.delimiters)
        copied = work.message(text)
        for _ in range(_ROUNDS):
            again = work.without_what_was_taken_out(copied)
            if again == copied:
                break
            copied = again
        if work.found_in(copied):
            raise RejectedError(
                "Something that was taken out stands in a part that must stay (a segment's name or the delimiters): "
                "no copy was made."
            )
        return Copy(copied.encode("latin-1"), *work.counts())

    def identifier(self, value: str) -> str:
        """Return an opaque identifier of the same shape; what two identifiers share, their replacements share."""
        if is_valid(normalised(value)):
            return self._nhs_number(normalised(value))
        told_by = _TELLING if _TELLING.search(value) or len(value.strip()) < _SEARCHED else _ANY
        return told_by.sub(lambda found: self._same_shape(found.group()), value)

    def uid(self, value: str) -> str:
        """Return another UID (PS3.5, B.2)."""
        return f"2.25.{self._number('uid', value)}"

    def moved(self, value: str) -> str:
        """Return a date or a time moved by this key's number of days; blanked when it is none with a day."""
        found = _DATE.fullmatch(value)
        try:
            day = date.fromisoformat(found[1]) if found else None
            return _BLANK if day is None or found is None else f"{day + timedelta(self._days):%Y%m%d}{found[2]}"
        except (ValueError, OverflowError):
            return _BLANK

    def _same_shape(self, part: str) -> str:
        number = self._number("identifier", part.upper())
        letters = []
        for letter in part:
            # A multiple of 10 and of 26: no digit and no letter comes more often than others.
            number, place = divmod(number, 260)
            if letter.isdigit():
                letters.append(str(place % 10))
            else:
                letters.append(chr(ord("a" if letter.islower() else "A") + place % 26))
        made = "".join(letters)
        return made if made != part else self._same_shape(f"{part}.")[: len(part)]

    def _nhs_number(self, value: str) -> str:
        """Return a valid number of the range that is never given to anybody (999)."""
        number = self._number("nhs", value)
        while True:
            made = next((one for one in (f"999{number % 10**6:06}{check}" for check in range(10)) if is_valid(one)), "")
            if made and made != value:
                return made
            number += 1

    def _number(self, what: str, value: str) -> int:
        said = f"{what}\x1f{value}".encode()
        return int.from_bytes(hmac.digest(self._key, said, hashlib.sha256)[:16])


_ROUNDS: Final = 3


class _Work:
    """One message on its way through: what was done to it, and what was taken out of it."""

    def __init__(self, by: Deidentifier, delimiters: Delimiters) -> None:
        self._by = by
        self._marks = delimiters
        # In small letters; only the words of a code as they were, for a code is often its word in capitals.
        self._taken: set[str] = set()
        self._words: set[str] = set()
        self._lengths: frozenset[int] = frozenset()
        self._counts: dict[str, Counter[str]] = {name: Counter() for name in ("kept", "replaced", "moved", "blanked")}

    def counts(self) -> tuple[Counter[str], Counter[str], Counter[str], Counter[str]]:
        """Return how many values were kept, replaced, moved and blanked, by field."""
        return tuple(self._counts.values())  # type: ignore[return-value] # four of them, made in __init__

    def message(self, text: str) -> str:
        """Return the text with every value treated; line ends as they were."""
        parts = _LINES.split(text)
        made = "".join(part if number % 2 else self._line(part) for number, part in enumerate(parts))
        self._lengths = frozenset(map(len, self._taken | self._words))
        return made

    def without_what_was_taken_out(self, text: str) -> str:
        """Return the text with every value blanked that repeats something which was taken out."""

        def blanked(leaf: str, place: str, _how: How, _component: int, _type: str) -> str:
            if leaf in (_BLANK, _NULL) or not self.found_in(leaf):
                return leaf
            self._counts["kept"][place] -= 1
            self._counts["blanked"][place] += 1
            return _BLANK

        parts = _LINES.split(text)
        return "".join(part if number % 2 else self._mapped(part, blanked) for number, part in enumerate(parts))

    def found_in(self, text: str) -> bool:
        """Whether something that was taken out stands in a text, in capitals or not."""
        low = text.lower()
        return any(
            low[start : start + length] in self._taken or text[start : start + length] in self._words
            for length in self._lengths
            if length <= len(text)
            for start in range(len(text) - length + 1)
        )

    def _line(self, line: str) -> str:
        if not line.strip(" \t\xef\xbb\xbf"):
            return line
        return self._mapped(line, self._treated)

    def _mapped(self, line: str, treat: Callable[[str, str, How, int, str], str]) -> str:
        """Return a line with each value treated; what is no segment is blanked whole."""
        bom = "\xef\xbb\xbf" if line.startswith("\xef\xbb\xbf") else ""
        line = line.removeprefix(bom)
        name, mark = line[:3], self._marks.field
        if not _NAMED.fullmatch(name) or line[3:4] not in ("", mark):
            blank = line.strip() in ("", _BLANK)
            return bom + (line if blank else treat(line, "a line without a name", "blank", 1, ""))
        fields = line.split(mark)
        # MSH-1 is the mark itself, and MSH-2 what the others are.
        first = 2 if name in ("MSH", "FHS", "BHS") else 1
        shift = 1 if first == 2 else 0  # noqa: PLR2004 - as above
        type_ = fields[2] if name == "OBX" and len(fields) > 2 else ""  # noqa: PLR2004 - OBX-2
        treated = [
            self._field(field, name, number + shift, type_, treat)
            for number, field in enumerate(fields[first:], start=first)
        ]
        return bom + mark.join([*fields[:first], *treated])

    def _field(self, field: str, name: str, number: int, type_: str, treat: Callable[..., str]) -> str:
        if not field or field == _NULL:
            return field
        how = FIELDS.get(name, {}).get(number, "blank")
        place, marks = f"{name}-{number}", self._marks
        repetitions = []
        for repetition in field.split(marks.repetition):
            components = [
                marks.subcomponent.join(
                    leaf if leaf.strip() in ("", _NULL) else treat(leaf, place, how, component, type_)
                    for leaf in one.split(marks.subcomponent)
                )
                for component, one in enumerate(repetition.split(marks.component), start=1)
            ]
            repetitions.append(marks.component.join(components))
        return marks.repetition.join(repetitions)

    def _treated(self, leaf: str, place: str, how: How, component: int, type_: str) -> str:
        """Return what stands for one value, and remember the value where it goes."""
        if how == "observation":
            how = "coded" if type_ in CODED_TYPES else "uid" if _UID.fullmatch(leaf.strip()) else "blank"
        if self._stays(leaf, how, component):
            self._counts["kept"][place] += 1
            return leaf
        made, what = self._made(leaf, how)
        self._counts[what][place] += 1
        if how == "coded" and len(leaf.strip()) >= _SEARCHED:
            self._words.add(leaf.strip())
        else:
            self._taken.update(_taken_out(leaf, made, place[:3]))
        return made

    def _stays(self, leaf: str, how: How, component: int) -> bool:
        if how == "person identifier" and leaf.strip() in NATIONAL_AUTHORITIES:
            return True
        return component in KEPT_COMPONENTS.get(how, ()) and _CODE.fullmatch(leaf.strip()) is not None

    def _made(self, leaf: str, how: How) -> tuple[str, str]:
        if how in ("identifier", "person identifier"):
            return self._by.identifier(leaf), "replaced"
        if how == "uid":
            return self._by.uid(leaf), "replaced"
        if how == "date" and (moved := self._by.moved(leaf.strip())) != _BLANK:
            return moved, "moved"
        return _BLANK, "blanked"


def _taken_out(leaf: str, made: str, segment: str) -> Iterator[str]:
    """Yield what must stand nowhere in the copy: the value, each word about a person, the day of a time."""
    low = leaf.strip().lower()
    if segment in PERSONS:
        yield from (word for word in _WORD.findall(low) if word not in made.lower())
    if len(low) >= _SEARCHED and low not in made.lower():
        yield low
    found = _DATE.fullmatch(low)
    if found and found[2]:
        yield found[1]
