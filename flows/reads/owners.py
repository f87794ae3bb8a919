"""Which reads a case has, and who has them."""

from sqlalchemy import bindparam, select
from sqlalchemy.orm import Session

from models.base import table_of
from models.tables.case import Case
from models.tables.reading import Assignment, Read

_ASSIGNMENT = table_of(Assignment)
_OWNER = select(_ASSIGNMENT.c.pathologist_id).where(
    _ASSIGNMENT.c.read_id == bindparam("read"), _ASSIGNMENT.c.ended_at.is_(None)
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
