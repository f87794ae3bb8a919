"""A person says whether a scan's picture is good enough."""

from typing import Literal

from sqlalchemy.orm import Session

from flows import ledger
from flows.actions.desk import Acted, Desk, Person, locked
from flows.books import clear_alert
from flows.changes import change_scan, is_leaving
from flows.journey import OF_AN_EDITION
from flows.slide_qc.step import review_key
from flows.step import A_PERSON
from models.database import database_now
from models.errors import RefusedError
from models.facets import Identity, Outcome, Quality, StepState, Storage
from models.scan_fold import QualityReviewed
from models.tables.scan import Scan

_ARCHIVED = (Storage.PROVEN, Storage.PURGED)


def review(desk: Desk, scan_id: str, verdict: Literal["pass", "rescan"], person: Person) -> Acted:
    """Judge a scan's picture on a person's word, which stands above the machine's.

    A scan that is archived may still be sent for a rescan.

    Raises
    ------
    RefusedError
        There is no such scan, it is at an end, it was judged so by a person already, it is just being stored, or it is
        archived and nobody asked for a rescan.
    """
    quality: Literal[Quality.PASS, Quality.RESCAN] = Quality.PASS if verdict == "pass" else Quality.RESCAN
    with desk.database.write("people.review") as session:
        scan = locked(session, scan_id)
        _refuse(session, scan, quality)
        if quality == Quality.RESCAN and scan.storage == Storage.RECEIVED:
            # Nothing of it has left yet, and nothing is to: an overruled verdict adds these steps anew.
            ledger.end_open(session, scan.id, OF_AN_EDITION, StepState.CANCELLED)
        change_scan(session, desk.settings, scan, [QualityReviewed(quality=quality)], person.cause("review"))
        ledger.wake(session, A_PERSON, review_key(scan.id))
        clear_alert(session, scan.id, "waits too long", database_now(session))
        return Acted(f"reviewed: {verdict}", (_next(scan),), scan.id, scan.slide_id, scan.case_id)


def _refuse(session: Session, scan: Scan, quality: Quality) -> None:
    if scan.outcome != Outcome.ACTIVE:
        raise RefusedError(f"scan {scan.id} is {scan.outcome}: there is nothing to judge")
    if scan.quality == quality and scan.quality_by_person:
        raise RefusedError(f"scan {scan.id} was judged {quality} by a person already")
    if quality == Quality.PASS and scan.storage in _ARCHIVED and scan.quality != Quality.RESCAN:
        raise RefusedError(f"scan {scan.id} is archived: it has passed")
    if quality == Quality.RESCAN and scan.storage not in _ARCHIVED and is_leaving(session, scan):
        raise RefusedError(f"scan {scan.id} is just being stored: judge it again when it is archived")


def _next(scan: Scan) -> str:
    if scan.quality == Quality.RESCAN:
        archived = "; its present picture stays in the archive until then" if scan.storage in _ARCHIVED else ""
        return f"its slide waits for a rescan{archived}"
    if scan.storage in _ARCHIVED:
        return "it stays as it is archived"
    if scan.identity == Identity.MATCHED:
        return "it is converted and archived next"
    return "it is archived as soon as it is matched to a slide"
