"""Reads whose reader is gone, or off sick, and that no look could move: people are told, so that none lies unseen."""

from collections.abc import Collection
from datetime import datetime
from typing import Final

from sqlalchemy import bindparam, or_, select
from sqlalchemy.orm import Session

from flows.alerts import READER_ABSENT
from flows.books import Subject, raise_alert
from models.tables.reading import Assignment, Pathologist, Read

_LEFT: Final = (
    "its reader reads no longer for this laboratory, and no machine moves it: 'coverslip assign override' gives it to "
    "somebody else"
)
_AWAY: Final = (
    "its reader is off sick, and no machine found who else may have it: 'coverslip assign override' gives it to "
    "somebody else"
)
_LEFT_WITH_THEM = (
    select(Read.id, Pathologist.active)
    .join(Assignment, Assignment.read_id == Read.id)
    .join(Pathologist, Pathologist.id == Assignment.pathologist_id)
    .where(Read.closed_at.is_(None), Assignment.ended_at.is_(None))
    .where(or_(Pathologist.active.is_(False), Pathologist.id.in_(bindparam("sick", expanding=True))))
    .order_by(Read.id)
)


def tell_of_gone(session: Session, sick: Collection[str], now: datetime) -> None:
    """Raise each open read whose reader is gone or one of those off sick; it is over when somebody else has it."""
    for read_id, active in session.execute(_LEFT_WITH_THEM, {"sick": sorted(sick)}).all():
        raise_alert(session, Subject("read", read_id), READER_ABSENT, _AWAY if active else _LEFT, now)
