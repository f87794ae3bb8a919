"""A person has the messages about a scan and its case sent again that were refused: the same bytes, in order."""

from collections.abc import Sequence
from typing import Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from flows import ledger
from flows.actions.desk import Desk
from flows.books import Cause, Subject, clear_alert, note_changes
from flows.sending.publish import THE_LOG
from flows.step import A_PERSON
from models.database import database_now
from models.errors import RefusedError
from models.facets import OPEN_STEP_STATES
from models.tables.books import OutboxMessage
from models.tables.scan import Scan
from models.tables.step import Step

RESEND: Final = "send"


def plan_resend(desk: Desk, session: Session, scan: Scan) -> tuple[str, ...]:
    """Return what others would see; ``RefusedError`` when none of the messages was refused."""
    return tuple(
        f"{_named(one.peer)} is sent message {one.message_control_id} again, byte for byte"
        for one in _refused(desk, session, scan)
    )


def resend(desk: Desk, session: Session, scan: Scan, cause: Cause) -> None:
    """Put the refused messages of a locked scan's case back on their way."""
    now = database_now(session)
    for message in _refused(desk, session, scan):
        message.state = "pending"
        note_changes(session, Subject("message", message.id), [("state", "refused", "pending")], cause, now)
        ledger.wake(session, A_PERSON, f"message:{message.id}")
        clear_alert(session, message.id, "refused", now)


def _refused(desk: Desk, session: Session, scan: Scan) -> Sequence[OutboxMessage]:
    streams = [f"{peer.name}:{scan.case_id}" for peer in desk.settings.lims]
    streams += [f"{THE_LOG}:{scan.id}", f"{THE_LOG}:{scan.case_id}"]
    waiting = select(Step.subject_id).where(Step.order_key.in_(streams), Step.state.in_(OPEN_STEP_STATES))
    found = session.scalars(
        select(OutboxMessage)
        .where(OutboxMessage.state == "refused", OutboxMessage.id.in_(waiting))
        .order_by(OutboxMessage.stated_at, OutboxMessage.id)
    ).all()
    if not found and scan.case_id is None:
        raise RefusedError(f"scan {scan.id} has no case, so no message tells of it")
    if not found:
        raise RefusedError(f"no message of case {scan.case_id} was refused: there is nothing to send again")
    return found


def _named(peer: str) -> str:
    return "the event log" if peer == THE_LOG else f"LIMS {peer}"
