"""What a case waits for by itself: its order to settle, its slides to be scanned. Each wait is a row.

Two kinds of step do nothing but wait: ``settle`` closes a case's expected set when no order changed it for
the site's settling time; ``expect_scan`` is raised when a slide's scan does not come.
"""

from datetime import datetime
from typing import TYPE_CHECKING

from sqlalchemy import select
from sqlalchemy.orm import Session

from connectors.settings import Settings
from flows import ledger
from flows.journey import INTAKE
from models.database import database_now
from models.facets import OPEN_STEP_STATES, StepState
from models.tables.case import Case
from models.tables.step import Step

if TYPE_CHECKING:
    from flows.completeness import SlideStanding

THE_SCANNER = "the scanner"
A_RESCAN = "a rescan"
THE_ORDER_TO_SETTLE = "the order to settle"

_WAIT_OF_STANDING = {
    "waiting for a scan": THE_SCANNER,
    "waiting for a rescan": A_RESCAN,
    "set aside": A_RESCAN,
}


def settle_later(session: Session, settings: Settings, case: Case) -> None:
    """Have the expected set of a locked case closed once its orders have settled; again if it was closed."""
    until = case.orders_changed_at + settings.site(case.site_id).settle_after
    case.expected_closed_at = None
    wait = ledger.Wait(THE_ORDER_TO_SETTLE, case.id, until, "the expected slides count as complete")
    _wait_anew(session, "settle", "case", case.id, wait, case)


def expect_scan(
    session: Session, settings: Settings, case: Case, slide_id: str, standing: "SlideStanding", now: datetime
) -> None:
    """Keep a slide's wait for its scan in step with where the slide stands."""
    waiting_for = _WAIT_OF_STANDING.get(standing)
    present = session.scalar(
        select(Step.waiting_for).where(
            Step.subject_id == slide_id, Step.kind == "expect_scan", Step.state.in_(OPEN_STEP_STATES)
        )
    )
    if present == waiting_for:
        return
    if waiting_for is None:
        ledger.end_open(session, slide_id, ("expect_scan",), StepState.DONE)
        return
    until = now + settings.site(case.site_id).scan_wait
    wait = ledger.Wait(waiting_for, slide_id, until, "raised on the list of what needs attention")
    _wait_anew(session, "expect_scan", "slide", slide_id, wait, case)


def forget_scan(session: Session, slide_id: str) -> None:
    """End the wait of a slide that was cancelled."""
    ledger.end_open(session, slide_id, ("expect_scan",), StepState.CANCELLED)


def _wait_anew(session: Session, kind: str, subject_kind: str, subject_id: str, wait: ledger.Wait, case: Case) -> None:
    step = ledger.NewStep(
        kind=kind,
        stage=INTAKE,
        subject_kind=subject_kind,
        subject_id=subject_id,
        rank_at=ledger.rank_at(database_now(session), case.due_at),
        lane=case.lane,
        wait=wait,
    )
    ledger.rerun(session, step)
