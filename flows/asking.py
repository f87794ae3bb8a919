"""Work that somebody asks the laboratory for: the fact, the message that tells it, and what it answers."""

import base64
import hashlib
from typing import Final, Literal

from sqlalchemy import bindparam, func, select
from sqlalchemy.orm import Session

from connectors.settings import Settings
from connectors.wiring import open_ids
from flows import cases
from flows.books import Cause, Subject, clear_alert, record
from flows.sending import announce
from flows.work_orders import REFUSED
from models.database import database_now
from models.facets import Outcome, Quality
from models.opaque import OpaqueIds
from models.scan_fold import ScanState
from models.statements import Frozen
from models.tables.case import Block, Case, Slide
from models.tables.scan import Scan
from models.tables.work import WorkOrder
from models.uid import framed
from models.work_fold import WorkAnswered, WorkKind, WorkOrdered, WorkSeen

_UNDER_WAY: Final = ("asked", "accepted")
_REFUSED = select(WorkOrder.id).where(
    WorkOrder.subject_id == bindparam("subject"), WorkOrder.kind == bindparam("kind"), WorkOrder.state == "refused"
)
_OPEN_RESCANS = select(WorkOrder.number).where(
    WorkOrder.subject_id == bindparam("slide"), WorkOrder.kind == "rescan", WorkOrder.state.in_(_UNDER_WAY)
)


def ask(  # noqa: PLR0913 - what an order for work says
    session: Session,
    settings: Settings,
    ids: OpaqueIds,
    subject: Slide | Block,
    kind: WorkKind,
    cause: Cause,
    *,
    because: str,
    stain: str = "",
) -> str:
    """Ask the laboratory for work on a slide or block of a locked case; return our number for it.

    Without a person the asker is the machine, which knows what a picture lacks.
    """
    case, now = session.get_one(Case, subject.case_id), database_now(session)
    is_slide: Literal["slide", "block"] = "slide" if isinstance(subject, Slide) else "block"
    ordered = WorkOrdered(
        number=_next_number(session, case.id),
        kind=kind,
        subject_kind=is_slide,
        container_identifier=subject.container_identifier,
        issuer=subject.issuer,
        stain=stain,
        asked_by=cause.actor or "coverslip",
        because=because,
    )
    _record(session, case.id, ordered, cause)
    cases.project(session, settings, ids, case.id, cause)
    for refused in session.scalars(_REFUSED, {"subject": subject.id, "kind": kind}).all():
        clear_alert(session, refused, REFUSED, now)
    announce.work_asked(session, settings, case, ordered)
    return ordered.number


def work_answered(session: Session, settings: Settings, ids: OpaqueIds, case_id: str, answered: WorkAnswered) -> None:
    """Record what the laboratory answered to work that it was asked for."""
    cases.lock_case(session, case_id)
    cause = Cause("send")
    _record(session, case_id, answered, cause)
    cases.project(session, settings, ids, case_id, cause)


def scan_changed(
    session: Session, settings: Settings, scan: Scan, before: ScanState, after: ScanState, cause: Cause
) -> None:
    """Ask for another scan where the LIMS wants rescans as work, and say so when it is here."""
    if after.slide_id is None or not _wants_rescans(session, settings, after):
        return
    to_redo = after.outcome == Outcome.ACTIVE and after.quality == Quality.RESCAN
    is_new = (before.slide_id, before.quality) != (after.slide_id, after.quality)
    ids = open_ids(settings)
    if to_redo and is_new and not is_asked(session, after.slide_id, "rescan"):
        slide = session.get_one(Slide, after.slide_id)
        ask(session, settings, ids, slide, "rescan", cause, because=after.reason or "the picture is not good enough")
    if after.outcome == Outcome.SUPERSEDED != before.outcome and scan.case_id is not None:
        for number in session.scalars(_OPEN_RESCANS, {"slide": after.slide_id}).all():
            _record(session, scan.case_id, WorkSeen(number=number), cause)
        cases.project(session, settings, ids, scan.case_id, cause)


def _wants_rescans(session: Session, settings: Settings, scan: ScanState) -> bool:
    case = session.get_one(Case, scan.case_id)
    return settings.peer(settings.site(case.site_id).lims).rescans_as_work


def is_asked(session: Session, subject_id: str, kind: WorkKind) -> bool:
    """Whether the laboratory has this work before it already."""
    same = (WorkOrder.subject_id == subject_id, WorkOrder.kind == kind, WorkOrder.state.in_(_UNDER_WAY))
    return session.scalar(select(WorkOrder.id).where(*same).limit(1)) is not None


def _record(session: Session, case_id: str, fact: Frozen, cause: Cause) -> None:
    now = database_now(session)
    record(session, Subject("case", case_id), fact, cause, effective_at=now, received_at=now)


def _next_number(session: Session, case_id: str) -> str:
    """Return a number that no other work order of any case has; a case's are counted under its lock."""
    count = session.scalars(select(func.count()).where(WorkOrder.case_id == case_id)).one()
    digest = hashlib.sha256(framed(("work order", case_id, str(count + 1)))).digest()
    return "W" + base64.b32encode(digest)[:12].decode()
