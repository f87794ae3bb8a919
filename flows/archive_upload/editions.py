"""What the books know of an edition's objects: which they are, how they were made and whom they name."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import bindparam, select
from sqlalchemy.orm import Session

from connectors.archive.protocol import StoredInstance
from flows import ledger
from flows.journey import ARCHIVE_UPLOAD, MAKERS
from models.base import table_of
from models.database import database_now, insert_unless_there
from models.errors import RejectedError
from models.facets import StepState
from models.tables.case import Case
from models.tables.scan import Instance, Scan
from models.tables.step import Step
from models.uid import series_uid

_CASE, _INSTANCE, _SCAN, _STEP = table_of(Case), table_of(Instance), table_of(Scan), table_of(Step)
OF_EDITION = (_INSTANCE.c.scan_id == bindparam("scan"), _INSTANCE.c.edition == bindparam("of_edition"))
_OBJECTS = (
    select(
        *(_INSTANCE.c.role, _INSTANCE.c.study_instance_uid, _INSTANCE.c.series_instance_uid),
        *(_INSTANCE.c.sop_instance_uid, _INSTANCE.c.sha256, _INSTANCE.c.bytes),
    )
    .where(*OF_EDITION)
    .order_by(_INSTANCE.c.role)
)
_MADE = (
    select(_STEP.c.result, _CASE.c.identity_digest)
    .join_from(_STEP, _SCAN, _SCAN.c.id == _STEP.c.subject_id)
    .join(_CASE, _CASE.c.id == _SCAN.c.case_id)
    .where(
        _STEP.c.subject_id == bindparam("scan"),
        _STEP.c.kind.in_(MAKERS),
        # A rerun makes the same objects again: until it has, what is known of them holds.
        _STEP.c.state.in_((StepState.DONE, StepState.SUPERSEDED)),
        _STEP.c.edition == bindparam("of_edition"),
        _STEP.c.result.is_not(None),
    )
    .order_by(_STEP.c.id.desc())
)
_BEGUN = (
    select(_STEP.c.id)
    .where(_STEP.c.subject_id == bindparam("scan"), _STEP.c.kind == "store", _STEP.c.attempt > 0)
    .where(_STEP.c.edition == bindparam("of_edition"))
    .limit(1)
)


@dataclass(frozen=True)
class Made:
    """How the objects of an edition were made: in which run, and for which identity of their case."""

    run: int
    identity: str
    identity_now: str

    @property
    def is_outdated(self) -> bool:
        """Whether they name another patient or case than the orders do now."""
        return self.identity != self.identity_now


def made(session: Session, scan_id: str, edition: int) -> Made | None:
    """Return how a matched scan's edition was made; ``None`` while it is not."""
    for result, identity_now in session.execute(_MADE, {"scan": scan_id, "of_edition": edition}):
        if "input_version" in result:
            return Made(int(result["run"]), result["input_version"], identity_now)
    return None


def objects_of(session: Session, scan_id: str, edition: int) -> dict[str, StoredInstance]:
    """Return the objects of an edition by their role; none until they were made."""
    rows = session.execute(_OBJECTS, {"scan": scan_id, "of_edition": edition})
    return {role: StoredInstance(*described) for role, *described in rows}


def record_objects(
    session: Session, scan_id: str, edition: int, study_instance_uid: str, instances: Iterable[Mapping[str, Any]]
) -> None:
    """Have the digests of an edition's objects on record, before a byte of them leaves.

    Raises
    ------
    RejectedError
        Others are on record already.
    """
    rows = [
        {
            "scan_id": scan_id,
            "edition": edition,
            "role": one["role"],
            "study_instance_uid": study_instance_uid,
            "series_instance_uid": series_uid(scan_id, edition),
            "sop_instance_uid": one["sop_instance_uid"],
            "sha256": one["sha256"],
            "bytes": one["bytes"],
            "state": "converted",
        }
        for one in instances
    ]
    insert_unless_there(session, Instance, rows)
    recorded = objects_of(session, scan_id, edition)
    if {role: one.sha256 for role, one in recorded.items()} != {row["role"]: row["sha256"] for row in rows}:
        message = f"scan {scan_id} converted to other bytes than before: its next edition must be made by a person"
        raise RejectedError(message)


def has_begun_to_leave(session: Session, scan_id: str, edition: int) -> bool:
    """Whether a worker has ever begun to store an edition: some of it may lie in the archive."""
    return session.scalar(_BEGUN, {"scan": scan_id, "of_edition": edition}) is not None


def reject_edition(session: Session, scan_id: str, edition: int) -> None:
    """Add the step that hides an edition's objects, if any were made."""
    if session.execute(_OBJECTS, {"scan": scan_id, "of_edition": edition}).first() is None:
        return
    step = ledger.NewStep(
        kind="reject",
        stage=ARCHIVE_UPLOAD,
        subject_kind="scan",
        subject_id=scan_id,
        rank_at=database_now(session),
        lane=0,
        generation=edition,
        edition=edition,
        slot="archive",
    )
    ledger.add(session, [step])
