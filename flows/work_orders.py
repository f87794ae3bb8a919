"""The work that the laboratory was asked for: rows in line with a case's facts, and a wait for each while it lasts.

The caller holds the case's row in its write transaction.
"""

from datetime import datetime
from typing import Any, Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from connectors.settings import Settings
from flows import ledger
from flows.books import Cause, Subject, clear_alert, note_changes, raise_alert
from flows.journey import INTAKE
from flows.step import THE_LIMS
from models.case_fold import CaseState
from models.facets import OPEN_STEP_STATES, StepState
from models.opaque import OpaqueIds
from models.tables.case import Block, Case, Slide
from models.tables.step import Step
from models.tables.work import WorkOrder
from models.work_fold import WorkOrdered, WorkOrderState

REFUSED: Final = "work refused"
"""The alert about work that the laboratory will not do."""

_UNDER_WAY: Final = ("asked", "accepted")


def bring_in_line(  # noqa: PLR0913, PLR0917 - one change and all that it touches
    session: Session, settings: Settings, ids: OpaqueIds, case: Case, state: CaseState, cause: Cause, now: datetime
) -> None:
    """Make the work orders of a case what its facts say, each with its wait."""
    if not state.work_orders:
        return
    rows = {row.number: row for row in session.scalars(select(WorkOrder).where(WorkOrder.case_id == case.id))}
    for number, known in sorted(state.work_orders.items()):
        if known.ordered is None:
            continue
        row = rows.get(number) or _new_row(ids, case, known.ordered, known.asked_at or now)
        before = row.state if number in rows else None
        for name, value in columns_of(ids, state, known).items():
            setattr(row, name, value)
        session.add(row)
        session.flush()
        if row.state != before:
            what = f"work order {row.kind}"
            note_changes(session, Subject("case", case.id), [(what, before, row.state)], cause, now)
            _tell(session, row, now)
        _wait(session, settings, case, state, row, now)


def columns_of(ids: OpaqueIds, state: CaseState, known: WorkOrderState) -> dict[str, Any]:
    """Return the columns of a work order's row that later facts decide."""
    ordered, answered, done = known.ordered, known.answered, known.done
    assert ordered is not None  # noqa: S101 - a row is made of what was asked for
    return {
        "state": _state_of(state, known),
        "subject_id": ids.of(ordered.subject_kind, ordered.issuer, ordered.container_identifier),
        "filler_number": (answered.filler_number if answered else "") or None,
        "refusal": answered.reason if answered and not answered.accepted else None,
        "made_container": done.container_identifier if done else None,
        "made_issuer": (done.issuer or ordered.issuer) if done and done.container_identifier else None,
    }


def waits_for(row: WorkOrder, *, registered: bool) -> str | None:
    """Return what a work order waits for, in words; ``None`` when it is at its end."""
    if row.state == "asked":
        return "the LIMS to take the work or refuse it"
    if row.state == "accepted":
        return "the LIMS to do the work"
    if row.state == "fulfilled" and row.made_container and not registered:
        return "the LIMS to register what was made"
    return None


def is_registered(session: Session, ids: OpaqueIds, row: WorkOrder) -> bool:
    """Whether an order names what was made of the work by now, as a block or a slide."""
    if not row.made_container or not row.made_issuer:
        return False
    slide_id, block_id = (ids.of(kind, row.made_issuer, row.made_container) for kind in ("slide", "block"))
    return session.get(Slide, slide_id) is not None or session.get(Block, block_id) is not None


def _new_row(ids: OpaqueIds, case: Case, ordered: WorkOrdered, asked_at: datetime) -> WorkOrder:
    return WorkOrder(
        id=ids.of("work order", case.id, ordered.number),
        case_id=case.id,
        number=ordered.number,
        kind=ordered.kind,
        subject_kind=ordered.subject_kind,
        stain=ordered.stain,
        asked_by=ordered.asked_by,
        because=ordered.because,
        asked_at=asked_at,
    )


def _state_of(state: CaseState, known: WorkOrderState) -> str:
    """Return where a work order stands: nobody works on what the laboratory has cancelled."""
    ordered = known.ordered
    assert ordered is not None  # noqa: S101 - as above
    containers: dict[Any, Any] = state.slides if ordered.subject_kind == "slide" else state.blocks
    subject = containers.get((ordered.issuer, ordered.container_identifier))
    gone = state.cancelled or (subject is not None and subject.cancelled)
    return "cancelled" if gone and known.state in _UNDER_WAY else known.state


def _tell(session: Session, row: WorkOrder, now: datetime) -> None:
    if row.state == "refused":
        said = f" ({row.refusal})" if row.refusal else ""
        sentence = f"the LIMS refuses the {row.kind} that {row.asked_by} asked for{said}: ask there, or ask anew"
        raise_alert(session, Subject("work order", row.id), REFUSED, sentence, now)
    else:
        clear_alert(session, row.id, REFUSED, now)


def _wait(session: Session, settings: Settings, case: Case, state: CaseState, row: WorkOrder, now: datetime) -> None:
    """Keep one open wait for a work order as long as the laboratory has to do something."""
    named = (row.made_issuer or "", row.made_container or "")
    waited_for = waits_for(row, registered=named in state.slides or named in state.blocks)
    if waited_for is None:
        ledger.end_open(session, row.id, ("expect_work",), StepState.DONE)
        return
    is_open = Step.state.in_(OPEN_STEP_STATES)
    if session.scalar(select(Step.id).where(Step.subject_id == row.id, Step.kind == "expect_work", is_open)) is None:
        ledger.rerun(session, _waiting_step(settings, case, row, now))


def wait_of(settings: Settings, case: Case, row: WorkOrder, now: datetime) -> ledger.Wait:
    """Return the wait of a work order that the laboratory has to do something about."""
    until = now + settings.site(case.site_id).work_wait
    return ledger.Wait(THE_LIMS, f"work:{row.number}", until, "raised on the list of what needs attention")


def _waiting_step(settings: Settings, case: Case, row: WorkOrder, now: datetime) -> ledger.NewStep:
    return ledger.NewStep(
        kind="expect_work",
        stage=INTAKE,
        subject_kind="work order",
        subject_id=row.id,
        rank_at=ledger.rank_at(now, case.due_at),
        lane=case.lane,
        wait=wait_of(settings, case, row, now),
    )
