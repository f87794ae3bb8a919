"""The replay: reads come as they came, the rules give them out, people report what is on their desk, tick by tick."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final

import numpy as np

from flows.case_assignment.plan.instance import Case, Instance, Network, Person
from flows.case_assignment.plan.instance import Policy as PlanPolicy
from flows.case_assignment.plan.model import NOBODY, Model, model_of
from flows.case_assignment.plan.online import assign_one_by_one
from flows.case_assignment.plan.solve import solve
from flows.case_assignment.what_if.history import History, Work
from flows.case_assignment.what_if.roster import TICK, Roster, roster_of
from models.policy import Policy

RUN_OUT: Final = timedelta(days=28)
"""So much longer people go on, without new reads, so that what came last has its turnaround too."""

_CLASSES: Final = tuple(timedelta(days=days) for days in (1, 2, 3, 5, 10))
"""Deadline classes: each ends so long after the moment of a decision."""
_MINUTE: Final = timedelta(minutes=1)
# Who leads may read second: a subspecialty of its own to the plan, in which only leads are competent.
_SECOND: Final = " second"
_LEAD: Final = 1
_SMALLEST: Final = 1e-9

Progress = Callable[[int, int], None]
"""Told how many ticks of how many are over."""


@dataclass
class Reading:
    """One read on its way: whose it is and since when, what is left of it, and when it was reported by whom."""

    work: Work
    left: float
    due_at: datetime | None = None
    owner: int = NOBODY
    given_at: datetime | None = None
    is_opened: bool = False
    moves: int = 0
    reported_at: datetime | None = None

    @property
    def urgency(self) -> tuple[int, datetime, datetime, str]:
        """Who is read first: by lane, deadline and age."""
        work = self.work
        return work.lane, self.due_at or datetime.max.replace(tzinfo=work.ready_at.tzinfo), work.ready_at, work.read_id


@dataclass(frozen=True)
class Replayed:
    """What became of each read, in the order of their ids, and what each person could report in the weeks."""

    history: History
    readings: tuple[Reading, ...]
    capacity: tuple[float, ...]


def replay(history: History, policy: Policy, progress: Progress = lambda _over, _of: None) -> Replayed:
    """Let the weeks happen under a policy; the same history and policy give the same outcome.

    Assignments are decided at the ends of ticks of half an hour, one by one as the plan's online rule has it; the batch
    looks again as often as the policy says. People report what is most urgent on their desk, at an even pace during
    their sessions. A second read is given out once the first has somebody.
    """
    return _Replay(history, policy).run(progress)


@dataclass
class _Replay:
    history: History
    policy: Policy
    desks: list[list[Reading]] = field(init=False)
    open: dict[str, Reading] = field(init=False, default_factory=dict)
    """What nobody has reported yet, by id."""
    readings: dict[str, Reading] = field(init=False)
    last_reader: dict[str, int] = field(init=False, default_factory=dict)
    """Of each patient's reads, who reported the last."""
    reported: np.ndarray[tuple[int], np.dtype[np.float64]] = field(init=False)

    def __post_init__(self) -> None:
        staff = self.history.staff
        self.desks = [[] for _ in staff]
        due = self.history.due(self.policy)
        self.readings = {
            work.read_id: Reading(work, work.points, due[work.read_id])
            for work in sorted(self.history.work, key=_by_id)
        }
        self.reported = np.zeros(len(staff))
        self.roster = roster_of(staff, self.history.begins, self.history.ends + RUN_OUT)
        self.window = -(-(self.history.ends - self.history.begins) // TICK)
        self.number = {one.pathologist_id: row for row, one in enumerate(staff)}
        self.frame = _Frame(self.history, self.policy, self.roster, self.window)

    def run(self, progress: Progress) -> Replayed:
        """Go through all ticks, as long as something is open or to come."""
        to_come = sorted(self.readings.values(), key=lambda one: (one.work.ready_at, one.work.read_id), reverse=True)
        look_again = timedelta(minutes=self.policy.batch.every_minutes)
        looked_at = self.history.begins
        for tick in range(self.roster.ticks):
            now = self.roster.moment(tick + 1)
            if not to_come and not self.open:
                break
            self._work(tick)
            is_new = False
            while to_come and to_come[-1].work.ready_at <= now:
                one = to_come.pop()
                self.open[one.work.read_id] = one
                is_new = True
            if tick < self.window and now - looked_at >= look_again:
                self._rebalance(tick + 1, now)
                looked_at = now
            if is_new or any(one.owner == NOBODY for one in self.open.values()):
                self._give_out(tick + 1, now)
            progress(tick + 1, self.roster.ticks)
        capacity = self.roster.between(0, self.window)
        return Replayed(self.history, tuple(self.readings.values()), tuple(capacity.tolist()))

    def _work(self, tick: int) -> None:
        """Let everybody report for one tick."""
        for person, points in enumerate(self.roster.in_tick(tick).tolist()):
            left, all_in = points, points
            desk = self.desks[person]
            while left > _SMALLEST and desk:
                one = min(desk, key=lambda one: (not one.is_opened, one.urgency))
                one.is_opened = True
                done = min(left, one.left)
                one.left -= done
                left -= done
                if one.left > _SMALLEST:
                    break
                desk.remove(one)
                self._report(one, person, self.roster.moment(tick) + (1 - left / all_in) * TICK)

    def _report(self, one: Reading, person: int, at: datetime) -> None:
        one.left, one.reported_at = 0.0, at
        del self.open[one.work.read_id]
        if at < self.history.ends:
            self.reported[person] += one.work.points
        if one.work.patient is not None:
            self.last_reader[one.work.patient] = person

    def _give_out(self, tick: int, now: datetime) -> None:
        """Give what nobody has to somebody; where nobody can make the deadline, to whoever can read it at all."""
        for is_in_time in (True, False):
            while waiting := {one.work.read_id for one in self._askable() if one.owner == NOBODY}:
                reads, model = self._snapshot(tick, now, is_in_time=is_in_time)
                owner, _took = assign_one_by_one(model, keep_assigned=True)
                given = [
                    (one, who)
                    for one, who in zip(reads, owner.tolist(), strict=True)
                    if one.work.read_id in waiting and who != NOBODY
                ]
                for one, who in given:
                    self._move(one, who, now)
                if not given:
                    break

    def _rebalance(self, tick: int, now: datetime) -> None:
        """Look at all unopened reads again, as far as the policy lets them move."""
        reads, model = self._snapshot(tick, now, is_in_time=True)
        if not reads:
            return
        owner = solve(model, 0).tolist()
        changed = [
            (one, who)
            for one, who in zip(reads, owner, strict=True)
            if NOBODY not in {who, one.owner} and who != one.owner
        ]
        movable = sum(1 for one in reads if one.owner != NOBODY and not one.is_opened)
        most = int(self.policy.batch.most_moved_share * movable)
        may_stay = {one.work.read_id for column, one in enumerate(reads) if model.may[one.owner, column]}
        for one, who in sorted(changed, key=lambda pair: (pair[0].work.read_id in may_stay, pair[0].urgency)):
            if one.work.read_id in may_stay:
                most -= 1
                if most < 0:
                    break
            self.desks[one.owner].remove(one)
            one.moves += 1
            self._move(one, who, now)

    def _move(self, one: Reading, who: int, now: datetime) -> None:
        one.owner, one.given_at = who, now
        self.desks[who].append(one)

    def _askable(self) -> Iterator[Reading]:
        """Return the open reads that can be given out: a second read only once its first has somebody."""
        for one in self.open.values():
            if one.work.after is None or self.readings[one.work.after].owner != NOBODY:
                yield one

    def _snapshot(self, tick: int, now: datetime, *, is_in_time: bool) -> tuple[Sequence[Reading], Model]:
        reads = sorted(self._askable(), key=lambda one: _by_id(one.work))
        cases = tuple(self._case(one, now, is_in_time=is_in_time) for one in reads)
        model = model_of(self.frame.instance(tick, cases, self.reported))
        a_day = self.policy.weights.wait_a_day
        waits = np.array([a_day[one.work.lane] * one.left * (not one.is_opened) for one in reads])
        return reads, replace(model, preference=model.preference + np.outer(self.roster.days_to_wait(tick), waits))

    def _case(self, one: Reading, now: datetime, *, is_in_time: bool) -> Case:
        work, staff = one.work, self.history.staff
        conflicts = set(work.conflicts)
        if work.after is not None:
            conflicts.add(staff[self.readings[work.after].owner].pathologist_id)
        owner = None if one.owner == NOBODY else staff[one.owner].pathologist_id
        quiet = timedelta(hours=self.policy.batch.quiet_hours)
        stays = one.is_opened or (one.given_at is not None and now - one.given_at < quiet)
        last = self.last_reader.get(work.patient) if work.patient is not None else None
        return Case(
            id=work.read_id,
            site=work.site_id,
            subspecialty=work.subspecialty + (_SECOND if work.after is not None else ""),
            points=one.left,
            ready_min=(work.ready_at - now) / _MINUTE,
            due_min=_due(one.due_at, now, is_in_time=is_in_time),
            previous=None if last is None or work.after is not None else staff[last].pathologist_id,
            conflicts=tuple(sorted(conflicts)),
            double=False,
            state="unassigned" if owner is None else "opened" if stays else "assigned",
            current=owner,
            manual=None,
        )


def _by_id(work: Work) -> str:
    return work.read_id


def _due(due_at: datetime | None, now: datetime, *, is_in_time: bool) -> float:
    """Return the minutes until a read is due; one that can't be read in time is due with the last class."""
    latest = _CLASSES[-1] / _MINUTE
    if due_at is None or not is_in_time or due_at <= now:
        return latest
    return min(latest, (due_at - now) / _MINUTE)


class _Frame:
    """What of a snapshot does not depend on the reads."""

    def __init__(self, history: History, policy: Policy, roster: Roster, window: int) -> None:
        self._history, self._roster = history, roster
        weights = policy.weights
        self._policy = PlanPolicy(
            w_late=weights.late,
            w_balance=weights.balance,
            c_cross_site=weights.other_site,
            c_cross_network=weights.other_network,
            c_secondary=weights.second_level,
            c_continuity=weights.continuity,
            c_move=weights.move,
            bucket_ends_min=tuple(end / _MINUTE for end in _CLASSES),
        )
        self._networks = {
            name: Network(name, one.name, tuple(sorted(one.aided_by))) for name, one in sorted(history.networks.items())
        }
        known = {work.subspecialty for work in history.work} | {name for one in history.staff for name in one.levels}
        self._scopes = {}
        for name in sorted(known):
            self._scopes[name] = self._scopes[name + _SECOND] = policy.of(name).scope
        total = roster.between(0, max(window, timedelta(days=policy.fairness.window_days) // TICK))
        self._people = tuple(
            Person(
                id=one.pathologist_id,
                site=one.site_id,
                fte=1.0,
                competences={**one.levels, **{name + _SECOND: 1 for name, at in one.levels.items() if at == _LEAD}},
                capacity=float(total[row]),
                carry=0.0,
                cum_capacity=(),
            )
            for row, one in enumerate(history.staff)
        )

    def instance(
        self, tick: int, cases: tuple[Case, ...], reported: "np.ndarray[tuple[int], np.dtype[np.float64]]"
    ) -> Instance:
        """Return the snapshot at the beginning of a tick."""
        left = np.stack([self._roster.between(tick, tick + int(end / TICK)) for end in _CLASSES], axis=1).tolist()
        people = tuple(
            replace(one, carry=float(reported[row]), cum_capacity=tuple(left[row]))
            for row, one in enumerate(self._people)
        )
        return Instance(self._policy, self._networks, self._scopes, dict(self._history.sites), people, cases)
