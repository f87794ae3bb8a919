"""A person has the messages of a case sent again that the LIMS refused: the same bytes, in the same order."""

from collections.abc import Sequence
from typing import Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from flows import ledger
from flows.actions.desk import Desk
from flows.books import Cause, Subject, clear_alert, note_changes
from flows.step import A_PERSON
from models.database import database_now
from models.errors import RefusedError
from models.facets import OPEN_STEP_STATES
from models.tables.books import OutboxMessage
from models.tables.scan import Scan
from models.tables.step import Step

RESEND: Final = "send"


def plan_resend(desk: Desk, session: Session, scan: Scan) -> tuple[str, ...]:
    """Return what the LIMS would see; ``RefusedError`` when none of the case's messages was refused."""
    refused = _refused(desk, session, scan)
    return tuple(f"LIMS {one.peer} is sent message {one.message_control_id} again, byte for byte" for one in refused)


def resend(desk: Desk, session: Session, scan: Scan, cause: Cause) -> None:
    """Put the refused messages of a locked scan's case back on their way."""
    now = database_now(session)
    for message in _refused(desk, session, scan):
        message.state = "pending"
        note_changes(session, Subject("message", message.id), [("state", "refused", "pending")], cause, now)
        ledger.wake(session, A_PERSON, f"message:{message.id}")
        clear_alert(session, message.id, "refused", now)


def _refused(desk: Desk, session: Session, scan: Scan) -> Sequence[OutboxMessage]:
    if scan.case_id is None:
        raise RefusedError(f"scan {scan.id} has no case, so no message tells of it")
    streams = [f"{peer.name}:{scan.case_id}" for peer in desk.settings.lims]
    waiting = select(Step.subject_id).where(Step.order_key.in_(streams), Step.state.in_(OPEN_STEP_STATES))
    found = session.scalars(
        select(OutboxMessage)
        .where(OutboxMessage.state == "refused", OutboxMessage.id.in_(waiting))
        .order_by(OutboxMessage.stated_at, OutboxMessage.id)
    ).all()
    if not found:
        raise RefusedError(f"no message of case {scan.case_id} was refused: there is nothing to send again")
    return found
