"""What a container is called, by the fields and the pattern of a profile."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from connectors.lims.groups import Container
from connectors.lims.message import Segment
from connectors.lims.places import Place, said_in
from connectors.lims.profile import Compound, ContainerKind, Profile
from models.errors import RejectedError

# HL7 types of SPM-2 and SAC-3: in EIP the issuer is the second subcomponent, in EI the second component.
_PAIRS = frozenset({"SPM"})
_ENTITIES = frozenset({"SAC"})
_CONTAINERS_OWN = _PAIRS | _ENTITIES
_CALLED = "container identifier"
_SEARCHED_CHARACTERS = 200
_FROM_BELOW: tuple[ContainerKind, ...] = ("slide", "block", "specimen")


@dataclass(frozen=True, slots=True)
class Parts:
    """What one text says of a container: its kind, and what stands above it from below, each with its kind."""

    kind: ContainerKind
    identifier: str
    above: tuple[tuple[ContainerKind, str], ...]


@dataclass(frozen=True, slots=True)
class Named:
    """What a container is called: within one issuer an identifier is one thing."""

    identifier: str
    issuer: str
    parts: Parts | None = field(default=None, compare=False)


def name_of(container: Container, profile: Profile) -> Named:
    """Return the identifier in the first of the profile's fields that says one, with its issuer.

    Raises
    ------
    RejectedError
        When there is none, or it is no identifier.
    """
    for place, segment, said in said_in(container.everything(), profile.container_fields):
        if segment.name not in _CONTAINERS_OWN and not _may_name(said, profile):
            continue
        identifier = checked(said, _CALLED, (place,), profile)
        parts = _parts(identifier, profile)
        name = identifier if parts is None else checked(parts.identifier, _CALLED, (place,), profile)
        return Named(name, _issuer(segment, place) or profile.issuer, parts)
    return Named(checked("", _CALLED, profile.container_fields, profile), "")


def containers_in_order(segments: list[Segment], profile: Profile) -> list[Segment]:
    """Return the segments of an order without SPM that name a container each, as some dialects do."""
    for place in profile.container_fields:
        if place.segment in _PAIRS:
            continue
        found = [segment for _, segment, said in said_in(segments, (place,)) if _may_name(said, profile)]
        if found:
            return found
    return []


def checked(identifier: str, what: str, places: Iterable[Place], profile: Profile) -> str:
    """Return an identifier that can be printed, indexed and put into a DICOM header; ``RejectedError`` if not."""
    if identifier and len(identifier) <= profile.identifier_characters and identifier.isprintable():
        return identifier
    called = f"{what} ({', '.join(map(str, places))})"
    if not identifier:
        raise RejectedError(f"A group has no {called}.")
    if len(identifier) > profile.identifier_characters:
        raise RejectedError(
            f"The {called} of a group has {len(identifier)} characters; {profile.identifier_characters} are allowed."
        )
    raise RejectedError(f"The {called} of a group holds characters that cannot be printed.")


def _issuer(segment: Segment, place: Place) -> str:
    if segment.name in _PAIRS:
        return segment.stated(place.field, place.component, 2)
    if segment.name in _ENTITIES:
        return segment.stated(place.field, 1, 2) or segment.stated(place.field, 2)
    return ""


def _may_name(said: str, profile: Profile) -> bool:
    """Whether a text in an order's own segments can be a container: with a compound pattern, only what fits it."""
    return profile.compound is None or profile.compound.pattern.search(said[:_SEARCHED_CHARACTERS]) is not None


def _parts(said: str, profile: Profile) -> Parts | None:
    compound = profile.compound
    found = compound.pattern.search(said[:_SEARCHED_CHARACTERS]) if compound else None
    if compound is None or found is None:
        return None
    groups = {name: text or "" for name, text in found.groupdict().items()}
    named = [kind for kind in _FROM_BELOW if groups.get(kind)]
    if not named:
        return None
    above = tuple((kind, _called(compound, kind, groups)) for kind in named[1:])
    return Parts(named[0], _called(compound, named[0], groups), above)


def _called(compound: Compound, kind: ContainerKind, groups: Mapping[str, str]) -> str:
    template: str | None = getattr(compound, kind)
    return template.format_map(groups) if template else ""
