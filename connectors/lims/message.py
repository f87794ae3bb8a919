"""An HL7 message as it was sent: nothing dropped, nothing moved, nothing parsed before it is asked for.

The bytes stay the truth. Segments, fields and components are found by splitting, never by
a schema, so a Z-segment, a repeated segment or a version nobody knows changes nothing here.
"""

import re
from dataclasses import dataclass
from dataclasses import field as dataclass_field
from functools import cached_property, lru_cache
from typing import Final

from connectors.lims.header import BOM, Delimiters, Header, read_header

DELETED = ""
"""``""`` in a field: the sender says that the value must go. ``None`` means that nothing is said."""

_EXPLICIT_NULL = '""'

# MSH-18 as real systems spell it (HL7 table 0211 and beyond), without blanks, dashes and underscores.
_CHARSETS = {
    "UNICODEUTF8": "utf-8",
    "UTF8": "utf-8",
    "ASCII": "ascii",
    "USASCII": "ascii",
    "ISOIR6": "ascii",
    "WINDOWS1252": "cp1252",
    "CP1252": "cp1252",
    "ISOIR100": "iso8859-1",
    "ISOIR87": "iso2022_jp",
    "ISOIR159": "iso2022_jp_2",
    "GB180302000": "gb18030",
    "BIG5": "big5",
    "KSX1001": "euc_kr",
}
_LATIN = re.compile(r"(?:ISO)?8859[/]?(1[013-6]|[1-9])")
_SEGMENT_NAME = re.compile(r"[A-Z][A-Z0-9]{2}")


@dataclass(frozen=True, slots=True)
class MessageLimits:
    """How much structure one message may have; bytes are limited where frames are read.

    Everything below is linear, so the limits keep memory in bounds, not time.
    """

    segments: int = 20_000
    fields_a_segment: int = 2_000
    parts_a_segment: int = 100_000
    repetitions_a_segment: int = 10_000


@dataclass(frozen=True, slots=True)
class Notation:
    """How the text of one message is written."""

    delimiters: Delimiters
    charset: str


@dataclass(frozen=True, slots=True)
class Field:
    """One repetition of one field."""

    raw: str = dataclass_field(repr=False)
    notation: Notation

    def value(self, component: int = 1, subcomponent: int = 1) -> str | None:
        """Return one subcomponent, unescaped and without blanks around it.

        ``None`` when nothing is said, ``DELETED`` when the sender wrote ``""`` for it or the whole field.
        """
        return _said(self.raw, self.notation, component, subcomponent)

    def components(self) -> list[str]:
        """Return the first subcomponent of each component as ``stated`` does."""
        used, raw = self.notation.delimiters, self.raw
        if '"' in raw or used.subcomponent in raw or used.escape in raw:
            return [self.stated(number) for number in range(1, raw.count(used.component) + 2)]
        return [one.strip() for one in raw.split(used.component)]

    def text(self) -> str:
        """Return the whole of it, unescaped: of a text that may hold delimiters nobody escaped."""
        return unescape(self.raw, self.notation)

    def stated(self, component: int = 1, subcomponent: int = 1) -> str:
        """Return the value where not saying it and deleting it come to the same: an empty text."""
        return self.value(component, subcomponent) or ""


class Segment:
    """One line of a message; ``name`` is empty when the line is none that HL7 could name.

    Its fields are split when the first of them is asked for. No dataclass: one is made for each line of each message,
    and most of them are asked a dozen things.
    """

    __slots__ = ("_fields", "line", "name", "notation")

    def __init__(self, name: str, line: str, notation: Notation) -> None:
        self.name: Final = name
        self.line: Final = line
        self.notation: Final = notation
        self._fields: list[str] | None = None

    def __repr__(self) -> str:
        # What a line says is a patient's.
        return f"Segment(name={self.name!r})"

    def _split(self) -> list[str]:
        separator = self.notation.delimiters.field
        fields = self.line.split(separator)
        if self.name == "MSH":
            # MSH-1 is the separator itself.
            fields.insert(1, separator)
        self._fields = fields
        return fields

    def raw(self, number: int) -> str:
        """Return field ``number`` as it was sent, an empty text when it is not there."""
        fields = self._fields or self._split()
        return fields[number] if number < len(fields) else ""

    def repetitions(self, number: int) -> tuple[Field, ...]:
        """Return what is said in field ``number``, one for each repetition that is not empty."""
        parts = self.raw(number).split(self.notation.delimiters.repetition)
        return tuple(Field(part, self.notation) for part in parts if part)

    def field(self, number: int) -> Field:
        """Return the first repetition of field ``number``, an empty one when it is not there."""
        return Field(self.raw(number).split(self.notation.delimiters.repetition, 1)[0], self.notation)

    def value(self, number: int, component: int = 1, subcomponent: int = 1) -> str | None:
        """Return one subcomponent of the field's first repetition; see ``Field.value``."""
        fields = self._fields or self._split()
        if number >= len(fields) or not (text := fields[number]):
            return None
        if self.notation.delimiters.repetition in text:
            text = text.split(self.notation.delimiters.repetition, 1)[0]
        return _said(text, self.notation, component, subcomponent)

    def stated(self, number: int, component: int = 1, subcomponent: int = 1) -> str:
        """Return one subcomponent of the field's first repetition; see ``Field.stated``."""
        return self.value(number, component, subcomponent) or ""


@dataclass(frozen=True)
class Message:
    """A message over its stored bytes; every part is found when it is first asked for.

    Making one never fails. ``problem`` is the sentence for a message that can only be kept; its
    segments must not be read when there is one. ``charset`` is what its sender writes when MSH-18 is empty.
    """

    raw: bytes = dataclass_field(repr=False)
    limits: MessageLimits = MessageLimits()
    charset: str = ""

    @cached_property
    def header(self) -> Header:
        """MSH, read from the bytes."""
        return read_header(self.raw)

    @cached_property
    def problem(self) -> str:
        """What stops the message from being read, as a sentence without patient data; or empty."""
        return self.header.problem or self._beyond_limits()

    @cached_property
    def notes(self) -> tuple[str, ...]:
        """What is odd about the text although it can be read, as sentences without patient data."""
        declared, known = self.header.text(18), codec_of(self.header.text(18))
        found = []
        if declared and known is None:
            found.append(f"MSH-18 names a character set we do not know: the text was read as {self._decoded[1]}.")
        elif known not in {None, "ascii", self._decoded[1]}:
            found.append(f"The text is not in the character set of MSH-18: it was read as {self._decoded[1]}.")
        unnamed = sum(not segment.name for segment in self.segments)
        if unnamed:
            found.append(f"{unnamed} lines are no segments (a line break inside a text?): they are kept unread.")
        return tuple(found)

    @cached_property
    def segments(self) -> tuple[Segment, ...]:
        """Every line that is not blank, in the order sent."""
        text, charset = self._decoded
        notation = Notation(self.header.delimiters, charset)
        return tuple(Segment(_name(line, notation), line, notation) for line in _lines(text))

    def named(self, name: str) -> tuple[Segment, ...]:
        """Return all segments of one name, in the order sent."""
        return tuple(segment for segment in self.segments if segment.name == name)

    @cached_property
    def _decoded(self) -> tuple[str, str]:
        """The text, and the character set that it turned out to be in; U+0000 is no text."""
        declared = codec_of(self.header.text(18) or self.charset)
        for charset in (declared or "utf-8", "utf-8", "cp1252"):
            try:
                return self.raw.removeprefix(BOM).decode(charset).replace("\0", ""), charset
            except UnicodeDecodeError:
                continue
        return self.raw.decode("latin-1").replace("\0", ""), "latin-1"

    def _beyond_limits(self) -> str:
        """Return a sentence when the message has more parts than anything a laboratory sends."""
        if self._surely_within_limits():
            return ""
        lines, used = _lines(self.raw.decode("latin-1")), self.header.delimiters
        if len(lines) > self.limits.segments:
            return f"The message has {len(lines)} segments; {self.limits.segments} are allowed."
        headers = sum(line.startswith(f"MSH{used.field}") for line in lines)
        if headers > 1:
            return f"The frame holds {headers} messages: send each in a frame of its own."
        for number, line in enumerate(lines, start=1):
            repeated, split = line.count(used.repetition), line.count(used.component) + line.count(used.subcomponent)
            for what, count, most in (
                ("fields", line.count(used.field), self.limits.fields_a_segment),
                ("repetitions", repeated, self.limits.repetitions_a_segment),
                ("repetitions and components", repeated + split, self.limits.parts_a_segment),
            ):
                if count > most:
                    return f"Segment {number} has {count} {what}; {most} are allowed."
        return ""

    def _surely_within_limits(self) -> bool:
        """Whether the whole message has no more of anything than one segment may have: most do not."""
        used, limits, count = self.header.delimiters, self.limits, self.raw.count
        parts = (used.repetition, used.component, used.subcomponent)
        return (
            count(b"\r") + count(b"\n") < limits.segments
            and count(_byte(used.field)) <= limits.fields_a_segment
            and count(_byte(used.repetition)) <= limits.repetitions_a_segment
            and sum(count(_byte(mark)) for mark in parts) <= limits.parts_a_segment
            and count(b"MSH" + _byte(used.field)) == 1
        )


def _byte(delimiter: str) -> bytes:
    # MSH-2 is read as Latin-1, one byte a character.
    return delimiter.encode("latin-1")


def _said(text: str, notation: Notation, component: int, subcomponent: int) -> str | None:
    """Return what ``Field.value`` promises of one repetition."""
    used = notation.delimiters
    if '"' in text:
        return _said_or_deleted(text, notation, component, subcomponent)
    if component > 1:
        text = _part(text, used.component, component)
    elif used.component in text:
        text = text.split(used.component, 1)[0]
    if subcomponent > 1:
        text = _part(text, used.subcomponent, subcomponent)
    elif used.subcomponent in text:
        text = text.split(used.subcomponent, 1)[0]
    return (unescape(text, notation) if used.escape in text else text).strip() or None


def _said_or_deleted(text: str, notation: Notation, component: int, subcomponent: int) -> str | None:
    """Return the same where any part may be ``""``."""
    if text.strip() == _EXPLICIT_NULL:
        return DELETED
    for separator, number in (
        (notation.delimiters.component, component),
        (notation.delimiters.subcomponent, subcomponent),
    ):
        text = _part(text, separator, number)
        if text.strip() == _EXPLICIT_NULL:
            return DELETED
    return unescape(text, notation).strip() or None


def _part(text: str, separator: str, number: int) -> str:
    """Return one of the parts that the separator makes, counted from one."""
    parts = text.split(separator, number)
    return parts[number - 1] if number <= len(parts) else ""


def unescape(text: str, notation: Notation) -> str:
    """Return the text that the escapes stand for; what is no escape stays, lone backslashes too."""
    if notation.delimiters.escape not in text:
        return text
    return _escapes(notation.delimiters.escape).sub(lambda found: _meaning(found.group(1), notation), text)


def _meaning(escape: str, notation: Notation) -> str:
    """Return what one escape sequence, without its backslashes, stands for (HL7 2.5.1, 2.7)."""
    delimiters = notation.delimiters
    plain = {
        "F": delimiters.field,
        "S": delimiters.component,
        "T": delimiters.subcomponent,
        "R": delimiters.repetition,
        "E": delimiters.escape,
        "P": "#",
    }
    if escape in plain:
        return plain[escape]
    if escape[0] == "X":
        coded = bytes.fromhex(escape[1:])
        try:
            return coded.decode(notation.charset).replace("\0", "")
        except UnicodeDecodeError:
            return coded.decode("latin-1").replace("\0", "")
    return "\n" if escape[:3] in {".br", ".sp", ".ce"} else ""


@lru_cache(maxsize=64)
def _escapes(escape: str) -> re.Pattern[str]:
    """Return the pattern of every escape sequence that has a meaning here."""
    mark = re.escape(escape)
    return re.compile(rf"{mark}([FSTREPHN]|X(?:[0-9A-Fa-f]{{2}})+|\.(?:br|ce|fi|nf|(?:sp|in|ti|sk)[+-]?\d*)){mark}")


def codec_of(declared: str) -> str | None:
    """Return Python's name for what MSH-18 says; ``None`` when that is empty or unknown."""
    squeezed = re.sub(r"[\s_-]", "", declared).upper()
    latin = _LATIN.fullmatch(squeezed)
    return f"iso8859-{latin.group(1)}" if latin else _CHARSETS.get(squeezed)


def _lines(text: str) -> list[str]:
    """Return the lines that are not blank, by the first line end found: CR (LF stripped) or LF.

    Only the first decides, because a LF inside a text of a CR message is no segment's end.
    """
    first = re.search(r"[\r\n]", text.lstrip("\r\n"))
    separator = first.group() if first else "\r"
    return [line for line in (part.strip("\r\n") for part in text.split(separator)) if line.strip()]


def _name(line: str, notation: Notation) -> str:
    """Return the segment's name, empty when the line has none."""
    name, after = line[:3], line[3:4]
    return name if _names_a_segment(name) and after in ("", notation.delimiters.field) else ""


@lru_cache(maxsize=256)
def _names_a_segment(name: str) -> bool:
    return _SEGMENT_NAME.fullmatch(name) is not None
