"""Which alerts are over: what they told of is no longer so, whoever or whatever saw to it."""

from datetime import datetime

from sqlalchemy import ColumnElement, Select, and_, exists, func, or_, select, update
from sqlalchemy.orm import Session, aliased

from flows.journey import STAGE_OF_KIND
from models.base import table_of
from models.facets import OPEN_STEP_STATES, StepState
from models.tables.books import Alert
from models.tables.reading import Assignment, Leave, Pathologist
from models.tables.step import Step

WAITS_TOO_LONG = "waits too long"
NEEDS_A_PERSON = "needs a person"
SET_ASIDE = "set aside"
READER_ABSENT = "reader absent"
"""A read of somebody who is away now, or gone, that no machine hands on: they had opened it, or nobody else may."""
READER_UNFIT = "reader may not have it"
"""A read that its reader may not have by the rules any more, and that no machine hands on."""

_ALERT = table_of(Alert)
_MOST_AT_ONCE = 500


def keeps_failing(kind: str) -> str:
    """Return the kind of the alert about a kind of step that fails again and again."""
    return f"{kind} keeps failing"


def over() -> Select[int]:
    """Find open alerts about steps that have come out of their trouble."""
    of_subject = Step.subject_id == _ALERT.c.subject_id
    is_open = and_(of_subject, Step.state.in_(OPEN_STEP_STATES))
    # A step whose wait ended by its time runs for a moment, as a rule to wait again.
    waits = exists().where(is_open, or_(Step.waiting_for.is_not(None), Step.expired))
    newer = aliased(Step)
    redone = exists().where(
        newer.subject_id == Step.subject_id, newer.kind == Step.kind, newer.generation > Step.generation
    )
    stands_aside = exists().where(of_subject, Step.state == StepState.SET_ASIDE, ~redone)
    left_lying = exists().where(
        *(Assignment.read_id == _ALERT.c.subject_id, Assignment.ended_at.is_(None)),
        # Their days end some hours earlier or later than ours.
        *(Leave.pathologist_id == Assignment.pathologist_id, Leave.last_day >= func.current_date()),
    )
    left_behind = exists().where(
        *(Assignment.read_id == _ALERT.c.subject_id, Assignment.ended_at.is_(None)),
        *(Pathologist.id == Assignment.pathologist_id, Pathologist.active.is_(False)),
    )
    as_it_was_given = exists().where(
        *(Assignment.read_id == _ALERT.c.subject_id, Assignment.ended_at.is_(None)),
        *(Assignment.started_at <= _ALERT.c.raised_at, Assignment.manual.is_(False)),
    )
    gone = [
        _gone(READER_UNFIT, as_it_was_given),
        _gone(READER_ABSENT, or_(left_lying, left_behind)),
        _gone(WAITS_TOO_LONG, waits),
        _gone(NEEDS_A_PERSON, waits),
        _gone(SET_ASIDE, stands_aside),
        *(
            _gone(keeps_failing(kind), exists().where(is_open, Step.kind == kind, Step.tries > 0))
            for kind in STAGE_OF_KIND
        ),
    ]
    return select(_ALERT.c.id).where(_ALERT.c.cleared_at.is_(None), or_(*gone)).limit(_MOST_AT_ONCE)


def clear(session: Session, at: datetime) -> int:
    """Clear the alerts that are over; return how many."""
    found = session.scalars(over().with_for_update(skip_locked=True)).all()
    session.execute(update(_ALERT).where(_ALERT.c.id.in_(found)).values(cleared_at=at))
    return len(found)


def _gone(kind: str, still_so: ColumnElement[bool]) -> ColumnElement[bool]:
    return and_(_ALERT.c.kind == kind, ~still_so)
