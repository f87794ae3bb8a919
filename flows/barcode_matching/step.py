"""The step barcode_matching: the label is read in a bounded child, the rule decides, and doubt waits for a person."""

import shutil
from dataclasses import asdict

from sqlalchemy import bindparam, select
from sqlalchemy.orm import Session

from connectors.settings import Settings
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
from flows.journey import STAGE_OF_KIND
from flows.ledger import Claim
from flows.pictures import LABEL, keep_picture
from flows.step import A_PERSON, THE_LIMS, End, cause_of, scan_at_work
from models import facets
from models.base import table_of
from models.database import database_now
from models.facets import Identity, Quality
from models.scan_fold import SlideMatched, SlideUnmatched
from models.tables.case import Case, Slide
from models.tables.scan import Scan
from models.tables.step import Step

READ_LABEL = "connectors.slides.jobs:read_label"
_CPU_SECONDS = 60

_SCAN = table_of(Scan)
_SLIDE = table_of(Slide)
_CASE = table_of(Case)
_STEP = table_of(Step)
# A scan of the slide that nobody asked to replace; one that was cancelled with the slide comes back with it.
_HAS_A_SCAN = (
    select(_SCAN.c.id)
    .where(
        _SCAN.c.slide_id == _SLIDE.c.id,
        _SCAN.c.outcome.in_((facets.Outcome.ACTIVE, facets.Outcome.CANCELLED)),
        _SCAN.c.quality != Quality.RESCAN,
    )
    .exists()
)
_BEARS_A_NAME = _SLIDE.c.container_identifier.in_(bindparam("names", expanding=True))
_SLIDES_OF_NAMES = (
    select(
        *(_SLIDE.c.id, _SLIDE.c.container_identifier, _SLIDE.c.issuer),
        *(_SLIDE.c.cancelled | _CASE.c.cancelled, _HAS_A_SCAN, _SLIDE.c.case_id),
    )
    .join(_CASE, _CASE.c.id == _SLIDE.c.case_id)
    .where(_BEARS_A_NAME)
    .order_by(_SLIDE.c.id)
)
_CASES_OF_NAMES = select(_SLIDE.c.case_id).where(_BEARS_A_NAME).distinct()
_RESULT_OF_STEP = select(_STEP.c.result).where(_STEP.c.id == bindparam("step"))


def barcode_matching(lab: Lab, claimed: Claim) -> End:
    """Find the one slide that label, file name, scanner and an open order agree on."""
    with lab.database.read() as session:
        scan = scan_at_work(session, claimed.subject_id)
        # Only an earlier attempt can have left what it read.
        known = session.scalar(_RESULT_OF_STEP, {"step": claimed.id}) if claimed.attempt > 1 else None
    if scan.identity == Identity.MATCHED or scan.outcome != facets.Outcome.ACTIVE:
        return lambda session: _finish_unchanged(lab, session, claimed)
    evidence = _evidence_of(known) or _read(lab, claimed, scan.id, scan.file_id, scan.file_name)
    return lambda session: _end(lab, session, claimed, evidence, scan.site_id)


def match_key(scan_id: str) -> str:
    """Return the key under which a scan waits for a person to say which slide it is."""
    return f"match:{scan_id}"


def ask_again(session: Session, settings: Settings, scan: Scan, edition: int) -> None:
    """Have a locked scan's matching, for this edition, wait for a person from the start."""
    until = database_now(session) + settings.site(scan.site_id).person_wait
    step = ledger.NewStep(
        kind="barcode_matching",
        stage=STAGE_OF_KIND["barcode_matching"],
        subject_kind="scan",
        subject_id=scan.id,
        rank_at=ledger.rank_at(scan.received_at, None),
        edition=edition,
        wait=ledger.Wait(A_PERSON, match_key(scan.id), until, "raised: 'coverslip match' decides"),
    )
    ledger.rerun(session, step)


def order_key(container_identifier: str) -> str:
    """Return the key under which a scan waits for the order of a container; issuers are compared afterwards."""
    return container_identifier.strip().upper()


def ordered_slides(session: Session, names: tuple[str, ...]) -> tuple[OrderedSlide, ...]:
    """Return every registered slide that bears one of these container identifiers, whoever issued it."""
    return tuple(_cases_by_slide(session, names))


def _cases_by_slide(session: Session, names: tuple[str, ...]) -> dict[OrderedSlide, str]:
    rows = session.execute(_SLIDES_OF_NAMES, {"names": _spellings(names)})
    return {OrderedSlide(*slide): case_id for *slide, case_id in rows}


def _spellings(names: tuple[str, ...]) -> list[str]:
    return sorted({form for name in names for form in (name, name.upper(), name.lower())})


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
    cases = _cases_by_slide(session, names)
    decided = _decide(scan, evidence, site.identifier_pattern, tuple(cases))
    result: dict[str, object] = {"evidence": asdict(evidence)}
    if isinstance(decided, Matched):
        case_id = next(case_id for slide, case_id in cases.items() if slide.slide_id == decided.slide_id)
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
    return list(session.scalars(_CASES_OF_NAMES, {"names": _spellings(names)}))


def _decide(scan: Scan, evidence: Evidence, pattern: str, ordered: tuple[OrderedSlide, ...]) -> Outcome:
    decided = match(evidence, pattern, ordered)
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
