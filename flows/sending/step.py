"""The step send: one message to one LIMS, its bytes frozen before the first try, repeated until it is answered."""

import time
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import bindparam, func, select, update
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
from models.tables.step import Slot

_OUTBOX, _SLOT = table_of(OutboxMessage), table_of(Slot)
_SILENT_SINCE = select(func.max(_SLOT.c.silent_since)).where(_SLOT.c.name == bindparam("slot_name"))
_MESSAGE = select(
    *(_OUTBOX.c.id, _OUTBOX.c.peer, _OUTBOX.c.announcement, _OUTBOX.c.message_control_id),
    *(_OUTBOX.c.stated_at, _OUTBOX.c.payload, _SILENT_SINCE.scalar_subquery().label("silent_since")),
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


@dataclass(frozen=True)
class Message:
    """What is to be sent, and since when its LIMS was silent before this try: nobody else asks it meanwhile."""

    id: str
    peer: str
    announcement: dict[str, Any]
    message_control_id: str
    stated_at: datetime
    payload: bytes | None
    silent_since: datetime | None


def send(lab: Lab, claimed: Claim) -> End:
    """Send one message and keep its answer; a silent LIMS pauses everything that waits for it."""
    message = message_of(lab, claimed)
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


def message_of(lab: Lab, claimed: Claim) -> Message:
    """Return the message that a step is to send."""
    with lab.database.read() as session:
        row = session.execute(_MESSAGE, {"message_id": claimed.subject_id, "slot_name": claimed.slot}).one()
    return Message(**row._asdict())


def _exchange(message: Message, payload: bytes, code: str, began: float) -> Exchange:
    kind, trigger = _TYPES[str(message.announcement["kind"])]
    took = timedelta(seconds=time.monotonic() - began)
    return Exchange(message.peer, message.id, kind, trigger, code, len(payload), took)


def _freeze(lab: Lab, message: Message) -> bytes:
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
        session.execute(_FREEZE, {"message_id": message.id, "frozen": payload})
    return payload


def _silent(session: Session, claimed: Claim, message: Message, because: str) -> None:
    pause = timedelta(seconds=_BACK_OFF[min(claimed.tries, len(_BACK_OFF) - 1)])
    session.execute(_COUNT_TRY, {"message_id": message.id})
    ledger.pause_slot(session, claimed.slot, pause, because)
    ledger.give_back(session, claimed, retry_after=pause, problem=because, waiting_for=THE_LIMS)


def _answered(lab: Lab, session: Session, claimed: Claim, message: Message, answer: Answer) -> None:
    if message.silent_since is not None:
        ledger.open_slot(session, claimed.slot)
    if answer.code in _ACCEPTED:
        _keep_answer(session, message, answer, "answered")
        ledger.finish(session, claimed)
        return
    why = f"LIMS {message.peer} answered {answer.code} to message {message.message_control_id}"
    if answer.code in _TRY_AGAIN and claimed.tries < _MOST_REFUSALS:
        session.execute(_COUNT_TRY, {"message_id": message.id})
        pause = timedelta(seconds=_BACK_OFF[min(claimed.tries, len(_BACK_OFF) - 1)])
        ledger.give_back(session, claimed, retry_after=pause, problem=why, waiting_for=THE_LIMS)
        return
    _keep_answer(session, message, answer, "refused")
    now = database_now(session)
    site = lab.settings.site(str(message.announcement["case"]["site"]))
    raise_alert(session, Subject("message", message.id), "refused", f"{why}: its later messages wait behind it", now)
    wait = ledger.Wait(A_PERSON, f"message:{message.id}", now + site.person_wait, "sent again")
    ledger.wait(session, claimed, wait)


def _keep_answer(session: Session, message: Message, answer: Answer, state: str) -> None:
    """Keep the answer to a try, and count the try."""
    kept = {"to": state, "at": database_now(session), "code": answer.code, "raw": answer.raw}
    session.execute(_KEEP_ANSWER, {"message_id": message.id, **kept})
