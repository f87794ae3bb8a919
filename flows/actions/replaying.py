"""A person has a message that was set aside read again, after what kept it from being applied was put right."""

from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.orm import Session, defer

from flows import ledger
from flows.actions.desk import Acted, Desk, Person
from flows.books import Cause, Subject, clear_alert, note_changes
from flows.intake.inbox import first_step
from models.database import database_now
from models.errors import RefusedError
from models.tables.books import InboxMessage


def set_aside_messages(session: Session) -> list[InboxMessage]:
    """Return the messages that were set aside, the oldest first, without their bytes.

    Not those in quarantine, nor those that another message stands for since a person edited them.
    """
    waits = (InboxMessage.quarantined_at.is_(None), InboxMessage.replaced_by_id.is_(None))
    found = select(InboxMessage).where(InboxMessage.state == "set aside", *waits)
    without = (defer(InboxMessage.payload), defer(InboxMessage.answer))
    return list(session.scalars(found.options(*without).order_by(InboxMessage.received_at, InboxMessage.id)))


def quarantined_messages(session: Session) -> list[tuple[str, int]]:
    """Return of which peers messages are in quarantine, which are read again by themselves, and how many."""
    held = select(InboxMessage.peer, func.count()).where(InboxMessage.quarantined_at.is_not(None))
    return [
        (peer, count) for peer, count in session.execute(held.group_by(InboxMessage.peer).order_by(InboxMessage.peer))
    ]


def replay(desk: Desk, message_id: str, person: Person) -> Acted:
    """Have a set-aside message applied anew: the same bytes, by the rules and settings of now.

    Raises
    ------
    RefusedError
        There is no such message, it was not set aside, or it was edited and another one stands for it.
    """
    cause = person.cause("replay")
    with desk.database.write("replay") as session:
        message = session.get(InboxMessage, message_id, with_for_update=True)
        if message is None or message.state != "set aside":
            what = "there is no such message" if message is None else f"message {message_id} was {message.state}"
            raise RefusedError(f"{what}: only a message that was set aside can be replayed")
        if message.replaced_by_id is not None:
            raise RefusedError(f"message {message_id} was edited: message {message.replaced_by_id} stands for it")
        _put_back(session, desk, message, cause, database_now(session))
    return Acted(f"message {message_id} is read again", ("'coverslip replay' lists it again if it is set aside again",))


def put_back(session: Session, desk: Desk, message_id: str, cause: Cause, now: datetime) -> bool:
    """Have a message applied anew within this transaction, if it is set aside and stands for itself; say whether."""
    message = session.get(InboxMessage, message_id, with_for_update=True)
    if message is None or message.state != "set aside" or message.replaced_by_id is not None:
        return False
    _put_back(session, desk, message, cause, now)
    return True


def _put_back(session: Session, desk: Desk, message: InboxMessage, cause: Cause, now: datetime) -> None:
    message.state, message.problem, message.quarantined_at = "kept", None, None
    note_changes(session, Subject("inbox", message.id), [("state", "set aside", "kept")], cause, now)
    clear_alert(session, message.id, "set aside", now)
    ledger.rerun(session, first_step(message.id, message.peer, now, forward=desk.settings.forwards))
