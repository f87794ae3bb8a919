"""A person has messages about a case, or about a scan and its case, sent again that were refused: the same bytes."""

from collections.abc import Sequence
from typing import Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from flows import cases, ledger
from flows.actions.desk import Acted, Desk, Person
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
    return _in_words(_refused(desk, session, scan.case_id, scan.id))


def resend(desk: Desk, session: Session, scan: Scan, cause: Cause) -> None:
    """Put the refused messages of a locked scan's case back on their way."""
    _send_again(session, _refused(desk, session, scan.case_id, scan.id), cause)


def preview_resend(desk: Desk, case_id: str) -> tuple[str, ...]:
    """Return what others would see of ``resend_of_case``; ``RefusedError`` when none of its messages was refused."""
    with desk.database.read() as session:
        return _in_words(_refused(desk, session, case_id))


def resend_of_case(desk: Desk, case_id: str, person: Person) -> Acted:
    """Send the refused messages of a case again, of which there may be no scan yet: work was asked for, for example.

    Raises
    ------
    RefusedError
        There is no such case, or none of its messages was refused.
    """
    with desk.database.write("people.resend") as session:
        if cases.lock_case(session, case_id) is None:
            raise RefusedError(f"there is no case {case_id}: 'coverslip list' shows those there are")
        found = _refused(desk, session, case_id)
        _send_again(session, found, person.cause("rerun send"))
        return Acted("runs again from send", _in_words(found), case=case_id)


def _send_again(session: Session, refused: Sequence[OutboxMessage], cause: Cause) -> None:
    now = database_now(session)
    for message in refused:
        message.state = "pending"
        note_changes(session, Subject("message", message.id), [("state", "refused", "pending")], cause, now)
        ledger.wake(session, A_PERSON, f"message:{message.id}")
        clear_alert(session, message.id, "refused", now)


def _in_words(refused: Sequence[OutboxMessage]) -> tuple[str, ...]:
    return tuple(f"{_named(one.peer)} is sent message {one.message_control_id} again, byte for byte" for one in refused)


def _refused(desk: Desk, session: Session, case_id: str | None, scan_id: str | None = None) -> Sequence[OutboxMessage]:
    streams = [f"{peer.name}:{case_id}" for peer in desk.settings.lims]
    streams += [f"{THE_LOG}:{one}" for one in (scan_id, case_id)]
    waiting = select(Step.subject_id).where(Step.order_key.in_(streams), Step.state.in_(OPEN_STEP_STATES))
    found = session.scalars(
        select(OutboxMessage)
        .where(OutboxMessage.state == "refused", OutboxMessage.id.in_(waiting))
        .order_by(OutboxMessage.stated_at, OutboxMessage.id)
    ).all()
    if not found and case_id is None:
        raise RefusedError(f"scan {scan_id} has no case, so no message tells of it")
    if not found:
        raise RefusedError(f"no message of case {case_id} was refused: there is nothing to send again")
    return found


def _named(peer: str) -> str:
    return "the event log" if peer == THE_LOG else f"LIMS {peer}"
