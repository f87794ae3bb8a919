"""What is to stand once files are imported: what they say, and what stays although they do not name it."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import Any, Final, TypeVar

from flows.people.roster.lines import (
    IMPORT,
    PARTS,
    CompetenceLine,
    HolidayLine,
    LeaveLine,
    PersonLine,
    Roster,
    SiteLine,
)
from flows.people.roster.standing import KEYS

_DAY: Final = timedelta(days=1)
_OF_WHOM: Final = ("competences", "sessions")
"""What the settings say of those whom they name."""

_LineT = TypeVar("_LineT")

_Span = tuple[date, date]
"""From its first day up to, and without, the second."""


@dataclass(frozen=True)
class Today:
    """The civil day at each pathologist's site, and the earliest of them all."""

    of: Mapping[str, date]
    earliest: date

    def at(self, pathologist_id: str) -> date:
        """Return the civil day of somebody; of somebody new, the earliest."""
        return self.of.get(pathologist_id, self.earliest)


def outcome(now: Roster, stated: Mapping[str, Sequence[Any]], today: Today) -> Roster:
    """Return what is to stand: a part that no file states stays as it is.

    What has passed stays, since books and deadlines rest on it: a holiday, leave, the time of a competence. Leave that
    has begun is ended by saying its last day, never by leaving it out. Whoever is not named is inactive.
    """
    in_settings = {one.id for one in now.pathologists if one.source != IMPORT and "pathologists" not in stated}
    parts = {}
    for part in PARTS:
        lines = list(getattr(now, part))
        if part in stated:
            kept = [one for one in lines if part in _OF_WHOM and one.pathologist_id in in_settings]
            others = [one for one in lines if one not in kept] if kept else lines
            lines = [*kept, *_STAYS[part](others, tuple(stated[part]), today)]
        parts[part] = _in_order(part, lines)
    return Roster(**parts)


def _in_order(part: str, lines: Iterable[Any]) -> tuple[Any, ...]:
    return tuple(sorted(lines, key=lambda line: tuple(getattr(line, name) for name in KEYS[part])))


def _as_stated(_now: Sequence[Any], stated: Sequence[Any], _today: Today) -> Iterable[Any]:
    return stated


def _sites(now: Sequence[SiteLine], stated: Sequence[SiteLine], _today: Today) -> Iterable[SiteLine]:
    return (*stated, *_others(now, stated, lambda site: site.id))


def _holidays(now: Sequence[HolidayLine], stated: Sequence[HolidayLine], today: Today) -> Iterable[HolidayLine]:
    others = _others(now, stated, lambda one: (one.calendar, one.day))
    return (*stated, *(one for one in others if one.day < today.earliest))


def _people(now: Sequence[PersonLine], stated: Sequence[PersonLine], _today: Today) -> Iterable[PersonLine]:
    gone = _others(now, stated, lambda one: one.id)
    return (*stated, *(replace(one, active=False, source=IMPORT) for one in gone))


def _competences(
    now: Sequence[CompetenceLine], stated: Sequence[CompetenceLine], today: Today
) -> Iterable[CompetenceLine]:
    said: dict[tuple[str, str], list[_Span]] = defaultdict(list)
    for one in stated:
        said[one.pathologist_id, one.subspecialty].append((one.valid_from, one.valid_to or date.max))
    yield from stated
    others = _others(now, stated, lambda line: (line.pathologist_id, line.subspecialty, line.valid_from))
    taken = {(one.pathologist_id, one.subspecialty, one.valid_from) for one in others}
    for one in others:
        if one.valid_to is not None and one.valid_to <= one.valid_from:
            # A mind that was changed on the same day: it was never so.
            yield one
            continue
        ends = min(one.valid_to or date.max, today.at(one.pathologist_id))
        for begins, until in _without((one.valid_from, ends), said[one.pathologist_id, one.subspecialty]):
            if begins == one.valid_from or (one.pathologist_id, one.subspecialty, begins) not in taken:
                yield replace(one, valid_from=begins, valid_to=until)


def _leave(now: Sequence[LeaveLine], stated: Sequence[LeaveLine], today: Today) -> Iterable[LeaveLine]:
    said: dict[tuple[str, str], list[_Span]] = defaultdict(list)
    for one in stated:
        said[one.pathologist_id, one.kind].append((one.first_day, one.last_day + _DAY))
    taken = {(one.pathologist_id, one.first_day) for one in stated}
    yield from stated
    for one in now:
        key = (one.pathologist_id, one.first_day)
        if key not in taken and one.first_day <= today.at(one.pathologist_id):
            spans = said[one.pathologist_id, one.kind]
            for begins, until in _without((one.first_day, one.last_day + _DAY), spans):
                if (one.pathologist_id, begins) not in taken:
                    taken.add((one.pathologist_id, begins))
                    yield replace(one, first_day=begins, last_day=until - _DAY)


def _without(span: _Span, others: Sequence[_Span]) -> Iterator[_Span]:
    """Yield what is left of a span without others, which do not overlap."""
    begins, until = span
    for first, after in sorted(others):
        if first < until and begins < after:
            if begins < first:
                yield begins, first
            begins = max(begins, after)
    if begins < until:
        yield begins, until


def _others(now: Sequence[_LineT], stated: Sequence[_LineT], key: Callable[[_LineT], object]) -> list[_LineT]:
    named = {key(one) for one in stated}
    return [one for one in now if key(one) not in named]


_STAYS: Final[Mapping[str, Callable[[Any, Any, Today], Iterable[Any]]]] = {
    "networks": _as_stated,
    "network_aid": _as_stated,
    "holidays": _holidays,
    "sites": _sites,
    "pathologists": _people,
    "competences": _competences,
    "sessions": _as_stated,
    "leave": _leave,
    "conflicts": _as_stated,
}
