"""What one HL7 message states, as frozen values: the facts that a case is folded from.

A message states; it does not command. Which statement wins is decided by the fold, never here, so
nothing in this module compares one message with another. Fields that can identify a person do
not show in a ``repr`` and never in a validation error.
"""

from datetime import UTC, date, datetime
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field


def _in_utc(at: datetime) -> datetime:
    """Return the same moment in UTC, and refuse one without a zone."""
    if at.tzinfo is None:
        message = "a moment needs a zone: give the datetime a tzinfo"
        raise ValueError(message)
    return at.astimezone(UTC)


Moment = Annotated[datetime, AfterValidator(_in_utc)]
"""An aware moment, held in UTC."""

Control = Literal["register", "change", "replace", "cancel"]
"""ORC-1 as Coverslip understands it: NW, XO, RP (with RU, RQ and RO) and CA."""

Priority = Literal["intra-operative", "urgent", "routine"]
"""The three lanes of the laboratory, most urgent first."""

ReportStatus = Literal["preliminary", "final", "supplementary", "corrected", "cancelled"]
"""Where a result stands (HL7 table 0123, ORC-25 of DPOW)."""

Route = Literal["scan", "glass only"]
"""SAC-48: WSI is scanned, OTH is read under a microscope."""


class Frozen(BaseModel):
    """A value: compared by what it holds, never changed, never silently given an unknown field."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


def _is_empty(numbers: tuple[str, ...]) -> bool:
    return not numbers


# Not written down when there are none: a fact without any reads, and is the same, as before there was the field.
OrderNumbers = Annotated[tuple[str, ...], Field(repr=False, exclude_if=_is_empty)]
"""The numbers of the orders that one thing has for itself: the placer's, then the filler's."""


def _is_unsaid(said: object) -> bool:
    return said is None


Unsaid = Field(exclude_if=_is_unsaid)
"""Not written down when it is not said, for the same reason."""

MOST_POINTS: Final = 1_000
"""What no case weighs: a larger number is a mistake."""
StatedPoints = Annotated[float | None, Field(ge=0, le=MOST_POINTS, allow_inf_nan=False, exclude_if=_is_unsaid)]
"""What a sender says that a case weighs, in points."""


class Identifier(Frozen):
    """One identifier with who issued it and what it numbers.

    ``kind`` is the HL7 table 0203 code of a person's identifier (``NHS`` for an NHS number,
    whatever the sender called it; ``MR``), or ours for things: ``accession``, ``placer``, ``filler``,
    ``container``.
    """

    value: str = Field(repr=False)
    issuer: str
    kind: str


class Coded(Frozen):
    """A coded entry (CWE): code, meaning, and the name of the coding system (``SCT``, ``L``)."""

    code: str
    meaning: str = ""
    scheme: str = ""


class Stamp(Frozen):
    """A moment as stated: in UTC, beside its raw text.

    ``zone_assumed`` is true when the text had no offset and the sender's own zone was used.
    """

    at: Moment
    raw: str
    zone_assumed: bool


class PatientStated(Frozen):
    """The patient of a message (PID).

    A part is ``None`` when the message does not say it, and an empty text when the message says that
    it must be deleted (``""`` in HL7). ``nhs_number_status`` is ``valid``, ``invalid`` (the check digit
    fails), ``missing``, or ``conflicting`` (two different valid numbers); only a valid number is among
    the identifiers with kind ``NHS``, the others are kept as ``NHS?``.
    """

    identifiers: tuple[Identifier, ...] = ()
    nhs_number_status: str = "missing"
    family_name: str | None = Field(default=None, repr=False)
    given_name: str | None = Field(default=None, repr=False)
    name_text: str | None = Field(default=None, repr=False)
    birth_date: date | None = Field(default=None, repr=False)
    sex: str | None = Field(default=None, repr=False)


class SpecimenStated(Frozen):
    """A specimen in its container (SPM-27 CONTAINER); ``subspecialty`` is its own, by its own order or its site."""

    container_identifier: str = Field(repr=False)
    issuer: str
    specimen_type: Coded | None = None
    anatomic_site: Coded | None = None
    laterality: Coded | None = None
    received_at: Stamp | None = None
    order_numbers: OrderNumbers = ()
    subspecialty: Annotated[str | None, Unsaid] = None


class BlockStated(Frozen):
    """A block (SPM-27 CASSETTE); ``parents`` are container identifiers of specimens, of the same issuer."""

    container_identifier: str = Field(repr=False)
    issuer: str
    parents: tuple[str, ...] = Field(default=(), repr=False)
    order_numbers: OrderNumbers = ()


class SlideStated(Frozen):
    """A slide (SPM-27 GLASS); ``parents`` are container identifiers of blocks or a specimen.

    No stain means that none is stated yet: a placeholder that a later message fills, never a
    second slide. ``stain_text`` is the stain's free text when no code is given. ``image_location`` is where the
    sender says a file with its image lies: others' words, kept as they are and never opened.
    """

    container_identifier: str = Field(repr=False)
    issuer: str
    parents: tuple[str, ...] = Field(default=(), repr=False)
    stains: tuple[Coded, ...] = ()
    stain_text: str | None = None
    route: Route | None = None
    image_location: str | None = Field(default=None, repr=False)
    order_numbers: OrderNumbers = ()


class OrderStated(Frozen):
    """What one message states about one case.

    ``control`` is the message's own. ``cancelled`` names the containers whose own order is cancelled; they
    are not among specimens, blocks and slides. ``cancel`` with nothing in ``cancelled`` cancels the whole case;
    otherwise it cancels what is named. ``visit`` is PV1-19. A field that is ``None`` is not stated, so it
    must not erase what an earlier message said.
    """

    control: Control
    accession_number: str = Field(repr=False)
    issuer: str
    placer_order_numbers: tuple[str, ...] = Field(default=(), repr=False)
    filler_order_numbers: tuple[str, ...] = Field(default=(), repr=False)
    priority: Priority | None = None
    due: Stamp | None = None
    site: str
    subspecialty: str | None = None
    study_instance_uid: str | None = None
    reader_stated: str | None = None
    visit: Identifier | None = None
    specimens: tuple[SpecimenStated, ...] = ()
    blocks: tuple[BlockStated, ...] = ()
    slides: tuple[SlideStated, ...] = ()
    cancelled: tuple[str, ...] = Field(default=(), repr=False)
    points: StatedPoints = None


class PatientMerged(Frozen):
    """Two records are of one patient (ADT^A40, A34, A18): what names the one that stays, and the one that goes."""

    survivor: tuple[Identifier, ...]
    merged: tuple[Identifier, ...]


class VisitMoved(Frozen):
    """A visit, with every case requested in it, belongs to another patient (ADT^A45)."""

    visit: Identifier
    from_patient: tuple[Identifier, ...]
    to_patient: tuple[Identifier, ...]


class CaseMeant(Frozen):
    """Which case a message speaks of, when it orders nothing.

    ``patient`` is what names its patient there; what such a message says of the patient beside that is an echo of what
    others said, and may be old.
    """

    accession_number: str = Field(repr=False)
    issuer: str
    site: str
    placer_order_numbers: tuple[str, ...] = Field(default=(), repr=False)
    filler_order_numbers: tuple[str, ...] = Field(default=(), repr=False)
    patient: tuple[Identifier, ...] = ()


class ReportPart(Frozen):
    """One result of a report (OBR-25): its status, and the specimens it covers.

    One that names none covers those whose own order it answers; one of an order that is no specimen's, all of the case.
    """

    status: ReportStatus
    specimens: tuple[str, ...] = Field(default=(), repr=False)
    order_numbers: OrderNumbers = ()


class ReportStated(Frozen):
    """Where a case's report stands (ORU^R01)."""

    case: CaseMeant
    parts: tuple[ReportPart, ...]
    points: StatedPoints = None


class ReaderStated(Frozen):
    """Somebody whom the sender says reads a case: the id is the sender's."""

    id: str
    family_name: str = Field(default="", repr=False)
    given_name: str = Field(default="", repr=False)


class CaseUpdateStated(Frozen):
    """What became of a case elsewhere (DPOW LAB-101); a part that is ``None`` or false is not stated.

    ``grossed`` says that dissection is done, ``set_closed`` that no more slides are cut, ``ended`` that nobody
    will work on the case any more.
    """

    case: CaseMeant
    report: ReportStatus | None = None
    reader: ReaderStated | None = None
    grossed: bool = False
    set_closed: bool = False
    ended: bool = False


class ImagesStated(Frozen):
    """Whether an image manager has images of a slide (DPOW LAB-104, SPM-20): not that they are any good."""

    case: CaseMeant
    container_identifier: str = Field(repr=False)
    issuer: str
    available: bool
    study_instance_uid: str | None = None
    series_instance_uid: str | None = None
    scanned_at: Stamp | None = None


class WorkDone(Frozen):
    """A work order of ours was fulfilled (DPOW LAB-103): our number for it, and the asset that came of it."""

    case: CaseMeant
    work_order_number: str
    container_identifier: str | None = Field(default=None, repr=False)
    issuer: str = ""


class MessageStated(Frozen):
    """Everything that one message states.

    ``patient`` is stated by orders and by what keeps patients' records; a report or an image manager only names one.

    ``problems`` are sentences about what could not be understood although the rest stands, without
    patient data: an unread message type, an invalid NHS number, an unknown priority.
    """

    message_type: str
    message_control_id: str
    sent_at: Stamp | None = None
    sequence_number: int | None = None
    patient: PatientStated | None = None
    order: OrderStated | None = None
    merges: tuple[PatientMerged, ...] = ()
    moves: tuple[VisitMoved, ...] = ()
    report: ReportStated | None = None
    case_update: CaseUpdateStated | None = None
    images: ImagesStated | None = None
    work_done: WorkDone | None = None
    problems: tuple[str, ...] = ()

    @property
    def acts(self) -> bool:
        """Whether the message states anything that Coverslip acts on."""
        said = (self.patient, self.order, self.report, self.case_update, self.images, self.work_done)
        return bool(self.merges or self.moves) or any(part is not None for part in said)
