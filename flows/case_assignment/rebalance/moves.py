"""Which reads should lie elsewhere: those that have to go now, then what is worth a move, no more than is allowed."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import islice
from math import ceil
from typing import Final, Literal, get_args

import numpy as np

from flows.case_assignment.eligibility import ruled_out_at_once
from flows.case_assignment.hours import absence_at
from flows.case_assignment.plan.model import NOBODY, Flags, Ints, Model
from flows.case_assignment.plan.objective import Objective, objective
from flows.case_assignment.plan.plan import Plan
from flows.case_assignment.plan.search import improve, improve_largest_first
from flows.case_assignment.plan.solve import solve
from flows.case_assignment.rebalance.looks import Occasion
from flows.case_assignment.rebalance.record import Verdict, Weighing
from flows.case_assignment.rebalance.snapshot import Snapshot

Because = Literal[
    "nobody has it",
    "its reader is away",
    "its reader may not have it",
    "its reader can't read it in time",
    "it would be late",
    "it is better so",
]

_ORDER: Final[tuple[Because, ...]] = get_args(Because)
_MAY_STAY: Final = ("it would be late", "it is better so")
_MOST_ROUNDS: Final = 10
_NEVER: Final = datetime.max.replace(tzinfo=UTC)
_MOST_AFTER_ABSENCE: Final = 0.02
"""Of the unopened reads, beyond those of whoever is absent: others hardly notice that somebody is ill."""


@dataclass(frozen=True)
class Move:
    """One read that should go to ``to_id``, and what speaks for that.

    A read that nobody has, or whose reader may not have it any more, has to go whatever that costs.
    """

    read_id: str
    case_id: str
    role: str
    lane: int
    from_id: str | None
    assignment_id: int | None
    to_id: str
    because: Because
    verdict: Verdict

    @property
    def gain(self) -> float:
        """How many points more it would cost to leave the read where it is; nothing when it can't stay."""
        return self.verdict.saves_over(self.from_id)

    @property
    def has_to_go(self) -> bool:
        """Whether its present reader, if there is one, can't have it any more."""
        return self.because not in _MAY_STAY

    @property
    def counts(self) -> bool:
        """Whether it is one of those of which there may be only so many."""
        return self.because == "it is better so"


@dataclass(frozen=True)
class Proposal:
    """What a look proposes: the moves in the order in which they are to be made, and J without and with them.

    ``reads`` are unopened reads that may be moved at all, ``quiet`` those that came or moved too lately, ``held_back``
    moves that would be worth it, but for how many are allowed.
    """

    moves: tuple[Move, ...]
    reads: int
    quiet: int
    held_back: int
    before: Objective
    after: Objective


def in_swaps(moves: Sequence[Move]) -> Iterator[tuple[Move, ...]]:
    """Yield the moves in their order, and as one those two by which the same people exchange reads: half of it is none.

    A read that has to go does so whatever becomes of others.
    """
    done: set[str] = set()
    for at, move in enumerate(moves, start=1):
        if move.read_id in done:
            continue
        later = (one for one in islice(moves, at, None) if one.read_id not in done)
        other = next((one for one in later if _is_exchanged(move, one)), None)
        done |= set() if other is None else {other.read_id}
        yield (move,) if other is None else (move, other)


def _is_exchanged(move: Move, other: Move) -> bool:
    return not move.has_to_go and not other.has_to_go and (move.from_id, move.to_id) == (other.to_id, other.from_id)


def propose(seen: Snapshot, model: Model, occasion: Occasion, moved_lately: int = 0) -> Proposal:
    """Return what should move.

    Parameters
    ----------
    moved_lately
        How many reads looks have moved since the last one was due, of those that count: together no more than allowed.
    """
    look = _Look(seen, model)
    placed = look.with_what_has_to_go()
    least, held_back = placed.owner.copy(), 0
    if occasion == "flood":
        owner = look.anew()
    else:
        most = _most_moved(seen, occasion, int(look.movable.sum()))
        owner, held_back = look.improved(placed, max(0, most - moved_lately))
    gain = objective(model, least).total - objective(model, owner).total
    if gain < seen.in_force.policy.batch.smallest_gain:
        owner, held_back = least, 0
    plan = look.polished(owner)
    now = np.where(model.pinned == NOBODY, model.present, model.pinned)
    return Proposal(
        moves=look.moves(plan),
        reads=int(look.movable.sum()),
        quiet=int(look.quiet.sum()),
        held_back=held_back,
        before=objective(model, now),
        after=objective(model, plan.owner),
    )


def _most_moved(seen: Snapshot, occasion: Occasion, reads: int) -> int:
    """Return how many may move that need not; by the clock at least one, so that a small laboratory evens out too."""
    share = seen.in_force.policy.batch.most_moved_share
    return ceil(share * reads) if occasion == "schedule" else int(min(share, _MOST_AFTER_ABSENCE) * reads)


class _Look:
    """Reads by what may become of them, each of shape (T,)."""

    def __init__(self, seen: Snapshot, model: Model) -> None:
        self._seen, self._model, self._weighing = seen, model, Weighing(seen, model)
        self._number = {person.pathologist_id: p for p, person in enumerate(seen.people)}
        quiet_since = seen.at - timedelta(hours=seen.in_force.policy.batch.quiet_hours)
        lately = np.array([one.since is not None and one.since > quiet_since for one in seen.reads], np.bool_)
        stays = np.array([one.stays is not None for one in seen.reads], np.bool_)
        unpinned = model.pinned == NOBODY
        self.leaves: Flags = unpinned & (model.settled == NOBODY)
        self.movable: Flags = unpinned & (~stays | self.leaves)
        self.free: Flags = self.movable
        self.late: Flags = self.movable & ~self.leaves & self._would_be_late()
        self.quiet: Flags = self.movable & ~self.leaves & ~self.late & lately
        self.free = self.movable & ~self.quiet
        self._counted: Flags = self.free & ~self.leaves & ~self.late

    def with_what_has_to_go(self) -> Plan:
        """Return the present, and in it what nobody has or whose reader is away with somebody else."""
        plan = self._plan(np.where(self.leaves, NOBODY, self._model.settled))
        going = np.flatnonzero(self.leaves)
        for read in going[np.lexsort((going, -self._model.points[going]))].tolist():
            plan.place(read)
        return plan

    def improved(self, placed: Plan, most: int) -> tuple[Ints, int]:
        """Return who has each read when what is worth it moves, and how many more would if that were allowed."""
        improve_largest_first(placed, range(self._model.people), self._counted, most)
        owner = placed.owner.copy()
        if np.array_equal(placed.free, self.free):
            return owner, 0
        placed.free = self.free
        improve(placed, range(self._model.people))
        return owner, int((placed.owner != owner).sum())

    def anew(self) -> Ints:
        """Return who has each read in a plan of everything that is free."""
        kept = np.where(self.free, self._model.pinned, self._model.settled)
        present = np.where(self.free, self._model.present, NOBODY)
        return solve(replace(self._model, pinned=kept, present=present), 0)

    def polished(self, owner: Ints) -> Plan:
        """Return a plan with each read that moves where it costs least, all others being where they are."""
        plan = self._plan(owner)
        for _ in range(_MOST_ROUNDS):
            before = plan.owner.copy()
            for read in np.flatnonzero(self._moves_in(plan)).tolist():
                has = int(plan.owner[read])
                plan.give(read, NOBODY)
                verdict = self._weighing.best(plan, read)
                plan.give(read, has if verdict is None else self._number[verdict.best[0].pathologist_id])
            if np.array_equal(before, plan.owner):
                break
        return plan

    def moves(self, plan: Plan) -> tuple[Move, ...]:
        """Return what lies elsewhere than now: what nobody has first, then by lane, by deadline, by what it gains."""
        found = list(self._moves(plan))
        due = {one.wanted.read_id: one.wanted.due_at for one in self._seen.reads}
        found.sort(
            key=lambda one: (
                *(_ORDER.index(one.because), one.lane, due[one.read_id] or _NEVER),
                *(-round(one.gain, 6), one.read_id),
            )
        )
        return tuple(found)

    def _moves(self, plan: Plan) -> Iterator[Move]:
        for t in np.flatnonzero(self._moves_in(plan)).tolist():
            one, to = self._seen.reads[t], int(plan.owner[t])
            plan.give(t, NOBODY)
            verdict, ruled_out = self._weighing.best(plan, t), self._weighing.ruled_out(plan, t)
            plan.give(t, to)
            if verdict is None:
                continue
            want = one.wanted
            whose = (want.read_id, want.case_id, want.role, want.lane, one.owner, one.assignment_id)
            to_id = self._seen.people[to].pathologist_id
            yield Move(*whose, to_id, self._because(t), replace(verdict, ruled_out=ruled_out))

    def _moves_in(self, plan: Plan) -> Flags:
        """Whether each read lies elsewhere than now."""
        moves: Flags = self.movable & (plan.owner != NOBODY) & (plan.owner != self._model.present)
        return moves

    def _because(self, read: int) -> Because:
        one, had = self._seen.reads[read], int(self._model.present[read])
        if not self.leaves[read]:
            return "it would be late" if self.late[read] else "it is better so"
        if one.owner is None:
            return "nobody has it"
        if had == NOBODY or one.owner in self._seen.absent:
            return "its reader is away"
        reader = self._seen.people[had]
        if ruled_out_at_once(one.wanted, reader) is not None:
            return "its reader may not have it"
        on_leave = absence_at(reader, self._seen.at) is not None
        return "its reader is away" if on_leave else "its reader can't read it in time"

    def _would_be_late(self) -> Flags:
        """Whether more falls due on a read's desk by its class than can be reported there."""
        over = self._plan(self._model.settled).over > 0
        owner = self._model.settled
        due = self._model.dues > 0
        late: Flags = np.any(due & over[:, np.maximum(owner, 0)], axis=0) & (owner != NOBODY)
        return late

    def _plan(self, owner: Ints) -> Plan:
        plan = Plan(self._model, self._model.preference, self.free)
        for read in np.flatnonzero(owner != NOBODY).tolist():
            plan.give(read, int(owner[read]))
        return plan
