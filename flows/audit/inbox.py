"""Nothing that came in is forgotten: every message that is kept will be applied, every other one was dealt with."""

from collections.abc import Iterator
from typing import Final

from sqlalchemy import ColumnElement, and_, or_, select
from sqlalchemy.orm import aliased

from flows.audit.snapshots import Books, snapshot
from flows.intake import storm
from models.facets import OPEN_STEP_STATES, StepState
from models.tables.books import InboxMessage
from models.tables.step import Step

# A step that stopped its worker is set aside at once; the sweeper brings its message in line a moment later.
_NOT_YET_RAISED: Final = and_(Step.state == StepState.SET_ASIDE, Step.alerted.is_(False))

_WANTED: Final[tuple[tuple[str, ColumnElement[bool], str], ...]] = (
    ("kept", or_(Step.state.in_(OPEN_STEP_STATES), _NOT_YET_RAISED), "is kept, and no step will apply it"),
    ("applied", Step.state == StepState.DONE, "counts as applied, and no step applied it"),
    ("set aside", Step.state == StepState.SET_ASIDE, "counts as set aside, and no step set it aside"),
)
"""By the state of a message: which step it must have, and what is wrong without."""


def messages_have_their_steps(books: Books) -> Iterator[str]:
    """Yield each message of the inbox whose state no step accounts for."""
    for state, wanted, fault in _WANTED:
        step = select(Step.id).where(Step.subject_id == InboxMessage.id, Step.kind.in_(("apply", "forward")), wanted)
        # One that waits for its peer's storm to end gets its step then.
        query = select(InboxMessage.id).where(
            InboxMessage.state == state, InboxMessage.quarantined_at.is_(None), ~step.exists()
        )
        with snapshot(books.database) as session:
            for message_id in session.scalars(query.order_by(InboxMessage.id)):
                yield f"message {message_id} {fault}"
    other = aliased(InboxMessage)
    stands = select(other.id).where(other.id == InboxMessage.replaced_by_id, other.id != InboxMessage.id).exists()
    replaced = select(InboxMessage.id).where(
        InboxMessage.replaced_by_id.is_not(None), or_(InboxMessage.state != "set aside", ~stands)
    )
    with snapshot(books.database) as session:
        for message_id in session.scalars(replaced.order_by(InboxMessage.id)):
            yield f"message {message_id} was edited, and was applied all the same or nothing stands for it"
        for message_id in session.scalars(storm.forgotten()):
            yield f"message {message_id} waits for its peer's storm to end, and there is none"
