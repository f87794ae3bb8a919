"""What one pathologist has to read, and what they were told of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from flows.standing.whereabouts import READ_EARLY
from models.facets import Lane
from models.tables.case import Case, Identifier
from models.tables.reading import Assignment, Notice, Read


@dataclass(frozen=True)
class ToRead:
    """One read that somebody has: how much it is, by when, and how far they are with it."""

    case: str
    accession_number: str
    read: str
    role: str
    scope: str
    site: str
    subspecialty: str | None
    points: float
    lane: str
    due_at: datetime | None
    due_kind: str | None
    since: datetime
    accepted_at: datetime | None
    opened_at: datetime | None
    by_hand: bool
    """A person gave it to them: no machine moves it."""
    images: str
    read_early: str | None = None
    """Who lets it be read before all of its slides are there and proven, in words."""


@dataclass(frozen=True)
class Told:
    """Something that a pathologist was told, and when they said that they had seen it."""

    number: int
    kind: str
    sentence: str
    case: str
    accession_number: str
    made_at: datetime
    seen_at: datetime | None


def worklist(session: Session, pathologist_id: str) -> list[ToRead]:
    """Return what somebody has to read, the most urgent first."""
    rows = session.execute(
        select(Read, Assignment, Case)
        .join(Assignment, Assignment.read_id == Read.id)
        .join(Case, Case.id == Read.case_id)
        .where(Assignment.pathologist_id == pathologist_id, Assignment.ended_at.is_(None), Read.closed_at.is_(None))
        .order_by(Case.lane, Case.due_at.is_(None), Case.due_at, Assignment.started_at, Read.id)
    ).all()
    numbers = _accessions(session, [case.id for _, _, case in rows])
    return [_to_read(read, given, case, numbers.get(case.id, "")) for read, given, case in rows]


def told_to(session: Session, pathologist_id: str, *, also_seen: bool = False) -> list[Told]:
    """Return what somebody was told, the oldest first; by default only what they have not said to have seen."""
    theirs = select(Notice).where(Notice.pathologist_id == pathologist_id).order_by(Notice.id)
    rows = session.scalars(theirs if also_seen else theirs.where(Notice.seen_at.is_(None))).all()
    numbers = _accessions(session, [one.case_id for one in rows])
    return [
        Told(one.id, one.kind, one.sentence, one.case_id, numbers.get(one.case_id, ""), one.made_at, one.seen_at)
        for one in rows
    ]


def _to_read(read: Read, given: Assignment, case: Case, accession_number: str) -> ToRead:
    return ToRead(
        case=case.id,
        accession_number=accession_number,
        read=read.id,
        role=read.role,
        scope=read.scope,
        site=case.site_id,
        subspecialty=read.subspecialty or case.subspecialty,
        points=read.points,
        lane=Lane(case.lane).name.lower().replace("_", "-"),
        due_at=case.due_at,
        due_kind=case.due_kind,
        since=given.started_at,
        accepted_at=given.accepted_at,
        opened_at=given.opened_at,
        by_hand=given.manual,
        images=case.images,
        read_early=READ_EARLY.get(case.released_how or ""),
    )


def _accessions(session: Session, case_ids: Sequence[str]) -> dict[str, str]:
    rows = session.execute(
        select(Identifier.subject_id, Identifier.value)
        .where(Identifier.subject_id.in_(case_ids), Identifier.kind == "accession")
        .order_by(Identifier.id.desc())
    )
    # The oldest comes last, and stays.
    return dict(rows.all())
