"""What the laboratory knows about a slide and a DICOM reader must be told."""

import re
from datetime import date
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, AwareDatetime, Field, StringConstraints, ValidationError

from models.errors import RejectedError
from models.statements import Coded, Frozen

LongText = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=64, pattern=r"^[^\\\x00-\x1f\x7f]*$")
]
"""A value of VR LO (PS3.5 6.2): up to 64 characters, no backslash (it parts values), no control character."""

ShortText = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=16, pattern=r"^[^\\\x00-\x1f\x7f]*$")
]
"""A value of VR SH: as LO, up to 16 characters."""

FreeText = Annotated[
    str,
    StringConstraints(
        strip_whitespace=True, min_length=1, max_length=1024, pattern=r"^[^\x00-\x08\x0b\x0e-\x1f\x7f]*$"
    ),
]
"""A value of VR LT or UT: tabs and line ends are allowed, escape is not."""

NamePart = Annotated[str, StringConstraints(strip_whitespace=True, max_length=64, pattern=r"^[^\\^=\x00-\x1f\x7f]*$")]
"""One component of VR PN; ``^`` and ``=`` part components and groups."""

_CODE: Final = re.compile(r"[^\\\x00-\x1f\x7f]*")
_LONGEST_CODE: Final = 128
"""Long Code Value is UC, without a limit; no coding scheme comes near this."""

Uid = Annotated[str, StringConstraints(max_length=64, pattern=r"^(0|[1-9]\d*)(\.(0|[1-9]\d*))+$")]
"""A UID (PS3.5 9.1)."""


def _writable(coded: Coded) -> Coded:
    """Refuse a code that would part into two values; an empty one, text alone, is the business of who writes it."""
    if len(coded.code) > _LONGEST_CODE or not _CODE.fullmatch(coded.code):
        raise ValueError(f"a code has at most {_LONGEST_CODE} characters, no backslash and no control character")
    return coded


Code = Annotated[Coded, AfterValidator(_writable)]
"""A coded entry whose code DICOM can hold; scheme and meaning are made to fit when it is written."""


class PersonName(Frozen):
    """A name in parts, as HL7 gives it (XPN); DICOM wants the prefix before the suffix, HL7 the other way."""

    family: NamePart = Field(default="", repr=False)
    given: NamePart = Field(default="", repr=False)
    middle: NamePart = Field(default="", repr=False)
    prefix: NamePart = Field(default="", repr=False)
    suffix: NamePart = Field(default="", repr=False)

    def person_name(self) -> str:
        """Return the value of VR PN (PS3.5 6.2.1.1), without the separators at its end."""
        return f"{self.family}^{self.given}^{self.middle}^{self.prefix}^{self.suffix}".rstrip("^")


class PatientHeader(Frozen):
    """The patient; whatever is not known stays ``None`` and is written empty (PS3.3 C.7.1.1)."""

    identifier: LongText | None = Field(default=None, repr=False)
    issuer: LongText | None = None
    name: PersonName | None = Field(default=None, repr=False)
    birth_date: date | None = Field(default=None, repr=False)
    sex: Literal["M", "F", "O"] | None = Field(default=None, repr=False)


class SpecimenHeader(Frozen):
    """One specimen on the slide (PS3.3 C.7.6.22): a section, a smear; most slides carry one.

    ``identifier`` is the section's own, as a rule the slide's, never that of what it was taken from: that is the
    block, cut from the part that the theatre sent (the specimen in its pot). ``uid`` is derived when nobody gave one.
    """

    identifier: LongText = Field(repr=False)
    issuer: LongText | None = None
    uid: Uid | None = None
    short_description: LongText | None = None
    specimen_type: Code | None = None
    anatomic_site: Code | None = None
    laterality: Code | None = None
    block_identifier: LongText | None = Field(default=None, repr=False)
    block_issuer: LongText | None = None
    part_identifier: LongText | None = Field(default=None, repr=False)
    part_issuer: LongText | None = None
    part_type: Code | None = None


class ScannerHeader(Frozen):
    """The scanner as the site's settings name it; a part that is ``None`` is taken from the slide."""

    manufacturer: LongText | None = None
    model: LongText | None = None
    serial_number: LongText | None = None
    software_versions: tuple[LongText, ...] = ()


class SlideHeader(Frozen):
    """Everything about one slide that belongs into each of its DICOM objects.

    Without ``specimens`` the slide carries one specimen, identified as the slide is. ``stains`` are in the
    order of use; ``stain_text`` is written when no code is given. ``scanned_at`` outranks the slide's own clock,
    whose zone nobody states; ``received_at`` stands in for a slide that does not say when it was scanned.
    """

    patient: PatientHeader = PatientHeader()
    accession_number: ShortText | None = Field(default=None, repr=False)
    accession_issuer: LongText | None = None
    study_instance_uid: Uid
    study_at: AwareDatetime | None = None
    container_identifier: LongText = Field(repr=False)
    container_issuer: LongText | None = None
    specimens: tuple[SpecimenHeader, ...] = ()
    fixative: Code | None = None
    embedding: Code | None = None
    stains: tuple[Code, ...] = ()
    stain_text: LongText | None = None
    barcode: FreeText | None = Field(default=None, repr=False)
    label_text: FreeText | None = Field(default=None, repr=False)
    scanned_at: AwareDatetime | None = None
    received_at: AwareDatetime
    scanner: ScannerHeader = ScannerHeader()


def read_header(stated: object) -> SlideHeader:
    """Return the header that this JSON object holds.

    Raises
    ------
    RejectedError
        When a value can't be written to DICOM; it names the fields, never what is in them.
    """
    try:
        return SlideHeader.model_validate(stated)
    except ValidationError as error:
        fields = sorted({".".join(str(part) for part in problem["loc"]) for problem in error.errors()})
        raise RejectedError(
            f"The slide's header can't be written to DICOM: {', '.join(fields)} is missing, too long or holds a "
            "character that DICOM forbids; correct it at its source and send it again."
        ) from error
