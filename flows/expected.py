"""The slides that cases expect, with what counts of their scans: what completeness is judged by."""

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Row, and_, bindparam, exists, or_, select
from sqlalchemy.orm import Session

from flows.completeness import ExpectedSlide, ScanOfSlide
from flows.people.policies import policy_in_force
from models.base import table_of
from models.facets import LANE_OF_PRIORITY, Lane, Outcome, Quality, StepState, Storage
from models.tables.case import Block, Case, Slide
from models.tables.scan import Scan
from models.tables.step import Step
from models.tables.work import WorkOrder
from models.uid import series_uid

BRINGS_A_SLIDE: Final = ("recut", "stain", "new block")
"""Work that the laboratory makes another slide in; what it does to a slide that there is counts as that slide's."""

_SLIDE, _SCAN, _STEP, _WORK, _BLOCK = (table_of(one) for one in (Slide, Scan, Step, WorkOrder, Block))


def _names_what_was_made(of: Any) -> Any:  # noqa: ANN401 - a table with containers, and SQLAlchemy's condition
    return exists().where(of.c.issuer == _WORK.c.made_issuer, of.c.container_identifier == _WORK.c.made_container)


# What is done is still to be registered; before, nobody knows what it will be called.
_UNREGISTERED = and_(_WORK.c.made_container.is_not(None), ~_names_what_was_made(_SLIDE), ~_names_what_was_made(_BLOCK))
_BEING_MADE = (
    select(_WORK.c.case_id, _WORK.c.id, _WORK.c.kind)
    .where(
        _WORK.c.case_id.in_(bindparam("of_cases", expanding=True)),
        _WORK.c.kind.in_(BRINGS_A_SLIDE),
        or_(_WORK.c.state == "accepted", and_(_WORK.c.state == "fulfilled", _UNREGISTERED)),
    )
    .order_by(_WORK.c.id)
)
_SLIDES_WITH_SCANS = (
    select(
        *(_SLIDE.c.case_id, _SLIDE.c.id.label("slide_id"), _SLIDE.c.route, _SLIDE.c.images_elsewhere),
        *(_SLIDE.c.elsewhere_series_uid, _SLIDE.c.elsewhere_at, _SLIDE.c.readable_at),
        *(_SCAN.c.id.label("scan_id"), _SCAN.c.quality, _SCAN.c.storage, _SCAN.c.outcome),
        *(_SCAN.c.edition, _SCAN.c.received_at),
        exists().where(_WORK.c.case_id == _SLIDE.c.case_id).label("has_work"),
    )
    .select_from(_SLIDE.outerjoin(_SCAN, _SCAN.c.slide_id == _SLIDE.c.id))
    .where(_SLIDE.c.case_id.in_(bindparam("of_cases", expanding=True)), _SLIDE.c.cancelled.is_(False))
    .order_by(_SLIDE.c.id)
)
_PROOF_FAILED = (
    select(_STEP.c.subject_id)
    .join(_SCAN, (_SCAN.c.id == _STEP.c.subject_id) & (_SCAN.c.edition == _STEP.c.edition))
    .where(_STEP.c.subject_id.in_(bindparam("scans", expanding=True)))
    # That it was set aside, and people were told, is known of a step that a rerun has taken the place of, too.
    .where(_STEP.c.kind == "prove", or_(_STEP.c.state == StepState.SET_ASIDE, _STEP.c.alerted))
)


def slides_of_cases(session: Session, case_ids: Collection[str]) -> dict[str, list[ExpectedSlide]]:
    """Return the slides of these cases that nobody cancelled, and those that are being made, by their case."""
    by_slide: dict[str, list[Row[*tuple[Any, ...]]]] = {}
    for row in session.execute(_SLIDES_WITH_SCANS, {"of_cases": list(case_ids)}):
        by_slide.setdefault(row.slide_id, []).append(row)
    found: dict[str, list[ExpectedSlide]] = defaultdict(list)
    for rows in by_slide.values():
        found[rows[0].case_id].append(_expected(rows))
    worked_on = sorted({rows[0].case_id for rows in by_slide.values() if rows[0].has_work})
    for case_id, work_id, kind in session.execute(_BEING_MADE, {"of_cases": worked_on}) if worked_on else ():
        found[case_id].append(ExpectedSlide(work_id, "scan", being_made=kind))
    return found


def expected_slides(session: Session, case: Case) -> list[ExpectedSlide]:
    """Return the slides of a case that count, with their scans; none when the case is cancelled."""
    return [] if case.cancelled else slides_of_cases(session, (case.id,))[case.id]


def with_lane(session: Session, case: Case, expected: Sequence[ExpectedSlide], now: datetime) -> list[ExpectedSlide]:
    """Return the slides, those marked that the case's lane lets be read before their proof, by the policy in force.

    One whose proof has failed once is read after a proof only.
    """
    stored = {one.slide_id: _stored_scans(one) for one in expected if not one.before_proof}
    if case.lane == Lane.ROUTINE or not any(stored.values()):
        return list(expected)
    lanes = policy_in_force(session, now).policy.read_before_proof
    if case.lane not in {LANE_OF_PRIORITY[lane] for lane in lanes}:
        return list(expected)
    asked = sorted(scan_id for scans in stored.values() for scan_id in scans)
    failed = set(session.scalars(_PROOF_FAILED, {"scans": asked}))
    let = {slide_id for slide_id, scans in stored.items() if set(scans) - failed}
    return [replace(one, before_proof=True) if one.slide_id in let else one for one in expected]


def _stored_scans(slide: ExpectedSlide) -> list[str]:
    return [
        scan.scan_id
        for scan in slide.scans
        if (scan.outcome, scan.storage) == (Outcome.ACTIVE, Storage.STORED) and scan.quality != Quality.RESCAN
    ]


def _expected(rows: Sequence[Row[*tuple[Any, ...]]]) -> ExpectedSlide:
    slide = rows[0]
    scans = [row for row in rows if row.scan_id is not None]
    return ExpectedSlide(
        slide.slide_id,
        slide.route,
        tuple(ScanOfSlide(row.scan_id, row.quality, row.storage, row.outcome) for row in scans),
        imaged_elsewhere=slide.images_elsewhere is True,
        images_gone=slide.images_elsewhere is False and any(_is_gone(row) for row in scans),
        readable_at=slide.readable_at,
        before_proof=slide.readable_at is not None,
    )


def _is_gone(row: Row[*tuple[Any, ...]]) -> bool:
    """Whether the word that no images are left is about this scan: its series, or any that there was by then."""
    if row.outcome != Outcome.ACTIVE:
        return False
    if row.elsewhere_series_uid:
        return bool(row.elsewhere_series_uid == series_uid(row.scan_id, row.edition))
    said_at: datetime = row.elsewhere_at
    return bool(row.received_at <= said_at)
