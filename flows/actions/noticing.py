"""A pathologist says that they have seen what they were told."""

from collections.abc import Collection

from sqlalchemy import update
from sqlalchemy.orm import Session

from flows.actions.desk import Desk
from models.base import table_of
from models.database import database_now
from models.tables.reading import Notice

_NOTICE = table_of(Notice)


def see(desk: Desk, pathologist_id: str, numbers: Collection[int]) -> int:
    """Mark notices as seen; of somebody else's, and of those that were seen before, nothing changes. Return how many.

    Only those that were shown are named: what came meanwhile stays unseen.
    """
    with desk.database.write("people.see") as session:
        return _mark(session, pathologist_id, numbers)


def _mark(session: Session, pathologist_id: str, numbers: Collection[int]) -> int:
    unseen = (_NOTICE.c.id.in_(list(numbers)), _NOTICE.c.pathologist_id == pathologist_id, _NOTICE.c.seen_at.is_(None))
    marked = update(_NOTICE).where(*unseen).values(seen_at=database_now(session)).returning(_NOTICE.c.id)
    return len(session.scalars(marked).all())
