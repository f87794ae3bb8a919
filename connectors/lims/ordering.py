"""What one order message says of its one case."""

import re
from collections.abc import Iterator

from connectors.lims.assets import assets_of
from connectors.lims.containers import checked
from connectors.lims.groups import Groups, Order
from connectors.lims.message import Segment
from connectors.lims.moments import read_stamp
from connectors.lims.profile import Profile
from models.errors import RejectedError
from models.statements import BlockStated, OrderStated, Priority, SlideStated, SpecimenStated, Stamp

_MOST_URGENT_FIRST: tuple[Priority, ...] = ("intra-operative", "urgent", "routine")
# A pattern of somebody's own may be slow, and no field with an accession is longer.
_SEARCHED_CHARACTERS = 500
_UID = re.compile(r"(?=.{3,64}$)[0-9]+(\.[0-9]+)+")


def read_order(groups: Groups, profile: Profile, site: str, problems: list[str]) -> OrderStated | None:
    """Return what the groups state; ``None``, with a problem, when none of their order controls is ours.

    Raises
    ------
    RejectedError
        When acting on the message would be a guess: no accession number or more than one, a container
        without an identifier, or one that is both ordered and cancelled.
    """
    accession = _accession(groups, profile)
    assets = assets_of(groups, profile, problems)
    if assets.control is None:
        return None
    return OrderStated(
        control=assets.control,
        accession_number=accession,
        issuer=profile.issuer,
        placer_order_numbers=_order_numbers(groups, 2, profile),
        filler_order_numbers=_order_numbers(groups, 3, profile),
        priority=_priority(groups, profile, problems),
        due=_due(groups, profile, problems),
        site=site,
        subspecialty=_subspecialty(groups, profile),
        study_instance_uid=_study_instance_uid(groups, profile, problems),
        reader_stated=_reader(groups, profile),
        specimens=tuple(one for one in assets.ordered if isinstance(one, SpecimenStated)),
        blocks=tuple(one for one in assets.ordered if isinstance(one, BlockStated)),
        slides=tuple(one for one in assets.ordered if isinstance(one, SlideStated)),
        cancelled=assets.cancelled,
    )


def _accession(groups: Groups, profile: Profile) -> str:
    """Return the accession number that every group which names one agrees on."""
    owned = [[*one.segments, *(s for order in one.orders for s in order.segments)] for one in groups.containers]
    bare = [order.segments for order in groups.bare_orders()]
    found = {one for segments in (*owned, *bare) if (one := _accession_of(segments, profile))}
    if len(found) > 1:
        raise RejectedError(
            f"The message names {len(found)} accession numbers, and one order message is one case: "
            "set the field or the pattern that holds the accession in this peer's profile, then replay it."
        )
    return checked(next(iter(found), ""), f"accession number ({', '.join(profile.accession_fields)})", profile)


def _accession_of(segments: list[Segment], profile: Profile) -> str:
    """Return the accession number of one group: the first field of the profile that holds one."""
    for place in profile.accession_fields:
        name, _, number = place.partition("-")
        for segment in segments:
            said = segment.stated(int(number)) if segment.name == name else ""
            if said and profile.accession_pattern:
                fits = re.search(profile.accession_pattern, said[:_SEARCHED_CHARACTERS])
                said = fits.group(min(1, fits.re.groups)) if fits else ""
            if said:
                return said
    return ""


def _order_numbers(groups: Groups, number: int, profile: Profile) -> tuple[str, ...]:
    """Return field 2 (placer) or 3 (filler) of every ORC and OBR, each once."""
    said = (
        segment.stated(number)
        for order in groups.orders
        for segment in order.segments
        if segment.name in {"ORC", "OBR"}
    )
    return tuple(checked(one, "order number (ORC-2, ORC-3)", profile) for one in dict.fromkeys(said) if one)


def _priority(groups: Groups, profile: Profile, problems: list[str]) -> Priority | None:
    """Return the most urgent priority that an order states: TQ1-9, else OBR-5."""
    said = {_first(order, (("TQ1", 9), ("OBR", 5))).upper() for order in groups.orders} - {""}
    if any(code not in profile.priorities for code in said):
        problems.append("TQ1-9 or OBR-5 (priority) is a code we do not know: the case keeps the priority it has.")
    known = {profile.priorities[code] for code in said if code in profile.priorities}
    return next((priority for priority in _MOST_URGENT_FIRST if priority in known), None)


def _due(groups: Groups, profile: Profile, problems: list[str]) -> Stamp | None:
    """Return the earliest time that an order states: OBR-36, else TQ1-8."""
    said = {_first(order, (("OBR", 36), ("TQ1", 8))) for order in groups.orders} - {""}
    stamps = [read_stamp(one, profile.zone, end_of_day=True) for one in said]
    if None in stamps:
        problems.append("OBR-36 or TQ1-8 (due) is not a time.")
    return min((stamp for stamp in stamps if stamp), key=lambda stamp: (stamp.at, stamp.raw), default=None)


def _first(order: Order, places: tuple[tuple[str, int], ...]) -> str:
    """Return what the first of these fields to say anything says."""
    said = (one.stated(number) for name, number in places for one in order.segments if one.name == name)
    return next(filter(None, said), "")


def _subspecialty(groups: Groups, profile: Profile) -> str | None:
    """Return the subspecialty of the first code that has one: OBR-4 of every order, then SPM-8."""
    for name, number in (("OBR", 4), ("SPM", 8)):
        for segment in groups.segments():
            if segment.name != name:
                continue
            for code in (segment.stated(number, 1).upper(), segment.stated(number, 4).upper()):
                if code in profile.subspecialties:
                    return profile.subspecialties[code]
    return None


def _study_instance_uid(groups: Groups, profile: Profile, problems: list[str]) -> str | None:
    """Return the study that the laboratory or the archive chose: IPC-3, ZDS-1 or an observation."""
    said = {uid for segment in groups.segments() if (uid := _study_of(segment, profile))}
    if len(said) > 1 or not all(map(_UID.fullmatch, said)):
        problems.append("The message names no usable Study Instance UID: there are several, or it is no UID.")
        return None
    return next(iter(said), None)


def _study_of(segment: Segment, profile: Profile) -> str:
    if segment.name == "OBX":
        return segment.stated(5) if segment.stated(3) == profile.study_observation else ""
    return segment.stated({"IPC": 3, "ZDS": 1}[segment.name]) if segment.name in {"IPC", "ZDS"} else ""


def _reader(groups: Groups, profile: Profile) -> str | None:
    """Return the id of the reading pathologist: PRT-5 by the role in PRT-4, else OBR-32."""

    def said() -> Iterator[str]:
        for segment in groups.segments():
            if segment.name == "PRT" and segment.stated(4).upper() in profile.reader_roles:
                yield segment.stated(5)
        for segment in groups.segments():
            if segment.name == "OBR":
                yield segment.stated(32)

    return next(filter(None, said()), None)
