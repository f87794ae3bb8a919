"""The step barcode_matching: the label is read in a bounded child, the rule decides, and doubt waits for a person."""

import shutil
from dataclasses import asdict

from sqlalchemy import select
from sqlalchemy.orm import Session

from connectors.slides.bounded import Limits
from connectors.wiring import Lab
from flows import ledger
from flows.barcode_matching.rules import (
    Evidence,
    Matched,
    NeedsPerson,
    OrderedSlide,
    Outcome,
    WaitsForOrder,
    match,
    named_anywhere,
)
from flows.changes import change_scan, lock_scan, match_to_slide
from flows.ledger import Claim
from flows.pictures import LABEL, keep_picture
from flows.step import A_PERSON, THE_LIMS, End, cause_of, scan_at_work
from models import facets
from models.database import database_now
from models.facets import Identity, Quality
from models.scan_fold import SlideMatched, SlideUnmatched
from models.tables.case import Case, Slide
from models.tables.scan import Scan
from models.tables.step import Step

READ_LABEL = "connectors.slides.jobs:read_label"
_CPU_SECONDS = 60


# A scan of the slide that nobody asked to replace; one that was cancelled with the slide comes back with it.
_HAS_A_SCAN = (
    select(Scan.id)
    .where(Scan.slide_id == Slide.id, Scan.outcome.in_((facets.Outcome.ACTIVE, facets.Outcome.CANCELLED)))
    .where(Scan.quality != Quality.RESCAN)
    .exists()
)


def barcode_matching(lab: Lab, claimed: Claim) -> End:
    """Find the one slide that label, file name, scanner and an open order agree on."""
    with lab.database.read() as session:
        scan = scan_at_work(session, claimed.subject_id)
        known = session.scalar(select(Step.result).where(Step.id == claimed.id))
    if scan.identity == Identity.MATCHED or scan.outcome != facets.Outcome.ACTIVE:
        return lambda session: _finish_unchanged(lab, session, claimed)
    evidence = _evidence_of(known) or _read(lab, claimed, scan.id, scan.file_id, scan.file_name)
    return lambda session: _end(lab, session, claimed, evidence, scan.site_id)


def match_key(scan_id: str) -> str:
    """Return the key under which a scan waits for a person to say which slide it is."""
    return f"match:{scan_id}"


def order_key(container_identifier: str) -> str:
    """Return the key under which a scan waits for the order of a container; issuers are compared afterwards."""
    return container_identifier.strip().upper()


def ordered_slides(session: Session, names: tuple[str, ...]) -> tuple[OrderedSlide, ...]:
    """Return every registered slide that bears one of these container identifiers, whoever issued it."""
    written = {form for name in names for form in (name, name.upper(), name.lower())}
    rows = session.execute(
        select(Slide.id, Slide.container_identifier, Slide.issuer, Slide.cancelled | Case.cancelled, _HAS_A_SCAN)
        .join(Case)
        .where(Slide.container_identifier.in_(written))
        .order_by(Slide.id)
    )
    return tuple(OrderedSlide(*row) for row in rows)


def _read(lab: Lab, claimed: Claim, scan_id: str, file_id: str, file_name: str) -> Evidence:
    folder = lab.spool.work_folder(scan_id, claimed.run_number)
    limits = Limits(lab.settings.work.child_memory_bytes, _CPU_SECONDS, lab.decode_within)
    arguments = {"path": str(lab.spool.path_of(file_id)), "folder": str(folder)}
    found = lab.decoder.run(READ_LABEL, arguments, limits)
    keep_picture(lab.settings, scan_id, folder / LABEL, LABEL)
    shutil.rmtree(folder, ignore_errors=True)
    codes = tuple(str(code["text"]) for code in found["codes"])
    return Evidence(codes, file_name, found["scanner_barcode"])


def _evidence_of(result: dict[str, object] | None) -> Evidence | None:
    """Return what an earlier attempt at this step read, so that an order's arrival costs no second decoding."""
    if not result or not isinstance(result.get("evidence"), dict):
        return None
    kept = result["evidence"]
    return Evidence(tuple(kept["codes"]), kept["file_name"], kept["scanner_barcode"])  # type: ignore[index] # our own JSON


def _end(lab: Lab, session: Session, claimed: Claim, evidence: Evidence, site_id: str) -> None:
    site = lab.settings.site(site_id)
    names = named_anywhere(evidence, site.identifier_pattern)
    for name in sorted(names):
        # The order may be arriving this moment: whoever comes second must see the first.
        ledger.hold_key(session, THE_LIMS, order_key(name))
    scan = lock_scan(session, claimed.subject_id, *_cases_of(session, names))
    decided = _decide(session, scan, evidence, site.identifier_pattern, names)
    result: dict[str, object] = {"evidence": asdict(evidence)}
    if isinstance(decided, Matched):
        case_id = session.scalars(select(Slide.case_id).where(Slide.id == decided.slide_id)).one()
        ledger.finish(session, claimed, result)
        matched = SlideMatched(slide_id=decided.slide_id, case_id=case_id, reasons=decided.reasons)
        match_to_slide(session, lab.settings, scan, matched, cause_of(claimed))
        return
    if isinstance(decided, WaitsForOrder) and not claimed.expired:
        until = database_now(session) + site.order_wait
        wait = ledger.Wait(THE_LIMS, order_key(decided.container_identifier), until, "goes to a person")
        ledger.wait(session, claimed, wait, result)
        return
    _ask_a_person(lab, session, claimed, scan, decided, result)


def _cases_of(session: Session, names: tuple[str, ...]) -> list[str]:
    """Return the cases whose slides bear these names: they are locked before it is decided."""
    written = {form for name in names for form in (name, name.upper(), name.lower())}
    return list(session.scalars(select(Slide.case_id).where(Slide.container_identifier.in_(written)).distinct()))


def _decide(session: Session, scan: Scan, evidence: Evidence, pattern: str, names: tuple[str, ...]) -> Outcome:
    decided = match(evidence, pattern, ordered_slides(session, names))
    if isinstance(decided, Matched) and scan.edition > 1:
        return NeedsPerson("An earlier match of this scan was withdrawn: a person says which slide it is.", ())
    return decided


def _ask_a_person(
    lab: Lab, session: Session, claimed: Claim, scan: Scan, decided: Outcome, result: dict[str, object]
) -> None:
    why = decided.reason if isinstance(decided, NeedsPerson) else "No order has named this slide in time."
    candidates = [asdict(one) for one in decided.candidates] if isinstance(decided, NeedsPerson) else []
    until = database_now(session) + lab.settings.site(scan.site_id).person_wait
    wait = ledger.Wait(A_PERSON, match_key(scan.id), until, "raised: 'coverslip match' decides")
    ledger.wait(session, claimed, wait, {**result, "reason": why, "candidates": candidates})
    if scan.identity != Identity.UNMATCHED:
        change_scan(session, lab.settings, scan, [SlideUnmatched(reasons=(why,))], cause_of(claimed))


def _finish_unchanged(lab: Lab, session: Session, claimed: Claim) -> None:
    scan = lock_scan(session, claimed.subject_id)
    ledger.finish(session, claimed)
    change_scan(session, lab.settings, scan, [], cause_of(claimed))
