"""The steps that do nothing but wait: what happens when their time has come."""

from sqlalchemy.orm import Session

from connectors.wiring import Lab
from flows import cases, ledger
from flows.books import Subject, note_changes, raise_alert
from flows.expectations import THE_ORDER_TO_SETTLE, THE_SCANNER
from flows.ledger import Claim
from flows.step import End, cause_of
from models.database import database_now
from models.tables.case import Case, Slide


def settle(lab: Lab, claimed: Claim) -> End:
    """Close a case's expected set when no order changed it for the site's settling time and it names a slide."""
    return lambda session: _settle(lab, session, claimed)


def _settle(lab: Lab, session: Session, claimed: Claim) -> None:
    case = cases.lock_case(session, claimed.subject_id)
    now = database_now(session)
    if case is None or case.cancelled or not cases.expected_slides(session, case):
        # A case without slides stays open until a slide, the LIMS or a person says otherwise.
        ledger.finish(session, claimed)
        return
    settled_at = case.orders_changed_at + lab.settings.site(case.site_id).settle_after
    if now < settled_at:
        wait = ledger.Wait(THE_ORDER_TO_SETTLE, case.id, settled_at, "the expected slides count as complete")
        ledger.wait(session, claimed, wait)
        return
    case.expected_closed_at = now
    session.flush()
    ledger.finish(session, claimed)
    note_changes(session, Subject("case", case.id), [("expected set", "open", "closed")], cause_of(claimed), now)
    cases.evaluate(session, lab.settings, case.id, cause_of(claimed))


def expect_scan_passed(lab: Lab, claimed: Claim) -> End:
    """Raise a slide whose scan did not come in time, and wait on."""
    return lambda session: _raise(lab, session, claimed)


def _raise(lab: Lab, session: Session, claimed: Claim) -> None:
    slide = session.get_one(Slide, claimed.subject_id)
    case = session.get_one(Case, slide.case_id)
    now = database_now(session)
    sentence = "this slide was ordered and not scanned in time: look for the glass, or cancel it in the LIMS"
    raise_alert(session, Subject("slide", slide.id), "no scan", sentence, now)
    until = now + lab.settings.site(case.site_id).scan_wait
    ledger.wait(session, claimed, ledger.Wait(THE_SCANNER, slide.id, until, "raised again"))
