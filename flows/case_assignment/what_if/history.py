"""What is replayed: the people and the reads of some weeks, as frozen values, and the changes that may be tried."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from flows.case_assignment.candidate import Absence, WeeklySession
from flows.deadlines.calendar import Calendar, Span
from flows.deadlines.targets import Round, counted
from models.errors import RefusedError
from models.policy import Policy

# Enough names to see the one that was meant.
_MOST_LISTED = 12


@dataclass(frozen=True)
class Staff:
    """A pathologist during the weeks that are replayed; ``levels`` as in ``Candidate``, ``zone`` an IANA zone."""

    pathologist_id: str
    name: str
    site_id: str
    zone: str
    points_a_week: float
    levels: Mapping[str, int]
    sessions: tuple[WeeklySession, ...]
    absences: tuple[Absence, ...] = ()


@dataclass(frozen=True)
class Work:
    """One read as it came; a second read names the first in ``after``, whose reader may not have it.

    ``stated_due_at`` is by when somebody asked for it, whatever the policy; the policy's deadlines are counted from
    ``clocks``, without ``pauses``. ``patient`` tells which reads are of one patient. ``reported_at`` and ``reader`` are
    how it really went, if it did.
    """

    read_id: str
    site_id: str
    subspecialty: str
    points: float
    lane: int
    ready_at: datetime
    stated_due_at: datetime | None = None
    clocks: Round | None = None
    pauses: tuple[Span, ...] = ()
    after: str | None = None
    patient: str | None = None
    conflicts: frozenset[str] = frozenset()
    reported_at: datetime | None = None
    reader: str | None = None


@dataclass(frozen=True)
class Region:
    """A network's region, and the networks whose people may read its cases."""

    name: str
    aided_by: tuple[str, ...] = ()


@dataclass(frozen=True)
class History:
    """Some weeks: ``sites`` gives each site's network, ``networks`` each network's region and aid.

    ``calendars`` say when sites work, as far as anybody's deadline depends on it.
    What was open when it begins is among ``work``, ready at that moment or before.
    """

    begins: datetime
    ends: datetime
    sites: Mapping[str, str]
    networks: Mapping[str, Region]
    staff: tuple[Staff, ...]
    work: tuple[Work, ...]
    calendars: Mapping[str, Calendar] = field(default_factory=dict)

    def due(self, policy: Policy) -> dict[str, datetime | None]:
        """Return the ruling deadline of each read under a policy, by its id."""
        return {one.read_id: self._due(one, policy) for one in self.work}

    def _due(self, one: Work, policy: Policy) -> datetime | None:
        moments = [] if one.stated_due_at is None else [one.stated_due_at]
        calendar = self.calendars.get(one.site_id)
        if one.clocks is not None and calendar is not None:
            calendar = replace(calendar, working_day=policy.working_day)
            moments += [deadline.due_at for deadline in counted(policy, one.clocks, calendar, one.pauses)]
        return min(moments, default=None)

    def without(self, name: str) -> "History":
        """Return the same weeks with somebody absent throughout, named by id or by an unmistakable part of the name.

        Raises
        ------
        RefusedError
            Nobody is called so, or more than one.
        """
        person = _named(self.staff, name)
        first, last = self.begins.date() - timedelta(days=1), date.max
        away = replace(person, absences=(*person.absences, Absence(first, last)))
        return replace(self, staff=tuple(away if one is person else one for one in self.staff))

    def with_staff(self, more: Sequence[Staff]) -> "History":
        """Return the same weeks with more people, who work from the first day on.

        Raises
        ------
        RefusedError
            One of them is there already, or works at a site that is not.
        """
        present = {one.pathologist_id for one in self.staff}
        for one in more:
            if one.pathologist_id in present:
                raise RefusedError(f"{one.pathologist_id} reads here already: give the new pathologist another id")
            if one.site_id not in self.sites:
                raise RefusedError(
                    f"{one.pathologist_id} works at {one.site_id}, which is no site: {_listed(self.sites)}"
                )
        return replace(self, staff=(*self.staff, *more))


def today_at(moment: datetime, zone: str) -> date:
    """Return the civil day of a moment in a zone."""
    return moment.astimezone(ZoneInfo(zone)).date()


def _named(staff: Sequence[Staff], name: str) -> Staff:
    exact = [one for one in staff if one.pathologist_id == name]
    found = exact or [one for one in staff if name.casefold() in one.name.casefold()]
    if len(found) == 1:
        return found[0]
    if not found:
        raise RefusedError(f"nobody is called {name!r}: {_listed([one.pathologist_id for one in staff])}")
    raise RefusedError(f"{name!r} may be any of {', '.join(one.pathologist_id for one in found)}: give the id")


def _listed(names: Sequence[str] | Mapping[str, object]) -> str:
    shown = sorted(names)[:_MOST_LISTED]
    more = f" and {len(names) - len(shown)} more" if len(names) > len(shown) else ""
    return f"there are {', '.join(shown)}{more}"
