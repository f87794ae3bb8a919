"""The step send: one message to one LIMS, its bytes frozen before the first try, repeated until it is answered."""

import time
from datetime import timedelta
from typing import Any

from sqlalchemy import update
from sqlalchemy.orm import Session

from connectors.lims.outgoing import Address, build
from connectors.lims.sender import Answer
from connectors.telemetry import Exchange
from connectors.wiring import Lab
from flows import ledger
from flows.books import Subject, raise_alert
from flows.ledger import Claim
from flows.step import A_PERSON, THE_LIMS, End
from models.announcements import CaseAnnounced, SlideAnnounced
from models.base import table_of
from models.database import database_now
from models.errors import TransientError
from models.failpoint import failpoint
from models.tables.books import OutboxMessage

_OUTBOX = table_of(OutboxMessage)

_ANNOUNCEMENTS: dict[str, type[SlideAnnounced | CaseAnnounced]] = {
    "SlideAnnounced": SlideAnnounced,
    "CaseAnnounced": CaseAnnounced,
}

_TYPES = {"SlideAnnounced": ("OUL", "R22"), "CaseAnnounced": ("OML", "O21")}
# HL7 2.5.1 table 0008. AR covers a system that is down, so it is tried again; AE reports an error to a person.
_ACCEPTED = ("AA", "CA")
_TRY_AGAIN = ("AR", "CR")
_MOST_REFUSALS = 5
# A silent peer is asked again after these seconds, then at the last of them.
_BACK_OFF = (1, 2, 5, 10, 30, 60)


def send(lab: Lab, claimed: Claim) -> End:
    """Send one message and keep its answer; a silent LIMS pauses everything that waits for it."""
    with lab.database.read() as session:
        message = session.get_one(OutboxMessage, claimed.subject_id)
    payload = message.payload or _freeze(lab, message)
    began = time.monotonic()
    try:
        failpoint("send.before_send")
        answer = lab.senders[message.peer].send(payload, message.message_control_id)
        failpoint("send.after_send")
    except TransientError as error:
        because = str(error)
        lab.telemetry.sent(_exchange(message, payload, "none", began))
        return lambda session: _silent(session, claimed, message, because)
    lab.telemetry.sent(_exchange(message, payload, answer.code, began))
    return lambda session: _answered(lab, session, claimed, message, answer)


def _exchange(message: OutboxMessage, payload: bytes, code: str, began: float) -> Exchange:
    kind, trigger = _TYPES[str(message.announcement["kind"])]
    took = timedelta(seconds=time.monotonic() - began)
    return Exchange(message.peer, message.id, kind, trigger, code, len(payload), took)


def _freeze(lab: Lab, message: OutboxMessage) -> bytes:
    """Build the bytes of a message and commit them: whatever happens to the first try, the second is the same."""
    stated: dict[str, Any] = dict(message.announcement)
    announcement = _ANNOUNCEMENTS[stated.pop("kind")].model_validate(stated)
    peer = lab.settings.peer(message.peer)
    payload = build(
        announcement,
        control_id=message.message_control_id,
        sent_at=message.stated_at,
        sending=Address(application="COVERSLIP", facility=announcement.case.site),
        receiving=Address(application=peer.application, facility=peer.facility),
    )
    with lab.database.write("freeze") as session:
        session.execute(
            update(_OUTBOX).where(_OUTBOX.c.id == message.id, _OUTBOX.c.payload.is_(None)).values(payload=payload)
        )
    return payload


def _silent(session: Session, claimed: Claim, message: OutboxMessage, because: str) -> None:
    pause = timedelta(seconds=_BACK_OFF[min(claimed.tries, len(_BACK_OFF) - 1)])
    _count_try(session, message)
    ledger.pause_slot(session, claimed.slot, pause, because)
    ledger.give_back(session, claimed, retry_after=pause, problem=because, waiting_for=THE_LIMS)


def _answered(lab: Lab, session: Session, claimed: Claim, message: OutboxMessage, answer: Answer) -> None:
    ledger.open_slot(session, claimed.slot)
    _count_try(session, message)
    if answer.code in _ACCEPTED:
        _keep_answer(session, message, answer, "answered")
        ledger.finish(session, claimed)
        return
    why = f"LIMS {message.peer} answered {answer.code} to message {message.message_control_id}"
    if answer.code in _TRY_AGAIN and claimed.tries < _MOST_REFUSALS:
        pause = timedelta(seconds=_BACK_OFF[min(claimed.tries, len(_BACK_OFF) - 1)])
        ledger.give_back(session, claimed, retry_after=pause, problem=why, waiting_for=THE_LIMS)
        return
    _keep_answer(session, message, answer, "refused")
    now = database_now(session)
    site = lab.settings.site(str(message.announcement["case"]["site"]))
    raise_alert(session, Subject("message", message.id), "refused", f"{why}: its later messages wait behind it", now)
    wait = ledger.Wait(A_PERSON, f"message:{message.id}", now + site.person_wait, "sent again")
    ledger.wait(session, claimed, wait)


def _count_try(session: Session, message: OutboxMessage) -> None:
    session.execute(update(_OUTBOX).where(_OUTBOX.c.id == message.id).values(tries=_OUTBOX.c.tries + 1))


def _keep_answer(session: Session, message: OutboxMessage, answer: Answer, state: str) -> None:
    session.execute(
        update(_OUTBOX)
        .where(_OUTBOX.c.id == message.id)
        .values(state=state, answered_at=database_now(session), answer_code=answer.code, answer=answer.raw)
    )
