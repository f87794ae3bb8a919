"""Where a case's report stands by its results (ORU^R01)."""

from connectors.lims.case_meant import case_meant, own_order_numbers
from connectors.lims.containers import shape_of
from connectors.lims.groups import Container, Groups, Order
from connectors.lims.identifiers import checked
from connectors.lims.message import Segment
from connectors.lims.places import said_in
from connectors.lims.profile import Profile
from connectors.lims.weighed import points_in
from models.statements import ReportPart, ReportStated, ReportStatus

# What an observation of a result that is final for OBR-25 may make of it.
_AMENDING = frozenset({"corrected", "supplementary"})
_FROM_OBSERVATIONS: tuple[ReportStatus, ...] = ("preliminary", "corrected", "supplementary", "final", "cancelled")


def read_report(groups: Groups, profile: Profile, site: str, problems: list[str]) -> ReportStated:
    """Return each result's status, and the specimens that it covers or the order that it answers.

    One that says nothing of a report is no part.

    Raises
    ------
    RejectedError
        When the message is about no case, or about several.
    """
    case = case_meant(groups, profile, site)
    parts: list[ReportPart] = []
    for order in groups.orders:
        theirs = [container for container in groups.containers if any(one is order for one in container.orders)]
        obr = next((segment for segment in order.segments if segment.name == "OBR"), None)
        if obr is None or not _is_report(obr, profile):
            continue
        status = _status(obr, _observations(order, theirs), profile, problems)
        if status is not None:
            specimens = _specimens(order, theirs, profile)
            # The OBR's own number before its ORC's, where they differ.
            numbers = () if specimens else own_order_numbers((obr, *order.segments), profile)
            parts.append(ReportPart(status=status, specimens=specimens, order_numbers=numbers))
    points = points_in(groups.segments(), profile, problems)
    return ReportStated(case=case, parts=tuple(dict.fromkeys(parts)), points=points)


def _is_report(obr: Segment, profile: Profile) -> bool:
    return not profile.report_codes or not profile.report_codes.isdisjoint(_codes(obr))


def _codes(obr: Segment) -> set[str]:
    return {obr.stated(4, 1).upper(), obr.stated(4, 4).upper()} - {""}


def _observations(order: Order, theirs: list[Container]) -> list[Segment]:
    runs = (order.segments, *(container.segments for container in theirs))
    return [segment for run in runs for segment in run if segment.name == "OBX"]


def _status(obr: Segment, observations: list[Segment], profile: Profile, problems: list[str]) -> ReportStatus | None:
    """Return OBR-25, amended by an addendum's code or by OBX-11; the observations' own where OBR-25 is empty."""
    said = obr.stated(25).upper()
    observed = {profile.observation_statuses.get(obx.stated(11).upper()) for obx in observations}
    if not said:
        found = next((status for status in _FROM_OBSERVATIONS if status in observed), None)
        if found is None:
            problems.append("OBR-25 (result status) is empty, and no OBX-11 says it: that result was left out.")
        return _of_addendum(obr, found, profile)
    if said not in profile.result_statuses:
        problems.append("OBR-25 (result status) is a code we do not know: that result was left out.")
        return None
    status = profile.result_statuses[said]
    if status == "none":
        return None
    amended = next((one for one in _FROM_OBSERVATIONS if one in observed & _AMENDING), status)
    return _of_addendum(obr, amended if status == "final" else status, profile)


def _of_addendum(obr: Segment, status: ReportStatus | None, profile: Profile) -> ReportStatus | None:
    added = status == "final" and not profile.addendum_codes.isdisjoint(_codes(obr))
    return "supplementary" if added else status


def _specimens(order: Order, theirs: list[Container], profile: Profile) -> tuple[str, ...]:
    """Return what the first field of the profile that names specimens names; nothing is the whole case."""
    segments = [*(segment for container in theirs for segment in container.segments), *order.segments]
    for place in profile.report_specimen_fields:
        found = [
            said for _, _, said in said_in(segments, (place,)) if place.segment == "SPM" or shape_of(said, profile)
        ]
        if found:
            return tuple(dict.fromkeys(checked(one, "specimen", (place,), profile) for one in found))
    return ()
