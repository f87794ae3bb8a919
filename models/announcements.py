"""What Coverslip tells the laboratory's system, as frozen values.

An announcement states a state, not a change, so hearing it twice does no harm. It carries of the
patient only what the receiver needs to find them: identifiers and name.
"""

from typing import Literal

from pydantic import Field

from models.statements import Frozen, Identifier, Moment, ReportStatus
from models.work_fold import WorkKind

SlideState = Literal["archived", "to be rescanned", "set aside", "withdrawn"]
CaseState = Literal["released", "assigned", "reported"]
ReadRole = Literal["primary", "second", "trainee", "opinion", "intra-operative", "mdt"]


class PatientNamed(Frozen):
    """Identifiers and name of a patient, and nothing else."""

    identifiers: tuple[Identifier, ...] = ()
    family_name: str = Field(default="", repr=False)
    given_name: str = Field(default="", repr=False)


class CaseNamed(Frozen):
    """The case an announcement is about, as the laboratory's system knows it."""

    accession_number: str = Field(repr=False)
    accession_issuer: str
    placer_order_number: str = Field(default="", repr=False)
    filler_order_number: str = Field(default="", repr=False)
    patient: PatientNamed = PatientNamed()
    site: str


class SlideAnnounced(Frozen):
    """The state of one slide's images.

    The UIDs are given when the state is ``archived`` or ``withdrawn``. ``reasons`` are for people to
    read, most important first. ``quality`` is the verdict on the scan, if there is one.
    """

    state: SlideState
    reasons: tuple[str, ...] = ()
    quality: str = ""
    container_identifier: str = Field(repr=False)
    container_issuer: str
    case: CaseNamed
    study_instance_uid: str | None = None
    series_instance_uid: str | None = None
    scanned_at: Moment | None = None


class CaseAnnounced(Frozen):
    """The state of one case's reading: released to be read, assigned to a pathologist, or reported.

    A pathologist is named when the state is ``assigned``; the id is the one the receiver knows. ``role`` says what they
    have of it, ``specimens`` which ones where it is not all. ``images_complete`` says of a released case that nothing
    is missing; ``report`` is given when the state is ``reported``.
    """

    state: CaseState
    reasons: tuple[str, ...] = ()
    case: CaseNamed
    images_complete: bool = False
    report: ReportStatus | None = None
    pathologist_id: str | None = None
    pathologist_family_name: str = ""
    pathologist_given_name: str = ""
    role: ReadRole = "primary"
    specimens: tuple[str, ...] = Field(default=(), repr=False)


class WorkAsked(Frozen):
    """Work that the laboratory is asked for, on one slide or block (DPOW LAB-102).

    ``number`` is ours and stands in until the laboratory gives its own.
    """

    number: str
    work: WorkKind
    subject_kind: Literal["slide", "block"]
    container_identifier: str = Field(repr=False)
    container_issuer: str
    stain: str = ""
    because: str
    asked_by: str
    case: CaseNamed


Announcement = SlideAnnounced | CaseAnnounced | WorkAsked
"""Anything that the laboratory's system is told."""
