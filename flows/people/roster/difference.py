"""What changes when one roster takes the place of another, for people to agree to and for the books."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import time
from typing import Any, Final, Literal

from flows.books import Subject
from flows.people.roster.cells import LEVELS, WEEKDAYS
from flows.people.roster.lines import (
    PARTS,
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
from flows.people.roster.standing import KEYS

_STRETCHES: Final = {tuple(range(7)): "every day", tuple(range(5)): "mon-fri", (5, 6): "sat sun"}


@dataclass(frozen=True)
class Change:
    """One line that becomes another, begins or ends; ``before`` or ``after`` is missing then."""

    part: str
    before: Any
    after: Any

    @property
    def how(self) -> Literal["added", "changed", "ended"]:
        """What becomes of it, in a word."""
        if self.before is None:
            return "added"
        return "ended" if self.after is None or _ends(self.before, self.after) else "changed"

    @property
    def subject(self) -> Subject:
        """Whom or what it is about."""
        line = self.after if self.after is not None else self.before
        kind, name = _SUBJECTS[self.part]
        return Subject(kind, getattr(line, name))

    def told(self) -> Iterator[tuple[str, str | None, str | None]]:
        """Yield what changes, from what, to what, in words: of a person, a site and a network field by field."""
        what, words = _WORDS[self.part]
        if self.part not in _BY_FIELD or self.before is None or self.after is None:
            before, after = (None if line is None else words(line) for line in (self.before, self.after))
            yield what, before, after
            return
        for name, called in _BY_FIELD[self.part].items():
            before, after = getattr(self.before, name), getattr(self.after, name)
            if before != after:
                yield called, _said(before), _said(after)


def difference(now: Roster, then: Roster) -> tuple[Change, ...]:
    """Return what changes, part by part in the order of their keys."""
    return tuple(change for part in PARTS for change in _of_part(part, getattr(now, part), getattr(then, part)))


def _of_part(part: str, now: tuple[Any, ...], then: tuple[Any, ...]) -> Iterator[Change]:
    def by_key(lines: tuple[Any, ...]) -> dict[tuple[Any, ...], Any]:
        return {tuple(getattr(line, name) for name in KEYS[part]): line for line in lines}

    before, after = by_key(now), by_key(then)
    for key in sorted({*before, *after}):
        if before.get(key) != after.get(key):
            yield Change(part, before.get(key), after.get(key))


def _ends(before: object, after: object) -> bool:
    if isinstance(before, PersonLine) and isinstance(after, PersonLine):
        return before.active and not after.active
    if isinstance(before, CompetenceLine) and isinstance(after, CompetenceLine):
        return after.valid_to is not None and (before.valid_to is None or after.valid_to < before.valid_to)
    return False


def _said(value: object) -> str | None:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, tuple):
        return " | ".join(value) or None
    return None if value is None else str(value)


def _network(line: NetworkLine) -> str:
    return f"{line.name}, region {line.region}"


def _aid(line: AidLine) -> str:
    return f"people of {line.aiding_id} may read its cases"


def _site(line: SiteLine) -> str:
    return f"network {line.network_id or 'none'}, calendar {line.calendar or 'none'}"


def _holiday(line: HolidayLine) -> str:
    return f"{line.day.isoformat()} {line.name}"


def _person(line: PersonLine) -> str:
    most = "" if line.max_points is None else f", at most {line.max_points:g} open"
    off = "" if line.active else ", inactive"
    return f"{line.name} at {line.site_id}, {line.points_a_week:g} points a week{most}{off}"


def competence_in_words(line: CompetenceLine) -> str:
    """Return what somebody may read, how and when."""
    how = "" if line.digital and line.glass else ", digital only" if line.digital else ", glass only"
    until = "" if line.valid_to is None else f" and before {line.valid_to.isoformat()}"
    return f"{line.subspecialty}: {LEVELS[line.level - 1]}{how}, from {line.valid_from.isoformat()}{until}"


def sessions_in_words(lines: Sequence[SessionLine]) -> str:
    """Return somebody's weekly hours, days with the same together, as in ``mon tue 09:00 to 17:00``."""
    days: dict[str, list[int]] = defaultdict(list)
    for line in lines:
        whole = line.starts == line.ends == time(0)
        days["all day" if whole else f"{line.starts:%H:%M} to {line.ends:%H:%M}"].append(line.weekday)
    return "; ".join(f"{_days(tuple(sorted(on)))} {hours}" for hours, on in days.items())


def _days(weekdays: tuple[int, ...]) -> str:
    return _STRETCHES.get(weekdays) or WEEKDAYS.written(weekdays)


def _session(line: SessionLine) -> str:
    return sessions_in_words((line,))


def leave_in_words(line: LeaveLine) -> str:
    """Return when somebody is away, and how."""
    until = "" if line.first_day == line.last_day else f" to {line.last_day.isoformat()}"
    return f"{line.kind} {line.first_day.isoformat()}{until}"


def _conflict(line: ConflictLine) -> str:
    return f"{line.subject_kind} {line.subject_id}: {line.because}"


_WORDS: Final[Mapping[str, tuple[str, Callable[[Any], str]]]] = {
    "networks": ("network", _network),
    "network_aid": ("mutual aid", _aid),
    "holidays": ("holiday", _holiday),
    "sites": ("site", _site),
    "pathologists": ("pathologist", _person),
    "competences": ("competence", competence_in_words),
    "sessions": ("session", _session),
    "leave": ("leave", leave_in_words),
    "conflicts": ("conflict", _conflict),
}
_SUBJECTS: Final[Mapping[str, tuple[str, str]]] = {
    "networks": ("network", "id"),
    "network_aid": ("network", "network_id"),
    "holidays": ("calendar", "calendar"),
    "sites": ("site", "id"),
    "pathologists": ("pathologist", "id"),
    "competences": ("pathologist", "pathologist_id"),
    "sessions": ("pathologist", "pathologist_id"),
    "leave": ("pathologist", "pathologist_id"),
    "conflicts": ("pathologist", "pathologist_id"),
}
_BY_FIELD: Final[Mapping[str, Mapping[str, str]]] = {
    "networks": {"name": "name", "region": "region"},
    "sites": {"network_id": "network", "calendar": "calendar"},
    "pathologists": {
        "name": "name",
        "site_id": "site",
        "fte": "fte",
        "points_a_week": "points a week",
        "max_points": "most open points",
        "active": "active",
        "known_as": "known as",
        "source": "kept by",
    },
}
