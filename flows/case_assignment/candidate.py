"""What the rules of assignment look at: a read, and the people who may get it, as frozen values."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, time
from typing import Final

from flows.case_assignment.medium import ON_SCREEN, Medium
from models.errors import RejectedError
from models.policy import Scope

GENERAL: Final = "general"
"""What a case is whose order names no subspecialty."""


@dataclass(frozen=True)
class ReadToAssign:
    """One read that needs an owner.

    ``scope`` says how far away from its site it may be read, ``network_id`` and ``region`` where that is, ``aided_by``
    whose people may read for that network too. People by id: ``conflicts`` may not have it, ``declined`` gave it back,
    ``reads_otherwise`` have another read of the case that one and the same person may not have, ``before`` had this one
    last (or its like in an earlier round), ``patients_reader`` had the patient's last other case. ``counterpart`` is
    the other read of a case that is read twice, as long as it needs somebody too. ``weight_model`` made the points,
    ``medium`` is what it is read on.
    """

    read_id: str
    case_id: str
    site_id: str
    subspecialty: str
    points: float
    lane: int
    due_at: datetime | None
    conflicts: frozenset[str] = frozenset()
    role: str = "primary"
    scope: Scope = "network"
    network_id: str | None = None
    region: str | None = None
    aided_by: frozenset[str] = frozenset()
    declined: frozenset[str] = frozenset()
    reads_otherwise: frozenset[str] = frozenset()
    before: str | None = None
    patients_reader: str | None = None
    counterpart: "ReadToAssign | None" = None
    weight_model: str = "weights/1"
    medium: Medium = ON_SCREEN

    def __post_init__(self) -> None:
        """Refuse points that nobody can weigh: ``RejectedError``."""
        if not 0 <= self.points < math.inf:
            raise RejectedError(f"read {self.read_id} weighs {self.points} points: have its weight worked out again")


@dataclass(frozen=True)
class WeeklySession:
    """Reading hours of one weekday (Monday is 0) in civil time.

    They end on the next day when ``ends`` is not after ``starts``: from 22:00 to 06:00 is a night, from 00:00
    to 00:00 a whole day.
    """

    weekday: int
    starts: time
    ends: time


@dataclass(frozen=True)
class Absence:
    """Whole civil days on which somebody reads nothing, both ends included."""

    first_day: date
    last_day: date


@dataclass(frozen=True)
class Candidate:
    """A pathologist as they are now.

    ``levels`` holds only competences to read digitally that are valid today, by subspecialty: 1 leads, 2 may read, 3
    reads ahead of a supervisor; ``glass_levels`` those to read through a microscope. ``zone`` is the IANA zone of their
    site, in which sessions and absences are meant. ``open_points`` is what they have on their desk now, before this
    read, ``due`` how much of it by when; ``carry`` is what they have reported since the fairness window began,
    ``since`` the first day on which they could read at all. ``cut_off`` says that their site is cut off for now,
    ``holidays`` are public ones there.
    """

    pathologist_id: str
    name: str
    site_id: str
    zone: str
    points_a_week: float
    levels: Mapping[str, int]
    sessions: tuple[WeeklySession, ...]
    absences: tuple[Absence, ...] = ()
    open_points: float = 0.0
    active: bool = True
    network_id: str | None = None
    region: str | None = None
    fte: float = 1.0
    max_points: float | None = None
    due: tuple[tuple[datetime, float], ...] = ()
    carry: float = 0.0
    since: date | None = None
    cut_off: bool = False
    holidays: tuple[date, ...] = ()
    glass_levels: Mapping[str, int] = field(default_factory=dict)
