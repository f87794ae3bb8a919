"""The laboratory's policy for who reads what and by when: one document with a version, kept with every decision.

A laboratory writes it as TOML; whatever it leaves out is as below. Weights and costs are in points, the unit of
``flows.case_assignment.points``.
"""

from datetime import time
from typing import Annotated, Final, Literal

from pydantic import Field, field_validator, model_validator

from models.statements import Frozen

_Points = Annotated[float, Field(ge=0, le=1e6, allow_inf_nan=False)]
_Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
_Hours = Annotated[float, Field(ge=0, le=24 * 366, allow_inf_nan=False)]
_Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_ -]{0,62}$")]

Scope = Literal["network", "region", "national"]
"""Who may read a subspecialty: people of the case's network, of its region, or of every network; mutual aid adds."""

Basis = Literal["calendar", "working"]
"""How a target's days are counted: all of them, or Monday to Friday without the site's holidays."""


class Weights(Frozen):
    """What is weighed against an even load: the terms of the objective J.

    ``late`` is for each point that will miss its deadline; ``balance`` is times the sum over people of capacity x
    (relative load - mean)^2; the next three are for each point that is read at another site of the network, in another
    network, by somebody who does not lead; ``continuity`` is for a read that does not go to the patient's last reader,
    ``move`` for one that changes hands.
    """

    late: _Points = 40.0
    balance: _Points = 4.0
    other_site: _Points = 0.05
    other_network: _Points = 0.3
    second_level: _Points = 0.1
    continuity: _Points = 3.0
    move: _Points = 2.0
    wait_a_day: tuple[_Points, _Points, _Points] = (2.0, 0.5, 0.05)
    """For each point and day until somebody's next session, by lane, the most urgent first."""


class Batch(Frozen):
    """How the unopened reads are looked at again, all at once."""

    every_minutes: Annotated[int, Field(ge=5, le=24 * 60)] = 60
    most_moved_share: _Share = 0.05
    """Of the unopened reads, in one look that no shock caused."""
    quiet_hours: _Hours = 4.0
    """A read that came or moved within so many hours stays, unless its reader is absent or it would be late."""
    smallest_gain: _Points = 1.0
    """A look that improves J by less moves nothing."""


class Release(Frozen):
    """When a case may be read before all of its slides are there."""

    hold: Literal["whole case", "partial"] = "whole case"
    """``partial``: what is there is released when the deadline below passes; ``whole case``: people are told then."""
    after_hours: _Hours = 48.0
    """Since the first slide could be read."""


class Subspecialty(Frozen):
    """The rules of one subspecialty."""

    scope: Scope = "network"
    double: bool = False
    """Every case has a second read, by a lead reader other than the first."""
    second_opinion: bool = True
    """A reader may ask another one's opinion."""
    trainees: bool = False
    """A trainee of the site reads ahead of the primary reader, who supervises."""
    split: bool = False
    """Specimens of other subspecialties go to readers of their own."""
    release: Release | None = None


class Target(Frozen):
    """One kind of deadline: exactly one of its lengths is said."""

    days: Annotated[float, Field(gt=0, le=366, allow_inf_nan=False)] | None = None
    minutes: Annotated[float, Field(gt=0, le=24 * 60, allow_inf_nan=False)] | None = None
    basis: Basis = "calendar"
    since: Literal["registered", "received", "ready"] = "registered"
    """What the clock starts with: the order, the first specimen in the laboratory, or images that can be read."""
    subspecialties: tuple[_Name, ...] = ()
    """Only these; without any, all."""
    lanes: tuple[Literal["intra-operative", "urgent", "routine"], ...] = ()
    """Only these; without any, all."""
    pausable: bool = True
    """Its clock stands still while the case is paused."""

    @model_validator(mode="after")
    def _one_length(self) -> "Target":
        if (self.days is None) == (self.minutes is None):
            message = "must say either days or minutes"
            raise ValueError(message)
        return self


# RCPath KPI 6.4 as laboratories apply it; a frozen section is answered in about twenty minutes.
_TARGETS: Final = {
    "turnaround": Target(days=10),
    "intra-operative": Target(minutes=20, since="ready", lanes=("intra-operative",), pausable=False),
}


class Fairness(Frozen):
    """What is shown of people's loads, and to whom."""

    window_days: Annotated[int, Field(ge=1, le=366)] = 28
    large_points: _Points = 10.0
    peers_see: bool = False
    """Whether pathologists see each other's figures; otherwise only their own."""


class Policy(Frozen):
    """Everything that a laboratory may decide about reading."""

    weight_model: Annotated[str, Field(max_length=64)] = "weights/1"
    specimen_points: dict[Annotated[str, Field(min_length=1, max_length=200)], _Points] = Field(default_factory=dict)
    """What specimens weigh by the code of their type (SPM-4), where that is not as "specimen table/1" has it."""
    weights: Weights = Weights()
    batch: Batch = Batch()
    release: Release = Release()
    subspecialties: dict[_Name, Subspecialty] = Field(default_factory=dict)
    targets: dict[_Name, Target] = Field(default_factory=lambda: dict(_TARGETS))
    warn_before_hours: _Hours = 24.0
    """A deadline is foreseen to be missed at least so long before, when it can be."""
    longest_pause_days: Annotated[int, Field(ge=1, le=366)] = 7
    """A case whose clock stands still for longer is raised, until it runs again."""
    read_before_proof: tuple[Literal["intra-operative", "urgent"], ...] = ("intra-operative", "urgent")
    """Lanes whose cases may be read before the archive has proven their images."""
    working_day: tuple[time, time] = (time(8), time(18))
    """In the civil time of the site: what a working day is where a target counts parts of one."""
    fairness: Fairness = Fairness()

    @field_validator("targets")
    @classmethod
    def _leaves_moments(cls, targets: dict[str, Target]) -> dict[str, Target]:
        if taken := sorted(targets.keys() & {"ordered", "mdt"}):
            message = f"{' and '.join(taken)} is what a LIMS asks for or a meeting sets: call a target otherwise"
            raise ValueError(message)
        return targets

    @field_validator("working_day")
    @classmethod
    def _has_an_end(cls, day: tuple[time, time]) -> tuple[time, time]:
        if day[0] >= day[1] or day[0].tzinfo is not None or day[1].tzinfo is not None:
            message = "must be two times without offset, of which the second is later"
            raise ValueError(message)
        return day

    def of(self, subspecialty: str | None) -> Subspecialty:
        """Return the rules of one subspecialty; one that the policy does not name has the usual ones."""
        return self.subspecialties.get(subspecialty or "general", Subspecialty())

    def release_of(self, subspecialty: str | None) -> Release:
        """Return when a case of this subspecialty may be read before it is complete."""
        return self.of(subspecialty).release or self.release
