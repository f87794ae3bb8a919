"""A storm: messages of one peer that can't be acted on, one after the other. One alert, and its later ones wait.

What waits is *quarantined*: in the inbox like everything else, set aside, without a step and without an alert of its
own. One of it is tried every half minute; the first that can be applied lets the others out. Other peers go on.
"""

from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import Select, bindparam, case, exists, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import CursorResult
from sqlalchemy.orm import Session

from flows import ledger
from flows.books import Subject, clear_alert, raise_alert
from flows.journey import STAGE_OF_KIND
from models.base import table_of
from models.database import PlainWrite
from models.opaque import OpaqueIds
from models.tables.books import InboxMessage
from models.tables.intake import Circuit

MOST_IN_A_ROW: Final = 20
QUARANTINED: Final = (
    "quarantined: too many messages of its peer in a row were set aside; let out when one can be applied"
)
STORM: Final = "storm"

_TRY_EVERY: Final = timedelta(seconds=30)
# Let out at a time: enough for hundreds a second, and one short transaction.
_LET_OUT_AT_ONCE: Final = 200

_CIRCUIT, _INBOX = table_of(Circuit), table_of(InboxMessage)
# Held against the closing of a circuit until the messages that it keeps out are committed: none is forgotten.
_OPEN = select(_CIRCUIT.c.peer).where(_CIRCUIT.c.opened_at.is_not(None)).with_for_update(read=True)
_PEER = select(_INBOX.c.peer).where(_INBOX.c.id == bindparam("message_id"))
_OPENS = (
    update(_CIRCUIT)
    .where(_CIRCUIT.c.peer == bindparam("of_peer"))
    .values(opened_at=bindparam("at"), try_at=bindparam("next"), holding=True)
)
_QUARANTINE = update(_INBOX).where(_INBOX.c.id == bindparam("message_id")).values(quarantined_at=bindparam("at"))
_CLOSE = (
    update(_CIRCUIT)
    .where(_CIRCUIT.c.peer == bindparam("of_peer"), _CIRCUIT.c.in_a_row > 0)
    .values(in_a_row=0, opened_at=None, try_at=None)
)
_IS_DUE = (_CIRCUIT.c.holding & _CIRCUIT.c.opened_at.is_(None)) | (_CIRCUIT.c.try_at <= bindparam("now"))
_DUE = select(_CIRCUIT.c.peer, _CIRCUIT.c.opened_at).where(_IS_DUE).order_by(_CIRCUIT.c.peer)
_DUE_LOCKED = _DUE.with_for_update(skip_locked=True)
_HELD = select(_INBOX.c.id).where(_INBOX.c.peer == bindparam("of_peer"), _INBOX.c.quarantined_at.is_not(None))
_WAS_TRIED = _INBOX.c.quarantined_at > _INBOX.c.received_at
# The newest that nobody tried tells soonest that the peer has mended its ways; then those tried, in turn.
_TO_TRY = _HELD.order_by(
    _WAS_TRIED, case((_WAS_TRIED, _INBOX.c.quarantined_at)), _INBOX.c.received_at.desc(), _INBOX.c.id
).limit(1)
_TO_LET_OUT = _HELD.order_by(_INBOX.c.received_at, _INBOX.c.id).limit(_LET_OUT_AT_ONCE)
_LET_OUT = (
    update(_INBOX)
    .where(_INBOX.c.id == bindparam("message_id"), _INBOX.c.quarantined_at.is_not(None))
    .values(state="kept", problem=None, quarantined_at=None)
)
_TRY_LATER = update(_CIRCUIT).where(_CIRCUIT.c.peer == bindparam("of_peer")).values(try_at=bindparam("next"))
_EMPTY = update(_CIRCUIT).where(_CIRCUIT.c.peer == bindparam("of_peer")).values(holding=False)


def quarantined_peers(session: Session | PlainWrite) -> frozenset[str]:
    """Return the peers whose messages go into quarantine when they come in within this transaction."""
    return frozenset(session.scalars(_OPEN))


def message_set_aside(session: Session, ids: OpaqueIds, message_id: str, now: datetime) -> bool:
    """Count a message that was set aside; return whether it is quarantined, and is told of by its storm's alert."""
    peer = session.scalars(_PEER, {"message_id": message_id}).one()
    in_a_row, opened_at = _count(session, peer)
    if opened_at is not None:
        session.execute(_QUARANTINE, {"message_id": message_id, "at": now})
        return True
    if in_a_row >= MOST_IN_A_ROW:
        session.execute(_OPENS, {"of_peer": peer, "at": now, "next": now + _TRY_EVERY})
        sentence = (
            f"{in_a_row} messages from {peer} in a row were set aside: its later ones are kept and wait; see why with "
            "'coverslip replay' and have the sender or the settings corrected, then they go on by themselves"
        )
        raise_alert(session, _subject(ids, peer), STORM, sentence, now)
    return False


def message_applied(session: Session, ids: OpaqueIds, peer: str, now: datetime) -> None:
    """Say that a peer's message could be acted on: its storm, if there is one, is over."""
    closed = session.execute(_CLOSE, {"of_peer": peer})
    if isinstance(closed, CursorResult) and closed.rowcount:
        clear_alert(session, _subject(ids, peer).id, STORM, now)


def is_due(session: Session, now: datetime) -> bool:
    """Return whether a message is to be tried or let out."""
    return session.execute(_DUE.limit(1), {"now": now}).first() is not None


def tend(session: Session, now: datetime) -> int:
    """Try one message of each peer whose time has come, and let out what is held for nothing; return how many."""
    moved = 0
    for peer, opened_at in session.execute(_DUE_LOCKED, {"now": now}).all():
        found = session.scalars(_TO_LET_OUT if opened_at is None else _TO_TRY, {"of_peer": peer}).all()
        for message_id in found:
            moved += _let_out(session, message_id, now)
        if opened_at is not None:
            session.execute(_TRY_LATER, {"of_peer": peer, "next": now + _TRY_EVERY})
        elif not found:
            session.execute(_EMPTY, {"of_peer": peer})
    return moved


def forgotten() -> Select[str]:
    """Return the query of messages in quarantine that nothing will ever let out."""
    held_by = exists().where(Circuit.peer == InboxMessage.peer, Circuit.holding)
    return select(InboxMessage.id).where(InboxMessage.quarantined_at.is_not(None), ~held_by).order_by(InboxMessage.id)


def _let_out(session: Session, message_id: str, now: datetime) -> int:
    """Have a quarantined message applied; one that a person has just had applied is left alone."""
    done = session.execute(_LET_OUT, {"message_id": message_id})
    if not isinstance(done, CursorResult) or done.rowcount == 0:
        return 0
    step = ledger.NewStep("apply", STAGE_OF_KIND["apply"], "inbox", message_id, rank_at=now)
    ledger.rerun(session, step)
    return 1


def _count(session: Session, peer: str) -> tuple[int, datetime | None]:
    made = sqlite.insert(_CIRCUIT) if session.get_bind().dialect.name == "sqlite" else postgresql.insert(_CIRCUIT)
    counted = made.on_conflict_do_update(
        index_elements=[_CIRCUIT.c.peer], set_={"in_a_row": _CIRCUIT.c.in_a_row + 1}
    ).returning(_CIRCUIT.c.in_a_row, _CIRCUIT.c.opened_at)
    row = session.execute(counted, {"peer": peer, "in_a_row": 1, "holding": False}).one()
    return row.in_a_row, row.opened_at


def _subject(ids: OpaqueIds, peer: str) -> Subject:
    return Subject("peer", ids.of("peer", "", peer))
