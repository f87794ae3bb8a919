"""The header of an HL7 message, taken from its bytes by a split: all that the door needs.

Nothing here raises: whatever came can be kept, and ``problem`` says what is wrong with it.
"""

import re
from dataclasses import dataclass
from functools import cached_property, lru_cache

BOM = b"\xef\xbb\xbf"

# Longer ones hold something else than a header; HL7's own lengths add up to far less.
_HEADER_BYTES = 16_384
# MSH-10 may have 20 characters up to HL7 2.6 and 199 from 2.7 on.
_CONTROL_ID_BYTES = 199
_BLANK = b"\r\n \t\0"
_LINE_END = re.compile(rb"[\r\n]")
_MESSAGE_TYPE = re.compile(r"[A-Z][A-Z0-9]{2}(\^[A-Z][A-Z0-9]{2})?")


@dataclass(frozen=True, slots=True)
class Delimiters:
    """The five characters of MSH-1 and MSH-2."""

    field: str = "|"
    component: str = "^"
    repetition: str = "~"
    escape: str = "\\"
    subcomponent: str = "&"


# What nearly every sender uses.
_USUAL = b"|^~\\&"
_DEFAULTS = Delimiters()


@dataclass(frozen=True)
class Header:
    """MSH as bytes, and what is wrong with it.

    Attributes
    ----------
    fields
        ``fields[n]`` is MSH-n; ``fields[0]`` is the name. Empty when there is no MSH.
    problem
        One sentence for the person who looks at the message that was set aside, or empty.
    problem_field
        The number of the MSH field that the problem is in, when there is one.
    """

    fields: tuple[bytes, ...] = ()
    delimiters: Delimiters = _DEFAULTS
    problem: str = ""
    problem_field: int | None = None

    def raw(self, number: int) -> bytes:
        """Return MSH-``number`` as it was sent, empty when it was not."""
        return self.fields[number] if number < len(self.fields) else b""

    def text(self, number: int, component: int = 1) -> str:
        """Return one component of MSH-``number`` (first repetition) as text."""
        field = self.raw(number)
        return _text(field, self.delimiters, component) if field else ""

    @cached_property
    def message_type(self) -> str:
        """MSH-9 as ``OML^O33``; empty when it is not a message type at all.

        Older senders leave out the trigger event and name only the structure (MSH-9.3).
        """
        return _message_type(self.raw(9), self.delimiters)

    @property
    def control_id(self) -> bytes:
        """MSH-10, byte for byte: MSA-2 of the answer must equal it."""
        return self.raw(10)


def read_header(raw: bytes) -> Header:
    """Return the header of a message whose MSH is its first line, after any BOM and blank lines."""
    text = raw[: _HEADER_BYTES + len(BOM)].lstrip(_BLANK).removeprefix(BOM).lstrip(_BLANK)
    if text[:3] in {b"FHS", b"BHS"}:
        return Header(problem="The message is a batch (it begins with FHS or BHS): send its messages one by one.")
    if text[:3] != b"MSH":
        return Header(problem="The message does not begin with MSH: it is kept as it came and cannot be read.")
    ending = _LINE_END.search(text)
    if ending is None and len(raw) > _HEADER_BYTES:
        return Header(problem=f"MSH is longer than {_HEADER_BYTES} bytes: the segments have no separators we know.")
    return _split(text[: ending.start()] if ending else text)


def _text(field: bytes, delimiters: Delimiters, component: int) -> str:
    """Return one component of a field's first repetition."""
    first = field.decode("latin-1").split(delimiters.repetition)[0]
    parts = first.split(delimiters.component)
    return parts[component - 1].strip() if component <= len(parts) else ""


# A peer has but few.
@lru_cache(maxsize=64)
def _message_type(field: bytes, delimiters: Delimiters) -> str:
    code, trigger, structure = (_text(field, delimiters, component) for component in (1, 2, 3))
    trigger = trigger or structure.partition("_")[2]
    named = f"{code}^{trigger}" if trigger else code
    return named if _MESSAGE_TYPE.fullmatch(named) else ""


def _split(line: bytes) -> Header:
    """Return the header in one line that begins with MSH."""
    separator, characters = line[3:4], line[4:].split(line[3:4])[0] if line[3:4] else b""
    delimiters = _delimiters(separator, characters)
    if delimiters is None:
        return Header(problem="MSH-1 and MSH-2 name no usable delimiters.", problem_field=2)
    fields = (b"MSH", separator, *line[4:].split(separator))
    return Header(fields, delimiters, *_problem(fields))


def _delimiters(separator: bytes, characters: bytes) -> Delimiters | None:
    if separator + characters == _USUAL:
        return _DEFAULTS
    used = (separator + characters).decode("latin-1")
    if not separator or used[0].isalnum() or len(set(used)) < len(used) or len(characters) > len("^~\\&#"):
        return None
    if not used.isprintable():
        # Damage on the way: a text has no such characters, and NUL is taken out of it.
        return None
    names = ("field", "component", "repetition", "escape", "subcomponent")
    # strict=False: a truncation character (#, HL7 2.7) may follow, and a short MSH-2 keeps the defaults.
    return Delimiters(**dict(zip(names, used, strict=False)))


def _problem(fields: tuple[bytes, ...]) -> tuple[str, int | None]:
    """Return what stops an answer from reaching its question, or the message from being understood."""
    if len(fields) <= 10 or not fields[10].strip():  # noqa: PLR2004 (MSH-10)
        return "MSH-10 (message control id) is missing: an answer could not be matched to the message.", 10
    if len(fields[10]) > _CONTROL_ID_BYTES:
        return f"MSH-10 (message control id) is longer than {_CONTROL_ID_BYTES} characters.", 10
    if not fields[9].strip():
        return "MSH-9 (message type) is missing: nothing says what the message is.", 9
    return "", None
