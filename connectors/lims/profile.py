"""What we know of one laboratory's system: how it writes what it means.

The values are in files (``profiles/``); what a file does not say is as in the plain one. Keys of tables are in
capitals: what a message says is compared in capitals.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from string import Formatter
from typing import Annotated, Any, Final, Literal
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError, model_validator

from connectors.lims.message import MessageLimits, codec_of
from connectors.lims.places import Place, place
from connectors.lims.profile_file import DEFAULT, laid_over, profile_source, read_profile_file
from models.errors import RefusedError
from models.identifier_pattern import searchable
from models.statements import Frozen, Priority, ReportStatus, Route

ContainerKind = Literal["specimen", "block", "slide"]
Reads = Literal["order", "patient", "merge", "move", "report", "case update", "images", "work done"]
"""What is read from a message."""
ControlMeant = Literal["register", "change", "cancel", "replace", "replacement"]
ResultStatus = Literal["preliminary", "final", "supplementary", "corrected", "cancelled", "none"]
CaseStatus = Literal[ResultStatus, "ended", "grossed", "set closed"]

KNOWN_CODES = frozenset(
    {"ACK", "ADT", "BAR", "DFT", "MCF", "MDM", "MFK", "MFN", "OMG", "OMI", "OML", "OPL", "OPR", "ORA", "ORG", "ORI"}
    | {"ORL", "ORM", "ORR", "ORU", "OSM", "OSR", "OUL", "PPR", "QBP", "QCK", "QRY", "RAS", "RDE", "RSP", "SIU", "SRM"}
)
"""Message codes (HL7 table 0076) that a laboratory's interface may rightly send to a neighbour."""

_NOWHERE: Final = Path()
_OF_THE_LISTENER: Final = frozenset({"peer", "site", "issuer", "zone", "limits"})
_PARTS: Final = ("accession", "specimen", "block", "slide")


def _places(said: object) -> object:
    if not isinstance(said, list | tuple):
        return said
    return tuple(place(one) if isinstance(one, str) else one for one in said)


def _in_capitals(said: object) -> object:
    """Return a table with its keys in capitals, without those that a laboratory took away."""
    if not isinstance(said, Mapping):
        return said
    table = {str(code).upper(): meant for code, meant in said.items()}
    return {code: meant for code, meant in table.items() if meant is not None}


def _whole_fields(places: tuple[Place, ...]) -> tuple[Place, ...]:
    if any(not one.whole_field for one in places):
        message = "must name a whole field, as in SPM-4: a code, its meaning and its scheme are components of it"
        raise ValueError(message)
    return places


def _pattern(said: object) -> object:
    return searchable(said) if isinstance(said, str) else said


def _codes(said: object) -> object:
    return frozenset(str(one).upper() for one in said) if isinstance(said, list | tuple | set | frozenset) else said


def _charset(said: str) -> str:
    if said and codec_of(said) is None:
        message = "is no character set that is known: spell it as in MSH-18, for example UNICODE UTF-8 or 8859/1"
        raise ValueError(message)
    return said


Places = Annotated[tuple[Place, ...], BeforeValidator(_places)]
CodedPlaces = Annotated[Places, AfterValidator(_whole_fields)]
Pattern = Annotated[re.Pattern[str], BeforeValidator(_pattern)]
Subspecialty = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_]{0,62}$")]
Codes = Annotated[frozenset[str], BeforeValidator(_codes)]


def _as_plain(key: str) -> Any:  # noqa: ANN401 - what pydantic's own Field returns
    """Return a field that is as in the plain profile where it is not said."""
    return Field(default_factory=lambda: read_profile_file(DEFAULT, _NOWHERE)[key], validate_default=True)


class Compound(Frozen):
    """One text that names case, specimen, block and slide, and how each of them is called by its parts.

    A template names groups of the pattern: ``{accession};{specimen}``. A group that finds nothing says that the text
    names something above it. What the pattern has no group for needs no template.
    """

    pattern: Pattern
    specimen: str | None = None
    block: str | None = None
    slide: str | None = None

    @model_validator(mode="after")
    def _names_its_parts(self) -> "Compound":
        groups = set(self.pattern.groupindex)
        if not {"accession"} < groups <= set(_PARTS):
            message = "pattern must have the named group accession, and one or more of specimen, block and slide"
            raise ValueError(message)
        for kind in _PARTS[1:]:
            template: str | None = getattr(self, kind)
            if (template is not None) != (kind in groups):
                message = f"{kind} must have a template where the pattern has a group of that name, and nowhere else"
                raise ValueError(message)
            named = {name for _, name, _, _ in Formatter().parse(template or "") if name is not None}
            if not named <= groups:
                message = f"{kind} names {', '.join(sorted(named - groups))}, which is no group of the pattern"
                raise ValueError(message)
        return self


class Profile(Frozen):
    """One interface: its names, its codes, and how it wants to be answered; ``profiles/plain.yaml`` explains each.

    Attributes
    ----------
    site
        The site of every order from this peer; MSH-4 when it is ``None``.
    issuer
        Who issues the accession and container numbers that name no issuer of their own.
    zone
        The zone of times without offset.
    """

    peer: str = "lims"
    site: str | None = None
    issuer: str = "lims"
    zone: ZoneInfo = ZoneInfo("UTC")
    limits: MessageLimits = MessageLimits()

    title: str = _as_plain("title")
    acknowledgement: Literal["original", "enhanced"] = _as_plain("acknowledgement")
    answer_with: Literal["by type", "ACK"] = _as_plain("answer_with")
    unknown_type_answer: Literal["AA", "AE", "AR"] = _as_plain("unknown_type_answer")
    processing_id: Literal["P", "T", "D"] | None = _as_plain("processing_id")
    processing_id_answer: Literal["AE", "AR"] = _as_plain("processing_id_answer")
    charset: Annotated[str, AfterValidator(_charset)] = _as_plain("charset")
    reads: Annotated[Mapping[str, Reads], BeforeValidator(_in_capitals)] = _as_plain("reads")

    patient_fields: CodedPlaces = _as_plain("patient_fields")
    prior_patient_fields: CodedPlaces = _as_plain("prior_patient_fields")
    visit_fields: CodedPlaces = _as_plain("visit_fields")
    prior_visit_fields: CodedPlaces = _as_plain("prior_visit_fields")
    nhs_authorities: Codes = _as_plain("nhs_authorities")

    accession_fields: Places = _as_plain("accession_fields")
    accession_pattern: Pattern | None = _as_plain("accession_pattern")
    placer_fields: Places = _as_plain("placer_fields")
    filler_fields: Places = _as_plain("filler_fields")
    priority_fields: Places = _as_plain("priority_fields")
    due_fields: Places = _as_plain("due_fields")
    subspecialty_fields: Places = _as_plain("subspecialty_fields")
    study_fields: Places = _as_plain("study_fields")
    study_observations: Codes = _as_plain("study_observations")
    series_observations: Codes = _as_plain("series_observations")
    reader_fields: CodedPlaces = _as_plain("reader_fields")
    reader_roles: Codes = _as_plain("reader_roles")

    container_fields: Places = _as_plain("container_fields")
    kind_fields: Places = _as_plain("kind_fields")
    parent_fields: Places = _as_plain("parent_fields")
    specimen_type_fields: CodedPlaces = _as_plain("specimen_type_fields")
    anatomic_site_fields: CodedPlaces = _as_plain("anatomic_site_fields")
    laterality_fields: CodedPlaces = _as_plain("laterality_fields")
    received_fields: Places = _as_plain("received_fields")
    route_fields: Places = _as_plain("route_fields")
    stain_observation: str = _as_plain("stain_observation")
    stain_fields: CodedPlaces = _as_plain("stain_fields")
    not_stains: Codes = _as_plain("not_stains")
    image_fields: CodedPlaces = _as_plain("image_fields")
    identifier_characters: Annotated[int, Field(ge=1, le=200)] = _as_plain("identifier_characters")
    identifier_shapes: tuple[tuple[Pattern, ContainerKind], ...] = _as_plain("identifier_shapes")
    compound: Compound | None = _as_plain("compound")
    container_kinds: Annotated[Mapping[str, ContainerKind], BeforeValidator(_in_capitals)] = _as_plain(
        "container_kinds"
    )
    routes: Annotated[Mapping[str, Route], BeforeValidator(_in_capitals)] = _as_plain("routes")
    controls: Annotated[Mapping[str, ControlMeant], BeforeValidator(_in_capitals)] = _as_plain("controls")
    priorities: Annotated[Mapping[str, Priority], BeforeValidator(_in_capitals)] = _as_plain("priorities")

    points_observations: Codes = _as_plain("points_observations")
    report_specimen_fields: Places = _as_plain("report_specimen_fields")
    report_codes: Codes = _as_plain("report_codes")
    addendum_codes: Codes = _as_plain("addendum_codes")
    result_statuses: Annotated[Mapping[str, ResultStatus], BeforeValidator(_in_capitals)] = _as_plain("result_statuses")
    observation_statuses: Annotated[Mapping[str, ReportStatus], BeforeValidator(_in_capitals)] = _as_plain(
        "observation_statuses"
    )
    case_statuses: Annotated[Mapping[str, CaseStatus], BeforeValidator(_in_capitals)] = _as_plain("case_statuses")
    subspecialties: Annotated[Mapping[str, Subspecialty], BeforeValidator(_in_capitals)] = _as_plain("subspecialties")


def profile_named(name: str, folder: Path, **also: object) -> Profile:
    """Return a shipped profile, or one of a laboratory's own, with what else is known of the peer.

    Parameters
    ----------
    name
        A shipped profile's, else the path of a file; a relative one is below ``folder``.
    also
        Keys of a profile, laid over the file as the file is laid over what it extends; and those of the listener:
        ``peer``, ``site``, ``issuer``, ``zone``, ``limits``.

    Raises
    ------
    RefusedError
        There is no such profile, or it says something impossible: one sentence that names file, key and fault.
    """
    said = read_profile_file(name, folder)
    source = profile_source(name, folder)
    if ours := sorted(_OF_THE_LISTENER & said.keys()):
        message = f"{source}: {ours[0]}: is said by the listener in the settings, never by a profile: take it out"
        raise RefusedError(message)
    try:
        return Profile.model_validate(laid_over(said, also))
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        place_of_it = ".".join(map(str, first["loc"]))
        plainly = first["msg"].removeprefix("Value error, ").replace("Input should be", "must be")
        fault = _PLAINLY.get(first["type"], plainly)
        message = f"{source}: {place_of_it}: {fault}"
        raise RefusedError(message) from error


_PLAINLY: Final = {
    "extra_forbidden": "is not a key of a profile: check its spelling",
    "missing": "is missing",
    "tuple_type": "must be a list, as in [SPM-2, SAC-3]",
    "frozen_set_type": "must be a list of codes, as in [PI]",
    "dict_type": "must be a table of codes and what they mean, as in S: urgent",
    "string_pattern_mismatch": "must be small letters, digits and underscores, as in head_neck",
}
