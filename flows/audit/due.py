"""A case is due by the earliest of its deadlines that live, and a round that is over has none."""

from collections.abc import Iterator

from sqlalchemy import Select, exists, or_, select
from sqlalchemy.orm import aliased

from flows.audit.snapshots import Books, snapshot
from models.tables.case import Case
from models.tables.deadline import Deadline, DeadlinePause


def cases_are_due_by_their_deadlines(books: Books) -> Iterator[str]:
    """Yield each case that names another deadline than rules it, and each deadline that outlives its round."""
    with snapshot(books.database) as session:
        for case_id in session.scalars(_due_by_nothing()):
            yield f"case {case_id} is due by none of its deadlines that live"
        for case_id in session.scalars(_due_too_late()):
            yield f"case {case_id} has a deadline that is earlier than what it is due by"
        for deadline_id in session.scalars(_beyond_their_rounds()):
            yield f"deadline {deadline_id} lives, and its round is over"


def _due_by_nothing() -> Select[str]:
    lives = (Deadline.case_id == Case.id, Deadline.round == Case.round, Deadline.ended_at.is_(None))
    named = exists().where(*lives, Deadline.kind == Case.due_kind, Deadline.due_at == Case.due_at)
    said = or_(Case.due_at.is_not(None), Case.due_kind.is_not(None))
    return select(Case.id).where(or_(said, exists().where(*lives)), ~named).order_by(Case.id)


def _due_too_late() -> Select[str]:
    """Where a clock stands still, another deadline may rule that is later."""
    earlier = aliased(Deadline)
    lives = (earlier.case_id == Case.id, earlier.ended_at.is_(None), earlier.due_at < Case.due_at)
    paused = exists().where(DeadlinePause.case_id == Case.id, DeadlinePause.ended_at.is_(None))
    return select(Case.id).where(exists().where(*lives), ~paused).order_by(Case.id)


def _beyond_their_rounds() -> Select[str]:
    over = or_(Deadline.round != Case.round, Case.round_closed_at.is_not(None), Case.cancelled)
    joined = select(Deadline.id).join(Case, Case.id == Deadline.case_id)
    return joined.where(Deadline.ended_at.is_(None), over).order_by(Deadline.id)
