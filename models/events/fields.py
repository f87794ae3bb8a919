"""What the fields of events may hold, so that nothing unbounded, unreadable or naive in time comes in."""

import base64
import binascii
import re
from datetime import UTC, datetime
from typing import Annotated, Any, ClassVar, Final, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, WithJsonSchema

from models.relative_path import MOST_BYTES, name_fault
from models.uid import is_uid

# RFC 3339, as CloudEvents asks: date, time, and always the offset.
_RFC_3339: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)", re.ASCII)
_BASE_64: Final = {"type": "string", "contentEncoding": "base64"}
_VISIBLE_TEXT: Final = r"^[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f]*$"


def moment_text(at: datetime) -> str:
    """Return a moment in UTC, always with six digits of a second: the same moment is the same text."""
    return at.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def _moment(value: object) -> object:
    if isinstance(value, datetime):
        return value
    if not isinstance(value, str) or not _RFC_3339.fullmatch(value):
        message = "must be a time with its offset (RFC 3339)"
        raise ValueError(message)
    try:
        return datetime.fromisoformat(value).astimezone(UTC)
    except (ValueError, OverflowError):
        message = "is no date and time that there was or will be"
        raise ValueError(message) from None


def _in_utc(at: datetime) -> datetime:
    if at.tzinfo is None:
        message = "a moment needs a zone"
        raise ValueError(message)
    return at.astimezone(UTC)


def _bytes(value: object) -> object:
    if not isinstance(value, str):
        return value
    try:
        return base64.b64decode(value.encode("ascii"), validate=True)
    except (binascii.Error, UnicodeEncodeError):
        message = "must be base64 with padding (RFC 4648, section 4)"
        raise ValueError(message) from None


def _relative(path: str) -> str:
    if fault := name_fault(path.encode("utf-8")):
        message = f"{fault}"
        raise ValueError(message)
    return path


def _uid(text: str) -> str:
    if not is_uid(text):
        message = "must be a DICOM UID"
        raise ValueError(message)
    return text


At = Annotated[
    datetime,
    BeforeValidator(_moment),
    AfterValidator(_in_utc),
    PlainSerializer(moment_text, return_type=str),
    WithJsonSchema({"type": "string", "format": "date-time"}),
]
"""A moment, in UTC once it was read."""

Payload = Annotated[
    bytes,
    BeforeValidator(_bytes),
    PlainSerializer(lambda raw: base64.b64encode(raw).decode("ascii"), return_type=str),
    WithJsonSchema(_BASE_64),
    Field(min_length=1),
]
"""Bytes as they came, base64 in JSON."""

OurName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")]
"""A name from a settings file: of a scanner, a site, a peer, a place."""

OpaqueId = Annotated[str, Field(pattern=r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")]
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Uid = Annotated[str, AfterValidator(_uid), Field(max_length=64)]
RelativePath = Annotated[str, AfterValidator(_relative), Field(min_length=1, max_length=MOST_BYTES)]
Sentence = Annotated[str, Field(max_length=500, pattern=_VISIBLE_TEXT)]
Sentences = Annotated[tuple[Sentence, ...], Field(strict=False, max_length=32)]
Amount = Annotated[int, Field(ge=0, le=(1 << 63) - 1)]
Number = Annotated[int, Field(ge=1, le=(1 << 31) - 1)]

SourceKind = Literal["scanners", "lims", "coverslip"]


class Stated(BaseModel):
    """A value as an event states it. A field that is not known here was added later, and is passed over."""

    model_config = ConfigDict(frozen=True, extra="ignore", strict=True, hide_input_in_errors=True)


class EventData(Stated):
    """What an event of one type says."""

    TYPE: ClassVar[str]
    VERSION: ClassVar[int] = 1
    """The major version: raised only by a change that an old reader would misunderstand."""
    TOPIC: ClassVar[str]
    """Without the configured prefix."""
    FROM: ClassVar[SourceKind]
    MOST_BYTES: ClassVar[int] = 1 << 16
    """Of the whole event, as it travels."""

    @classmethod
    def dataschema(cls) -> str:
        """Return the name of type and version that an event carries."""
        return f"urn:coverslip:event:{cls.TYPE}:{cls.VERSION}"

    def as_json(self) -> dict[str, Any]:
        """Return what JSON can hold of it, without what is not stated."""
        return self.model_dump(mode="json", exclude_none=True)
