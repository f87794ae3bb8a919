"""What follows when what was said of a case changes it: steps are woken, ended, hurried, and images corrected."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import bindparam, select, union_all
from sqlalchemy.orm import Session

from connectors.wiring import Lab
from flows import cases, ledger
from flows.archive_upload.correcting import correct_archived
from flows.archive_upload.editions import made
from flows.barcode_matching.step import ask_again, order_key
from flows.books import Cause, Subject, clear_alert, raise_alert
from flows.changes import CANCELLED_WITH_ITS_SLIDE, change_scan, is_leaving, lock_scan
from flows.expectations import forget_scan
from flows.step import THE_LIMS
from models.base import table_of
from models.database import database_now
from models.errors import RejectedError
from models.facets import Outcome, Quality
from models.scan_fold import Ended, QualityJudged, Resumed, SlideUnmatched, fold
from models.statements import OrderStated
from models.tables.books import Fact
from models.tables.case import Case, Slide
from models.tables.reading import Read
from models.tables.scan import Scan

_SCAN, _SLIDE, _READ = table_of(Scan), table_of(Slide), table_of(Read)
_SLIDES_OF_CASE = select(Slide).where(Slide.case_id == bindparam("of_case")).order_by(Slide.id)
_SCANS_AND_READS_OF_CASE = union_all(
    select(_SCAN.c.id).where(_SCAN.c.case_id == bindparam("of_case")),
    select(_READ.c.id).where(_READ.c.case_id == bindparam("of_case")),
)
_OTHER_ISSUER = "An order names its slide by another issuer than the cancel that made it: a person says which it is."
_SCANS_OF_NAMES = (
    select(_SCAN.c.id, _SLIDE.c.issuer, _SLIDE.c.container_identifier)
    .join(_SLIDE, _SLIDE.c.id == _SCAN.c.slide_id)
    .where(_SLIDE.c.case_id == bindparam("of_case"), _SLIDE.c.cancelled)
    .where(_SLIDE.c.container_identifier.in_(bindparam("names", expanding=True)))
    .order_by(_SCAN.c.id)
)
_ACTIVE_SCANS = (
    select(_SCAN.c.id)
    .where(_SCAN.c.slide_id == bindparam("of_slide"), _SCAN.c.outcome == Outcome.ACTIVE)
    .order_by(_SCAN.c.id)
)


@dataclass(frozen=True)
class Before:
    """What a case was before a message."""

    cancelled: bool = False
    lane: int | None = None
    due_at: datetime | None = None
    report: str = "none"

    @classmethod
    def of(cls, case: Case | None) -> "Before":
        """Return what counts of a locked case's row, before anything changes it."""
        return cls(case.cancelled, case.lane, case.due_at, case.report) if case else cls()


def follow(lab: Lab, session: Session, projected: cases.Projected, was: Before, cause: Cause) -> None:
    """Wake, cancel, resume, hurry and correct what the change of a case concerns, and judge its images anew."""
    case = projected.case
    turned = was.cancelled != case.cancelled
    slides = session.scalars(_SLIDES_OF_CASE, {"of_case": case.id}).all() if turned else ()
    gone = slides if turned and case.cancelled else projected.slides.cancelled
    back = slides if turned else projected.slides.reinstated
    for slide in gone:
        _slide_cancelled(lab, session, slide, cause)
    for slide in back:
        if not slide.cancelled and not case.cancelled:
            _slide_reinstated(lab, session, slide, cause)
    # Only a slide that nobody knew is waited for; its key is held since before the case was locked.
    new = (*projected.slides.registered, *projected.slides.cancelled)
    for key in sorted({order_key(slide.container_identifier) for slide in new}):
        ledger.wake(session, THE_LIMS, key)
    if projected.identity_changed:
        correct_archived(session, case.id, cause)
    if (case.lane, case.due_at) != (was.lane, was.due_at):
        theirs = session.scalars(_SCANS_AND_READS_OF_CASE, {"of_case": case.id}).all()
        ledger.reprioritise(session, theirs, case.lane, case.due_at)
    cases.evaluate(session, lab.settings, case.id, cause)


def let_go_of_misnamed(lab: Lab, session: Session, case_id: str, order: OrderStated, cause: Cause) -> None:
    """Take back matches to slides of a locked case that an order, just recorded, shows to be another issuer's.

    Only a cancel that came before its order makes such a slide. Its row goes with the next fold, which a match would
    hinder; a person says what the scan shows.
    """
    names = {one.container_identifier for one in order.slides}
    stated = {(one.issuer, one.container_identifier) for one in order.slides}
    found = session.execute(_SCANS_OF_NAMES, {"of_case": case_id, "names": sorted(names)}).all() if names else ()
    doubtful = [(scan_id, (issuer, name)) for scan_id, issuer, name in found if (issuer, name) not in stated]
    if not doubtful:
        return
    stay = cases.known(session, lab.ids, case_id).state.slides
    for scan_id in (scan_id for scan_id, key in doubtful if key not in stay):
        scan = lock_scan(session, scan_id)
        if is_leaving(session, scan) or made(session, scan.id, scan.edition) is not None:
            message = (
                f"scan {scan.id} was made into objects of a slide that this order gives another issuer: 'coverslip "
                "withdraw' it, then replay the message."
            )
            raise RejectedError(message)
        back = [Resumed(reason=_why_of_quality(session, scan))] if scan.outcome == Outcome.CANCELLED else []
        change_scan(session, lab.settings, scan, [SlideUnmatched(reasons=(_OTHER_ISSUER,)), *back], cause)
        clear_alert(session, scan.id, "slide cancelled", database_now(session))
        ask_again(session, lab.settings, scan, scan.edition)


def _slide_cancelled(lab: Lab, session: Session, slide: Slide, cause: Cause) -> None:
    """Stop what moves; what the archive has, or may have already, stays, and a person is told."""
    forget_scan(session, slide.id)
    for scan_id in _active_scans(session, slide.id):
        scan = lock_scan(session, scan_id)
        if is_leaving(session, scan):
            sentence = "the LIMS cancelled a slide whose scan is archived: 'coverslip withdraw' if it must be hidden"
            raise_alert(session, Subject("scan", scan.id), "cancelled after archive", sentence, database_now(session))
            continue
        ended = Ended(outcome=Outcome.CANCELLED, reason=CANCELLED_WITH_ITS_SLIDE)
        change_scan(session, lab.settings, scan, [ended], cause)


def _slide_reinstated(lab: Lab, session: Session, slide: Slide, cause: Cause) -> None:
    cancelled = session.scalars(
        select(Scan.id).where(Scan.slide_id == slide.id, Scan.outcome == Outcome.CANCELLED).order_by(Scan.id)
    )
    for scan_id in cancelled.all():
        scan = lock_scan(session, scan_id)
        change_scan(session, lab.settings, scan, [Resumed(reason=_why_of_quality(session, scan))], cause)
    for scan_id in _active_scans(session, slide.id):
        for kind in ("slide cancelled", "cancelled after archive"):
            clear_alert(session, scan_id, kind, database_now(session))


def _why_of_quality(session: Session, scan: Scan) -> str | None:
    """Return why a scan's quality is what it is: the reason of its end had taken that one's place."""
    bodies = session.scalars(
        select(Fact.body)
        .where(Fact.subject_id == scan.id, Fact.kind == QualityJudged.__name__)
        .order_by(Fact.id.desc())
        .limit(1)
    )
    judged = [QualityJudged.model_validate(body) for body in bodies]
    return fold(judged).reason if scan.quality != Quality.PASS else None


def _active_scans(session: Session, slide_id: str) -> list[str]:
    return list(session.scalars(_ACTIVE_SCANS, {"of_slide": slide_id}))
