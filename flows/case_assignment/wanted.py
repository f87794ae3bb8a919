"""What a read wants of whoever gets it, as the books have it now."""

from typing import Final

from sqlalchemy import and_, bindparam, or_, select
from sqlalchemy.orm import Session

from flows.case_assignment.candidate import ReadToAssign
from models.base import table_of
from models.policy import Policy
from models.tables.case import Case
from models.tables.place import Site
from models.tables.reading import Assignment, Declined, Network, NetworkAid, Read, ReadingConflict

_READ, _ASSIGNMENT, _CASE, _SITE = (table_of(entity) for entity in (Read, Assignment, Case, Site))
_CONFLICT, _DECLINED, _NETWORK, _AID = (table_of(entity) for entity in (ReadingConflict, Declined, Network, NetworkAid))

# Whoever looks at a case for another of these would not look at it afresh.
_APART: Final = ("primary", "second", "trainee", "opinion")

_CONFLICTS = select(_CONFLICT.c.pathologist_id).where(
    or_(
        and_(_CONFLICT.c.subject_kind == "case", _CONFLICT.c.subject_id == bindparam("of_case")),
        and_(_CONFLICT.c.subject_kind == "patient", _CONFLICT.c.subject_id == bindparam("patient")),
    )
)
_WHO_DECLINED = select(_DECLINED.c.pathologist_id).where(_DECLINED.c.read_id == bindparam("read"))
_READS_OF_ROUND = (
    select(_READ.c.id, _READ.c.role, _READ.c.points, _ASSIGNMENT.c.pathologist_id)
    .outerjoin(_ASSIGNMENT, and_(_ASSIGNMENT.c.read_id == _READ.c.id, _ASSIGNMENT.c.ended_at.is_(None)))
    .where(_READ.c.case_id == bindparam("of_case"), _READ.c.round == bindparam("of_round"))
    .order_by(_READ.c.id)
)
_WHO_HAD_IT = (
    select(_ASSIGNMENT.c.pathologist_id)
    .join(_READ, _READ.c.id == _ASSIGNMENT.c.read_id)
    .where(_READ.c.case_id == bindparam("of_case"))
    .where(_READ.c.role == bindparam("of_role"), _READ.c.scope == bindparam("of_scope"))
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


def wanted(session: Session, case: Case, read: Read, policy: Policy) -> ReadToAssign:
    """Return a read as the rules of assignment look at it; the caller holds the case's row."""
    rules = policy.of(case.subspecialty)
    of_case = {"of_case": case.id, "patient": case.patient_id}
    others = session.execute(_READS_OF_ROUND, {"of_case": case.id, "of_round": read.round}).all()
    place = session.execute(_PLACE, {"site": case.site_id}).one()
    had = {"of_case": case.id, "of_role": read.role, "of_scope": read.scope}
    return ReadToAssign(
        read_id=read.id,
        case_id=case.id,
        site_id=case.site_id,
        subspecialty=case.subspecialty,
        points=read.points,
        lane=case.lane,
        due_at=case.due_at,
        conflicts=frozenset(session.scalars(_CONFLICTS, of_case)),
        role=read.role,
        scope=rules.scope,
        network_id=place.network_id,
        region=place.region,
        aided_by=frozenset(session.scalars(_AIDING, {"network": place.network_id}))
        if place.network_id
        else frozenset(),
        declined=frozenset(session.scalars(_WHO_DECLINED, {"read": read.id})),
        reads_otherwise=frozenset(
            one.pathologist_id for one in others if one.pathologist_id and one.id != read.id and _apart(read, one.role)
        ),
        before=session.scalar(_WHO_HAD_IT, had),
        patients_reader=session.scalar(_PATIENTS_LAST_READER, of_case) if case.patient_id else None,
        counterpart=_counterpart(read, [one.role for one in others if one.pathologist_id], double=rules.double),
    )


def _apart(read: Read, role: str) -> bool:
    """Whether nobody may have both: two parts of a case may go to one reader, two opinions may not."""
    return read.role in _APART and role in _APART and (role != read.role or role == "opinion")


def _counterpart(read: Read, given: list[str], *, double: bool) -> str | None:
    """Return which read of a case that is read twice still needs somebody other than the reader of this one."""
    other = {"primary": "second", "second": "primary"}.get(read.role)
    return other if double and other not in given else None
