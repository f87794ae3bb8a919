"""The steps of archive_upload: convert, store, prove; and reject, for an edition that must not be seen any more.

Each step does its work again without harm: converting gives the same bytes, storing the same object changes
nothing, and proving only reads. What turns out to name another patient or case than the orders do now goes no
further: ``flows.changes`` adds the step that corrects it (``correcting.py``).
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from sqlalchemy import bindparam, select, update
from sqlalchemy.orm import Session

from connectors.archive.protocol import RejectionReason, StoredInstance
from connectors.slides.bounded import Limits
from connectors.slides.header import SlideHeader
from connectors.wiring import Lab
from flows import ledger
from flows.archive_upload.editions import OF_EDITION, Made, made, objects_of, record_objects
from flows.archive_upload.header import header_of, stated_of
from flows.changes import change_scan, lock_scan
from flows.ledger import Claim
from flows.step import End, cause_of, file_of
from models.base import table_of
from models.errors import RejectedError
from models.facets import StepState
from models.failpoint import failpoint
from models.scan_fold import ObjectsProven, ObjectsStored
from models.tables.scan import Instance, Scan

CONVERT = "connectors.slides.conversion:convert"
# 76 MB/s were measured; an hour of processor time would be a slide of 270 GB.
_CPU_SECONDS = 3_600

_INSTANCE, _SCAN = table_of(Instance), table_of(Scan)
_MARK = update(_INSTANCE).where(*OF_EDITION).values(state=bindparam("after"))
_MARK_NEXT = _MARK.where(_INSTANCE.c.state == bindparam("before"))
_IS_CURRENT = select(_SCAN.c.id).where(
    _SCAN.c.id == bindparam("scan"), _SCAN.c.edition == bindparam("of_edition"), _SCAN.c.slide_id.is_not(None)
)


def limits_of(lab: Lab) -> Limits:
    """Return what a child that makes objects may use."""
    return Limits(lab.settings.work.child_memory_bytes, _CPU_SECONDS, lab.decode_within)


def convert(lab: Lab, claimed: Claim) -> End:
    """Make the DICOM objects of a scan's edition; their digests are on record before a byte leaves."""
    with lab.database.read() as session:
        stated = stated_of(session, claimed.subject_id, claimed.edition)
        before = made(session, claimed.subject_id, claimed.edition)
        if stated is None or (before and before.identity != stated.identity_digest):
            return lambda session: end_obsolete(lab, session, claimed)
        file_id = file_of(session, claimed.subject_id)
        header = header_of(session, stated)
    answer = converted(lab, claimed, lab.spool.path_of(file_id), header)
    result = {"converter": answer["converter"], "input_version": stated.identity_digest}
    return lambda session: _end_convert(lab, session, claimed, header, answer["instances"], result)


def converted(lab: Lab, claimed: Claim, slide: Path, header: SlideHeader) -> dict[str, Any]:
    """Return what a bounded child made of the scanner's file, in an empty folder of this attempt."""
    arguments = {
        "path": str(slide),
        "folder": str(lab.spool.work_folder(claimed.subject_id, claimed.run_number)),
        "header": header.model_dump(mode="json"),
        "scan_id": claimed.subject_id,
        "edition": claimed.edition,
    }
    return lab.decoder.run(CONVERT, arguments, limits_of(lab))


def store(lab: Lab, claimed: Claim) -> End:
    """Put the objects of a scan's edition into the archive."""
    with lab.database.read() as session:
        # What has begun to leave is not stopped on its way: it is hidden as a whole.
        known = _to_show(session, claimed, although_outdated=claimed.attempt > 1)
        if known is None:
            return lambda session: end_obsolete(lab, session, claimed)
        objects = objects_of(session, claimed.subject_id, claimed.edition)
    folder = lab.spool.made_in(claimed.subject_id, known.run) / "dicom"
    for role, instance in objects.items():
        failpoint("store.before_put")
        lab.archive.store(instance, folder / f"{role}.dcm")
        failpoint("store.after_put")
    return lambda session: _end_store(lab, session, claimed)


def prove(lab: Lab, claimed: Claim) -> End:
    """Have the archive list every object and read each back: only then is a scan archived."""
    with lab.database.read() as session:
        if _to_show(session, claimed) is None:
            return lambda session: end_obsolete(lab, session, claimed)
        objects = objects_of(session, claimed.subject_id, claimed.edition)
    _check(lab, claimed.subject_id, tuple(objects.values()))
    return lambda session: _end_prove(lab, session, claimed)


def reject(lab: Lab, claimed: Claim) -> End:
    """Have the archive hide the objects of an edition that was withdrawn or corrected; they stay in the books."""
    with lab.database.read() as session:
        objects = objects_of(session, claimed.subject_id, claimed.edition)
    for study, series in _series_of(objects.values()):
        failpoint("reject.before_reject")
        lab.archive.reject(study, series, RejectionReason.PATIENT_SAFETY)
        failpoint("reject.after_reject")
    return lambda session: _end_reject(session, claimed)


def end_obsolete(lab: Lab, session: Session, claimed: Claim) -> None:
    """End a step that has nothing to do any more; whatever is to be done instead is added."""
    scan = lock_scan(session, claimed.subject_id)
    ledger.finish(session, claimed, state=StepState.SUPERSEDED)
    change_scan(session, lab.settings, scan, [], cause_of(claimed))


def _end_convert(
    lab: Lab,
    session: Session,
    claimed: Claim,
    header: SlideHeader,
    instances: Iterable[Mapping[str, Any]],
    result: Mapping[str, Any],
) -> None:
    scan = lock_scan(session, claimed.subject_id)
    record_objects(session, scan.id, claimed.edition, header.study_instance_uid, instances)
    ledger.finish(session, claimed, {"run": claimed.run_number, **result})
    change_scan(session, lab.settings, scan, [], cause_of(claimed))


def _end_store(lab: Lab, session: Session, claimed: Claim) -> None:
    scan = lock_scan(session, claimed.subject_id)
    session.execute(_MARK_NEXT, {**_edition_of(claimed), "before": "converted", "after": "stored"})
    ledger.finish(session, claimed)
    change_scan(session, lab.settings, scan, [ObjectsStored(edition=claimed.edition)], cause_of(claimed))


def _end_prove(lab: Lab, session: Session, claimed: Claim) -> None:
    scan = lock_scan(session, claimed.subject_id)
    known = made(session, claimed.subject_id, claimed.edition)
    if known is not None and known.is_outdated:
        # While we read, the case became another patient's: nobody is to hear of it before it is corrected.
        end_obsolete(lab, session, claimed)
        return
    session.execute(_MARK_NEXT, {**_edition_of(claimed), "before": "stored", "after": "proven"})
    ledger.finish(session, claimed)
    change_scan(session, lab.settings, scan, [ObjectsProven(edition=claimed.edition)], cause_of(claimed))


def _end_reject(session: Session, claimed: Claim) -> None:
    session.execute(_MARK, {**_edition_of(claimed), "after": "rejected"})
    ledger.finish(session, claimed)


def _to_show(session: Session, claimed: Claim, *, although_outdated: bool = False) -> Made | None:
    """Return how a claim's edition was made, while it is its scan's present one and names whom the case does.

    Raises
    ------
    RejectedError
        The books don't say how it was made.
    """
    if session.scalar(_IS_CURRENT, _edition_of(claimed)) is None:
        return None
    known = made(session, claimed.subject_id, claimed.edition)
    if known is None:
        message = (
            f"scan {claimed.subject_id} has no finished conversion of edition {claimed.edition}: rerun it from convert"
        )
        raise RejectedError(message)
    return known if although_outdated or not known.is_outdated else None


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


def _edition_of(claimed: Claim) -> dict[str, Any]:
    return {"scan": claimed.subject_id, "of_edition": claimed.edition}
