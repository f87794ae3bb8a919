"""What Coverslip tells the laboratory's system, as frozen values.

An announcement states a state, not a change, so hearing it twice does no harm. It carries of the
patient only what the receiver needs to find them: identifiers and name.
"""

from typing import Literal

from pydantic import Field

from models.statements import Frozen, Identifier, Moment

SlideState = Literal["archived", "to be rescanned", "set aside", "withdrawn"]
CaseState = Literal["released", "assigned"]


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
    read, most important first.
    """

    state: SlideState
    reasons: tuple[str, ...] = ()
    container_identifier: str = Field(repr=False)
    container_issuer: str
    case: CaseNamed
    study_instance_uid: str | None = None
    series_instance_uid: str | None = None
    scanned_at: Moment | None = None


class CaseAnnounced(Frozen):
    """The state of one case's reading: released to be read, or assigned to a pathologist.

    A pathologist is named when the state is ``assigned``; the id is the one the receiver knows.
    """

    state: CaseState
    reasons: tuple[str, ...] = ()
    case: CaseNamed
    pathologist_id: str | None = None
    pathologist_family_name: str = ""
    pathologist_given_name: str = ""
