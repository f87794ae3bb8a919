"""What a roster says, line by line; the names are those of the tables' columns."""

from dataclasses import dataclass, fields
from datetime import date, time
from typing import Final

IMPORT: Final = "import"
"""Who says what a pathologist is, when it is not the settings (``Pathologist.source``)."""


@dataclass(frozen=True)
class NetworkLine:
    """A network; sites of one region share readers where a subspecialty says so."""

    id: str
    name: str
    region: str


@dataclass(frozen=True)
class AidLine:
    """People of the aiding network may read the other one's cases."""

    network_id: str
    aiding_id: str


@dataclass(frozen=True)
class SiteLine:
    """The network of a site, and the holidays that it keeps."""

    id: str
    network_id: str | None
    calendar: str | None


@dataclass(frozen=True)
class HolidayLine:
    """A day on which nobody works, in one calendar."""

    calendar: str
    day: date
    name: str


@dataclass(frozen=True)
class PersonLine:
    """A pathologist; ``source`` is who says so, the settings or an import."""

    id: str
    name: str
    site_id: str
    fte: float
    points_a_week: float
    max_points: float | None
    active: bool
    known_as: tuple[str, ...]
    source: str = IMPORT


@dataclass(frozen=True)
class CompetenceLine:
    """What somebody may read; ``valid_to`` is the first day on which it is no longer so."""

    pathologist_id: str
    subspecialty: str
    level: int
    digital: bool
    glass: bool
    valid_from: date
    valid_to: date | None


@dataclass(frozen=True)
class SessionLine:
    """Reading hours on one day of the week, Monday being 0."""

    pathologist_id: str
    weekday: int
    starts: time
    ends: time


@dataclass(frozen=True)
class LeaveLine:
    """Days on which somebody reads nothing, both ends included."""

    pathologist_id: str
    first_day: date
    last_day: date
    kind: str


@dataclass(frozen=True)
class ConflictLine:
    """Somebody who may not read a case, or any case of a patient."""

    pathologist_id: str
    subject_kind: str
    subject_id: str
    because: str


@dataclass(frozen=True)
class Roster:
    """Everything that stands, or is to stand; each part in the order of its keys."""

    networks: tuple[NetworkLine, ...] = ()
    network_aid: tuple[AidLine, ...] = ()
    holidays: tuple[HolidayLine, ...] = ()
    sites: tuple[SiteLine, ...] = ()
    pathologists: tuple[PersonLine, ...] = ()
    competences: tuple[CompetenceLine, ...] = ()
    sessions: tuple[SessionLine, ...] = ()
    leave: tuple[LeaveLine, ...] = ()
    conflicts: tuple[ConflictLine, ...] = ()


PARTS = tuple(field.name for field in fields(Roster))
"""In an order in which what is named comes before what names it."""
