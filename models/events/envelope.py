"""CloudEvents 1.0 in structured JSON: what every event says about itself, and how it becomes bytes and back.

Nothing of a patient is in the envelope: ids and subjects are opaque, sources name what a settings file named.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from models.errors import RejectedError
from models.events.fields import At, EventData, OpaqueId, SourceKind, moment_text
from models.events.kinds import KINDS
from models.events.strict_json import read_object, written
from models.opaque import OpaqueIds

CONTENT_TYPE: Final = b"application/cloudevents+json; charset=UTF-8"
"""Of the header ``content-type`` of a record (CloudEvents Kafka binding 3.3)."""
MOST_BYTES: Final = max(kind.MOST_BYTES for kind in KINDS.values())
OURS: Final = "/coverslip"

_NAME: Final = "[a-z0-9][a-z0-9-]{0,62}"
_SOURCE: Final = re.compile(rf"/(?P<site>{_NAME})/(?P<kind>scanners|lims)/(?P<name>{_NAME})|/coverslip")
_SCHEMA: Final = re.compile(r"urn:coverslip:event:(?P<type>[a-z0-9.-]{1,64}):(?P<version>[1-9][0-9]{0,3})")
_SHOWN_TYPE: Final = re.compile(r"[a-z0-9][a-z0-9.-]{0,63}")
# CloudEvents 1.0, 3.1: attribute names are lower-case letters and digits; a longer one than 20 is advised against.
_EXTENSION: Final = re.compile(r"[a-z0-9]{1,20}")
_LONGEST_EXTENSION: Final = 1_024


@dataclass(frozen=True)
class Origin:
    """Whom a source names: a scanner or a LIMS peer at a site; our own events come from no site."""

    kind: SourceKind
    site: str | None = None
    name: str | None = None


@dataclass(frozen=True)
class Event:
    """One event. ``id`` is the same whenever the same is told again; with ``source`` it is unique."""

    id: str
    source: str
    time: datetime
    data: EventData
    subject: str | None = None

    @property
    def type(self) -> str:
        """The type's name."""
        return self.data.TYPE

    @property
    def origin(self) -> Origin:
        """Whom ``source`` names."""
        return _origin(self.source) or _OUR_ORIGIN


_OUR_ORIGIN: Final = Origin("coverslip")


def source_of(site: str, kind: Literal["scanners", "lims"], name: str) -> str:
    """Return the source of what a scanner or a LIMS peer at a site tells."""
    return f"/{site}/{kind}/{name}"


def event_id(ids: OpaqueIds, source: str, kind: type[EventData], business_key: str) -> str:
    """Return the id that an event always has; the key, which may name a file or a message, can't be read from it."""
    return ids.of("event", f"{source} {kind.TYPE}", business_key)


def build(event: Event) -> bytes:
    """Return an event's canonical bytes: equal events give equal bytes.

    Raises
    ------
    RejectedError
        The event is not one that ``parse`` would take.
    """
    kind = type(event.data)
    envelope: dict[str, Any] = {
        "specversion": "1.0",
        "id": event.id,
        "source": event.source,
        "type": kind.TYPE,
        "time": moment_text(event.time),
        "datacontenttype": "application/json",
        "dataschema": kind.dataschema(),
        "data": event.data.as_json(),
    }
    if event.subject is not None:
        envelope["subject"] = event.subject
    _check(envelope, kind)
    raw = written(envelope)
    if len(raw) > kind.MOST_BYTES:
        raise RejectedError(_too_large(kind, len(raw)))
    return raw


def parse(raw: bytes) -> Event:
    """Return the event that these bytes are.

    Raises
    ------
    RejectedError
        They are none that is known here; the sentence names type or major version where that is the reason, and
        holds nothing of what the event says.
    """
    stated = read_object(raw, MOST_BYTES)
    kind = _kind(stated)
    if len(raw) > kind.MOST_BYTES:
        raise RejectedError(_too_large(kind, len(raw)))
    envelope = _check(stated, kind)
    try:
        data = kind.model_validate(envelope.data)
    except ValidationError as error:
        raise RejectedError(f"The event {kind.TYPE} is not as agreed: {_first(error, 'data')}.") from None
    return Event(id=envelope.id, source=envelope.source, time=envelope.time, data=data, subject=envelope.subject)


class _Envelope(BaseModel):
    model_config = ConfigDict(frozen=True, extra="allow", strict=True, hide_input_in_errors=True)

    specversion: Literal["1.0"]
    id: Annotated[str, Field(pattern=r"^[!-~]{1,128}$")]
    source: Annotated[str, Field(max_length=256)]
    type: str
    time: At
    datacontenttype: Literal["application/json"]
    dataschema: str
    data: Any  # looked at by its own kind
    subject: OpaqueId | None = None


def _kind(stated: Mapping[str, Any]) -> type[EventData]:
    """Return the type that an event says it is, at a version that is known here."""
    named = stated.get("type")
    kind = KINDS.get(named) if isinstance(named, str) else None
    if kind is None:
        shown = f" {named}" if isinstance(named, str) and _SHOWN_TYPE.fullmatch(named) else ""
        raise RejectedError(f"The event's type{shown} is not known here.")
    schema = stated.get("dataschema")
    version = _SCHEMA.fullmatch(schema) if isinstance(schema, str) else None
    if version is None or version["type"] != kind.TYPE:
        raise RejectedError(f"The event {kind.TYPE} does not name its schema: dataschema must be {kind.dataschema()}.")
    if int(version["version"]) != kind.VERSION:
        raise RejectedError(
            f"The event {kind.TYPE} is of major version {version['version']}; version {kind.VERSION} is read here."
        )
    return kind


def _check(stated: Mapping[str, Any], kind: type[EventData]) -> _Envelope:
    """Return the envelope, once it is as CloudEvents and we ask."""
    try:
        envelope = _Envelope.model_validate(stated)
    except ValidationError as error:
        raise RejectedError(f"The event {kind.TYPE} is not as agreed: {_first(error)}.") from None
    if envelope.model_extra and not all(_is_extension(name, value) for name, value in envelope.model_extra.items()):
        raise RejectedError(f"The event {kind.TYPE} has an attribute that CloudEvents does not allow.")
    origin = _origin(envelope.source)
    if origin is None or origin.kind != kind.FROM:
        form = OURS if kind.FROM == "coverslip" else f"/SITE/{kind.FROM}/NAME"
        raise RejectedError(f"The event {kind.TYPE} must have the source {form}.")
    if kind.FROM == "coverslip" and envelope.subject is None:
        raise RejectedError(f"The event {kind.TYPE} needs a subject, which is an opaque id.")
    return envelope


@lru_cache(maxsize=1_024)  # a network's scanners and peers, again and again
def _origin(source: str) -> Origin | None:
    found = _SOURCE.fullmatch(source)
    if found is None:
        return None
    if found["kind"] is None:
        return _OUR_ORIGIN
    return Origin("scanners" if found["kind"] == "scanners" else "lims", found["site"], found["name"])


def _is_extension(name: str, value: object) -> bool:
    if isinstance(value, str):
        return _EXTENSION.fullmatch(name) is not None and len(value) <= _LONGEST_EXTENSION
    return _EXTENSION.fullmatch(name) is not None and isinstance(value, bool | int)


def _first(error: ValidationError, *within: str) -> str:
    """Return where an event is wrong, and how, without what it says there."""
    first = error.errors(include_input=False, include_url=False, include_context=False)[0]
    where = ".".join(str(part) for part in (*within, *first["loc"]))
    return f"{where} {first['msg'].removeprefix('Value error, ')}"


def _too_large(kind: type[EventData], size: int) -> str:
    return f"The event {kind.TYPE} has {size} bytes; at most {kind.MOST_BYTES} are taken."
