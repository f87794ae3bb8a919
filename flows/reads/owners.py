"""Which reads a case has, and who has them."""

from sqlalchemy import bindparam, select
from sqlalchemy.orm import Session

from models.base import table_of
from models.tables.case import Case
from models.tables.reading import Assignment, Read

_ASSIGNMENT, _READ = table_of(Assignment), table_of(Read)
_OWNER = select(_ASSIGNMENT.c.pathologist_id).where(
    _ASSIGNMENT.c.read_id == bindparam("read"), _ASSIGNMENT.c.ended_at.is_(None)
)
_PRIMARY_OWNERS = (
    select(_ASSIGNMENT.c.pathologist_id)
    .join(_READ, _READ.c.id == _ASSIGNMENT.c.read_id)
    .where(_READ.c.case_id == bindparam("of_case"), _READ.c.round == bindparam("of_round"))
    .where(_READ.c.role == "primary", _READ.c.closed_at.is_(None), _ASSIGNMENT.c.ended_at.is_(None))
)
_WHO_HAD_IT = (
    select(_ASSIGNMENT.c.pathologist_id)
    .join(_READ, _READ.c.id == _ASSIGNMENT.c.read_id)
    .where(_READ.c.case_id == bindparam("of_case"), _READ.c.role == "primary")
    .order_by(_ASSIGNMENT.c.id.desc())
    .limit(1)
)


def primary_read(session: Session, case: Case) -> Read | None:
    """Return the primary read of a case's present round; of a case that was split, that of its first open part."""
    of_round = select(Read).where(Read.case_id == case.id, Read.round == case.round, Read.role == "primary")
    return min(
        session.scalars(of_round), key=lambda read: (read.closed_at is not None, read.scope, read.id), default=None
    )


def owner_of(session: Session, read_id: str) -> str | None:
    """Return who has a read."""
    owner: str | None = session.scalar(_OWNER, {"read": read_id})
    return owner


def primary_owners(session: Session, case: Case) -> frozenset[str]:
    """Return who has an open primary read of a case's present round: several where it was split."""
    return frozenset(session.scalars(_PRIMARY_OWNERS, {"of_case": case.id, "of_round": case.round}))


def who_had_it(session: Session, case_id: str) -> str | None:
    """Return who had a primary read of a case last, in whichever round."""
    reader: str | None = session.scalar(_WHO_HAD_IT, {"of_case": case_id})
    return reader
