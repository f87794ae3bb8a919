"""The steps of archive_upload: convert, store, prove; and reject, for an edition that must not be seen any more.

Each step does its work again without harm: converting gives the same bytes, storing the same object changes
nothing, and proving only reads.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from sqlalchemy import Select, bindparam, select, update
from sqlalchemy.orm import Session

from connectors.archive.protocol import RejectionReason, StoredInstance
from connectors.slides.bounded import Limits
from connectors.slides.header import SlideHeader
from connectors.wiring import Lab
from flows import ledger
from flows.archive_upload.header import header_of, stated_of
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

CONVERT = "connectors.slides.conversion:convert"
# 76 MB/s were measured; an hour of processor time would be a slide of 270 GB.
_CPU_SECONDS = 3_600

_CASE = table_of(Case)
_INSTANCE = table_of(Instance)
_SCAN = table_of(Scan)
_STEP = table_of(Step)
_OF_EDITION = (_INSTANCE.c.scan_id == bindparam("scan"), _INSTANCE.c.edition == bindparam("of_edition"))
_OBJECTS = (
    select(
        *(_INSTANCE.c.role, _INSTANCE.c.study_instance_uid, _INSTANCE.c.series_instance_uid),
        *(_INSTANCE.c.sop_instance_uid, _INSTANCE.c.sha256, _INSTANCE.c.bytes),
    )
    .where(*_OF_EDITION)
    .order_by(_INSTANCE.c.role)
)
# While the edition is the matched scan's present one; else none.
_CURRENT_OBJECTS = _OBJECTS.join(
    _SCAN, (_SCAN.c.id == _INSTANCE.c.scan_id) & (_SCAN.c.edition == _INSTANCE.c.edition)
).where(_SCAN.c.slide_id.is_not(None))
_MARK = update(_INSTANCE).where(*_OF_EDITION).values(state=bindparam("after"))
_MARK_NEXT = _MARK.where(_INSTANCE.c.state == bindparam("before"))
_CONVERSION_AND_CASE = (
    select(_STEP.c.result, _CASE.c.identity_digest)
    .join_from(_STEP, _SCAN, _SCAN.c.id == _STEP.c.subject_id)
    .join(_CASE, _CASE.c.id == _SCAN.c.case_id)
    .where(
        _STEP.c.subject_id == bindparam("scan"),
        _STEP.c.kind == "convert",
        _STEP.c.state == StepState.DONE,
        _STEP.c.edition == bindparam("of_edition"),
    )
    .order_by(_STEP.c.generation.desc())
    .limit(1)
)


def convert(lab: Lab, claimed: Claim) -> End:
    """Make the DICOM objects of a scan's edition; their digests are on record before a byte leaves."""
    with lab.database.read() as session:
        stated = stated_of(session, claimed.subject_id, claimed.edition)
        if stated is None:
            return lambda session: _end_obsolete(session, claimed)
        file_id = file_of(session, claimed.subject_id)
        header = header_of(session, stated)
    folder = lab.spool.work_folder(claimed.subject_id, claimed.run_number)
    arguments = {
        "path": str(lab.spool.path_of(file_id)),
        "folder": str(folder),
        "header": header.model_dump(mode="json"),
        "scan_id": claimed.subject_id,
        "edition": claimed.edition,
    }
    limits = Limits(lab.settings.work.child_memory_bytes, _CPU_SECONDS, lab.decode_within)
    made = lab.decoder.run(CONVERT, arguments, limits)
    return lambda session: _end_convert(lab, session, claimed, header, made, stated.identity_digest)


def store(lab: Lab, claimed: Claim) -> End:
    """Put the objects of a scan's edition into the archive."""
    with lab.database.read() as session:
        objects = _objects(session, claimed, _CURRENT_OBJECTS)
        if not objects:
            return lambda session: _end_obsolete(session, claimed)
        folder = _folder_of(lab, session, claimed)
    for role, instance in objects.items():
        failpoint("store.before_put")
        lab.archive.store(instance, folder / f"{role}.dcm")
        failpoint("store.after_put")
    return lambda session: _end_store(lab, session, claimed)


def prove(lab: Lab, claimed: Claim) -> End:
    """Have the archive list every object and read each back: only then is a scan archived."""
    with lab.database.read() as session:
        objects = _objects(session, claimed, _CURRENT_OBJECTS)
    if not objects:
        return lambda session: _end_obsolete(session, claimed)
    _check(lab, claimed.subject_id, tuple(objects.values()))
    return lambda session: _end_prove(lab, session, claimed)


def reject(lab: Lab, claimed: Claim) -> End:
    """Have the archive hide the objects of an edition that was withdrawn; they stay in the books."""
    with lab.database.read() as session:
        objects = _objects(session, claimed, _OBJECTS)
    for study, series in _series_of(objects.values()):
        failpoint("reject.before_reject")
        lab.archive.reject(study, series, RejectionReason.PATIENT_SAFETY)
        failpoint("reject.after_reject")
    return lambda session: _end_reject(session, claimed)


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
    recorded = _objects(session, claimed, _OBJECTS)
    if {role: one.sha256 for role, one in recorded.items()} != {row["role"]: row["sha256"] for row in rows}:
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
    session.execute(_MARK_NEXT, {**_edition_of(claimed), "before": "converted", "after": "stored"})
    ledger.finish(session, claimed)
    change_scan(session, lab.settings, scan, [ObjectsStored(edition=claimed.edition)], cause_of(claimed))


def _end_prove(lab: Lab, session: Session, claimed: Claim) -> None:
    scan = lock_scan(session, claimed.subject_id)
    session.execute(_MARK_NEXT, {**_edition_of(claimed), "before": "stored", "after": "proven"})
    ledger.finish(session, claimed)
    conversion, identity_now = _conversion(session, claimed)
    if conversion.get("input_version", "") != identity_now:
        # The case's identity changed while we worked: what lies in the archive names another patient or case.
        reject_edition(session, scan, claimed.edition)
        change_scan(session, lab.settings, scan, [EditionRaised()], cause_of(claimed))
        return
    change_scan(session, lab.settings, scan, [ObjectsProven(edition=claimed.edition)], cause_of(claimed))


def _end_reject(session: Session, claimed: Claim) -> None:
    session.execute(_MARK, {**_edition_of(claimed), "after": "rejected"})
    ledger.finish(session, claimed)


def reject_edition(session: Session, scan: Scan, edition: int) -> None:
    """Add the step that hides an edition's objects, if any were made."""
    if session.execute(_OBJECTS, {"scan": scan.id, "of_edition": edition}).first() is None:
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


def _check(lab: Lab, scan_id: str, objects: tuple[StoredInstance, ...]) -> None:
    for study, series in _series_of(objects):
        listed = lab.archive.listed(study, series)
        missing = [one for one in objects if one.series_instance_uid == series and one.sop_instance_uid not in listed]
        if missing:
            message = (
                f"the archive lists {len(objects) - len(missing)} of {len(objects)} objects of scan {scan_id}: "
                "rerun it from store"
            )
            raise RejectedError(message)
    for instance in objects:
        if lab.archive.digest(instance) != instance.sha256:
            message = f"the archive gave back other bytes for an object of scan {scan_id}: its disk needs a look"
            raise RejectedError(message)


def _series_of(objects: Iterable[StoredInstance]) -> list[tuple[str, str]]:
    """Return each (study, series) once."""
    return sorted({(one.study_instance_uid, one.series_instance_uid) for one in objects})


def _objects(session: Session, claimed: Claim, wanted: Select[*tuple[Any, ...]]) -> dict[str, StoredInstance]:
    """Return the objects of a claim's edition by their role."""
    rows = session.execute(wanted, _edition_of(claimed))
    return {role: StoredInstance(*described) for role, *described in rows}


def _edition_of(claimed: Claim) -> dict[str, Any]:
    return {"scan": claimed.subject_id, "of_edition": claimed.edition}


def _conversion(session: Session, claimed: Claim) -> tuple[dict[str, Any], str]:
    """Return the result of the conversion whose objects this edition's steps work on, and the case's identity now."""
    found = session.execute(_CONVERSION_AND_CASE, _edition_of(claimed)).first()
    if found is None:
        message = (
            f"scan {claimed.subject_id} has no finished conversion of edition {claimed.edition}: rerun it from convert"
        )
        raise RejectedError(message)
    return found.result or {}, found.identity_digest


def _folder_of(lab: Lab, session: Session, claimed: Claim) -> Path:
    conversion, _identity = _conversion(session, claimed)
    return lab.spool.made_in(claimed.subject_id, int(conversion.get("run", 0))) / "dicom"
