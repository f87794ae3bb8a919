"""The step send: one message to a LIMS or the event log, frozen before the first try, repeated until it is answered."""

import time
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import bindparam, select, update
from sqlalchemy.orm import Session

from connectors.lims.header import read_header
from connectors.lims.order_answers import orders_answered
from connectors.lims.outgoing import Address, Dialect, build
from connectors.lims.sender import Answer
from connectors.telemetry import Exchange
from connectors.wiring import Lab
from flows import ledger
from flows.asking import work_answered
from flows.books import Subject, raise_alert
from flows.ledger import Claim
from flows.sending.events import frozen, leaving, write
from flows.sending.publish import THE_LOG
from flows.sending.silence import SILENT_SINCE, pause_after, put_off
from flows.step import A_PERSON, THE_EVENT_LOG, THE_LIMS, End
from models.announcements import Announcement, CaseAnnounced, SlideAnnounced, WorkAsked
from models.base import table_of
from models.database import database_now
from models.errors import RejectedError, TransientError
from models.failpoint import failpoint
from models.tables.books import OutboxMessage
from models.work_fold import WorkAnswered

_OUTBOX = table_of(OutboxMessage)
_MESSAGE = select(
    *(_OUTBOX.c.id, _OUTBOX.c.peer, _OUTBOX.c.subject_id, _OUTBOX.c.announcement, _OUTBOX.c.message_control_id),
    *(_OUTBOX.c.stated_at, _OUTBOX.c.payload, SILENT_SINCE.scalar_subquery().label("silent_since")),
).where(_OUTBOX.c.id == bindparam("message_id"))
_FREEZE = (
    update(_OUTBOX)
    .where(_OUTBOX.c.id == bindparam("message_id"), _OUTBOX.c.payload.is_(None))
    .values(payload=bindparam("frozen"))
)
_COUNT_TRY = update(_OUTBOX).where(_OUTBOX.c.id == bindparam("message_id")).values(tries=_OUTBOX.c.tries + 1)
_KEEP_ANSWER = _COUNT_TRY.values(
    state=bindparam("to"), answered_at=bindparam("at"), answer_code=bindparam("code"), answer=bindparam("raw")
)

_ANNOUNCEMENTS: dict[str, type[Announcement]] = {
    "SlideAnnounced": SlideAnnounced,
    "CaseAnnounced": CaseAnnounced,
    "WorkAsked": WorkAsked,
}

# HL7 2.5.1 table 0008.
_ACCEPTED = ("AA", "CA")
_REJECTED = ("AR", "CR")
_MOST_REFUSALS = 5
_EVENT_WAIT = timedelta(hours=4)


@dataclass(frozen=True)
class Message:
    """What is to be sent, and since when its peer was silent before this try: nobody else asks it meanwhile."""

    id: str
    peer: str
    subject_id: str
    announcement: dict[str, Any]
    message_control_id: str
    stated_at: datetime
    payload: bytes | None
    silent_since: datetime | None


@dataclass(frozen=True)
class _Refusal:
    """Why a talking peer did not take a message, and when a person who has not seen to it is reminded."""

    why: str
    person_wait: timedelta


def send(lab: Lab, claimed: Claim) -> End:
    """Send one message and keep its answer; a silent peer pauses everything that waits for it."""
    message = message_of(lab, claimed)
    payload = message.payload or _freeze(lab, message)
    return (_publish if message.peer == THE_LOG else _tell)(lab, claimed, message, payload)


def _tell(lab: Lab, claimed: Claim, message: Message, payload: bytes) -> End:
    """Give a LIMS a message and keep what it answered."""
    began = time.monotonic()
    try:
        failpoint("send.before_send")
        answer = lab.senders[message.peer].send(payload, message.message_control_id)
        failpoint("send.after_send")
    except TransientError as error:
        because = str(error)
        lab.telemetry.sent(_exchange(message, payload, "none", began))
        return lambda session: _silent(session, claimed, message, because, THE_LIMS)
    lab.telemetry.sent(_exchange(message, payload, answer.code, began))
    return lambda session: _answered(lab, session, claimed, message, answer)


def _publish(lab: Lab, claimed: Claim, message: Message, payload: bytes) -> End:
    """Write an event into the log; one that the log will never take waits for a person, with those behind it."""
    try:
        placed = write(lab, leaving(lab.settings, message.id, message.announcement, message.subject_id, payload))
    except TransientError as error:
        because = str(error)
        return lambda session: _silent(session, claimed, message, because, THE_EVENT_LOG)
    except RejectedError as error:
        answer, why = Answer("refused", "", b""), str(error)
        return lambda session: _refused(session, claimed, message, answer, _Refusal(why, _EVENT_WAIT))
    answer = Answer("written", "", f"{placed.topic} {placed.partition} {placed.offset}".encode())
    return lambda session: _taken(session, claimed, message, answer)


def message_of(lab: Lab, claimed: Claim) -> Message:
    """Return the message that a step is to send."""
    with lab.database.read() as session:
        row = session.execute(_MESSAGE, {"message_id": claimed.subject_id, "slot_name": claimed.slot}).one()
    return Message(**row._asdict())


def _exchange(message: Message, payload: bytes, code: str, began: float) -> Exchange:
    kind, _, trigger = read_header(payload).message_type.partition("^")
    took = timedelta(seconds=time.monotonic() - began)
    return Exchange(message.peer, message.id, kind, trigger, code, len(payload), took)


def _freeze(lab: Lab, message: Message) -> bytes:
    """Build the bytes of a message and commit them: whatever happens to the first try, the second is the same."""
    if message.peer == THE_LOG:
        payload = frozen(message.id, message.announcement, message.subject_id, message.stated_at)
    else:
        payload = _as_hl7(lab, message)
    with lab.database.write("freeze") as session:
        session.execute(_FREEZE, {"message_id": message.id, "frozen": payload})
    return payload


def _as_hl7(lab: Lab, message: Message) -> bytes:
    stated: dict[str, Any] = dict(message.announcement)
    announcement = _ANNOUNCEMENTS[stated.pop("kind")].model_validate(stated)
    peer = lab.settings.peer(message.peer)
    return build(
        announcement,
        control_id=message.message_control_id,
        sent_at=message.stated_at,
        sending=Address(application="COVERSLIP", facility=announcement.case.site),
        receiving=Address(application=peer.application, facility=peer.facility),
        enhanced=peer.acknowledgement == "enhanced",
        dialect=Dialect(slides_as=peer.slides_as, quality_as=peer.quality_as),
    )


def _silent(session: Session, claimed: Claim, message: Message, because: str, neighbour: str) -> None:
    session.execute(_COUNT_TRY, {"message_id": message.id})
    put_off(session, claimed, because, neighbour)


def _answered(lab: Lab, session: Session, claimed: Claim, message: Message, answer: Answer) -> None:
    refused_work = _work_answered(lab, session, message, answer)
    if answer.code in _ACCEPTED or refused_work:
        _taken(session, claimed, message, answer)
        return
    why = f"LIMS {message.peer} answered {answer.code} to message {message.message_control_id}"
    peer = lab.settings.peer(message.peer)
    means = peer.after_reject if answer.code in _REJECTED else peer.after_error
    if means == "send again" and claimed.tries < _MOST_REFUSALS:
        session.execute(_COUNT_TRY, {"message_id": message.id})
        _talks(session, claimed, message)
        ledger.give_back(session, claimed, retry_after=pause_after(claimed), problem=why, waiting_for=THE_LIMS)
        return
    site = lab.settings.site(str(message.announcement["case"]["site"]))
    _refused(session, claimed, message, answer, _Refusal(why, site.person_wait))


def _work_answered(lab: Lab, session: Session, message: Message, answer: Answer) -> bool:
    """Record what an answer says of work that the message asks for; return whether that was refused.

    A refusal is an answer, whatever MSA-1 says: the message was understood, and sending it again would change nothing.
    """
    if message.announcement["kind"] != WorkAsked.__name__:
        return False
    ours = [one for one in orders_answered(answer.raw) if one.number == message.announcement["number"]]
    for one in ours:
        work_answered(session, lab.settings, lab.ids, message.subject_id, WorkAnswered(**one.model_dump()))
    return any(not one.accepted for one in ours)


def _taken(session: Session, claimed: Claim, message: Message, answer: Answer) -> None:
    _talks(session, claimed, message)
    _keep_answer(session, message, answer, "answered")
    ledger.finish(session, claimed)


def _refused(session: Session, claimed: Claim, message: Message, answer: Answer, refusal: _Refusal) -> None:
    """Set a message aside: a person is told, and what its stream says later waits behind it."""
    _talks(session, claimed, message)
    _keep_answer(session, message, answer, "refused")
    now = database_now(session)
    told = f"{refusal.why.rstrip('.')}: its later messages wait behind it"
    raise_alert(session, Subject("message", message.id), "refused", told, now)
    wait = ledger.Wait(A_PERSON, f"message:{message.id}", now + refusal.person_wait, "sent again")
    ledger.wait(session, claimed, wait)


def _talks(session: Session, claimed: Claim, message: Message) -> None:
    if message.silent_since is not None:
        ledger.open_slot(session, claimed.slot)


def _keep_answer(session: Session, message: Message, answer: Answer, state: str) -> None:
    """Keep the answer to a try, and count the try."""
    kept = {"to": state, "at": database_now(session), "code": answer.code, "raw": answer.raw}
    session.execute(_KEEP_ANSWER, {"message_id": message.id, **kept})
