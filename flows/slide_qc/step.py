"""The step slide_qc: a bounded child looks at the slide, the rules judge, and doubt waits for a person."""

import shutil

from sqlalchemy.orm import Session

from connectors.slides.bounded import Limits
from connectors.wiring import Lab
from flows import ledger
from flows.changes import change_scan, lock_scan
from flows.ledger import Claim
from flows.pictures import THUMBNAIL, keep_picture
from flows.slide_qc.rules import Measurements, QualityPolicy, Verdict, judge
from flows.step import A_PERSON, End, cause_of, scan_at_work
from models.database import database_now
from models.facets import Outcome, Quality, StepState
from models.scan_fold import QualityJudged

EXAMINE = "flows.slide_qc.examine:examine"
# A slide of 5 GB decodes its sampled tiles in seconds; a minute of processor time is a hostile file.
_CPU_SECONDS = 120

_IN_DOUBT = (Quality.REVIEW, Quality.CANNOT_JUDGE)


def slide_qc(lab: Lab, claimed: Claim) -> End:
    """Judge a scan's image quality; a person's word that came first stands."""
    with lab.database.read() as session:
        scan = scan_at_work(session, claimed.subject_id)
    if scan.quality_by_person or scan.outcome != Outcome.ACTIVE:
        return lambda session: _finish_unchanged(lab, session, claimed)
    if claimed.expired and scan.quality in _IN_DOUBT:
        return lambda session: _wait_for_person(lab, session, claimed, scan.site_id, None)
    verdict, measured = _examine(lab, claimed, scan.id, scan.file_id)
    return lambda session: _end(lab, session, claimed, verdict, measured)


def _examine(lab: Lab, claimed: Claim, scan_id: str, file_id: str) -> tuple[Verdict, Measurements]:
    folder = lab.spool.work_folder(scan_id, claimed.run_number)
    limits = Limits(lab.settings.work.child_memory_bytes, _CPU_SECONDS, lab.decode_within)
    arguments = {"path": str(lab.spool.path_of(file_id)), "folder": str(folder)}
    found = lab.decoder.run(EXAMINE, arguments, limits)
    keep_picture(lab.settings, scan_id, folder / THUMBNAIL, THUMBNAIL)
    shutil.rmtree(folder, ignore_errors=True)
    measured = Measurements.model_validate(found)
    return judge(measured, QualityPolicy()), measured


def _end(lab: Lab, session: Session, claimed: Claim, verdict: Verdict, measured: Measurements) -> None:
    scan = lock_scan(session, claimed.subject_id)
    result: dict[str, object] = {
        "quality": verdict.quality,
        "reasons": list(verdict.reasons),
        "measured": measured.model_dump(mode="json"),
    }
    if verdict.quality in _IN_DOUBT and not scan.quality_by_person:
        _wait_for_person(lab, session, claimed, scan.site_id, result)
    else:
        ledger.finish(session, claimed, result)
    judged = QualityJudged(quality=Quality(verdict.quality), reasons=verdict.reasons)
    change_scan(session, lab.settings, scan, [judged], cause_of(claimed))


def _wait_for_person(
    lab: Lab, session: Session, claimed: Claim, site_id: str, result: dict[str, object] | None
) -> None:
    until = database_now(session) + lab.settings.site(site_id).person_wait
    wait = ledger.Wait(A_PERSON, review_key(claimed.subject_id), until, "raised: 'coverslip review' decides")
    ledger.wait(session, claimed, wait, result)


def _finish_unchanged(lab: Lab, session: Session, claimed: Claim) -> None:
    scan = lock_scan(session, claimed.subject_id)
    ledger.finish(session, claimed, state=StepState.DONE)
    change_scan(session, lab.settings, scan, [], cause_of(claimed))


def review_key(scan_id: str) -> str:
    """Return the key under which a scan waits for a person's look at its quality."""
    return f"review:{scan_id}"
