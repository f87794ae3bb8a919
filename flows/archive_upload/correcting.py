"""The step correct: objects that name another patient or case than the orders do now are made again under new UIDs.

Their pixels are copied from those of a former edition; nothing is converted again as long as one of them is kept in
the spool or the archive. The edition rises when the new objects are there, and only if they are still needed then:
so any number of changes on the way, there and back too, end in one correction or none.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Row, bindparam, select
from sqlalchemy.orm import Session

from connectors.archive.protocol import StoredInstance
from connectors.slides.header import SlideHeader
from connectors.wiring import Lab
from flows import ledger
from flows.archive_upload.editions import has_begun_to_leave, made, objects_of, record_objects, reject_edition
from flows.archive_upload.header import header_of, stated_of
from flows.archive_upload.step import converted, end_obsolete, limits_of
from flows.books import Cause, Subject, note_changes
from flows.changes import change_scan, follow, latest_steps, lock_scan
from flows.ledger import Claim
from flows.step import End, cause_of, file_of
from models.base import table_of
from models.database import database_now
from models.errors import NeedsPersonError, TransientError
from models.facets import OPEN_STEP_STATES, Identity, Outcome, StepState
from models.failpoint import failpoint
from models.scan_fold import EditionRaised
from models.tables.case import Case
from models.tables.scan import Scan

CORRECT = "connectors.slides.correction:correct"
_FETCHED = "former.dcm"

_CASE, _SCAN = table_of(Case), table_of(Scan)
_IDENTITY_NOW = (
    select(_CASE.c.identity_digest)
    .join_from(_CASE, _SCAN, _SCAN.c.case_id == _CASE.c.id)
    .where(_SCAN.c.id == bindparam("scan"))
)
_SCANS_OF_CASE = (
    select(_SCAN.c.id)
    .where(_SCAN.c.case_id == bindparam("of_case"), _SCAN.c.outcome.in_((Outcome.ACTIVE, Outcome.SUPERSEDED)))
    .where(_SCAN.c.identity == Identity.MATCHED)
    .order_by(_SCAN.c.id)
)


def correct_archived(session: Session, case_id: str, cause: Cause) -> None:
    """Have the objects of a locked case's scans corrected, wherever they are by now, if they name another.

    Call it whenever the case's ``identity_digest`` changed; again changes nothing. What was archived of a scan that was
    replaced since is only hidden; other scans that take no part any more are left as they are.
    """
    for scan_id in session.scalars(_SCANS_OF_CASE, {"of_case": case_id}).all():
        scan = lock_scan(session, scan_id)
        before = _is_being_corrected(session, scan)
        follow(session, scan)
        change = ("correction", before, _is_being_corrected(session, scan))
        note_changes(session, Subject("scan", scan_id), [change], cause, database_now(session))


def correct(lab: Lab, claimed: Claim) -> End:
    """Make an edition's objects from those of a former one; without any of these, from the scanner's file."""
    with lab.database.read() as session:
        stated = _what_to_state(session, claimed)
        if stated is None:
            return lambda session: end_obsolete(lab, session, claimed)
        header = header_of(session, stated)
        formers = _formers(session, claimed)
    result = {"run": claimed.run_number, "input_version": stated.identity_digest}
    instances = _copied(lab, claimed, header, formers)
    if instances is None:
        answer = _converted_again(lab, claimed, header)
        instances, result["converter"] = answer["instances"], answer["converter"]
    else:
        result["pixels"] = {one["role"]: one["pixels_sha256"] for one in instances}
    found = _Found(header.study_instance_uid, instances, result)
    return lambda session: _end_correct(lab, session, claimed, found)


@dataclass(frozen=True)
class _Former:
    """The objects of a former edition by their role, and the run that made them."""

    objects: Mapping[str, StoredInstance]
    run: int | None


@dataclass(frozen=True)
class _Found:
    """What a correction has made."""

    study_instance_uid: str
    instances: list[dict[str, Any]]
    result: dict[str, Any]


def _what_to_state(session: Session, claimed: Claim) -> Row[*tuple[Any, ...]] | None:
    """Return what the orders state now; ``None`` when the objects that there are say that already."""
    for edition in (claimed.edition - 1, claimed.edition):
        stated = stated_of(session, claimed.subject_id, edition)
        if stated is None:
            continue
        known = made(session, claimed.subject_id, edition)
        is_first = edition < claimed.edition
        # The former edition is to differ; one that is made again is to be the same.
        is_wanted = known is None or (known.identity != stated.identity_digest) is is_first
        return stated if is_wanted else None
    return None


def _formers(session: Session, claimed: Claim) -> list[_Former]:
    """Return what may be copied from, the newest first."""
    found = []
    for edition in range(claimed.edition - 1, 0, -1):
        objects = objects_of(session, claimed.subject_id, edition)
        known = made(session, claimed.subject_id, edition)
        if objects:
            found.append(_Former(objects, known.run if known else None))
    return found


def _copied(lab: Lab, claimed: Claim, header: SlideHeader, formers: Sequence[_Former]) -> list[dict[str, Any]] | None:
    """Return the objects that were made by copying; ``None`` when one of them is kept nowhere any more."""
    folder = lab.spool.work_folder(claimed.subject_id, claimed.run_number)
    copied = []
    try:
        for role in formers[0].objects if formers else ():
            instance = _copy_of(lab, claimed, header, role, [(folder, former) for former in formers])
            if instance is None:
                return None
            copied.append(instance)
    except TransientError:
        # Perhaps for want of room: what is tried again begins anew.
        lab.spool.discard(claimed.subject_id, claimed.run_number)
        raise
    return copied or None


def _copy_of(
    lab: Lab, claimed: Claim, header: SlideHeader, role: str, kept: Sequence[tuple[Path, _Former]]
) -> dict[str, Any] | None:
    """Have a bounded child copy one object from the first place that holds it to the last bit."""
    for folder, former in kept:
        for bring in (_from_spool, _from_archive):
            path = bring(lab, claimed.subject_id, role, former, folder)
            if path is None:
                continue
            arguments = {
                "path": str(path),
                "sha256": former.objects[role].sha256,
                "folder": str(folder),
                "role": role,
                "header": header.model_dump(mode="json"),
                "scan_id": claimed.subject_id,
                "edition": claimed.edition,
            }
            failpoint("correct.before_copy")
            instance: dict[str, Any] | None = lab.decoder.run(CORRECT, arguments, limits_of(lab))["instance"]
            failpoint("correct.after_copy")
            (folder / _FETCHED).unlink(missing_ok=True)
            if instance is not None:
                return instance
    return None


def _from_spool(lab: Lab, scan_id: str, role: str, former: _Former, _folder: Path) -> Path | None:
    if former.run is None or role not in former.objects:
        return None
    path = lab.spool.made_in(scan_id, former.run) / "dicom" / f"{role}.dcm"
    return path if path.exists() else None


def _from_archive(lab: Lab, _scan_id: str, role: str, former: _Former, folder: Path) -> Path | None:
    if role not in former.objects:
        return None
    failpoint("correct.before_fetch")
    is_there = lab.archive.fetch(former.objects[role], folder / _FETCHED)
    failpoint("correct.after_fetch")
    return folder / _FETCHED if is_there else None


def _converted_again(lab: Lab, claimed: Claim, header: SlideHeader) -> dict[str, Any]:
    try:
        with lab.database.read() as session:
            slide = lab.spool.path_of(file_of(session, claimed.subject_id))
    except NeedsPersonError as error:
        message = (
            f"scan {claimed.subject_id} is archived under another patient or case and can't be corrected: neither the "
            "archive nor the spool holds its objects or its file; restore one of them from its backup, or withdraw it "
            "and scan the slide again"
        )
        raise NeedsPersonError(message) from error
    return converted(lab, claimed, slide, header)


def _end_correct(lab: Lab, session: Session, claimed: Claim, found: _Found) -> None:
    scan = lock_scan(session, claimed.subject_id)
    if session.scalar(_IDENTITY_NOW, {"scan": scan.id}) != found.result["input_version"]:
        # It changed again while we copied: nothing of this was recorded, and what is needed now is asked anew.
        end_obsolete(lab, session, claimed)
        return
    record_objects(session, scan.id, claimed.edition, found.study_instance_uid, found.instances)
    ledger.finish(session, claimed, found.result)
    former = scan.edition
    if former == claimed.edition:
        change_scan(session, lab.settings, scan, [], cause_of(claimed))
        return
    # Ended before it is asked whether they ever began: nobody may begin in between.
    ledger.end_open(session, scan.id, ("store", "prove"), StepState.SUPERSEDED)
    if has_begun_to_leave(session, scan.id, former):
        reject_edition(session, scan.id, former)
    change_scan(session, lab.settings, scan, [EditionRaised(corrects=former)], cause_of(claimed))


def _is_being_corrected(session: Session, scan: Scan) -> str | None:
    latest = latest_steps(session, scan.id).get("correct")
    return "to be made" if latest is not None and latest.state in OPEN_STEP_STATES else None
