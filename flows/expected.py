"""The slides that cases expect, with what counts of their scans: what completeness is judged by."""

from collections import defaultdict
from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Row, bindparam, select
from sqlalchemy.orm import Session

from flows.completeness import ExpectedSlide, ScanOfSlide
from models.base import table_of
from models.facets import Outcome
from models.tables.case import Slide
from models.tables.scan import Scan
from models.uid import series_uid

_SLIDE, _SCAN = table_of(Slide), table_of(Scan)
_SLIDES_WITH_SCANS = (
    select(
        *(_SLIDE.c.case_id, _SLIDE.c.id.label("slide_id"), _SLIDE.c.route, _SLIDE.c.images_elsewhere),
        *(_SLIDE.c.elsewhere_series_uid, _SLIDE.c.elsewhere_at),
        *(_SCAN.c.id.label("scan_id"), _SCAN.c.quality, _SCAN.c.storage, _SCAN.c.outcome),
        *(_SCAN.c.edition, _SCAN.c.received_at),
    )
    .select_from(_SLIDE.outerjoin(_SCAN, _SCAN.c.slide_id == _SLIDE.c.id))
    .where(_SLIDE.c.case_id.in_(bindparam("of_cases", expanding=True)), _SLIDE.c.cancelled.is_(False))
    .order_by(_SLIDE.c.id)
)


def slides_of_cases(session: Session, case_ids: Collection[str]) -> dict[str, list[ExpectedSlide]]:
    """Return the slides of these cases that nobody cancelled, by their case."""
    by_slide: dict[str, list[Row[*tuple[Any, ...]]]] = {}
    for row in session.execute(_SLIDES_WITH_SCANS, {"of_cases": list(case_ids)}):
        by_slide.setdefault(row.slide_id, []).append(row)
    found: dict[str, list[ExpectedSlide]] = defaultdict(list)
    for rows in by_slide.values():
        found[rows[0].case_id].append(_expected(rows))
    return found


def _expected(rows: Sequence[Row[*tuple[Any, ...]]]) -> ExpectedSlide:
    slide = rows[0]
    scans = [row for row in rows if row.scan_id is not None]
    return ExpectedSlide(
        slide.slide_id,
        slide.route,
        tuple(ScanOfSlide(row.scan_id, row.quality, row.storage, row.outcome) for row in scans),
        imaged_elsewhere=slide.images_elsewhere is True,
        images_gone=slide.images_elsewhere is False and any(_is_gone(row) for row in scans),
    )


def _is_gone(row: Row[*tuple[Any, ...]]) -> bool:
    """Whether the word that no images are left is about this scan: its series, or any that there was by then."""
    if row.outcome != Outcome.ACTIVE:
        return False
    if row.elsewhere_series_uid:
        return bool(row.elsewhere_series_uid == series_uid(row.scan_id, row.edition))
    said_at: datetime = row.elsewhere_at
    return bool(row.received_at <= said_at)
