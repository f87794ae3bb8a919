"""A person says which slide a scan shows."""

from sqlalchemy import select
from sqlalchemy.orm import Session

from flows import ledger
from flows.actions.desk import Acted, Desk, Person, locked
from flows.barcode_matching.step import match_key, ordered_slides
from flows.books import clear_alert
from flows.changes import match_to_slide
from flows.step import A_PERSON
from models.database import database_now
from models.errors import RefusedError
from models.facets import Identity, Outcome, Quality, StepState
from models.scan_fold import SlideMatched
from models.tables.case import Slide
from models.tables.scan import Scan


def match(desk: Desk, scan_id: str, slide_id: str, person: Person) -> Acted:
    """Match a scan to a slide on a person's word; what waited for that word goes on.

    Raises
    ------
    RefusedError
        The slide is unknown, cancelled or has a scan already; the scan is unknown, matched already or at an end.
    """
    with desk.database.write("people.match") as session:
        slide = session.get(Slide, slide_id)
        if slide is None:
            raise RefusedError(f"there is no slide {slide_id}: its order must come first")
        scan = locked(session, scan_id, slide.case_id)
        _refuse_scan(scan)
        _refuse_slide(session, slide)
        if not ledger.wake(session, A_PERSON, match_key(scan.id)):
            # It is being read this moment, or waits for its order: what that finds must not overrule a person.
            ledger.end_open(session, scan.id, ("barcode_matching",), StepState.SUPERSEDED)
        said = SlideMatched(slide_id=slide.id, case_id=slide.case_id, reasons=("A person decided.",))
        match_to_slide(session, desk.settings, scan, said, person.cause("match"))
        clear_alert(session, scan.id, "waits too long", database_now(session))
        return Acted("matched", (_next(scan),), scan.id, slide.id, slide.case_id)


def _refuse_scan(scan: Scan) -> None:
    if scan.outcome != Outcome.ACTIVE:
        raise RefusedError(f"scan {scan.id} is {scan.outcome}: 'coverslip rerun' brings it back, if anything does")
    if scan.identity == Identity.MATCHED:
        raise RefusedError(
            f"scan {scan.id} is matched to slide {scan.slide_id}: 'coverslip withdraw' takes that back first"
        )


def _refuse_slide(session: Session, slide: Slide) -> None:
    """Refuse by the same rule by which the machine matches, now that the case is locked."""
    fresh = session.scalars(select(Slide).where(Slide.id == slide.id).execution_options(populate_existing=True)).one()
    ordered = {one.slide_id: one for one in ordered_slides(session, (fresh.container_identifier,))}[slide.id]
    if ordered.cancelled:
        raise RefusedError(f"slide {slide.id} was cancelled by the LIMS: it has to be ordered again first")
    if ordered.scanned:
        raise RefusedError(
            f"slide {slide.id} has a scan already: 'coverslip review SCAN rescan' asks for another, "
            "'coverslip withdraw SCAN' takes a wrong match back"
        )


def _next(scan: Scan) -> str:
    if scan.quality == Quality.PASS:
        return "it is converted and archived next"
    if scan.quality == Quality.RESCAN:
        return "it is not archived: its slide waits for a rescan"
    if scan.quality == Quality.PENDING:
        return "it is archived as soon as its quality is judged"
    return "it is archived as soon as a person passes it: 'coverslip review' decides"
