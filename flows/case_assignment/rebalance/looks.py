"""The looks at all open reads: asked for, under way and over, a row each, so that a kill loses none."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, Literal

from sqlalchemy import ColumnElement, Select, select
from sqlalchemy.orm import Session

from flows import ledger
from models.database import database_now
from models.tables.reading import Assignment, Rebalance

Occasion = Literal["schedule", "absence", "flood"]
"""Why there is a look: its time has come or a person asks for it, somebody can't read, there is far more to read."""

NEXT_LOOK: Final = "the next look at who reads what"
EVERYBODY: Final = "everybody"
"""What the step that looks waits for, and its key."""

THEN: Final = "all open reads are looked at again"

_ASKED, _UNDER_WAY, _OVER = "asked", "under way", "over"
_AS_PLANNED: Final = "its time has come"
_LONGEST_WHY: Final = 200
_GRAVEST: Final[tuple[Occasion, ...]] = ("flood", "absence", "schedule")
_STATE = Rebalance.outcome["state"].as_string()
# Older ones are over: a look that nobody made for so long is made whether it is asked for or not.
_LATELY: Final = timedelta(days=30)


@dataclass(frozen=True)
class Outcome:
    """What came of a look: how many reads might have moved, how many were held back, and what else is kept of it."""

    policy_version: int | None
    reads: int
    held_back: int
    told: Mapping[str, Any]


@dataclass(frozen=True)
class Look:
    """A look that is under way."""

    id: int
    why: str
    occasion: Occasion


def request_rebalance(session: Session, why: str, now: datetime, occasion: Occasion = "absence") -> None:
    """Have all open reads looked at as soon as this is committed, whenever the next look is due.

    Parameters
    ----------
    why
        For people, without names of patients: "Dr Tom is away".
    """
    asked = {"state": _ASKED, "occasion": occasion}
    session.add(_row(why, now, asked))
    session.flush()
    ledger.wake(session, NEXT_LOOK, EVERYBODY)


def is_asked_for(session: Session) -> bool:
    """Return whether a look is asked for that has not begun."""
    return session.scalar(_lately(session, _STATE == _ASKED).limit(1)) is not None


def is_on_its_way(session: Session) -> bool:
    """Return whether a look is asked for or under way."""
    return session.scalar(_lately(session, _STATE != _OVER).limit(1)) is not None


def last_over(session: Session) -> Rebalance | None:
    """Return the last look that came to its end."""
    return session.scalars(
        select(Rebalance).where(_STATE == _OVER).order_by(Rebalance.id.desc()).limit(1)
    ).one_or_none()


def begin(session: Session, now: datetime) -> Look:
    """Begin a look for all reasons that there are, or go on with one that was killed."""
    found = session.scalars(_lately(session, _STATE != _OVER).order_by(Rebalance.id).with_for_update()).all()
    row, *others = found or [_row(_AS_PLANNED, now, {"occasion": "schedule"})]
    whys = list(dict.fromkeys(one.why for one in (row, *others)))
    occasions = {one.outcome["occasion"] for one in (row, *others)}
    row.why = "; ".join(whys)[:_LONGEST_WHY]
    row.outcome = row.outcome | {
        "state": _UNDER_WAY,
        "occasion": next(one for one in _GRAVEST if one in occasions),
        "counted": row.outcome.get("counted", 0),
    }
    row.at = now
    session.add(row)
    for one in others:
        session.delete(one)
    session.flush()
    return Look(row.id, row.why, row.outcome["occasion"])


def note_move(session: Session, look: Look, *, counts: bool) -> None:
    """Count a move in the transaction in which it is made; ``counts`` if only so many of its like are allowed."""
    row = session.get_one(Rebalance, look.id, with_for_update=True)
    row.moved += 1
    row.outcome = row.outcome | {"counted": row.outcome["counted"] + int(counts)}


def end(session: Session, look: Look, came_of_it: Outcome) -> None:
    """Say what came of a look."""
    row = session.get_one(Rebalance, look.id, with_for_update=True)
    row.policy_version, row.reads, row.held_back = came_of_it.policy_version, came_of_it.reads, came_of_it.held_back
    last = session.scalar(select(Assignment.id).order_by(Assignment.id.desc()).limit(1))
    row.outcome = row.outcome | dict(came_of_it.told) | {"state": _OVER, "last_assignment": last or 0}


def moved_lately(session: Session, now: datetime, period: timedelta) -> int:
    """Return how many reads of those that count looks have moved in this period, the one under way included."""
    rows = session.scalars(select(Rebalance.outcome).where(Rebalance.at > now - period))
    return sum(int(outcome.get("counted", 0)) for outcome in rows)


def last_looks(session: Session, most: int) -> list[Rebalance]:
    """Return the last looks, the latest first."""
    return list(session.scalars(select(Rebalance).order_by(Rebalance.id.desc()).limit(most)))


def _lately(session: Session, condition: ColumnElement[bool]) -> Select[Rebalance]:
    return select(Rebalance).where(Rebalance.at > database_now(session) - _LATELY, condition)


def _row(why: str, now: datetime, outcome: dict[str, Any]) -> Rebalance:
    return Rebalance(at=now, why=why[:_LONGEST_WHY], reads=0, moved=0, held_back=0, outcome=outcome)
