"""The specimens, blocks and slides that a message names: one SPM group per container."""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from connectors.lims.groups import Container, Order
from connectors.lims.message import Field, Segment
from connectors.lims.moments import read_stamp
from connectors.lims.profile import ContainerKind, Profile
from models.errors import RejectedError
from models.statements import BlockStated, Coded, Route, SlideStated, SpecimenStated, Stamp

Asset = SpecimenStated | BlockStated | SlideStated

_TEXT_TYPES = frozenset({"ST", "TX", "FT"})
_DELETED_OBSERVATIONS = frozenset({"D", "X"})


@dataclass(frozen=True, slots=True)
class Named:
    """What a container is called: within one issuer an identifier is one thing."""

    identifier: str
    issuer: str


def name_of(container: Container, profile: Profile) -> Named:
    """Return SPM-2.1, else SAC-3: the first subcomponent is the identifier, the second its issuer.

    Raises
    ------
    RejectedError
        When there is none, or it is no identifier.
    """
    spm = container.segments[0]
    identifier, issuer = spm.stated(2, 1, 1), spm.stated(2, 1, 2)
    for sac in _all(container.segments, "SAC"):
        if not identifier:
            # SAC-3 is an EI: its issuer is a component of its own.
            identifier, issuer = sac.stated(3, 1, 1), sac.stated(3, 1, 2) or sac.stated(3, 2)
    return Named(checked(identifier, "container identifier (SPM-2, SAC-3)", profile), issuer or profile.issuer)


def checked(identifier: str, what: str, profile: Profile) -> str:
    """Return an identifier that can be printed, indexed and put into a DICOM header; ``RejectedError`` if not."""
    if not identifier:
        raise RejectedError(f"A group has no {what}.")
    if len(identifier) > profile.identifier_characters:
        raise RejectedError(
            f"The {what} of a group has {len(identifier)} characters; {profile.identifier_characters} are allowed."
        )
    if not identifier.isprintable():
        raise RejectedError(f"The {what} of a group holds characters that cannot be printed.")
    return identifier


def kind_by_shape(identifier: str, profile: Profile) -> ContainerKind:
    """Return what a container is by how it is called: a slide unless a shape of the profile fits."""
    fits = (kind for shape, kind in profile.identifier_shapes if re.search(shape, identifier))
    return next(fits, "slide")


def asset_of(container: Container, name: Named, profile: Profile, problems: list[str]) -> Asset:
    """Return the specimen, block or slide that the group describes."""
    read: dict[ContainerKind, Callable[[Container, Named, Profile, list[str]], Asset]] = {
        "specimen": _specimen,
        "block": _block,
        "slide": _slide,
    }
    return read[_kind(container.segments[0], name, profile, problems)](container, name, profile, problems)


def coded(field: Field) -> Coded | None:
    """Return a coded entry: its first code, else its alternative one; ``None`` without any code."""
    for first in (1, 4):
        code = field.stated(first)
        if code:
            return Coded(code=code, meaning=field.stated(first + 1), scheme=field.stated(first + 2))
    return None


def _kind(spm: Segment, name: Named, profile: Profile, problems: list[str]) -> ContainerKind:
    said = spm.stated(27).upper()
    if said in profile.container_kinds:
        return profile.container_kinds[said]
    if said:
        problems.append("SPM-27 (container type) is a code we do not know: the shape of the identifier decided.")
    return kind_by_shape(name.identifier, profile)


def _specimen(container: Container, name: Named, profile: Profile, problems: list[str]) -> SpecimenStated:
    spm = container.segments[0]
    return SpecimenStated(
        container_identifier=name.identifier,
        issuer=name.issuer,
        specimen_type=coded(spm.field(4)),
        anatomic_site=coded(spm.field(8)),
        laterality=coded(spm.field(9)),
        received_at=_received_at(spm, profile, problems),
    )


def _block(container: Container, name: Named, profile: Profile, _problems: list[str]) -> BlockStated:
    parents = _parents(container.segments[0], name, profile)
    return BlockStated(container_identifier=name.identifier, issuer=name.issuer, parents=parents)


def _slide(container: Container, name: Named, profile: Profile, problems: list[str]) -> SlideStated:
    stains, text = _stains(container, profile)
    return SlideStated(
        container_identifier=name.identifier,
        issuer=name.issuer,
        parents=_parents(container.segments[0], name, profile),
        stains=stains,
        stain_text=text,
        route=_route(container, profile, problems),
    )


def _parents(spm: Segment, name: Named, profile: Profile) -> tuple[str, ...]:
    """Return SPM-3, each once; nothing is its own parent."""
    said = dict.fromkeys(one.stated(1, 1) or one.stated(2, 1) for one in spm.repetitions(3))
    return tuple(checked(parent, "parent (SPM-3)", profile) for parent in said if parent and parent != name.identifier)


def _received_at(spm: Segment, profile: Profile, problems: list[str]) -> Stamp | None:
    written = spm.stated(18)
    stamp = read_stamp(written, profile.zone)
    if written and stamp is None:
        problems.append("SPM-18 (specimen received) is not a time.")
    return stamp


def _route(container: Container, profile: Profile, problems: list[str]) -> Route | None:
    said = next((sac.stated(48).upper() for sac in _all(container.segments, "SAC") if sac.stated(48)), "")
    if said and said not in profile.routes:
        problems.append("SAC-48 (imaged or not) is a code we do not know: no route was taken from it.")
    return profile.routes.get(said)


def _stains(container: Container, profile: Profile) -> tuple[tuple[Coded, ...], str | None]:
    """Return the stains by the observations of the container, else of its orders, else by OBR-4."""
    places: list[list[Segment]] = [container.segments, *(order.segments for order in container.orders)]
    for segments in places:
        found = _observed_stains(segments, profile)
        if found != ((), None):
            return found
    for order in container.orders:
        found = _requested_stain(order, profile)
        if found != ((), None):
            return found
    return (), None


def _observed_stains(segments: list[Segment], profile: Profile) -> tuple[tuple[Coded, ...], str | None]:
    """Return OBX-5 of every stain observation; one OBX names one substance."""
    codes: list[Coded] = []
    texts: list[str] = []
    for obx in _all(segments, "OBX"):
        if profile.stain_observation not in {obx.stated(3, 1), obx.stated(3, 4)}:
            continue
        if obx.stated(11) in _DELETED_OBSERVATIONS:
            continue
        for one in obx.repetitions(5):
            code = None if obx.stated(2) in _TEXT_TYPES else coded(one)
            if code is not None:
                codes.append(code)
            else:
                texts.append(one.stated(9) or one.stated(2) or one.stated(1))
    return tuple(dict.fromkeys(codes)), "; ".join(filter(None, texts)) or None


def _requested_stain(order: Order, profile: Profile) -> tuple[tuple[Coded, ...], str | None]:
    """Return OBR-4 unless it asks for something else: a procedure, a block, an unnamed slide."""
    for obr in _all(order.segments, "OBR"):
        code = coded(obr.field(4))
        if code is None:
            return (), obr.value(4, 2) or None
        if code.code.upper() not in profile.not_stains and code.code.upper() not in profile.subspecialties:
            return (code,), None
    return (), None


def _all(segments: Iterable[Segment], name: str) -> list[Segment]:
    return [segment for segment in segments if segment.name == name]
