"""What we know of one laboratory's system: how it writes what it means.

The defaults are the plain profile; a laboratory overrides what its own interface does otherwise. Keys of
tables are in capitals: what a message says is compared in capitals.
"""

from collections.abc import Mapping
from typing import Literal
from zoneinfo import ZoneInfo

from connectors.lims.message import MessageLimits
from models.statements import Control, Frozen, Priority, Route

ContainerKind = Literal["specimen", "block", "slide"]

ACTED_ON = frozenset({"OML^O33", "OML^O21", "ADT^A08"})
"""The messages that state something which Coverslip uses."""

KNOWN_CODES = frozenset(
    {"ACK", "ADT", "BAR", "DFT", "MCF", "MDM", "MFK", "MFN", "OMG", "OMI", "OML", "OPL", "OPR", "ORA", "ORG", "ORI"}
    | {"ORL", "ORM", "ORR", "ORU", "OSM", "OSR", "OUL", "PPR", "QBP", "QCK", "QRY", "RAS", "RDE", "RSP", "SIU", "SRM"}
)
"""Message codes (HL7 table 0076) that a laboratory's interface may rightly send to a neighbour."""

# SNOMED CT body structures and the codes that laboratories give their requests.
_SUBSPECIALTIES = {
    "BREAST": "breast",
    "76752008": "breast",
    "SKIN": "skin",
    "39937001": "skin",
    "GI": "gi",
    "71854001": "gi",  # colon
    "69695003": "gi",  # stomach
    "34402009": "gi",  # rectum
    "66754008": "gi",  # appendix
    "GYNAE": "gynae",
    "35039007": "gynae",  # uterus
    "71252005": "gynae",  # cervix
    "15497006": "gynae",  # ovary
    "UROLOGY": "urology",
    "41216001": "urology",  # prostate
    "89837001": "urology",  # bladder
    "THORACIC": "thoracic",
    "39607008": "thoracic",  # lung
    "HPB": "hpb",
    "10200004": "hpb",  # liver
    "15776009": "hpb",  # pancreas
    "HAEM": "haem",
    "14016003": "haem",  # bone marrow
    "NEURO": "neuro",
    "12738006": "neuro",  # brain
    "ENDOCRINE": "endocrine",
    "69748006": "endocrine",  # thyroid
    "RENAL": "renal",
    "HEAD_NECK": "head_neck",
    "PAEDIATRIC": "paediatric",
    "SOFT_TISSUE": "soft_tissue",
}

# HL7 table 0485, and what laboratories call a frozen section.
_PRIORITIES: dict[str, Priority] = {
    "FS": "intra-operative",
    "IO": "intra-operative",
    "S": "urgent",
    "STAT": "urgent",
    "A": "urgent",
    "T": "urgent",
    "R": "routine",
    "P": "routine",
    "C": "routine",
}


_CONTAINER_KINDS: dict[str, ContainerKind] = {"CONTAINER": "specimen", "CASSETTE": "block", "GLASS": "slide"}
_CONTROLS: dict[str, Control] = {"NW": "register", "XO": "change", "CA": "cancel"}
_ROUTES: dict[str, Route] = {"WSI": "scan", "OTH": "glass only"}


class Profile(Frozen):
    """One interface: its names, its codes, and how it wants to be answered.

    Attributes
    ----------
    site
        The site of every order from this peer; MSH-4 when it is ``None``.
    issuer
        Who issues the accession and container numbers that name no issuer of their own.
    zone
        The zone of times without offset.
    accession_fields
        Where a group's accession number stands, first found first; ``SPM-30`` means its first component.
    accession_pattern
        A regular expression whose first group (or whole match) is the accession within that field.
    identifier_shapes
        Regular expressions, searched in order, for a container whose SPM-27 says nothing; a slide if none fits.
    not_stains
        Codes of OBR-4 that ask for something other than a stain; the subspecialty codes are never stains either.
    order_profiles
        MSH-21 of the OML^O21 messages that register assets; a message without MSH-21 is an order too.
    acknowledgement
        ``original`` sends one application answer whatever MSH-15 and MSH-16 say; ``enhanced`` obeys them.
    answer_with
        ``by type`` answers OML^O33 with ORL^O34 and so on; ``ACK`` always with a plain ACK.
    unknown_type_answer
        MSA-1 for a well-formed message of a type that HL7 does not know; it is kept and set aside anyhow.
    processing_id
        The MSH-11 that is acted on; a message with another is kept aside. ``None`` takes any.
    processing_id_answer
        MSA-1 for a message with another.
    charset
        What the text is in when MSH-18 says nothing, spelt as there; UTF-8, else Windows-1252, when it is empty.
    """

    peer: str = "lims"
    site: str | None = None
    issuer: str = "lims"
    zone: ZoneInfo = ZoneInfo("UTC")

    accession_fields: tuple[str, ...] = ("ORC-38", "SPM-30", "ORC-3", "OBR-3")
    accession_pattern: str | None = None
    identifier_characters: int = 64
    identifier_shapes: tuple[tuple[str, ContainerKind], ...] = (
        (r"-[A-Z]{1,2}$", "specimen"),
        (r"-[A-Z]{1,2}[0-9]{1,3}$", "block"),
    )
    container_kinds: Mapping[str, ContainerKind] = _CONTAINER_KINDS
    controls: Mapping[str, Control] = _CONTROLS
    priorities: Mapping[str, Priority] = _PRIORITIES
    routes: Mapping[str, Route] = _ROUTES
    subspecialties: Mapping[str, str] = _SUBSPECIALTIES
    stain_observation: str = "397165007"
    not_stains: frozenset[str] = frozenset({"SPECIMEN", "BLOCK", "SLIDE"})
    study_observation: str = "0020000D"
    reader_roles: frozenset[str] = frozenset({"PI"})
    nhs_authorities: frozenset[str] = frozenset({"NHS", "2.16.840.1.113883.2.1.4.1"})
    order_profiles: frozenset[str] = frozenset({"DPOW-SPECIMEN", "DPOW-BLOCK", "DPOW-SLIDE"})

    acknowledgement: Literal["original", "enhanced"] = "original"
    answer_with: Literal["by type", "ACK"] = "by type"
    unknown_type_answer: Literal["AA", "AE", "AR"] = "AA"
    processing_id: Literal["P", "T", "D"] | None = "P"
    processing_id_answer: Literal["AE", "AR"] = "AR"
    charset: str = ""
    limits: MessageLimits = MessageLimits()
