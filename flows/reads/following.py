"""The reads of a case: one primary for each round, open as long as that is, and assigned as soon as it can be read.

The caller holds the case's row in its write transaction.
"""

import hashlib
from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from flows import ledger
from flows.books import Cause, clear_alert
from flows.case_assignment import giving
from flows.case_assignment.points import points
from flows.reads.owners import owner_of, primary_read
from models.facets import Images, Reading, StepState
from models.tables.case import Block, Case, Slide, Specimen
from models.tables.reading import Read
from models.uid import framed, uuid_of


def have_it_read(session: Session, case: Case, now: datetime) -> None:
    """See that an open round's primary read is there, and that it is being assigned unless somebody has it."""
    if case.round_closed_at is not None:
        return
    read = primary_read(session, case) or _new_primary_read(session, case, now)
    if owner_of(session, read.id) is not None:
        return
    read.points = _points_of(session, case)
    step = ledger.NewStep(
        kind="case_assignment",
        stage="case_assignment",
        subject_kind="read",
        subject_id=read.id,
        rank_at=ledger.rank_at(now, case.due_at),
        lane=case.lane,
    )
    ledger.rerun(session, step)


def stop_assigning(session: Session, case: Case, now: datetime) -> None:
    """Give the reads of a case that is no longer ready to nobody; who has one keeps it."""
    for read_id in session.scalars(select(Read.id).where(Read.case_id == case.id)).all():
        ledger.end_open(session, read_id, ("case_assignment",), StepState.SUPERSEDED)
    clear_alert(session, case.id, giving.NOBODY_ELIGIBLE, now)


def follow_round(session: Session, case: Case, cause: Cause, now: datetime) -> None:
    """Close the reads of every round but an open present one, and have that read if the case can be.

    Call it when the round of a case, or whether it is closed, has changed.
    """
    is_open = case.round_closed_at is None
    for read in session.scalars(select(Read).where(Read.case_id == case.id).order_by(Read.id)):
        if is_open and read.round == case.round:
            # What closed it was said later than something that we heard only now.
            read.closed_at = None
        elif read.closed_at is None:
            _close(session, case, read, cause, now)
    giving.say_reading(session, case, cause, now)
    if is_open and case.images == Images.READY:
        have_it_read(session, case, now)


def _close(session: Session, case: Case, read: Read, cause: Cause, now: datetime) -> None:
    read.closed_at = now
    ledger.end_open(session, read.id, ("case_assignment",), StepState.CANCELLED)
    giving.end(session, case, read, because="the round was closed", cause=cause, now=now)
    clear_alert(session, case.id, giving.NOBODY_ELIGIBLE, now)


def _new_primary_read(session: Session, case: Case, now: datetime) -> Read:
    read = Read(
        id=_derived(case.id, f"primary:{case.round}:whole"),
        case_id=case.id,
        round=case.round,
        role="primary",
        points=_points_of(session, case),
        created_at=now,
    )
    session.add(read)
    case.reading = Reading.UNASSIGNED
    session.flush()
    return read


def _points_of(session: Session, case: Case) -> float:
    slides = select(func.count()).select_from(Slide).where(Slide.case_id == case.id, Slide.cancelled.is_(False))
    blocks = select(func.count()).select_from(Block).where(Block.case_id == case.id)
    specimens = select(func.count()).select_from(Specimen).where(Specimen.case_id == case.id)
    return points(
        slides=session.scalars(slides).one(),
        blocks=session.scalars(blocks).one(),
        specimens=session.scalars(specimens).one(),
    )


def _derived(case_id: str, name: str) -> str:
    """Return the same id for the same read of a case, whoever makes it first."""
    return str(uuid_of(hashlib.sha256(framed(("read", case_id, name))).digest()))
