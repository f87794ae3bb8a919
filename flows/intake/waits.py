"""The steps that do nothing but wait: what happens when their time has come."""

from sqlalchemy import bindparam, select, update
from sqlalchemy.orm import Session
from sqlalchemy.orm.attributes import set_committed_value

from connectors.wiring import Lab
from flows import cases, holding, ledger, work_orders
from flows.books import Subject, note_changes, raise_alert, record
from flows.completeness import standing_of
from flows.expectations import A_RESCAN, NO_SCAN, THE_IMAGES, THE_ORDER_TO_SETTLE, THE_SCANNER, THE_WORK, wait_of
from flows.expected import expected_slides
from flows.ledger import Claim
from flows.step import End, cause_of
from models.base import table_of
from models.case_fold import ReleasedByPolicy
from models.database import database_now
from models.tables.case import Case, Slide
from models.tables.work import WorkOrder

_NOT_IN_TIME = {
    THE_SCANNER: "this slide was ordered and not scanned in time: look for the glass, or cancel it in the LIMS",
    A_RESCAN: "this slide was to be scanned again and was not in time: look for the glass, or judge its scan again",
    THE_IMAGES: "the image manager has still no images of this archived slide: store its scan again, or rescan it",
}

_CASE, _SLIDE = table_of(Case), table_of(Slide)
_CLOSE = update(_CASE).where(_CASE.c.id == bindparam("settled")).values(expected_closed_at=bindparam("at"))
_CASE_OF_SLIDE = select(_SLIDE.c.case_id).where(_SLIDE.c.id == bindparam("slide"))


def settle(lab: Lab, claimed: Claim) -> End:
    """Close a case's expected set when no order changed it for the site's settling time and it names a slide.

    Work that the LIMS has accepted by then, and that will bring a slide, keeps the set open.
    """
    return lambda session: _settle(lab, session, claimed)


def _settle(lab: Lab, session: Session, claimed: Claim) -> None:
    case = cases.lock_case(session, claimed.subject_id)
    now = database_now(session)
    expected = expected_slides(session, case) if case else []
    if case is None or not expected:
        # A case without slides stays open until a slide, the LIMS or a person says otherwise.
        ledger.finish(session, claimed)
        return
    settled_at = case.orders_changed_at + lab.settings.site(case.site_id).settle_after
    if now < settled_at:
        wait = ledger.Wait(THE_ORDER_TO_SETTLE, case.id, settled_at, "the expected slides count as complete")
        ledger.wait(session, claimed, wait)
        return
    if any(one.being_made for one in expected):
        until = now + lab.settings.site(case.site_id).work_wait
        ledger.wait(session, claimed, ledger.Wait(THE_WORK, case.id, until, "looked at again"))
        cases.evaluate(session, lab.settings, case.id, cause_of(claimed))
        return
    session.execute(_CLOSE, {"settled": case.id, "at": now})
    set_committed_value(case, "expected_closed_at", now)
    ledger.finish(session, claimed)
    note_changes(session, Subject("case", case.id), [("expected set", "open", "closed")], cause_of(claimed), now)
    cases.evaluate(session, lab.settings, case.id, cause_of(claimed))


def expect_scan_passed(lab: Lab, claimed: Claim) -> End:
    """Raise a slide whose scan did not come in time, and wait on."""
    return lambda session: _raise(lab, session, claimed)


def _raise(lab: Lab, session: Session, claimed: Claim) -> None:
    slide_id = claimed.subject_id
    case = cases.lock_case(session, session.scalars(_CASE_OF_SLIDE, {"slide": slide_id}).one())
    expected = expected_slides(session, case) if case else []
    standing = next((standing_of(one) for one in expected if one.slide_id == slide_id), None)
    waiting_for = wait_of(standing)
    if case is None or waiting_for is None:
        ledger.finish(session, claimed)
        return
    now = database_now(session)
    raise_alert(session, Subject("slide", slide_id), NO_SCAN, _NOT_IN_TIME[waiting_for], now)
    until = now + lab.settings.site(case.site_id).scan_wait
    ledger.wait(session, claimed, ledger.Wait(waiting_for, slide_id, until, "raised again"))


def hold_passed(lab: Lab, claimed: Claim) -> End:
    """Let a case be read without what is missing, or tell people, when the policy's time for it has passed."""
    return lambda session: _let_go(lab, session, claimed)


def _let_go(lab: Lab, session: Session, claimed: Claim) -> None:
    case = cases.lock_case(session, claimed.subject_id)
    now, cause = database_now(session), cause_of(claimed)
    expected, verdict = cases.judged(session, case, now) if case else ([], None)
    held = holding.held(session, case, expected, verdict, now) if case and verdict else None
    if case is None or verdict is None:
        ledger.finish(session, claimed)
    elif held is None:
        ledger.finish(session, claimed)
        cases.evaluate(session, lab.settings, case.id, cause)
    elif now < held.until:
        ledger.wait(session, claimed, held.wait(case.id))
    elif held.release.hold == "whole case":
        ledger.wait(session, claimed, holding.raise_held(session, case, held, now))
    else:
        ledger.finish(session, claimed)
        missing = tuple(sorted(slide_id for slide_id, _ in verdict.missing))
        released = ReleasedByPolicy(
            version=held.policy.version, after_hours=held.release.after_hours, slide_ids=missing
        )
        at = cases.after_all(session, case.id, now)
        record(session, Subject("case", case.id), released, cause, effective_at=at, received_at=now)
        cases.project(session, lab.settings, lab.ids, case.id, cause)
        cases.evaluate(session, lab.settings, case.id, cause)


def expect_work_passed(lab: Lab, claimed: Claim) -> End:
    """Wait on for work that the laboratory has not done in time; that was raised when the time had passed."""
    return lambda session: _wait_on_for_work(lab, session, claimed)


def _wait_on_for_work(lab: Lab, session: Session, claimed: Claim) -> None:
    row = session.get_one(WorkOrder, claimed.subject_id)
    case = cases.lock_case(session, row.case_id)
    session.refresh(row)
    registered = work_orders.is_registered(session, lab.ids, row)
    if case is None or work_orders.waits_for(row, registered=registered) is None:
        ledger.finish(session, claimed)
        return
    ledger.wait(session, claimed, work_orders.wait_of(lab.settings, case, row, database_now(session)))
