"""A message as people edit it, and back: a segment a line, in the message's own character set; nothing else changes."""

import re
from typing import Final

from connectors.lims.header import BOM
from connectors.lims.message import Message
from models.errors import RefusedError

_END: Final = re.compile(rb"\r\n|\r|\n")
_PLACE: Final = re.compile(
    r"(?P<name>[A-Z][A-Z0-9]{2})(?:\[(?P<nth>[1-9][0-9]{0,4})\])?-(?P<field>[1-9][0-9]{0,3})"
    r"(?:\((?P<repetition>[1-9][0-9]{0,3})\))?(?:\.(?P<component>[1-9][0-9]{0,2}))?(?:\.(?P<sub>[1-9][0-9]{0,2}))?"
)
# Control characters are seen as their pictures, and come back as themselves.
_PICTURES: Final = {code: 0x2400 + code for code in range(0x20)}
_CONTROLS: Final = {picture: code for code, picture in _PICTURES.items()}
_GRAMMAR: Final = "name a place as in PID-3, PID-3.1, SPM[2]-2.1.1 or PID-3(2).4"


def line_end(raw: bytes) -> bytes:
    """Return what ends the segments of a message: the first line end there is."""
    found = _END.search(raw.lstrip(b"\r\n"))
    return found.group() if found else b"\r"


def readable(raw: bytes) -> str:
    """Return a message for an editor.

    Raises
    ------
    RefusedError
        It would not come back as it was, so that more would be edited than a person sees.
    """
    charset = _charset(raw)
    lines = (line.decode(charset, "strict").translate(_PICTURES) for line in raw.split(line_end(raw)))
    text = "\n".join(lines)
    if from_readable(text, raw) != raw:
        raise RefusedError("this message can't be shown in an editor as it is: use --set, or --from with a whole file")
    return text


def from_readable(text: str, original: bytes) -> bytes:
    """Return what somebody made of ``readable(original)`` as bytes.

    Raises
    ------
    RefusedError
        A letter does not exist in the message's character set.
    """
    charset = _charset(original)
    return line_end(original).join(_encoded(line.translate(_CONTROLS), charset) for line in text.split("\n"))


def with_value(raw: bytes, place: str, value: str) -> bytes:
    r"""Return the message with one field, component or subcomponent as somebody wants it; delimiters in it count.

    Fields and components that are missing before it are added, segments are not. What is written is HL7: ``\T\`` is
    an ampersand.

    Raises
    ------
    RefusedError
        The place is none, or the message has no such segment; or the value can't be written there.
    """
    found = _PLACE.fullmatch(place.strip())
    if found is None:
        raise RefusedError(f"that is no place in a message: {_GRAMMAR}")
    marks, end = Message(raw).header.delimiters, line_end(raw)
    name, number = found["name"], int(found["field"])
    if name == "MSH" and number <= 2:  # noqa: PLR2004 - the delimiters
        raise RefusedError("MSH-1 and MSH-2 are the delimiters: give the whole message with --from to change them")
    # MSH-1 is the separator itself.
    deep = [(marks.field, number - 1 if name == "MSH" else number)]
    if found["repetition"] or found["component"]:
        deep += [(marks.repetition, int(found["repetition"] or 1) - 1)]
    deep += [(marks.component, int(found["component"]) - 1)] if found["component"] else []
    deep += [(marks.subcomponent, int(found["sub"]) - 1)] if found["sub"] else []
    if any(mark in value for mark in ("\r", "\n", *(mark for mark, _ in deep))):
        raise RefusedError("that value would end the place that it stands in: escape it, as in \\F\\ or \\.br\\")
    lines = raw.split(end)
    at = _segment(lines, name, int(found["nth"] or 1), marks.field)
    lines[at] = _put(lines[at], deep, _encoded(value.translate(_CONTROLS), _charset(raw)))
    return end.join(lines)


def _segment(lines: list[bytes], name: str, nth: int, separator: str) -> int:
    """Return where the nth segment of a name stands."""
    starts = (name.encode(), f"{name}{separator}".encode("latin-1"))
    found = [number for number, line in enumerate(lines) if line.removeprefix(BOM)[:4] in starts]
    if not found:
        raise RefusedError(f"the message has no segment {name}: write the whole message with --from to add one")
    if len(found) < nth:
        raise RefusedError(f"the message has only {len(found)} of the segment {name}: {_GRAMMAR}")
    return found[nth - 1]


def _put(text: bytes, deep: list[tuple[str, int]], new: bytes) -> bytes:
    if not deep:
        return new
    (mark, index), *deeper = deep
    separator = mark.encode("latin-1")
    parts = text.split(separator)
    parts += [b""] * (index + 1 - len(parts))
    parts[index] = _put(parts[index], deeper, new)
    return separator.join(parts)


def _charset(raw: bytes) -> str:
    segments = Message(raw).segments
    return segments[0].notation.charset if segments else "latin-1"


def _encoded(text: str, charset: str) -> bytes:
    try:
        return text.encode(charset)
    except UnicodeEncodeError as error:
        message = f"a letter of it does not exist in the message's character set ({charset}): write it otherwise"
        raise RefusedError(message) from error
