"""A person has a message that was set aside read again, after what kept it from being applied was put right."""

from sqlalchemy import select
from sqlalchemy.orm import Session

from flows import ledger
from flows.actions.desk import Acted, Desk, Person
from flows.books import Subject, clear_alert, note_changes
from flows.intake.inbox import first_step
from models.database import database_now
from models.errors import RefusedError
from models.tables.books import InboxMessage


def set_aside_messages(session: Session) -> list[InboxMessage]:
    """Return the messages that were set aside, the oldest first."""
    found = select(InboxMessage).where(InboxMessage.state == "set aside")
    return list(session.scalars(found.order_by(InboxMessage.received_at, InboxMessage.id)))


def replay(desk: Desk, message_id: str, person: Person) -> Acted:
    """Have a set-aside message applied anew: the same bytes, by the rules and settings of now.

    Raises
    ------
    RefusedError
        There is no such message, or it was not set aside.
    """
    cause = person.cause("replay")
    with desk.database.write("replay") as session:
        message = session.get(InboxMessage, message_id, with_for_update=True)
        if message is None or message.state != "set aside":
            what = "there is no such message" if message is None else f"message {message_id} was {message.state}"
            raise RefusedError(f"{what}: only a message that was set aside can be replayed")
        now = database_now(session)
        message.state, message.problem, message.quarantined_at = "kept", None, None
        note_changes(session, Subject("inbox", message_id), [("state", "set aside", "kept")], cause, now)
        clear_alert(session, message_id, "set aside", now)
        ledger.rerun(session, first_step(message_id, message.peer, now, forward=desk.settings.forwards))
    return Acted(f"message {message_id} is read again", ("'coverslip replay' lists it again if it is set aside again",))
