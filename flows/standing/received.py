"""One message that came in: where it stands, what it said something about, and what people did with it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from connectors.lims.differences import Difference, differences
from models.tables.books import Fact, History, InboxMessage


@dataclass(frozen=True)
class Received:
    """A message of the inbox.

    ``stands_for`` are messages that a person edited: this one was applied in their place, and ``differs`` says in what
    from the first of them. ``replaced_by`` is the one that stands for this one. ``subjects`` are kind and id of what it
    said something about that nobody had said before.
    """

    id: str
    peer: str
    source: str
    message_type: str | None
    message_control_id: str | None
    bytes: int
    received_at: datetime
    state: str
    problem: str | None
    replaced_by: str | None
    stands_for: tuple[str, ...]
    differs: tuple[Difference, ...]
    subjects: tuple[tuple[str, str], ...]
    changes: Sequence[History]


def received(session: Session, message_id: str) -> Received:
    """Return a message that there is."""
    row = session.get_one(InboxMessage, message_id)
    originals = session.scalars(
        select(InboxMessage)
        .where(InboxMessage.replaced_by_id == message_id)
        .order_by(InboxMessage.received_at, InboxMessage.id)
    ).all()
    said = select(Fact.subject_kind, Fact.subject_id).where(Fact.inbox_id == message_id).distinct()
    state = "replaced" if row.replaced_by_id else "in quarantine" if row.quarantined_at else row.state
    return Received(
        id=row.id,
        peer=row.peer,
        source=row.source,
        message_type=row.message_type,
        message_control_id=row.message_control_id,
        bytes=len(row.payload),
        received_at=row.received_at,
        state=state,
        problem=row.problem,
        replaced_by=row.replaced_by_id,
        stands_for=tuple(one.id for one in originals),
        differs=differences(originals[0].payload, row.payload) if originals else (),
        subjects=tuple(sorted((kind, subject_id) for kind, subject_id in session.execute(said))),
        changes=session.scalars(select(History).where(History.subject_id == message_id).order_by(History.id)).all(),
    )
