"""What IHE DPOW's transactions to us state beside registrations: LAB-101, LAB-103 and LAB-104."""

from connectors.lims import dpow
from connectors.lims.case_meant import case_meant
from connectors.lims.groups import Container, Groups
from connectors.lims.identifiers import checked, name_of
from connectors.lims.instance_uids import the_uid, uids_observed
from connectors.lims.message import Segment
from connectors.lims.moments import read_stamp
from connectors.lims.participants import reader_of
from connectors.lims.places import Place, first_said
from connectors.lims.profile import CaseStatus, Profile
from models.errors import RejectedError
from models.statements import CaseUpdateStated, ImagesStated, ReportStatus, WorkDone

_AVAILABLE = {"Y": True, "N": False}


def read_case_update(groups: Groups, profile: Profile, site: str, problems: list[str]) -> CaseUpdateStated:
    """Return what became of a case elsewhere (LAB-101): ORC-25 by the profile's table, and who reads it."""
    statuses = _case_statuses(groups, profile, problems)
    reports = [status for status in statuses if status not in ("none", "ended", "grossed", "set closed")]
    if len(set(reports)) > 1:
        raise RejectedError("ORC-25 (order status modifier) says several states of one report: send the one that is.")
    return CaseUpdateStated(
        case=case_meant(groups, profile, site),
        report=_report(reports),
        reader=reader_of(groups, profile),
        grossed="grossed" in statuses,
        set_closed="set closed" in statuses,
        ended="ended" in statuses,
    )


def read_images(groups: Groups, profile: Profile, site: str, problems: list[str]) -> ImagesStated:
    """Return whether an image manager has a slide's images (LAB-104); SPM-18 is the time of the scan here.

    Raises
    ------
    RejectedError
        When the message is not about exactly one slide, or SPM-20 says neither Y nor N.
    """
    container = _the_container(groups)
    spm = container.segments[0]
    said = spm.stated(20).upper()
    if said not in _AVAILABLE:
        raise RejectedError("SPM-20 (images of the slide) says neither Y nor N: nothing was done.")
    name = name_of(container, profile)
    written = spm.stated(18)
    scanned_at = read_stamp(written, profile.zone)
    if written and scanned_at is None:
        problems.append("SPM-18 (time of the scan) is not a time.")
    segments = container.everything()
    return ImagesStated(
        case=case_meant(groups, profile, site),
        container_identifier=name.identifier,
        issuer=name.issuer,
        available=_AVAILABLE[said],
        study_instance_uid=the_uid(set(uids_observed(segments, profile.study_observations)), "Study", problems),
        series_instance_uid=the_uid(set(uids_observed(segments, profile.series_observations)), "Series", problems),
        scanned_at=scanned_at,
    )


def read_work_done(groups: Groups, profile: Profile, site: str) -> WorkDone:
    """Return which of our work orders was fulfilled (LAB-103), and what came of it.

    SPM-2.1 is our number for it, as we wrote it there, and SPM-2.2 the filler's for the new asset. A sender who leaves
    out one of them, or writes the new asset in both, is understood by ORC-2.

    Raises
    ------
    RejectedError
        When ORC-5 does not say that the work was done, or nothing names the work order.
    """
    orcs = [segment for segment in groups.segments() if segment.name == "ORC"]
    if {orc.stated(5).upper() for orc in orcs} != {dpow.FULFILLED}:
        raise RejectedError(f"ORC-5 (order status) is not {dpow.FULFILLED}: the work order is not fulfilled yet.")
    container = _the_container(groups) if groups.containers else Container()
    spm = container.segments[0] if container.segments else None
    ours, theirs = (spm.stated(2, 1), spm.stated(2, 2)) if spm else ("", "")
    ordered = first_said(groups.segments(), profile.placer_fields)
    if spm and ours and theirs in ("", ours) and ordered and ordered != ours:
        ours, theirs = ordered, ours
    asset = checked(theirs, "new asset", (Place("SPM", 2, 2),), profile) if theirs else None
    return WorkDone(
        case=case_meant(groups, profile, site),
        work_order_number=checked(
            ours or ordered, "work order number", (Place("SPM", 2), *profile.placer_fields), profile
        ),
        container_identifier=asset,
        issuer=((spm.stated(2, 2, 2) if spm else "") or profile.issuer) if asset else "",
    )


def _the_container(groups: Groups) -> Container:
    if len(groups.containers) != 1:
        raise RejectedError(f"The message has {len(groups.containers)} SPM; this transaction is about exactly one.")
    return groups.containers[0]


def _case_statuses(groups: Groups, profile: Profile, problems: list[str]) -> list[CaseStatus]:
    found: list[CaseStatus] = []
    for segment in groups.segments():
        for said in _statuses_said(segment):
            if said in profile.case_statuses:
                found.append(profile.case_statuses[said])
            else:
                problems.append("ORC-25 (order status modifier) is a code we do not know: it was left out.")
    return found


def _statuses_said(segment: Segment) -> list[str]:
    """Return ORC-25 in capitals, without blanks: some write For Transcription."""
    if segment.name != "ORC":
        return []
    said = (one.stated(1) or one.stated(4) or one.stated(2) for one in segment.repetitions(25))
    return ["".join(one.split()).upper() for one in said if one]


def _report(reports: list[CaseStatus]) -> ReportStatus | None:
    known: tuple[ReportStatus, ...] = ("preliminary", "final", "supplementary", "corrected", "cancelled")
    return next((status for status in known if status in reports), None)
