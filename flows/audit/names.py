"""Every human action has a name on it, and a reason."""

from collections.abc import Iterator
from typing import Final

from sqlalchemy import and_, func, or_, select

from flows.audit.snapshots import Books, snapshot
from models.tables.books import Fact, History

_ONLY_PEOPLE_SAY: Final = ("CaseReleased", "MatchWithdrawn", "QualityReviewed", "WorkCancelled")


def human_actions_are_named(books: Books) -> Iterator[str]:
    """Yield each fact that only a person can state and that bears no name, and each name without a reason."""
    nameless = and_(Fact.kind.in_(_ONLY_PEOPLE_SAY), or_(Fact.actor.is_(None), func.trim(Fact.actor) == ""))
    with snapshot(books.database) as session:
        for fact_id, kind in session.execute(select(Fact.id, Fact.kind).where(nameless).order_by(Fact.id)):
            yield f"fact {fact_id} ({kind}) is a person's word, and bears no name"
        for table in (Fact, History):
            given = or_(table.reason.is_(None), func.trim(table.reason) == "")
            for row_id in session.scalars(select(table.id).where(table.actor.is_not(None), given).order_by(table.id)):
                yield f"{table.__tablename__} {row_id} bears a name, and no reason"
