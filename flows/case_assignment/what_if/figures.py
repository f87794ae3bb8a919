"""What a replay, or the weeks as they really were, come to: how fast, how late, how even, how much moved."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import ceil, sqrt

from flows.case_assignment.plan.model import NOBODY
from flows.case_assignment.what_if.history import History, Work
from flows.case_assignment.what_if.replay import Replayed
from flows.case_assignment.what_if.roster import roster_of
from flows.fairness import gini
from models.policy import Policy

_DAY = timedelta(days=1)


@dataclass(frozen=True)
class Load:
    """Somebody's points reported in the weeks, over what they could report: 1 is all of their time."""

    pathologist_id: str
    name: str
    relative: float


@dataclass(frozen=True)
class Figures:
    """Shares are of 1; ``None`` where there is nothing to divide by.

    ``turnarounds`` are days from ready to reported, sorted, of every read that was; ``late`` is the share of points
    with a deadline that missed it, reported or not. ``spread`` is the coefficient of variation of relative loads,
    ``gini`` their Gini coefficient. ``moved`` counts changes of hand for each hundred reads.
    """

    reads: int
    waiting: int
    turnarounds: tuple[float, ...]
    late: float | None
    spread: float | None
    gini: float | None
    moved: float | None
    other_site: float | None
    other_network: float | None
    loads: tuple[Load, ...]

    def turnaround(self, share: float) -> float | None:
        """Return within how many days this share of the reads was reported; ``None`` if so many never were."""
        at = max(0, ceil(share * self.reads) - 1)
        return self.turnarounds[at] if at < len(self.turnarounds) else None


def figures_of(replayed: Replayed) -> Figures:
    """Return the figures of a replay."""
    staff = replayed.history.staff
    done = [
        _Done(one.work, one.due_at, None if one.owner == NOBODY else staff[one.owner].pathologist_id, one.reported_at)
        for one in replayed.readings
    ]
    moves = sum(one.moves for one in replayed.readings)
    return _figures(replayed.history, done, replayed.capacity, moves)


def recorded(history: History, policy: Policy) -> Figures:
    """Return the figures of the weeks as they were, by the deadlines of a policy; what moved then is not known."""
    due = history.due(policy)
    roster = roster_of(history.staff, history.begins, history.ends)
    done = [_Done(one, due[one.read_id], one.reader, one.reported_at) for one in history.work]
    return _figures(history, done, roster.between(0, roster.ticks).tolist(), None)


@dataclass(frozen=True)
class _Done:
    work: Work
    due_at: datetime | None
    reader: str | None
    reported_at: datetime | None


def _figures(history: History, done: Sequence[_Done], capacity: Sequence[float], moves: int | None) -> Figures:
    loads = _loads(history, done, capacity)
    even = [one.relative for one in loads]
    home = {one.pathologist_id: one.site_id for one in history.staff}
    read = [(one.work, home[one.reader]) for one in done if one.reader in home]
    due = [one for one in done if one.due_at is not None]
    return Figures(
        reads=len(done),
        waiting=sum(1 for one in done if one.reported_at is None),
        turnarounds=tuple(sorted((one.reported_at - one.work.ready_at) / _DAY for one in done if one.reported_at)),
        late=_share((one.work.points, _is_late(one, history.ends)) for one in due),
        spread=_spread(even),
        gini=gini(even),
        moved=None if moves is None or not done else 100 * moves / len(done),
        other_site=_share((work.points, work.site_id != at) for work, at in read),
        other_network=_share((work.points, history.sites[work.site_id] != history.sites[at]) for work, at in read),
        loads=loads,
    )


def _is_late(one: _Done, ends: datetime) -> bool:
    assert one.due_at is not None  # noqa: S101 - the caller chose those that are due
    return (one.reported_at or max(ends, one.due_at + _DAY)) > one.due_at


def _loads(history: History, done: Sequence[_Done], capacity: Sequence[float]) -> tuple[Load, ...]:
    reported = dict.fromkeys((one.pathologist_id for one in history.staff), 0.0)
    for one in done:
        if one.reader in reported and one.reported_at is not None and one.reported_at < history.ends:
            reported[one.reader] += one.work.points
    return tuple(
        Load(one.pathologist_id, one.name, reported[one.pathologist_id] / could)
        for one, could in zip(history.staff, capacity, strict=True)
        if could > 0
    )


def _share(weighed: Iterable[tuple[float, bool]]) -> float | None:
    found = list(weighed)
    total = sum(points for points, _counts in found)
    return sum(points for points, counts in found if counts) / total if total else None


def _spread(values: Sequence[float]) -> float | None:
    mean = sum(values) / len(values) if values else 0.0
    return sqrt(sum((one - mean) ** 2 for one in values) / len(values)) / mean if mean else None
