"""What one order message says of its one case."""

from connectors.lims.assets import assets_of
from connectors.lims.case_meant import accession_of, order_numbers
from connectors.lims.groups import Groups
from connectors.lims.instance_uids import the_uid, uids_observed
from connectors.lims.moments import read_stamp
from connectors.lims.participants import reader_of
from connectors.lims.patient import visits_of
from connectors.lims.places import first_said, said_in
from connectors.lims.profile import ContainerKind, Profile
from connectors.lims.weighed import points_in, subspecialty_in
from models.statements import BlockStated, OrderStated, Priority, SlideStated, SpecimenStated, Stamp

_MOST_URGENT_FIRST: tuple[Priority, ...] = ("intra-operative", "urgent", "routine")


def read_order(
    groups: Groups, profile: Profile, site: str, problems: list[str], registers: ContainerKind | None = None
) -> OrderStated | None:
    """Return what the groups state; ``None``, with a problem, when none of their order controls is ours.

    ``registers`` is what a container is that does not say it.

    Raises
    ------
    RejectedError
        When acting on the message would be a guess: no accession number or more than one, a container
        without an identifier, or one that is both ordered and cancelled.
    """
    accession = accession_of(groups, profile)
    assets = assets_of(groups, profile, problems, registers)
    if assets.control is None:
        return None
    return OrderStated(
        control=assets.control,
        accession_number=accession,
        issuer=profile.issuer,
        placer_order_numbers=order_numbers(groups, profile.placer_fields, profile),
        filler_order_numbers=order_numbers(groups, profile.filler_fields, profile),
        priority=_priority(groups, profile, problems),
        due=_due(groups, profile, problems),
        site=site,
        subspecialty=subspecialty_in(groups.segments(), profile),
        study_instance_uid=_study_instance_uid(groups, profile, problems),
        reader_stated=reader.id if (reader := reader_of(groups, profile)) else None,
        visit=next(iter(visits_of(groups.opening, profile.visit_fields, profile)), None),
        specimens=tuple(one for one in assets.ordered if isinstance(one, SpecimenStated)),
        blocks=tuple(one for one in assets.ordered if isinstance(one, BlockStated)),
        slides=tuple(one for one in assets.ordered if isinstance(one, SlideStated)),
        cancelled=assets.cancelled,
        points=points_in(groups.segments(), profile, problems),
    )


def _priority(groups: Groups, profile: Profile, problems: list[str]) -> Priority | None:
    """Return the most urgent priority that an order states."""
    said = {first_said(order.segments, profile.priority_fields).upper() for order in groups.orders} - {""}
    if any(code not in profile.priorities for code in said):
        problems.append("TQ1-9 or OBR-5 (priority) is a code we do not know: the case keeps the priority it has.")
    known = {profile.priorities[code] for code in said if code in profile.priorities}
    return next((priority for priority in _MOST_URGENT_FIRST if priority in known), None)


def _due(groups: Groups, profile: Profile, problems: list[str]) -> Stamp | None:
    """Return the earliest time that an order states."""
    said = {first_said(order.segments, profile.due_fields) for order in groups.orders} - {""}
    stamps = [read_stamp(one, profile.zone, end_of_day=True) for one in said]
    if None in stamps:
        problems.append("OBR-36 or TQ1-8 (due) is not a time.")
    return min((stamp for stamp in stamps if stamp), key=lambda stamp: (stamp.at, stamp.raw), default=None)


def _study_instance_uid(groups: Groups, profile: Profile, problems: list[str]) -> str | None:
    """Return the study that the laboratory or the archive chose."""
    segments = groups.segments()
    said = {uid for _, _, uid in said_in(segments, profile.study_fields)}
    said |= set(uids_observed(segments, profile.study_observations))
    return the_uid(said, "Study", problems)
