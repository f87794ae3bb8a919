"""The step apply: what an inbox message says becomes facts, and the facts become patient, case, slides and scans."""

import json
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

from sqlalchemy import bindparam, or_, select, update
from sqlalchemy.orm import Session

from connectors.lims.message import Message
from connectors.lims.reading import read
from connectors.wiring import Lab
from flows import ledger
from flows.books import Cause
from flows.intake import merges, storm
from flows.intake.inbox import Arrival, keep_all
from flows.intake.orders import order_stated
from flows.intake.parts import take_parts
from flows.intake.patients import patient_stated
from flows.intake.profiles import profile_of
from flows.intake.records import PartArrived, message_of
from flows.intake.saying import Said
from flows.intake.scanned import CLOCK_AHEAD, Received, register_scan, scanner_tells
from flows.intake.updates import updates_stated
from flows.ledger import Claim
from flows.step import End
from models.base import table_of
from models.database import database_now
from models.errors import RejectedError
from models.events.envelope import Event, parse
from models.events.kinds import Hl7Part, Hl7Received
from models.statements import MessageStated
from models.tables.books import InboxMessage
from models.tables.scan import ScanFile

_INBOX, _SCAN_FILE = table_of(InboxMessage), table_of(ScanFile)
_MESSAGE = select(
    *(_INBOX.c.id, _INBOX.c.source, _INBOX.c.peer, _INBOX.c.payload),
    *(_INBOX.c.message_control_id, _INBOX.c.received_at, _INBOX.c.event_id, _INBOX.c.origin),
).where(_INBOX.c.id == bindparam("message_id"))
_APPLIED = (
    update(_INBOX).where(_INBOX.c.id == bindparam("message_id")).values(state="applied", problem=bindparam("but"))
)
_SAME_EVENT = (
    select(_INBOX.c.id)
    .where(_INBOX.c.event_id == bindparam("called"), _INBOX.c.peer == bindparam("of_peer"))
    .where(_INBOX.c.id != bindparam("message_id"))
)
_NAME_EVENT = update(_INBOX).where(_INBOX.c.id == bindparam("message_id")).values(event_id=bindparam("called"))
_TWINS = (
    select(_INBOX.c.payload)
    .where(_INBOX.c.peer == bindparam("of_peer"), _INBOX.c.message_control_id == bindparam("control_id"))
    .where(_INBOX.c.id != bindparam("message_id"), _INBOX.c.received_at <= bindparam("until"))
    # What a person edited has the numbers of what stands for it.
    .where(or_(_INBOX.c.replaced_by_id.is_(None), _INBOX.c.replaced_by_id != bindparam("message_id")))
    .limit(10)
)
_FIRST_SEEN = select(_SCAN_FILE.c.first_seen_at).where(_SCAN_FILE.c.id == bindparam("file_id"))


@dataclass(frozen=True)
class _Arrived:
    """What counts of a message that the inbox holds."""

    id: str
    source: str
    peer: str
    payload: bytes
    message_control_id: str | None
    received_at: datetime
    event_id: str | None
    origin: dict[str, Any] | None


def apply(lab: Lab, claimed: Claim) -> End:
    """Read one inbox message and return what it changes; raise ``RejectedError`` when it can't be acted on."""
    with lab.database.read() as session:
        message = _Arrived(**session.execute(_MESSAGE, {"message_id": claimed.subject_id}).one()._asdict())
        cause = Cause(f"apply {message.source}", inbox_id=message.id)
        if message.source == "scanner":
            event = json.loads(message.payload)
            _begin_trace(lab, session, event, message.received_at)
            return lambda session: _scan_received(lab, session, claimed, message, event, cause)
    if message.source == "event":
        said = parse(message.payload)
        return lambda session: _told(lab, session, claimed, message, said, cause)
    profile = profile_of(lab.settings, message.peer)
    stated = read(Message(message.payload, profile.limits, profile.charset), profile)
    if not stated.acts:
        raise RejectedError("; ".join(stated.problems) or "The message states nothing that Coverslip acts on.")
    return lambda session: _stated(lab, session, claimed, message, stated, cause)


def _begin_trace(lab: Lab, session: Session, event: dict[str, str], received_at: datetime) -> None:
    """Tell that a scan's journey has begun with the first sight of its file."""
    first_seen_at = session.scalar(_FIRST_SEEN, {"file_id": event["file_id"]})
    scan_id = lab.ids.scan(event["site_id"], (event["sha256"],))
    lab.telemetry.scan_received(scan_id, first_seen_at or received_at, received_at)


def _scan_received(
    lab: Lab, session: Session, claimed: Claim, message: _Arrived, event: dict[str, str], cause: Cause
) -> None:
    received = Received(event["site_id"], event["root"], event["file_id"], event["sha256"], message.received_at)
    register_scan(lab, session, received, cause)
    _applied(lab, session, claimed, message)


def _told(lab: Lab, session: Session, claimed: Claim, message: _Arrived, event: Event, cause: Cause) -> None:
    """Act on an event; a LIMS's message that was not taken out of its envelope at the door is taken out now."""
    if message.event_id is None:
        _name_event(session, message, event)
    envelope = Arrival(
        "event", event.origin.name or message.peer, message.payload, origin=message.origin, message_type=event.type
    )
    now = database_now(session)
    match event.data:
        case Hl7Received() as whole:
            kept = [message_of(partial(profile_of, lab.settings), envelope, whole.payload, whole.received_at)]
        case Hl7Part() as part:
            arrived = [PartArrived(envelope.peer, part, envelope)]
            kept = list(take_parts(session, lab.settings, lab.ids, arrived, now))
        case _:
            kept = []
            scanner_tells(lab, session, event, message.received_at, cause)
    if any(one.payload == message.payload for one in kept):
        raise RejectedError(
            "A part of a large message does not fit those that came before: have its gateway send the message again."
        )
    keep_all(session, lab.ids, kept, now)
    _applied(lab, session, claimed, message)


def _name_event(session: Session, message: _Arrived, event: Event) -> None:
    """Give a message the event id that it could not be given at the door; refuse what another event is called."""
    named = {"message_id": message.id, "of_peer": event.origin.name or message.peer, "called": event.id}
    if session.scalar(_SAME_EVENT, named) is not None:
        raise RejectedError(
            "Another event of the same sender had this id before, with other bytes: that one counts. Have the sender "
            "give each event an id of its own."
        )
    session.execute(_NAME_EVENT, named)


def _stated(lab: Lab, session: Session, claimed: Claim, message: _Arrived, stated: MessageStated, cause: Cause) -> None:
    said = Said(
        message.peer, cause, _effective_at(message, stated), message.received_at, sequence_number=stated.sequence_number
    )
    # Who a patient is must not change while an order finds its own: a merge waits for orders, and orders for a merge.
    merges.hold_patients(session, alone=bool(stated.merges or stated.moves))
    patient_id = None
    if stated.patient is not None:
        patient_id = patient_stated(session, lab.ids, stated.patient, said)
    merges.patients_merged(lab, session, stated.merges, said)
    merges.visits_moved(lab, session, stated.moves, said)
    if stated.order is not None:
        order_stated(lab, session, stated.order, patient_id, said)
    problems = [*stated.problems, *updates_stated(lab, session, stated, said), *_flags(session, message, stated)]
    _applied(lab, session, claimed, message, "; ".join(problems) or None)


def _effective_at(message: _Arrived, stated: MessageStated) -> datetime:
    """Return when a message counts from: its own time, or ours when that is missing or too far ahead."""
    if stated.sent_at is None or stated.sent_at.at > message.received_at + CLOCK_AHEAD:
        return message.received_at
    return stated.sent_at.at


def _flags(session: Session, message: _Arrived, stated: MessageStated) -> list[str]:
    flags = []
    if stated.sent_at is not None and stated.sent_at.at > message.received_at + CLOCK_AHEAD:
        flags.append("The sender's clock is more than five minutes ahead: our time of receipt counts.")
    if message.message_control_id and _twins_say_the_same_time(session, message):
        flags.append("An earlier message of this sender has the same MSH-10 and MSH-7 with other bytes: both are kept.")
    return flags


def _twins_say_the_same_time(session: Session, message: _Arrived) -> bool:
    """Tell whether an earlier message has our MSH-10 and MSH-7: some senders begin their numbers anew each day."""
    ours_is = {"of_peer": message.peer, "control_id": message.message_control_id, "message_id": message.id}
    twins = session.scalars(_TWINS, {**ours_is, "until": message.received_at})
    ours = Message(message.payload).header.text(7)
    return any(Message(twin).header.text(7) == ours for twin in twins)


def _applied(lab: Lab, session: Session, claimed: Claim, message: _Arrived, problem: str | None = None) -> None:
    session.execute(_APPLIED, {"message_id": message.id, "but": problem})
    storm.message_applied(session, lab.ids, message.peer, database_now(session))
    ledger.finish(session, claimed)
