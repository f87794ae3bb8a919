"""A person has a corrected message applied in place of one that was set aside; both are kept for ever.

The corrected bytes are a message of the inbox like any other: it would change nothing if they came in once more. The
original says which message stands for it, and is never replayed. Which parts differ, who wanted it and why is in the
history of both; the parts themselves are in the two messages, which hold a patient's data anyhow.
"""

from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from connectors.lims.answers import acknowledge
from connectors.lims.differences import Difference, differences
from connectors.lims.header import read_header
from flows.actions.desk import Acted, Desk, Person
from flows.actions.previewing import Preview, preview
from flows.books import Subject, clear_alert, note_changes
from flows.intake.inbox import Arrival, Kept, keep
from flows.intake.profiles import profile_of
from models.database import database_now
from models.errors import RefusedError
from models.tables.books import InboxMessage


@dataclass(frozen=True)
class Draft:
    """What a person made of a message: the id of the original, the bytes that are to stand for it, and what differs."""

    message_id: str
    raw: bytes
    differences: tuple[Difference, ...]


def editable(session: Session, message_id: str) -> InboxMessage:
    """Return a message that may be edited, locked when this is a write.

    Raises
    ------
    RefusedError
        There is no such message; it was not set aside or waits in quarantine; another one stands for it already; or
        it is no HL7.
    """
    found = select(InboxMessage).where(InboxMessage.id == message_id).with_for_update()
    message = session.scalars(found.execution_options(populate_existing=True)).one_or_none()
    if message is None:
        raise RefusedError("there is no such message: 'coverslip replay' lists those that were set aside")
    if message.replaced_by_id is not None:
        raise RefusedError(f"message {message_id} was edited already: message {message.replaced_by_id} stands for it")
    if message.state != "set aside":
        raise RefusedError(f"message {message_id} was {message.state}: only a message that was set aside can be edited")
    if message.quarantined_at is not None:
        raise RefusedError(
            f"message {message_id} waits in quarantine: its peer's messages are read again by themselves"
        )
    if message.source != "hl7":
        raise RefusedError(f"message {message_id} is no HL7 message: only those can be edited")
    return message


def payload_of(desk: Desk, message_id: str) -> bytes:
    """Return the bytes of a message that may be edited; as ``editable``."""
    with desk.database.read() as session:
        return editable(session, message_id).payload


def drafted(desk: Desk, message_id: str, raw: bytes) -> Draft:
    """Return an edit with what differs; as ``editable``, and refused when nothing differs."""
    with desk.database.read() as session:
        return _drafted(editable(session, message_id), raw)


def preview_draft(desk: Desk, draft: Draft) -> Preview:
    """Return what applying the edited message would change; as ``preview``."""

    def put_in(session: Session) -> str:
        return _put_in_place(desk, session, editable(session, draft.message_id), draft.raw).inbox_id

    return preview(desk, put_in)


def edit(desk: Desk, draft: Draft, person: Person) -> Acted:
    """Have the edited message applied in place of the original, with the person's name and reason on both.

    Raises
    ------
    RefusedError
        As ``editable``: also when the original was applied, or replaced, since the person looked at it.
    """
    cause = person.cause("hl7 edit")
    with desk.database.write("edit") as session:
        original = editable(session, draft.message_id)
        places = ", ".join(one.place for one in _drafted(original, draft.raw).differences)
        kept, now = _put_in_place(desk, session, original, draft.raw), database_now(session)
        note_changes(session, Subject("inbox", original.id), [("replaced", None, kept.inbox_id)], cause, now)
        changes = [("stands for", None, original.id), ("edited", None, places)]
        note_changes(session, Subject("inbox", kept.inbox_id), changes, cause, now)
        clear_alert(session, original.id, "set aside", now)
    if kept.is_new:
        return Acted(
            f"message {kept.inbox_id} is read in place of message {original.id}",
            ("'coverslip replay' lists it if it is set aside too",),
        )
    return Acted(f"the same bytes came in before, as message {kept.inbox_id}: it stands for message {original.id}", ())


def _put_in_place(desk: Desk, session: Session, original: InboxMessage, raw: bytes) -> Kept:
    """Put the edited message into the inbox, in place of the original.

    Bytes that came in before and were set aside themselves are refused: they would stand for nothing.
    """
    kept = _keep(desk, session, original, raw)
    if not kept.is_new and session.get_one(InboxMessage, kept.inbox_id).state == "set aside":
        raise RefusedError(f"the same bytes came in before, as message {kept.inbox_id}, and were set aside too")
    original.replaced_by_id = kept.inbox_id
    session.flush()
    return kept


def _drafted(original: InboxMessage, raw: bytes) -> Draft:
    differs = differences(original.payload, raw)
    if raw == original.payload:
        raise RefusedError("nothing was edited: the message is as it was")
    if read_header(raw).problem:
        raise RefusedError(f"this can't stand for a message. {read_header(raw).problem}")
    return Draft(original.id, raw, differs)


def _keep(desk: Desk, session: Session, original: InboxMessage, raw: bytes) -> Kept:
    """Put the edited message into the inbox as its peer's door would, with the answer that the peer would get."""
    now, header = database_now(session), read_header(raw)
    arrival = Arrival(
        source="hl7",
        peer=original.peer,
        payload=raw,
        answer=acknowledge(raw, profile_of(desk.settings, original.peer), now).payload,
        message_control_id=header.control_id.decode("utf-8", "replace"),
        message_type=header.message_type,
    )
    return keep(session, desk.ids, arrival, now, forward=desk.settings.forwards)
