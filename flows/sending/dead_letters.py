"""What came by the event log and was set aside is told of there too, through the outbox like all that goes out.

The record itself stays in the inbox, where people look for it: what is told is where it lies, and why.
"""

import re
from datetime import datetime
from typing import Final

from sqlalchemy import bindparam, select
from sqlalchemy.orm import Session

from flows.sending.publish import News, put_out
from models.base import table_of
from models.events.kinds import DeadLetter
from models.tables.books import InboxMessage

_INBOX = table_of(InboxMessage)
_MESSAGE = select(
    *(_INBOX.c.source, _INBOX.c.sha256, _INBOX.c.payload, _INBOX.c.message_type, _INBOX.c.received_at, _INBOX.c.origin)
).where(_INBOX.c.id == bindparam("message_id"))
_EVENT_TYPE: Final = re.compile(r"[a-z0-9.-]{1,64}")
_UNSEEN: Final = re.compile(r"[\x00-\x1f\x7f]")
_LONGEST_PROBLEM: Final = 500


def announce_dead_letter(
    session: Session, message_id: str, *, problem: str, error: str, tries: int, now: datetime
) -> None:
    """Tell the event log that one of its records was set aside; of what came another way it is told nothing."""
    message = session.execute(_MESSAGE, {"message_id": message_id}).one()
    if message.origin is None:
        return
    event_type = "lims.hl7v2" if message.source == "hl7" else message.message_type or ""
    letter = DeadLetter(
        inbox_id=message_id,
        sha256=message.sha256,
        bytes=len(message.payload),
        stage="apply",
        error=error,
        problem=_UNSEEN.sub(" ", problem)[:_LONGEST_PROBLEM],
        first_at=message.received_at,
        last_at=now,
        tries=max(1, tries),
        topic=message.origin["topic"],
        partition=message.origin["partition"],
        offset=message.origin["offset"],
        event_type=event_type if _EVENT_TYPE.fullmatch(event_type) else None,
    )
    put_out(session, [News(letter, "inbox", message_id, f"{DeadLetter.TYPE}:{message_id}:{tries}")])
