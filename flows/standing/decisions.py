"""Why each read of a case is with whom: everybody who has had it, and the records of the decisions."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from flows.case_assignment.replaying import replay
from models.errors import RejectedError
from models.facets import StepState
from models.tables.reading import Assignment, Pathologist, Read
from models.tables.step import Step


@dataclass(frozen=True)
class Owned:
    """Somebody's time with a read: who decided it, what became of it, and the record of the decision.

    ``replayed`` is whom the record gives the read to when it is decided again from it, ``None`` where it is no record
    that one can decide from: a person's word, or a look at all reads together.
    """

    pathologist_id: str
    name: str
    started_at: datetime
    ended_at: datetime | None
    ended_because: str | None
    decided_by: str
    manual: bool
    accepted_at: datetime | None
    opened_at: datetime | None
    policy_version: int | None
    explanation: Mapping[str, Any]
    replayed: str | None


@dataclass(frozen=True)
class ReadDecided:
    """One read, with everybody who has or had it, the latest first.

    ``escalated`` is the record of the last attempt while nobody may have it.
    """

    read_id: str
    role: str
    scope: str
    round: int
    points: float
    weights: str
    asked_by: str | None
    because: str | None
    closed_at: datetime | None
    owners: tuple[Owned, ...]
    escalated: Mapping[str, Any] | None


@dataclass(frozen=True)
class CaseDecided:
    """The reads of a case, those of the present round first, and what people are called whom their records name."""

    case_id: str
    reads: tuple[ReadDecided, ...]
    names: Mapping[str, str]


def decisions_of_case(session: Session, case_id: str, role: str | None = None) -> CaseDecided:
    """Return why each read of a case, or each of one role, is with whom."""
    order = (Read.round.desc(), Read.role != "primary", Read.role, Read.scope)
    rows = select(Read).where(Read.case_id == case_id).order_by(*order)
    reads = [read for read in session.scalars(rows) if role in (None, read.role)]
    ids = [read.id for read in reads]
    names = {one.id: one.name for one in session.scalars(select(Pathologist))}
    owners: defaultdict[str, list[Owned]] = defaultdict(list)
    for one in session.scalars(select(Assignment).where(Assignment.read_id.in_(ids)).order_by(Assignment.id.desc())):
        owners[one.read_id].append(_owned(one, names.get(one.pathologist_id, one.pathologist_id)))
    escalated = dict(_escalated(session, ids))
    told = tuple(_decided(read, tuple(owners[read.id]), escalated.get(read.id)) for read in reads)
    return CaseDecided(case_id, told, names)


def _decided(read: Read, owners: tuple[Owned, ...], escalated: Mapping[str, Any] | None) -> ReadDecided:
    return ReadDecided(
        read_id=read.id,
        role=read.role,
        scope=read.scope,
        round=read.round,
        points=read.points,
        weights=read.weights,
        asked_by=read.asked_by,
        because=read.because,
        closed_at=read.closed_at,
        owners=owners,
        escalated=escalated,
    )


def _owned(one: Assignment, name: str) -> Owned:
    return Owned(
        pathologist_id=one.pathologist_id,
        name=name,
        started_at=one.started_at,
        ended_at=one.ended_at,
        ended_because=one.ended_because,
        decided_by=one.decided_by,
        manual=one.manual,
        accepted_at=one.accepted_at,
        opened_at=one.opened_at,
        policy_version=one.policy_version,
        explanation=one.explanation,
        replayed=_replayed(one.explanation),
    )


def _replayed(record: Mapping[str, Any]) -> str | None:
    try:
        return replay(record) if "best" in record else None
    except RejectedError:
        return None


def _escalated(session: Session, read_ids: list[str]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the record of each read that waits for somebody who may have it."""
    waiting = select(Step.subject_id, Step.result).where(
        Step.subject_id.in_(read_ids), Step.kind == "case_assignment", Step.state == StepState.WAITING
    )
    for read_id, result in session.execute(waiting):
        if result and "explanation" in result:
            yield read_id, result["explanation"]
