"""The specimens, blocks and slides that a message names: one SPM group per container, or an order that names one."""

import re
from collections.abc import Callable, Iterable, Mapping

from connectors.lims.case_meant import own_order_numbers
from connectors.lims.groups import Container
from connectors.lims.identifiers import Named, checked
from connectors.lims.message import Field, Segment
from connectors.lims.moments import read_stamp
from connectors.lims.places import Place, first_said, said_in
from connectors.lims.profile import ContainerKind, Profile
from connectors.lims.weighed import subspecialty_in
from models.statements import BlockStated, Coded, Route, SlideStated, SpecimenStated, Stamp

Asset = SpecimenStated | BlockStated | SlideStated

_TEXT_TYPES = frozenset({"ST", "TX", "FT"})
_DELETED_OBSERVATIONS = frozenset({"D", "X"})
_LONGEST_LOCATION = 4096
_SEARCHED_CHARACTERS = 200
# A drive or a server at the beginning, or nothing but backslashes: a path of Windows that nobody escaped.
_UNESCAPED_PATH = re.compile(r"[A-Za-z]:\\|\\\\")


def asset_of(
    container: Container, name: Named, profile: Profile, problems: list[str], otherwise: ContainerKind | None = None
) -> Asset:
    """Return the specimen, block or slide that the group describes; ``otherwise`` what it is if it does not say."""
    kind = _kind(container, name, profile, problems, otherwise)
    return _READERS[kind](container, name, profile, problems)


def implied_by(name: Named) -> tuple[Asset, ...]:
    """Return the block and the specimen that a compound identifier names above its container."""
    above = name.parts.above if name.parts else ()
    made: list[Asset] = []
    for kind, identifier in above:
        if kind == "block":
            parents = tuple(one for other, one in above if other == "specimen")
            made.append(BlockStated(container_identifier=identifier, issuer=name.issuer, parents=parents))
        else:
            made.append(SpecimenStated(container_identifier=identifier, issuer=name.issuer))
    return tuple(made)


def kind_by_shape(identifier: str, profile: Profile) -> ContainerKind:
    """Return what a container is by how it is called: a slide unless a shape of the profile fits."""
    return shape_of(identifier, profile) or "slide"


def shape_of(identifier: str, profile: Profile) -> ContainerKind | None:
    """Return the kind whose shape an identifier has, ``None`` when it has none."""
    fits = (kind for shape, kind in profile.identifier_shapes if shape.search(identifier[:_SEARCHED_CHARACTERS]))
    return next(fits, None)


def coded(field: Field) -> Coded | None:
    """Return a coded entry: its first code, else its alternative one; ``None`` without any code."""
    if not field.raw:
        return None
    said = field.components()
    for first in (0, 3):
        code, meaning, scheme, *_ = (*said[first : first + 3], "", "", "")
        if code:
            return Coded(code=code, meaning=meaning, scheme=scheme)
    return None


def _kind(
    container: Container, name: Named, profile: Profile, problems: list[str], otherwise: ContainerKind | None
) -> ContainerKind:
    said = first_said(container.segments, profile.kind_fields).upper()
    if said in profile.container_kinds:
        return profile.container_kinds[said]
    if said:
        problems.append("SPM-27 (container type) is a code we do not know: what else is said of it decided.")
    if name.parts is not None:
        return name.parts.kind
    return otherwise or kind_by_shape(name.identifier, profile)


def _specimen(container: Container, name: Named, profile: Profile, problems: list[str]) -> SpecimenStated:
    return SpecimenStated(
        container_identifier=name.identifier,
        issuer=name.issuer,
        specimen_type=_coded(container, profile.specimen_type_fields),
        anatomic_site=_coded(container, profile.anatomic_site_fields),
        laterality=_coded(container, profile.laterality_fields),
        received_at=_received_at(container, profile, problems),
        order_numbers=_order_numbers(container, profile),
        subspecialty=subspecialty_in(container.everything(), profile),
    )


def _block(container: Container, name: Named, profile: Profile, _problems: list[str]) -> BlockStated:
    return BlockStated(
        container_identifier=name.identifier,
        issuer=name.issuer,
        parents=_parents(container, name, profile),
        order_numbers=_order_numbers(container, profile),
    )


def _slide(container: Container, name: Named, profile: Profile, problems: list[str]) -> SlideStated:
    stains, text = _stains(container, profile)
    return SlideStated(
        container_identifier=name.identifier,
        issuer=name.issuer,
        parents=_parents(container, name, profile),
        stains=stains,
        stain_text=text,
        route=_route(container, profile, problems),
        image_location=_image_location(container, profile, problems),
        order_numbers=_order_numbers(container, profile),
    )


_READERS: Mapping[ContainerKind, Callable[[Container, Named, Profile, list[str]], Asset]] = {
    "specimen": _specimen,
    "block": _block,
    "slide": _slide,
}


def _order_numbers(container: Container, profile: Profile) -> tuple[str, ...]:
    return own_order_numbers([segment for order in container.orders for segment in order.segments], profile)


def _coded(container: Container, places: Iterable[Place]) -> Coded | None:
    for place in places:
        for segment in container.segments:
            if segment.name == place.segment and (found := coded(segment.field(place.field))):
                return found
    return None


def _parents(container: Container, name: Named, profile: Profile) -> tuple[str, ...]:
    """Return what the container was made from, each once; nothing is its own parent."""
    said: dict[str, None] = {}
    for place in profile.parent_fields:
        for segment in container.segments:
            if segment.name == place.segment and segment.raw(place.field):
                second = place.component + 1 if place.segment == "SPM" else place.component
                for one in segment.repetitions(place.field):
                    said[one.stated(place.component, place.subcomponent) or one.stated(second, 1)] = None
    parents = tuple(
        checked(one, "parent", profile.parent_fields, profile) for one in said if one and one != name.identifier
    )
    return parents or tuple(one for _, one in (name.parts.above[:1] if name.parts else ()))


def _received_at(container: Container, profile: Profile, problems: list[str]) -> Stamp | None:
    written = first_said(container.segments, profile.received_fields)
    stamp = read_stamp(written, profile.zone)
    if written and stamp is None:
        problems.append("SPM-18 (specimen received) is not a time.")
    return stamp


def _route(container: Container, profile: Profile, problems: list[str]) -> Route | None:
    said = first_said(container.everything(), profile.route_fields).upper()
    if said and said not in profile.routes:
        problems.append("SAC-48 (imaged or not) is a code we do not know: no route was taken from it.")
    return profile.routes.get(said)


def _image_location(container: Container, profile: Profile, problems: list[str]) -> str | None:
    """Return where a file is said to lie: others' words, which nothing here opens."""
    for place, segment, _ in said_in(container.everything(), profile.image_fields) if profile.image_fields else ():
        field = segment.field(place.field)
        # A path may hold any delimiter, so it is the whole field; one with unescaped backslashes is taken as it is.
        as_it_is = _UNESCAPED_PATH.match(field.raw) is not None and "\\E\\" not in field.raw
        said = field.raw if as_it_is else field.text()
        if len(said) <= _LONGEST_LOCATION and said.isprintable():
            return said.strip()
        problems.append("OBR-13 (where the image lies) is no path: it was left out.")
    return None


def _stains(container: Container, profile: Profile) -> tuple[tuple[Coded, ...], str | None]:
    """Return the stains by the observations of the container, else of its orders, else by what was requested."""
    places: list[list[Segment]] = [container.segments, *(order.segments for order in container.orders)]
    for segments in places:
        found = _observed_stains(segments, profile)
        if found != ((), None):
            return found
    for order in container.orders:
        found = _requested_stain(order.segments, profile)
        if found != ((), None):
            return found
    return (), None


def _observed_stains(segments: list[Segment], profile: Profile) -> tuple[tuple[Coded, ...], str | None]:
    """Return OBX-5 of every stain observation; one OBX names one substance."""
    codes: dict[tuple[str, str, str], Coded] = {}
    texts: list[str] = []
    for obx in segments:
        if obx.name != "OBX" or not _is_of_stain(obx, profile) or obx.stated(11) in _DELETED_OBSERVATIONS:
            continue
        is_text = obx.stated(2) in _TEXT_TYPES
        for one in obx.repetitions(5):
            code = None if is_text else coded(one)
            if code is not None:
                codes[code.code, code.meaning, code.scheme] = code
            else:
                texts.append(one.stated(9) or one.stated(2) or one.stated(1))
    return tuple(codes.values()), "; ".join(filter(None, texts)) or None


def _is_of_stain(obx: Segment, profile: Profile) -> bool:
    return obx.stated(3) == profile.stain_observation or obx.stated(3, 4) == profile.stain_observation


def _requested_stain(segments: list[Segment], profile: Profile) -> tuple[tuple[Coded, ...], str | None]:
    """Return OBR-4 unless it asks for something else: a procedure, a block, an unnamed slide."""
    for place in profile.stain_fields:
        for segment in segments:
            if segment.name != place.segment:
                continue
            code = coded(segment.field(place.field))
            if code is None:
                return (), segment.value(place.field, 2) or None
            if code.code.upper() not in profile.not_stains and code.code.upper() not in profile.subspecialties:
                return (code,), None
    return (), None
