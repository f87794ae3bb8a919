"""The steps of archive_upload: convert, store, prove; and reject, for an edition that must not be seen any more.

Each step does its work again without harm: converting gives the same bytes, storing the same object changes
nothing, and proving only reads.
"""

from pathlib import Path
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from connectors.archive.protocol import RejectionReason, StoredInstance
from connectors.slides.bounded import Limits
from connectors.slides.header import SlideHeader
from connectors.wiring import Lab
from flows import ledger
from flows.archive_upload.header import header_of
from flows.changes import change_scan, lock_scan
from flows.ledger import Claim
from flows.step import End, cause_of, file_of
from models.base import table_of
from models.database import database_now, insert_unless_there
from models.errors import RejectedError
from models.facets import StepState
from models.failpoint import failpoint
from models.scan_fold import EditionRaised, ObjectsProven, ObjectsStored
from models.tables.case import Case
from models.tables.scan import Instance, Scan
from models.tables.step import Step
from models.uid import series_uid

_INSTANCE = table_of(Instance)

CONVERT = "connectors.slides.conversion:convert"
# 76 MB/s were measured; an hour of processor time would be a slide of 270 GB.
_CPU_SECONDS = 3_600


def convert(lab: Lab, claimed: Claim) -> End:
    """Make the DICOM objects of a scan's edition; their digests are on record before a byte leaves."""
    with lab.database.read() as session:
        scan = session.get_one(Scan, claimed.subject_id)
        if _is_obsolete(scan, claimed):
            return lambda session: _end_obsolete(session, claimed)
        file_id = file_of(session, scan).id
        header = header_of(session, scan)
        input_version = session.get_one(Case, scan.case_id).identity_digest
    folder = lab.spool.work_folder(scan.id, claimed.run_number)
    arguments = {
        "path": str(lab.spool.path_of(file_id)),
        "folder": str(folder),
        "header": header.model_dump(mode="json"),
        "scan_id": scan.id,
        "edition": claimed.edition,
    }
    limits = Limits(lab.settings.work.child_memory_bytes, _CPU_SECONDS, lab.decode_within)
    made = lab.decoder.run(CONVERT, arguments, limits)
    return lambda session: _end_convert(lab, session, claimed, header, made, input_version)


def store(lab: Lab, claimed: Claim) -> End:
    """Put the objects of a scan's edition into the archive."""
    with lab.database.read() as session:
        instances = _current_instances(session, claimed)
        if not instances:
            return lambda session: _end_obsolete(session, claimed)
        folder = _folder_of(lab, session, claimed)
    for instance, path in ((one, folder / f"{one.role}.dcm") for one in instances):
        failpoint("store.before_put")
        lab.archive.store(_as_stored(instance), path)
        failpoint("store.after_put")
    return lambda session: _end_store(lab, session, claimed)


def prove(lab: Lab, claimed: Claim) -> End:
    """Have the archive list every object and read each back: only then is a scan archived."""
    with lab.database.read() as session:
        instances = _current_instances(session, claimed)
    if not instances:
        return lambda session: _end_obsolete(session, claimed)
    _check(lab, claimed.subject_id, instances)
    return lambda session: _end_prove(lab, session, claimed)


def reject(lab: Lab, claimed: Claim) -> End:
    """Have the archive hide the objects of an edition that was withdrawn; they stay in the books."""
    with lab.database.read() as session:
        instances = _instances(session, claimed.subject_id, claimed.edition)
    for study, series in sorted({(one.study_instance_uid, one.series_instance_uid) for one in instances}):
        failpoint("reject.before_reject")
        lab.archive.reject(study, series, RejectionReason.PATIENT_SAFETY)
        failpoint("reject.after_reject")
    return lambda session: _end_reject(session, claimed)


def _is_obsolete(scan: Scan, claimed: Claim) -> bool:
    return scan.edition != claimed.edition or scan.slide_id is None


def _end_obsolete(session: Session, claimed: Claim) -> None:
    ledger.finish(session, claimed, state=StepState.SUPERSEDED)


def _end_convert(
    lab: Lab, session: Session, claimed: Claim, header: SlideHeader, made: dict[str, Any], input_version: str
) -> None:
    scan = lock_scan(session, claimed.subject_id)
    series = series_uid(scan.id, claimed.edition)
    rows = [
        {
            "scan_id": scan.id,
            "edition": claimed.edition,
            "role": one["role"],
            "study_instance_uid": header.study_instance_uid,
            "series_instance_uid": series,
            "sop_instance_uid": one["sop_instance_uid"],
            "sha256": one["sha256"],
            "bytes": one["bytes"],
            "state": "converted",
        }
        for one in made["instances"]
    ]
    insert_unless_there(session, Instance, rows)
    recorded = {one.role: one.sha256 for one in _instances(session, scan.id, claimed.edition)}
    if recorded != {row["role"]: row["sha256"] for row in rows}:
        message = f"scan {scan.id} converted to other bytes than before: its next edition must be made by a person"
        raise RejectedError(message)
    ledger.finish(
        session,
        claimed,
        {"run": claimed.run_number, "converter": made["converter"], "input_version": input_version},
    )
    change_scan(session, lab.settings, scan, [], cause_of(claimed))


def _end_store(lab: Lab, session: Session, claimed: Claim) -> None:
    scan = lock_scan(session, claimed.subject_id)
    _mark(session, claimed, "converted", "stored")
    ledger.finish(session, claimed)
    change_scan(session, lab.settings, scan, [ObjectsStored(edition=claimed.edition)], cause_of(claimed))


def _end_prove(lab: Lab, session: Session, claimed: Claim) -> None:
    scan = lock_scan(session, claimed.subject_id)
    _mark(session, claimed, "stored", "proven")
    ledger.finish(session, claimed)
    if _input_version(session, claimed) != session.get_one(Case, scan.case_id).identity_digest:
        # The case's identity changed while we worked: what lies in the archive names another patient or case.
        reject_edition(session, scan, claimed.edition)
        change_scan(session, lab.settings, scan, [EditionRaised()], cause_of(claimed))
        return
    change_scan(session, lab.settings, scan, [ObjectsProven(edition=claimed.edition)], cause_of(claimed))


def _end_reject(session: Session, claimed: Claim) -> None:
    _mark(session, claimed, None, "rejected")
    ledger.finish(session, claimed)


def reject_edition(session: Session, scan: Scan, edition: int) -> None:
    """Add the step that hides an edition's objects, if any were made."""
    if not _instances(session, scan.id, edition):
        return
    step = ledger.NewStep(
        kind="reject",
        stage="archive_upload",
        subject_kind="scan",
        subject_id=scan.id,
        rank_at=database_now(session),
        lane=0,
        generation=edition,
        edition=edition,
        slot="archive",
    )
    ledger.add(session, [step])


def _check(lab: Lab, scan_id: str, instances: list[Instance]) -> None:
    for study, series in sorted({(one.study_instance_uid, one.series_instance_uid) for one in instances}):
        listed = lab.archive.listed(study, series)
        missing = [one for one in instances if one.series_instance_uid == series and one.sop_instance_uid not in listed]
        if missing:
            message = (
                f"the archive lists {len(instances) - len(missing)} of {len(instances)} objects of scan {scan_id}: "
                "rerun it from store"
            )
            raise RejectedError(message)
    for instance in instances:
        if lab.archive.digest(_as_stored(instance)) != instance.sha256:
            message = f"the archive gave back other bytes for an object of scan {scan_id}: its disk needs a look"
            raise RejectedError(message)


def _instances(session: Session, scan_id: str, edition: int) -> list[Instance]:
    return list(
        session.scalars(
            select(Instance).where(Instance.scan_id == scan_id, Instance.edition == edition).order_by(Instance.role)
        )
    )


def _current_instances(session: Session, claimed: Claim) -> list[Instance]:
    """Return the objects of a claim's edition while that is the matched scan's present one, else none."""
    return list(
        session.scalars(
            select(Instance)
            .join(Scan, (Scan.id == Instance.scan_id) & (Scan.edition == Instance.edition))
            .where(Scan.id == claimed.subject_id, Scan.edition == claimed.edition, Scan.slide_id.is_not(None))
            .order_by(Instance.role)
        )
    )


def _as_stored(instance: Instance) -> StoredInstance:
    return StoredInstance(
        study_instance_uid=instance.study_instance_uid,
        series_instance_uid=instance.series_instance_uid,
        sop_instance_uid=instance.sop_instance_uid,
        sha256=instance.sha256,
        bytes=instance.bytes,
    )


def _mark(session: Session, claimed: Claim, before: str | None, after: str) -> None:
    ours = (_INSTANCE.c.scan_id == claimed.subject_id, _INSTANCE.c.edition == claimed.edition)
    marked = update(_INSTANCE).where(*ours).values(state=after)
    session.execute(marked if before is None else marked.where(_INSTANCE.c.state == before))


def _converted(session: Session, claimed: Claim) -> Step:
    """Return the finished convert step whose objects this edition's steps work on."""
    return session.scalars(
        select(Step)
        .where(Step.subject_id == claimed.subject_id, Step.kind == "convert", Step.state == StepState.DONE)
        .where(Step.edition == claimed.edition)
        .order_by(Step.generation.desc())
    ).first() or _no_conversion(claimed)


def _no_conversion(claimed: Claim) -> Step:
    message = (
        f"scan {claimed.subject_id} has no finished conversion of edition {claimed.edition}: rerun it from convert"
    )
    raise RejectedError(message)


def _input_version(session: Session, claimed: Claim) -> str:
    return str((_converted(session, claimed).result or {}).get("input_version", ""))


def _folder_of(lab: Lab, session: Session, claimed: Claim) -> Path:
    run = (_converted(session, claimed).result or {}).get("run", 0)
    return lab.spool.made_in(claimed.subject_id, int(run)) / "dicom"
