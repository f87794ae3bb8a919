"""Large messages that come in parts: each part is kept until all are there, and the whole takes their place.

Parts that make no whole are not kept as parts: what they make goes into the inbox, where it is set aside, and the same
message may come again. Parts whose siblings never come wait, with an alert, until a person gives them up.
"""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from typing import Final

from sqlalchemy import bindparam, delete, exists, func, select
from sqlalchemy.engine import CursorResult
from sqlalchemy.orm import Session

from connectors.settings import Settings
from flows.books import Subject, clear_alert, raise_alert
from flows.intake.inbox import Arrival
from flows.intake.profiles import profile_of
from flows.intake.records import PartArrived, message_of
from models.base import table_of
from models.database import insert_unless_there
from models.opaque import OpaqueIds
from models.tables.books import InboxMessage
from models.tables.intake import MessagePart

PARTS_MISSING: Final = "parts missing"
PARTS_UNFIT: Final = "parts do not fit"

_UNFIT: Final = (
    "all parts of a message from {peer} are here and do not fit its hash: what they make was set aside; have "
    "its gateway send the message again"
)

# A gateway sends the parts of one message within seconds of one another.
_LONGEST_WAIT: Final = timedelta(minutes=15)

_PART, _INBOX = table_of(MessagePart), table_of(InboxMessage)
_OF_WHOLE = (
    _PART.c.peer == bindparam("of_peer"),
    _PART.c.sha256 == bindparam("whole"),
    _PART.c.parts == bindparam("of_parts"),
)
_CONTENT = select(_PART.c.content).where(*_OF_WHOLE, _PART.c.number == bindparam("nth"))
_COUNT = select(func.count(), func.sum(func.length(_PART.c.content))).where(*_OF_WHOLE)
_ALL = select(_PART.c.content).where(*_OF_WHOLE).order_by(_PART.c.number)
_GO = delete(_PART).where(_PART.c.peer == bindparam("of_peer"), _PART.c.sha256 == bindparam("whole"))
_HAS_WHOLE = select(exists().where(_INBOX.c.peer == bindparam("of_peer"), _INBOX.c.sha256 == bindparam("whole")))
_OPEN = select(_PART.c.peer, _PART.c.sha256).distinct()
_WAITING = (
    select(_PART.c.peer, _PART.c.sha256, _PART.c.parts, func.count(), func.max(_PART.c.received_at))
    .group_by(_PART.c.peer, _PART.c.sha256, _PART.c.parts)
    .having(func.max(_PART.c.received_at) < bindparam("before"))
    .limit(100)
)


def take_parts(
    session: Session, settings: Settings, ids: OpaqueIds, arrived: Iterable[PartArrived], now: datetime
) -> Iterator[Arrival]:
    """Keep parts; yield each message that is whole now, and each part that fits no message, for the inbox."""
    whole_now: set[tuple[str, str]] = set()
    for one in arrived:
        part = one.part
        whole = {"of_peer": one.peer, "whole": part.sha256}
        if (one.peer, part.sha256) in whole_now or session.scalar(_HAS_WHOLE, whole):
            # It came again after its message was whole.
            continue
        of_split = {**whole, "of_parts": part.count}
        row = {"peer": one.peer, "sha256": part.sha256, "parts": part.count, "number": part.number}
        row |= {"whole_bytes": part.bytes, "content": part.payload, "origin": one.record.origin, "received_at": now}
        if not insert_unless_there(session, MessagePart, [row]):
            if session.scalar(_CONTENT, {**of_split, "nth": part.number}) != part.payload:
                yield one.record
            continue
        count, size = session.execute(_COUNT, of_split).one()
        if count < part.count:
            continue
        # Beyond what they say of themselves, nobody holds them in memory.
        payload = b"".join(session.scalars(_ALL, of_split)) if size <= part.bytes else b""
        _let_go(session, ids, one.peer, part.sha256, now)
        if hashlib.sha256(payload).hexdigest() != part.sha256:
            # Nobody can tell which of them is wrong: left here, they would keep out the right ones.
            raise_alert(session, _subject(ids, one.peer, part.sha256), PARTS_UNFIT, _UNFIT.format(peer=one.peer), now)
            yield replace(one.record, payload=payload or part.payload, event_id=None, message_type=None)
            continue
        clear_alert(session, _subject(ids, one.peer, part.sha256).id, PARTS_UNFIT, now)
        whole_now.add((one.peer, part.sha256))
        yield message_of(partial(profile_of, settings), replace(one.record, event_id=None), payload, part.received_at)


def is_kept(session: Session, arrived: PartArrived) -> bool:
    """Return whether this very part waits for the others of its message."""
    part = arrived.part
    named = {"of_peer": arrived.peer, "whole": part.sha256, "of_parts": part.count, "nth": part.number}
    return session.scalar(_CONTENT, named) == part.payload


def raise_missing(session: Session, ids: OpaqueIds, now: datetime) -> None:
    """Raise messages whose parts did not all come: nothing of them is read before."""
    for peer, sha256, parts, count, last_at in session.execute(_WAITING, {"before": now - _LONGEST_WAIT}).all():
        if session.scalar(_HAS_WHOLE, {"of_peer": peer, "whole": sha256}):
            # It came in one piece meanwhile.
            _let_go(session, ids, peer, sha256, now)
            continue
        sentence = (
            f"{count} of the {parts} parts of a message from {peer} are here since {last_at:%d %b %Y %H:%M} UTC and no "
            "more came: see that its gateway runs, or have it send the message again"
        )
        raise_alert(session, _subject(ids, peer, sha256), PARTS_MISSING, sentence, now)


def give_up(session: Session, ids: OpaqueIds, subject_id: str, now: datetime) -> int:
    """Let the parts of one message go that an alert is about; return how many there were."""
    for peer, sha256 in session.execute(_OPEN).all():
        if _subject(ids, peer, sha256).id == subject_id:
            return _let_go(session, ids, peer, sha256, now)
    return 0


def _let_go(session: Session, ids: OpaqueIds, peer: str, sha256: str, now: datetime) -> int:
    gone = session.execute(_GO, {"of_peer": peer, "whole": sha256})
    clear_alert(session, _subject(ids, peer, sha256).id, PARTS_MISSING, now)
    return gone.rowcount if isinstance(gone, CursorResult) else 0


def _subject(ids: OpaqueIds, peer: str, sha256: str) -> Subject:
    return Subject("parts", ids.of("parts", peer, sha256))
