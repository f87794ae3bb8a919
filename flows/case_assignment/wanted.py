"""What a read wants of whoever gets it, as the books have it now."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

from sqlalchemy import Row, and_, bindparam, select
from sqlalchemy.orm import Session

from flows.case_assignment.candidate import GENERAL, ReadToAssign
from flows.case_assignment.medium import medium_of
from flows.people.conflicts import conflicts_of
from models.base import table_of
from models.policy import Policy
from models.tables.case import Case
from models.tables.place import Site
from models.tables.reading import Assignment, Declined, Network, NetworkAid, Read

_READ, _ASSIGNMENT, _CASE, _SITE = (table_of(entity) for entity in (Read, Assignment, Case, Site))
_DECLINED, _NETWORK, _AID = (table_of(entity) for entity in (Declined, Network, NetworkAid))

# Whoever looks at a case for another of these would not look at it afresh.
_APART: Final = ("primary", "second", "trainee", "opinion")
# The whole case, or of one that was split what is of its own subspecialty.
_OF_REPORTER: Final = ("whole", "part 1")
_READ_TWICE: Final = {"primary": "second", "second": "primary"}

_READS_OF_ROUND = (
    select(
        *(_READ.c.id, _READ.c.role, _READ.c.scope, _READ.c.points, _READ.c.closed_at, _ASSIGNMENT.c.pathologist_id),
    )
    .outerjoin(_ASSIGNMENT, and_(_ASSIGNMENT.c.read_id == _READ.c.id, _ASSIGNMENT.c.ended_at.is_(None)))
    .where(_READ.c.case_id == bindparam("of_case"), _READ.c.round == bindparam("of_round"))
    .order_by(_READ.c.id)
)
_WHO_DECLINED = (
    select(_DECLINED.c.read_id, _DECLINED.c.pathologist_id)
    .join(_READ, _READ.c.id == _DECLINED.c.read_id)
    .where(_READ.c.case_id == bindparam("of_case"))
)
_WHO_HAD_IT = (
    select(_ASSIGNMENT.c.pathologist_id)
    .join(_READ, _READ.c.id == _ASSIGNMENT.c.read_id)
    .where(_READ.c.case_id == bindparam("of_case"))
    .where(_READ.c.role == bindparam("of_role"), _READ.c.scope.in_(bindparam("of_scopes", expanding=True)))
    .order_by(_ASSIGNMENT.c.id.desc())
    .limit(1)
)
_PATIENTS_LAST_READER = (
    select(_ASSIGNMENT.c.pathologist_id)
    .join(_READ, _READ.c.id == _ASSIGNMENT.c.read_id)
    .join(_CASE, _CASE.c.id == _READ.c.case_id)
    .where(_CASE.c.patient_id == bindparam("patient"), _CASE.c.id != bindparam("of_case"), _READ.c.role == "primary")
    .order_by(_ASSIGNMENT.c.id.desc())
    .limit(1)
)
_PLACE = (
    select(_SITE.c.network_id, _NETWORK.c.region)
    .outerjoin(_NETWORK, _NETWORK.c.id == _SITE.c.network_id)
    .where(_SITE.c.id == bindparam("site"))
)
_AIDING = select(_AID.c.aiding_id).where(_AID.c.network_id == bindparam("network"))

_ReadRow = Row[str, str, str, float, Any, str | None]


def wanted(session: Session, case: Case, read: Read, policy: Policy) -> ReadToAssign:
    """Return a read as the rules of assignment look at it; the caller holds the case's row.

    Raises
    ------
    RejectedError
        The read's points are no number, or less than nothing.
    """
    subspecialty = read.subspecialty or case.subspecialty
    rules = policy.of(subspecialty)
    place = session.execute(_PLACE, {"site": case.site_id}).one()
    aiding = session.scalars(_AIDING, {"network": place.network_id}) if place.network_id else ()
    of_case = {"of_case": case.id, "patient": case.patient_id}
    reads = session.execute(_READS_OF_ROUND, {"of_case": case.id, "of_round": read.round}).all()
    declined = session.execute(_WHO_DECLINED, {"of_case": case.id}).all()
    want = ReadToAssign(
        read_id=read.id,
        case_id=case.id,
        site_id=case.site_id,
        subspecialty=subspecialty or GENERAL,
        points=read.points,
        lane=case.lane,
        due_at=case.due_at,
        conflicts=conflicts_of(session, case),
        role=read.role,
        scope=rules.scope,
        network_id=place.network_id,
        region=place.region,
        aided_by=frozenset(aiding),
        declined=frozenset(one.pathologist_id for one in declined if one.read_id == read.id),
        reads_otherwise=_readers_apart(read.id, read.role, reads),
        before=session.scalar(_WHO_HAD_IT, {"of_case": case.id, **_like(read)}),
        patients_reader=session.scalar(_PATIENTS_LAST_READER, of_case) if case.patient_id else None,
        weight_model=read.weights,
        medium=medium_of(session, case.id),
    )
    role = _READ_TWICE.get(read.role) if rules.double else None
    return replace(want, counterpart=_counterpart(want, (role, read.scope), reads, declined)) if role else want


def _counterpart(
    want: ReadToAssign, called: tuple[str, str], reads: Sequence[_ReadRow], declined: Sequence[Row[str, str]]
) -> ReadToAssign | None:
    """Return the other read, by role and scope, of what is read twice, if it needs somebody or is still to come."""
    role, scope = called
    known = [one for one in reads if one.role == role and one.scope == scope]
    other = next((one for one in known if one.closed_at is None and one.pathologist_id is None), None)
    if known and other is None:
        return None
    other_id = other.id if other else ""
    return replace(
        want,
        read_id=other_id,
        points=other.points if other and 0 <= other.points < math.inf else want.points,
        role=role,
        declined=frozenset(one.pathologist_id for one in declined if one.read_id == other_id),
        reads_otherwise=_readers_apart(other_id, role, reads),
        before=None,
        patients_reader=None,
    )


def _like(read: Read) -> dict[str, Any]:
    """Return role and scopes of the reads whose reader knows most of this one.

    A case that is divided otherwise than in its last round is known to whoever reported it then; they prepare it too.
    """
    role = "primary" if read.role == "mdt" else read.role
    of_reporter = read.role == "mdt" or read.scope in _OF_REPORTER
    return {"of_role": role, "of_scopes": _OF_REPORTER if of_reporter else (read.scope,)}


def _readers_apart(read_id: str, role: str, reads: Sequence[_ReadRow]) -> frozenset[str]:
    """Return who has a read of the round that one and the same person may not have.

    Two parts of a case may go to one reader, two opinions may not.
    """
    return frozenset(
        one.pathologist_id
        for one in reads
        if one.pathologist_id is not None
        and one.id != read_id
        and role in _APART
        and one.role in _APART
        and (one.role != role or role == "opinion")
    )
