"""The roster as it stands in the database."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from sqlalchemy import Select, Table, select
from sqlalchemy.orm import Session

from flows.people.roster.lines import (
    AidLine,
    CompetenceLine,
    ConflictLine,
    HolidayLine,
    LeaveLine,
    NetworkLine,
    PersonLine,
    Roster,
    SessionLine,
    SiteLine,
)
from models.base import table_of
from models.tables.deadline import Holiday
from models.tables.place import Site
from models.tables.reading import (
    Competence,
    Leave,
    Network,
    NetworkAid,
    Pathologist,
    ReadingConflict,
    ReadingSession,
)

TABLES: Final[Mapping[str, Table]] = {
    "networks": table_of(Network),
    "network_aid": table_of(NetworkAid),
    "holidays": table_of(Holiday),
    "sites": table_of(Site),
    "pathologists": table_of(Pathologist),
    "competences": table_of(Competence),
    "sessions": table_of(ReadingSession),
    "leave": table_of(Leave),
    "conflicts": table_of(ReadingConflict),
}
"""Where each part of a roster is kept."""

KEYS: Final[Mapping[str, tuple[str, ...]]] = {
    "networks": ("id",),
    "network_aid": ("network_id", "aiding_id"),
    "holidays": ("calendar", "day"),
    "sites": ("id",),
    "pathologists": ("id",),
    "competences": ("pathologist_id", "subspecialty", "valid_from"),
    "sessions": ("pathologist_id", "weekday", "starts"),
    "leave": ("pathologist_id", "first_day"),
    "conflicts": ("pathologist_id", "subject_id"),
}
"""What there can be only one line of."""

_LINES: Final[Mapping[str, Callable[..., Any]]] = {
    "networks": NetworkLine,
    "network_aid": AidLine,
    "holidays": HolidayLine,
    "sites": SiteLine,
    "pathologists": PersonLine,
    "competences": CompetenceLine,
    "sessions": SessionLine,
    "leave": LeaveLine,
    "conflicts": ConflictLine,
}


def standing(session: Session) -> Roster:
    """Return everything that stands, each part in the order of its keys."""
    return Roster(**{part: tuple(_lines(session, part)) for part in TABLES})


def line_of(part: str, values: Mapping[str, Any]) -> Any:  # noqa: ANN401 - the line of that part
    """Return a part's line."""
    return _LINES[part](**values)


def columns_of(part: str) -> tuple[str, ...]:
    """Return the columns that a part's line fills."""
    return tuple(_LINES[part].__annotations__)


def _lines(session: Session, part: str) -> list[Any]:
    values = [dict(row) for row in session.execute(_select(part)).mappings()]
    if part == "pathologists":
        values = [row | {"known_as": tuple(row["known_as"] or ())} for row in values]
    lines = [line_of(part, row) for row in values]
    # Sorted here: two databases sort letters in two ways.
    return sorted(lines, key=lambda line: tuple(getattr(line, name) for name in KEYS[part]))


def _select(part: str) -> Select[Any]:
    return select(*(TABLES[part].c[name] for name in columns_of(part)))
