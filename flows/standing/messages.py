"""Messages that go out and that nobody has answered yet: to whom, since when, how often they were tried."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import ColumnElement, func, or_, select
from sqlalchemy.orm import Session

from flows.sending.publish import THE_LOG
from flows.standing.rows import is_open
from flows.standing.timeline import news_in_words
from models.database import database_now
from models.tables.books import OutboxMessage
from models.tables.step import Step

A_WHILE: Final = timedelta(seconds=10)
"""A message that was just stated is on its way and stays out of sight: so long a peer may take."""


@dataclass(frozen=True)
class Unanswered:
    """One message without an answer that was kept; ``peer`` is a LIMS, or ``the event log``.

    ``state`` says what is to become of it: ``being sent``, ``tried again`` at ``next_try_at``, ``waits its turn`` or
    ``refused``, which waits for a person. ``problem`` is why the last try came to nothing.
    """

    id: str
    message_control_id: str
    peer: str
    what: str
    about: str
    about_id: str
    since: datetime
    tries: int
    state: str
    next_try_at: datetime | None
    problem: str | None


@dataclass(frozen=True)
class UnansweredBy:
    """All messages that one peer has not answered: how many, since when the oldest, how often the most tried was."""

    peer: str
    count: int
    since: datetime
    tries: int


def unanswered(session: Session, *, most: int = 500, after: timedelta = timedelta(0)) -> list[Unanswered]:
    """Return the messages that were not answered, the oldest first; only those that are older than ``after``."""
    rows = session.execute(
        select(OutboxMessage, Step.state, Step.waiting_until, Step.tries, Step.problem)
        .join(Step, Step.subject_id == OutboxMessage.id)
        .where(*_waiting(session, after))
        .order_by(OutboxMessage.stated_at, OutboxMessage.id)
        .limit(most)
    )
    return [_unanswered(*row) for row in rows]


def unanswered_by_peer(session: Session) -> Sequence[UnansweredBy]:
    """Return who has not answered for a while, the longest first."""
    rows = session.execute(
        select(OutboxMessage.peer, func.count(), func.min(OutboxMessage.stated_at), func.max(OutboxMessage.tries))
        .join(Step, Step.subject_id == OutboxMessage.id)
        .where(*_waiting(session, A_WHILE))
        .group_by(OutboxMessage.peer)
    )
    found = [UnansweredBy(_named(peer), count, since, tries) for peer, count, since, tries in rows]
    return sorted(found, key=lambda one: (one.since, one.peer))


def _waiting(session: Session, after: timedelta) -> list[ColumnElement[bool]]:
    conditions = [Step.kind == "send", is_open()]
    if after:
        conditions.append(or_(OutboxMessage.tries > 0, OutboxMessage.stated_at < database_now(session) - after))
    return conditions


def _unanswered(
    message: OutboxMessage, state: str, until: datetime | None, tries: int, problem: str | None
) -> Unanswered:
    announced: dict[str, Any] = message.announcement
    refused = message.state == "refused"
    said = "refused" if refused else {"running": "being sent", "waiting": "tried again"}.get(state, "waits its turn")
    return Unanswered(
        id=message.id,
        message_control_id=message.message_control_id,
        peer=_named(message.peer),
        what=news_in_words(announced),
        about=message.subject_kind,
        about_id=message.subject_id,
        since=message.stated_at,
        tries=max(tries, message.tries),
        state=said,
        next_try_at=None if refused else until,
        problem=f"answered {message.answer_code}" if refused and message.answer_code else problem,
    )


def _named(peer: str) -> str:
    return "the event log" if peer == THE_LOG else peer
