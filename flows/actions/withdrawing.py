"""A person takes a match back: the worst failure has one way back, and everybody hears of it."""

from sqlalchemy.orm import Session

from flows.actions.desk import Acted, Desk, Person, locked, settle_what_was_set_aside
from flows.archive_upload.editions import reject_edition
from flows.barcode_matching.step import ask_again
from flows.books import clear_alert
from flows.changes import change_scan, latest_steps, rerun_scan
from models.database import database_now
from models.errors import RefusedError
from models.facets import Outcome, StepState, Storage
from models.scan_fold import Ended, MatchWithdrawn, Resumed, ScanFact
from models.tables.scan import Scan


def withdraw(desk: Desk, scan_id: str, person: Person, *, close: bool = False) -> Acted:
    """Take a scan's match back: its objects are hidden in the archive, its case and the LIMS are told.

    The scan takes part again with its next edition and waits for a person to say which slide it is; it is never
    matched by itself again.

    Parameters
    ----------
    close
        The scan takes no part any more, matched or not: it shows no slide of ours.

    Raises
    ------
    RefusedError
        There is no such scan, it is closed already, or it has no match and is not to be closed.
    """
    with desk.database.write("people.withdraw") as session:
        scan = locked(session, scan_id)
        _refuse(scan, close=close)
        slide_id, case_id, edition = scan.slide_id, scan.case_id, scan.edition
        was_stored = scan.storage != Storage.RECEIVED
        if slide_id is not None:
            reject_edition(session, scan.id, edition)
        if not close:
            _ask_again(desk, session, scan)
        cause = person.cause("withdraw and close" if close else "withdraw")
        change_scan(session, desk.settings, scan, _facts(scan, person, close=close), cause)
        settle_what_was_set_aside(session, scan.id)
        for kind in ("set aside", "needs a person", "waits too long", "cancelled after archive"):
            clear_alert(session, scan.id, kind, database_now(session))
    follows = (
        [f"its objects of edition {edition} are hidden in the archive, and the LIMS hears of it"] if was_stored else []
    )
    follows.append("it takes no part any more" if close else "it waits for a person to say which slide it shows")
    return Acted("closed" if close else "withdrawn", tuple(follows), scan.id, slide_id, case_id)


def _refuse(scan: Scan, *, close: bool) -> None:
    if scan.outcome == Outcome.WITHDRAWN:
        raise RefusedError(f"scan {scan.id} is closed already: 'coverslip rerun' takes it up again")
    if scan.slide_id is None and not close:
        raise RefusedError(f"scan {scan.id} has no match to take back; with --close it takes no part any more")


def _facts(scan: Scan, person: Person, *, close: bool) -> list[ScanFact]:
    facts: list[ScanFact] = [MatchWithdrawn()] if scan.slide_id is not None else []
    if close:
        facts.append(Ended(outcome=Outcome.WITHDRAWN, reason=person.reason.strip()))
    elif scan.outcome != Outcome.ACTIVE:
        facts.append(Resumed())
    return facts


def _ask_again(desk: Desk, session: Session, scan: Scan) -> None:
    """Have matching wait for a person from the start, and do again what set the scan aside before it was matched."""
    latest = latest_steps(session, scan.id)
    if (quality := latest.get("slide_qc")) and quality.state == StepState.SET_ASIDE:
        rerun_scan(session, scan, "slide_qc")
    ask_again(session, desk.settings, scan, scan.edition + 1)
