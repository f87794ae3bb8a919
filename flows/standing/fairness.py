"""How evenly reads are spread over the people of a group, as somebody may see it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final, Literal

from sqlalchemy import bindparam, func, select
from sqlalchemy.orm import Session

from flows.case_assignment.candidate import GENERAL, Candidate
from flows.case_assignment.hours import roster_of, seconds_a_week
from flows.case_assignment.load import load_of
from flows.fairness import Able, Did, Evenness, compare
from flows.people.candidates import load_candidates
from flows.people.policies import policy_in_force
from models.base import table_of
from models.facets import Lane
from models.policy import Fairness
from models.tables.case import Case
from models.tables.reading import Assignment, Credit, Read

# Trainees read ahead of others: what they may read is not theirs to report.
_READS: Final = (1, 2)
# With fewer, what is said of the group tells what its other people have.
_FEWEST_TO_HIDE_AMONG: Final = 4
_MOST_POINTS: Final = 1e6
_STEPS: Final = {"day": timedelta(days=1), "week": timedelta(days=7)}

Step = Literal["day", "week"]

_CREDIT, _ASSIGNMENT, _READ, _CASE = (table_of(one) for one in (Credit, Assignment, Read, Case))
_REPORTED = select(
    *(_CREDIT.c.pathologist_id, _CREDIT.c.points, _CREDIT.c.subspecialty, _CREDIT.c.lane, _CREDIT.c.credited_at)
).where(_CREDIT.c.credited_at >= bindparam("since"), _CREDIT.c.points > 0, _CREDIT.c.points < _MOST_POINTS)
_OPEN = (
    select(
        *(_ASSIGNMENT.c.pathologist_id, _READ.c.points),
        func.coalesce(_READ.c.subspecialty, _CASE.c.subspecialty, GENERAL).label("subspecialty"),
        _CASE.c.lane,
    )
    .join(_READ, _READ.c.id == _ASSIGNMENT.c.read_id)
    .join(_CASE, _CASE.c.id == _READ.c.case_id)
    .where(_ASSIGNMENT.c.ended_at.is_(None), _READ.c.closed_at.is_(None))
    .where(_READ.c.points > 0, _READ.c.points < _MOST_POINTS)
)


@dataclass(frozen=True)
class Group:
    """Whose loads are beside each other: all who read, or those of a site, a network, in a subspecialty."""

    site: str | None = None
    network: str | None = None
    subspecialty: str | None = None

    def has(self, one: Candidate) -> bool:
        """Return whether somebody belongs to it."""
        return (
            one.active
            and self.site in (None, one.site_id)
            and self.network in (None, one.network_id)
            and (self.subspecialty is None or one.levels.get(self.subspecialty) in _READS)
        )


@dataclass(frozen=True)
class Shown:
    """What somebody may see of a group: ``hidden`` counts those whose figures are not theirs to see."""

    group: Group
    window_days: int
    large_points: float
    evenness: Evenness
    hidden: int


@dataclass(frozen=True)
class Summary:
    """A group in one line: how many it has, how loaded they are and how evenly."""

    group: Group
    people: int
    evenness: Evenness


def fairness_of(
    session: Session,
    now: datetime,
    group: Group | None = None,
    *,
    weeks: int | None = None,
    step: Step = "week",
    viewer: str | None = None,
) -> Shown:
    """Return how even the loads of a group are, with everybody's figures that the viewer may see.

    Relative load is over all that somebody has, whatever group is looked at, by the very capacity that decisions use;
    in a subspecialty, the shares of large and urgent reads are of its reads alone.

    Parameters
    ----------
    weeks
        How far back; by default the window of the policy.
    step
        The length of each period of the series.
    viewer
        The pathologist who looks: without the policy's leave, they see themselves and, of at least four people, what
        is said of all. ``None`` is a manager, who sees everybody.
    """
    group, rules = group or Group(), policy_in_force(session, now).policy.fairness
    books = _Books(session, now, rules, weeks)
    evenness = books.evenness(group, step)
    shown = Shown(group, books.days, rules.large_points, evenness, hidden=0)
    return shown if viewer is None or rules.peers_see else _hide_others(shown, viewer)


def summaries_of(session: Session, now: datetime, *, weeks: int | None = None) -> tuple[Summary, ...]:
    """Return every network, site and subspecialty in one line, for a manager; those with nobody are left out."""
    rules = policy_in_force(session, now).policy.fairness
    books = _Books(session, now, rules, weeks)
    return tuple(
        Summary(group, len(evenness.people), evenness)
        for group in books.groups()
        if (evenness := books.evenness(group, None)).people
    )


class _Books:
    """Everybody who reads, with what they have and had."""

    def __init__(self, session: Session, now: datetime, rules: Fairness, weeks: int | None) -> None:
        self.days = rules.window_days if weeks is None else 7 * weeks
        self._now = now
        self._people = load_candidates(session, now, window_days=self.days, lock_pool=False)
        self._reads = tuple(_reads(session, now - timedelta(days=self.days), rules.large_points))

    def groups(self) -> Iterator[Group]:
        active = [one for one in self._people if one.active]
        yield from (Group(network=one) for one in sorted({one.network_id for one in active if one.network_id}))
        yield from (Group(site=one) for one in sorted({one.site_id for one in active}))
        yield from (Group(subspecialty=one) for one in sorted({name for each in active for name in each.levels}))

    def evenness(self, group: Group, step: Step | None) -> Evenness:
        periods = self._periods(step) if step else ()
        people = [self._able(one, periods) for one in self._people if group.has(one)]
        return compare(people, (_as_seen(read, group) for read in self._reads), periods)

    def _periods(self, step: Step) -> tuple[tuple[datetime, datetime], ...]:
        length, begun = _STEPS[step], self._now - timedelta(days=self.days)
        count = -(-timedelta(days=self.days) // length)
        ends = [self._now - number * length for number in range(count)]
        return tuple((max(begun, end - length), end) for end in reversed(ends))

    def _able(self, one: Candidate, periods: Sequence[tuple[datetime, datetime]]) -> Able:
        week = seconds_a_week(one.sessions)
        pace = one.points_a_week / week if week else 0.0
        roster = roster_of(one, self._now, self.days)
        until = [roster.seconds_until(at.timestamp()) for period in periods for at in period]
        return Able(
            pathologist_id=one.pathologist_id,
            name=one.name,
            site_id=one.site_id,
            capacity=load_of(one, self._now, self.days).capacity,
            by_period=tuple(pace * (ends - begins) for begins, ends in zip(until[::2], until[1::2], strict=True)),
        )


@dataclass(frozen=True)
class _ReadOf:
    did: Did
    subspecialty: str


def _reads(session: Session, since: datetime, large_points: float) -> Iterator[_ReadOf]:
    for person, points, subspecialty, lane, at in session.execute(_REPORTED, {"since": since}):
        yield _ReadOf(Did(person, points, points >= large_points, lane <= Lane.URGENT, at), subspecialty)
    for person, points, subspecialty, lane in session.execute(_OPEN):
        yield _ReadOf(Did(person, points, points >= large_points, lane <= Lane.URGENT), subspecialty)


def _as_seen(read: _ReadOf, group: Group) -> Did:
    """Return a read as a group looks at it: of other subspecialties, the load alone counts."""
    if group.subspecialty in (None, read.subspecialty):
        return read.did
    return replace(read.did, is_large=False, is_urgent=False)


def _hide_others(shown: Shown, viewer: str) -> Shown:
    everybody = shown.evenness
    own = tuple(one for one in everybody.people if one.pathologist_id == viewer)
    if len(everybody.people) < _FEWEST_TO_HIDE_AMONG:
        evenness = Evenness(own, everybody.able, mean=None, gini=None, highest=None, series=())
    else:
        # Who has most is nobody's but their own to know.
        evenness = replace(everybody, people=own, highest=None)
    return replace(shown, evenness=evenness, hidden=len(everybody.people) - len(own))
