"""What is archived names whom its case names; when that turns out to be another, its objects are corrected."""

from sqlalchemy import select
from sqlalchemy.orm import Session

from connectors.wiring import Lab
from flows.archive_upload.step import reject_edition
from flows.books import Cause
from flows.changes import change_scan, lock_scan
from models.facets import Outcome, Storage
from models.scan_fold import EditionRaised
from models.tables.scan import Scan


def correct_archived(lab: Lab, session: Session, case_id: str, cause: Cause) -> None:
    """Have archived objects of a locked case that name another patient or case hidden, and made again.

    Call it whenever the case's ``identity_digest`` changed; again changes nothing. What is on its way is compared
    when it is proven.
    """
    proven = (Scan.case_id == case_id, Scan.outcome == Outcome.ACTIVE, Scan.storage == Storage.PROVEN)
    for scan_id in session.scalars(select(Scan.id).where(*proven).order_by(Scan.id)).all():
        scan = lock_scan(session, scan_id)
        reject_edition(session, scan, scan.edition)
        change_scan(session, lab.settings, scan, [EditionRaised()], cause)
