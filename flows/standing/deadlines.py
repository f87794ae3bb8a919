"""By when cases are due, as people read it: which deadline rules, what else there is, and what will be late."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Select, or_, select
from sqlalchemy.orm import Session

from flows.deadlines.targets import A_MOMENT
from flows.deadlines.telling import at_in_words, called
from flows.people.policies import policy_in_force
from models.database import database_now
from models.tables.case import Case, Identifier
from models.tables.deadline import Deadline, DeadlinePause
from models.tables.place import Site


@dataclass(frozen=True)
class DeadlineLine:
    """The deadline that rules a case, with what became of it.

    ``predicted_at`` is when it was foreseen to be missed, ``breached_at`` when it was; ``paused_since`` since when the
    case's clock stands still, if it does.
    """

    case: str
    accession_number: str
    site: str
    zone: str
    kind: str
    source: str
    due_at: datetime
    predicted_at: datetime | None
    breached_at: datetime | None
    paused_since: datetime | None


def list_deadlines(
    session: Session, *, late: bool = False, soon: bool = False, site: str | None = None, most: int = 200
) -> list[DeadlineLine]:
    """Return what is due, the earliest first: all, only what is late, or what is due soon or foreseen to be late."""
    now = database_now(session)
    query = _ruling().order_by(Deadline.due_at, Deadline.case_id).limit(most)
    if site is not None:
        query = query.where(Case.site_id == site)
    wanted: list[ColumnElement[bool]] = []
    if late:
        wanted.append(Deadline.due_at <= now)
    if soon:
        until = now + timedelta(hours=policy_in_force(session, now).policy.warn_before_hours)
        wanted.append((Deadline.due_at > now) & ((Deadline.due_at <= until) | Deadline.predicted_at.is_not(None)))
    rows = session.execute(query.where(or_(*wanted)) if wanted else query).all()
    accessions = _accessions(session, [deadline.case_id for deadline, *_ in rows])
    return [_line(row, accessions) for row in rows]


def due_in_words(session: Session, case_id: str) -> str | None:
    """Say by when a case is due, by what, and what else it is wanted for; ``None`` when by nothing."""
    found = session.execute(
        select(Deadline, Case.due_kind, Site.zone)
        .join(Case, Case.id == Deadline.case_id)
        .join(Site, Site.id == Case.site_id)
        .where(Deadline.case_id == case_id, Deadline.ended_at.is_(None))
        .order_by(Deadline.due_at, Deadline.kind)
    ).all()
    if not found:
        return None
    now = database_now(session)
    paused = session.scalar(_open_pause(case_id))
    ruling = [_said(deadline, zone, now, full=True) for deadline, kind, zone in found if deadline.kind == kind]
    others = [_said(deadline, zone, now, full=False) for deadline, kind, zone in found if deadline.kind != kind]
    stands = [f"the clock stands still since {at_in_words(paused, found[0].zone, now)}"] if paused else []
    return "; ".join((*ruling, *others, *stands))


def _said(deadline: Deadline, zone: str, now: datetime, *, full: bool) -> str:
    at = at_in_words(deadline.due_at, zone, now)
    late = ", late" if deadline.due_at <= now else ", at risk" if deadline.predicted_at else ""
    if full and deadline.basis != A_MOMENT:
        return f"{at} ({called(deadline.kind)}, {deadline.source}{late})"
    if full:
        return f"{at} ({called(deadline.kind)}: {deadline.source}{late})"
    return f"{called(deadline.kind)} {at}{late}"


def _ruling() -> Select[Deadline, str, str, datetime | None]:
    pause = (DeadlinePause.case_id == Case.id) & DeadlinePause.ended_at.is_(None)
    return (
        select(Deadline, Case.site_id, Site.zone, DeadlinePause.began_at)
        .join(Case, (Case.id == Deadline.case_id) & (Case.round == Deadline.round) & (Case.due_kind == Deadline.kind))
        .join(Site, Site.id == Case.site_id)
        .outerjoin(DeadlinePause, pause)
        .where(Deadline.ended_at.is_(None))
    )


def _open_pause(case_id: str) -> Select[datetime]:
    return select(DeadlinePause.began_at).where(DeadlinePause.case_id == case_id, DeadlinePause.ended_at.is_(None))


def _accessions(session: Session, ids: Sequence[str]) -> dict[str, str]:
    rows = session.execute(
        select(Identifier.subject_id, Identifier.value)
        .where(Identifier.subject_id.in_(ids), Identifier.kind == "accession")
        .order_by(Identifier.id.desc())
    )
    return dict(rows.all())


def _line(row: Any, accessions: dict[str, str]) -> DeadlineLine:  # noqa: ANN401 - a row of _ruling
    deadline, site, zone, paused_since = row
    return DeadlineLine(
        case=deadline.case_id,
        accession_number=accessions.get(deadline.case_id, ""),
        site=site,
        zone=zone,
        kind=deadline.kind,
        source=deadline.source,
        due_at=deadline.due_at,
        predicted_at=deadline.predicted_at,
        breached_at=deadline.breached_at,
        paused_since=paused_since,
    )
