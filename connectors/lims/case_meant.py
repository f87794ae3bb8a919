"""Which case the groups of a message speak of: one message is one case."""

from collections.abc import Iterable, Iterator, Sequence

from connectors.lims.groups import Groups
from connectors.lims.identifiers import checked
from connectors.lims.message import Segment
from connectors.lims.patient import identifiers_of
from connectors.lims.places import Place, said_in
from connectors.lims.profile import Profile
from models.errors import RejectedError
from models.statements import CaseMeant

# A pattern of somebody's own may be slow, and no field with an accession is longer.
_SEARCHED_CHARACTERS = 200


def case_meant(groups: Groups, profile: Profile, site: str) -> CaseMeant:
    """Return the case that a message speaks of when it orders nothing.

    Raises
    ------
    RejectedError
        When there is no accession number, or more than one.
    """
    patient = next((segment for segment in groups.opening if segment.name == "PID"), None)
    return CaseMeant(
        accession_number=accession_of(groups, profile),
        issuer=profile.issuer,
        site=site,
        placer_order_numbers=order_numbers(groups, profile.placer_fields, profile),
        filler_order_numbers=order_numbers(groups, profile.filler_fields, profile),
        patient=identifiers_of(patient, profile.patient_fields, profile)[0] if patient else (),
    )


def accession_of(groups: Groups, profile: Profile) -> str:
    """Return the accession number that every group which names one agrees on."""
    found = {one for segments in _runs(groups) if (one := _accession_in(segments, profile))}
    if len(found) > 1:
        raise RejectedError(
            f"The message names {len(found)} accession numbers, and one order message is one case: "
            "set the field or the pattern that holds the accession in this peer's profile, then replay it."
        )
    return checked(next(iter(found), ""), "accession number", profile.accession_fields, profile)


def order_numbers(groups: Groups, places: Sequence[Place], profile: Profile) -> tuple[str, ...]:
    """Return the placer's or the filler's number of every order, each once."""
    return _numbers_in((segment for order in groups.orders for segment in order.segments), places, profile)


def own_order_numbers(segments: Sequence[Segment], profile: Profile) -> tuple[str, ...]:
    """Return the numbers of what one thing's orders are: the placer's, then the filler's."""
    places = (profile.placer_fields, profile.filler_fields)
    return tuple(dict.fromkeys(one for each in places for one in _numbers_in(segments, each, profile)))


def _numbers_in(segments: Iterable[Segment], places: Sequence[Place], profile: Profile) -> tuple[str, ...]:
    said: dict[str, None] = {}
    for segment in segments:
        for one in places:
            if segment.name == one.segment and (number := segment.value(one.field, one.component, one.subcomponent)):
                said[number] = None
    return tuple(checked(one, "order number", places, profile) for one in said)


def _runs(groups: Groups) -> Iterator[list[Segment]]:
    yield from (container.everything() for container in groups.containers)
    yield from (order.segments for order in groups.bare_orders())


def _accession_in(segments: list[Segment], profile: Profile) -> str:
    """Return the accession number of one group: the first field of the profile that holds one."""
    pattern = profile.accession_pattern
    for _, _, said in said_in(segments, profile.accession_fields):
        if pattern is None:
            return said
        fits = pattern.search(said[:_SEARCHED_CHARACTERS])
        if fits and (named := fits.group(min(1, pattern.groups))):
            return str(named)
    return ""
