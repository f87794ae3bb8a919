"""What a case waits for by itself: its order to settle, its slides to be scanned. Each wait is a row.

Two kinds of step do nothing but wait: ``settle`` closes a case's expected set when no order changed it for
the site's settling time; ``expect_scan`` is raised when a slide's scan does not come.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING

from sqlalchemy import bindparam, select
from sqlalchemy.orm import Session

from connectors.settings import Settings
from flows import ledger
from flows.books import Cause, Subject, clear_alert, note_changes, raise_alert
from flows.journey import INTAKE
from models.base import table_of
from models.database import database_now
from models.facets import OPEN_STEP_STATES, StepState
from models.tables.case import Case
from models.tables.step import Step

if TYPE_CHECKING:
    from flows.completeness import SlideStanding

THE_SCANNER = "the scanner"
A_RESCAN = "a rescan"
THE_ORDER_TO_SETTLE = "the order to settle"
THE_WORK = "work that the LIMS has accepted"
THE_IMAGES = "its images"
NO_SCAN = "no scan"
"""The alert about a slide whose scan did not come in time."""
IMAGES_GONE = "images gone"
"""The alert about a slide of whose archived scan an image manager has nothing left."""

_NONE_LEFT = "the image manager has no images of this archived slide any more: store its scan again, or rescan it"
_BEING_RAISED = "being raised"
_STEP = table_of(Step)
_WAITS_OF_SLIDES = (
    select(_STEP.c.subject_id, _STEP.c.generation, _STEP.c.state, _STEP.c.waiting_for)
    .where(_STEP.c.subject_id.in_(bindparam("slides", expanding=True)), _STEP.c.kind == "expect_scan")
    .order_by(_STEP.c.generation)
)

_WAIT_OF_STANDING = {
    "waiting for a scan": THE_SCANNER,
    "waiting for a rescan": A_RESCAN,
    "set aside": A_RESCAN,
    "images gone": THE_IMAGES,
}


def settle_later(session: Session, settings: Settings, case: Case) -> None:
    """Have the open expected set of a locked case closed once its orders have settled."""
    until = case.orders_changed_at + settings.site(case.site_id).settle_after
    wait = ledger.Wait(THE_ORDER_TO_SETTLE, case.id, until, "the expected slides count as complete")
    ledger.rerun(session, _waiting_step("settle", "case", case.id, wait, case, database_now(session)))


def close_set(session: Session, case: Case, cause: Cause, now: datetime) -> None:
    """Close the expected set of a locked case: nobody has to wait for its orders to settle."""
    case.expected_closed_at = now
    ledger.end_open(session, case.id, ("settle",), StepState.DONE)
    note_changes(session, Subject("case", case.id), [("expected set", "open", "closed")], cause, now)


def expect_scans(
    session: Session, settings: Settings, case: Case, standings: "Mapping[str, SlideStanding]", now: datetime
) -> None:
    """Keep the waits of a case's slides for their scans in step with where each slide stands."""
    until = now + settings.site(case.site_id).scan_wait
    known = _known_waits(session, tuple(standings))
    anew = []
    for slide_id, standing in standings.items():
        waiting_for = wait_of(standing)
        generation, open_for = known.get(slide_id, (0, None))
        # One that is being raised this moment sees for itself what to wait for.
        if open_for == waiting_for or (open_for == _BEING_RAISED and waiting_for is not None):
            continue
        if open_for is not None:
            _end_wait(session, slide_id, StepState.DONE if waiting_for is None else StepState.SUPERSEDED)
        if waiting_for is not None:
            wait = ledger.Wait(waiting_for, slide_id, until, "raised on the list of what needs attention")
            anew.append(_waiting_step("expect_scan", "slide", slide_id, wait, case, now, generation + 1))
        if waiting_for == THE_IMAGES:
            raise_alert(session, Subject("slide", slide_id), IMAGES_GONE, _NONE_LEFT, now)
    ledger.add(session, anew)


def wait_of(standing: "SlideStanding | None") -> str | None:
    """Return what a slide waits for that stands so; ``None`` when for no scan."""
    return _WAIT_OF_STANDING.get(standing) if standing else None


def forget_scan(session: Session, slide_id: str) -> None:
    """End the wait of a slide that was cancelled."""
    _end_wait(session, slide_id, StepState.CANCELLED)


def _end_wait(session: Session, slide_id: str, state: StepState) -> None:
    ledger.end_open(session, slide_id, ("expect_scan",), state)
    for kind in (NO_SCAN, IMAGES_GONE):
        clear_alert(session, slide_id, kind, database_now(session))


def _known_waits(session: Session, slide_ids: tuple[str, ...]) -> dict[str, tuple[int, str | None]]:
    """Return each slide's newest generation of this step, and what it waits for while it is open."""
    rows = session.execute(_WAITS_OF_SLIDES, {"slides": slide_ids})
    return {
        slide_id: (generation, (waiting_for or _BEING_RAISED) if state in OPEN_STEP_STATES else None)
        for slide_id, generation, state, waiting_for in rows
    }


def _waiting_step(  # noqa: PLR0913, PLR0917 - a step's own columns
    kind: str, subject_kind: str, subject_id: str, wait: ledger.Wait, case: Case, now: datetime, generation: int = 1
) -> ledger.NewStep:
    return ledger.NewStep(
        kind=kind,
        stage=INTAKE,
        subject_kind=subject_kind,
        subject_id=subject_id,
        rank_at=ledger.rank_at(now, case.due_at),
        lane=case.lane,
        generation=generation,
        wait=wait,
    )
