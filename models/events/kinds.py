"""The events that travel between sites: one frozen value per type."""

import hashlib
from typing import ClassVar, Final, Literal, Self

from pydantic import Field, model_validator

from models.events.fields import (
    Amount,
    At,
    Digest,
    EventData,
    Number,
    OpaqueId,
    OurName,
    Payload,
    RelativePath,
    Sentence,
    Sentences,
    SourceKind,
    Stated,
    Uid,
)

MOST_PARTS: Final = 1_024
_LARGEST_HL7: Final = 64 << 20
_LIMS_EVENT_BYTES: Final = 8 << 20


class TakenFile(Stated):
    """A file that a gateway's spool already holds, whole and durable; ``place`` names the spool."""

    file_id: OpaqueId
    sha256: Digest
    bytes: Amount
    modified_ns: int = Field(ge=-(1 << 63), le=(1 << 63) - 1)
    place: OurName


class _FromScanner(EventData):
    TOPIC: ClassVar[str] = "scanner"
    FROM: ClassVar[SourceKind] = "scanners"


class SlideScanned(_FromScanner):
    """A scanner finished a file: below which configured root it lies, and who holds its bytes.

    Without ``taken`` the watcher of the root takes the file.
    """

    TYPE: ClassVar[str] = "scanner.slide-scanned"

    root: OurName
    path: RelativePath = Field(repr=False)
    scanned_at: At | None = None
    taken: TakenFile | None = None


class SlideFailed(_FromScanner):
    """A scanner could not scan a slide; ``rack`` and ``slot`` say where it lies."""

    TYPE: ClassVar[str] = "scanner.slide-failed"

    failed_at: At
    reason: Sentence = Field(repr=False)
    root: OurName | None = None
    path: RelativePath | None = Field(default=None, repr=False)
    rack: Sentence | None = Field(default=None, max_length=64)
    slot: Sentence | None = Field(default=None, max_length=64)


class ScannerStatus(_FromScanner):
    """How a scanner is at a moment; a later one replaces it."""

    TYPE: ClassVar[str] = "scanner.status"

    state: Literal["idle", "scanning", "paused", "needs a person", "error", "off"]
    stated_at: At
    slides_waiting: Amount | None = None
    free_bytes: Amount | None = None
    detail: Sentence | None = Field(default=None, repr=False)


class _FromLims(EventData):
    TOPIC: ClassVar[str] = "lims.hl7v2"
    FROM: ClassVar[SourceKind] = "lims"
    MOST_BYTES: ClassVar[int] = _LIMS_EVENT_BYTES


class Hl7Received(_FromLims):
    """An HL7 v2 message as it came through a gateway's listener, byte for byte."""

    TYPE: ClassVar[str] = "lims.hl7v2"

    received_at: At
    sha256: Digest
    bytes: Amount = Field(ge=1, le=_LARGEST_HL7)
    payload: Payload = Field(repr=False)

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        if len(self.payload) != self.bytes or hashlib.sha256(self.payload).hexdigest() != self.sha256:
            message = "the payload is not the one that its size and SHA-256 describe"
            raise ValueError(message)
        return self


class Hl7Part(_FromLims):
    """One of the parts that a large HL7 v2 message travels in; ``sha256`` and ``bytes`` are the whole's."""

    TYPE: ClassVar[str] = "lims.hl7v2-part"

    received_at: At
    sha256: Digest
    bytes: Amount = Field(ge=1, le=_LARGEST_HL7)
    number: Number = Field(le=MOST_PARTS)
    count: Number = Field(le=MOST_PARTS)
    payload: Payload = Field(repr=False)

    @model_validator(mode="after")
    def _is_one_of_them(self) -> Self:
        if self.number > self.count or len(self.payload) > self.bytes:
            message = "the part is beyond the whole that it names"
            raise ValueError(message)
        return self


class _OfSlide(EventData):
    TOPIC: ClassVar[str] = "slide"
    FROM: ClassVar[SourceKind] = "coverslip"

    scan_id: OpaqueId
    site: OurName


class SlideQualityChecked(_OfSlide):
    """A scan was judged; the reasons are the rules' own words and name no slide."""

    TYPE: ClassVar[str] = "slide.quality-checked"

    verdict: Literal["pass", "review", "rescan", "cannot judge"]
    decided_by: Literal["rule", "person"]
    reasons: Sentences = ()


class SlideMatched(_OfSlide):
    """It is known which slide a scan shows."""

    TYPE: ClassVar[str] = "slide.matched"

    slide_id: OpaqueId
    case_id: OpaqueId
    decided_by: Literal["rule", "person"]


class SlideArchived(_OfSlide):
    """A scan's objects lie in the archive, read back and compared."""

    TYPE: ClassVar[str] = "slide.archived"

    slide_id: OpaqueId
    case_id: OpaqueId
    edition: Number
    study_instance_uid: Uid
    series_instance_uid: Uid


class SlideNeedsAttention(_OfSlide):
    """A scan waits for a person; why is one of our own words, such as ``unmatched``."""

    TYPE: ClassVar[str] = "slide.needs-attention"

    reason: OurName
    slide_id: OpaqueId | None = None
    case_id: OpaqueId | None = None


class _OfCase(EventData):
    TOPIC: ClassVar[str] = "case"
    FROM: ClassVar[SourceKind] = "coverslip"

    case_id: OpaqueId
    site: OurName


class CaseCompleted(_OfCase):
    """Every slide that a case expects can be read, or somebody released it without the missing ones.

    Of those that are ``ready``, ``unproven`` lie in the archive and are not proven yet.
    """

    TYPE: ClassVar[str] = "case.completed"

    completeness_version: Amount
    ready: Amount
    missing: Amount
    unproven: Amount = 0


class CaseAssigned(_OfCase):
    """A read of a case has an owner; the id is the one of the settings."""

    TYPE: ClassVar[str] = "case.assigned"

    read_id: OpaqueId
    pathologist_id: OurName


class DeadLetter(EventData):
    """A record that could not be acted on: where it lies, and why; its bytes are in the inbox and in the log."""

    TYPE: ClassVar[str] = "dead-letter"
    TOPIC: ClassVar[str] = "dead-letters"
    FROM: ClassVar[SourceKind] = "coverslip"

    inbox_id: OpaqueId
    sha256: Digest
    bytes: Amount
    stage: OurName
    error: OurName
    problem: Sentence
    first_at: At
    last_at: At
    tries: Number
    topic: str | None = Field(default=None, pattern=r"^[A-Za-z0-9._-]{1,249}$")
    partition: Amount | None = None
    offset: Amount | None = None
    event_type: str | None = Field(default=None, pattern=r"^[a-z0-9.-]{1,64}$")
    trace_id: str | None = Field(default=None, pattern=r"^[0-9a-f]{32}$")


KINDS: Final[dict[str, type[EventData]]] = {
    kind.TYPE: kind
    for kind in (
        *(SlideScanned, SlideFailed, ScannerStatus),
        *(Hl7Received, Hl7Part),
        *(SlideQualityChecked, SlideMatched, SlideArchived, SlideNeedsAttention),
        *(CaseCompleted, CaseAssigned),
        DeadLetter,
    )
}
"""Every type of event, by its name."""
