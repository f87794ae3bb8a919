"""Reads that lie with somebody who reads no longer for the laboratory, and that no look could move: people are told."""

from datetime import datetime
from typing import Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from flows.alerts import READER_ABSENT
from flows.books import Subject, raise_alert
from models.tables.reading import Assignment, Pathologist, Read

_LEFT: Final = (
    "its reader reads no longer for this laboratory, and no machine moves it: 'coverslip assign override' gives it to "
    "somebody else"
)
_LEFT_WITH_THEM = (
    select(Read.id)
    .join(Assignment, Assignment.read_id == Read.id)
    .join(Pathologist, Pathologist.id == Assignment.pathologist_id)
    .where(Read.closed_at.is_(None), Assignment.ended_at.is_(None), Pathologist.active.is_(False))
    .order_by(Read.id)
)


def tell_of_gone(session: Session, now: datetime) -> None:
    """Raise each open read whose reader is gone; the alert is over when somebody else has it."""
    for read_id in session.scalars(_LEFT_WITH_THEM).all():
        raise_alert(session, Subject("read", read_id), READER_ABSENT, _LEFT, now)
