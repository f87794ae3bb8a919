"""One owner per read: at no moment of its history does a read have two open assignments."""

from collections.abc import Iterator
from typing import Final

from sqlalchemy import ColumnElement, Select, and_, exists, or_, select
from sqlalchemy.orm import aliased

from flows.audit.snapshots import Books, snapshot
from models.tables.books import History
from models.tables.reading import Assignment, Read

# As ``flows.case_assignment.giving`` writes it: "reader", "second reader", "reader of part 1".
_NAMES_A_READER: Final = or_(
    History.what == "reader",
    History.what.like("% reader"),
    History.what.like("reader of %"),
    History.what.like("% reader of %"),
)


def reads_have_one_owner(books: Books) -> Iterator[str]:
    """Yield each read that two people owned at the same moment, and each assignment that history does not tell of."""
    with snapshot(books.database) as session:
        for read_id, one, other in session.execute(_owned_twice()):
            yield f"read {read_id} had two owners at the same time: assignments {one} and {other}"
        for read_id, assignment_id in session.execute(_which(Assignment.ended_at < Assignment.started_at)):
            yield f"assignment {assignment_id} of read {read_id} ended before it began"
        for read_id, assignment_id in session.execute(_which(~_told())):
            yield f"assignment {assignment_id} of read {read_id} stands in no history"


def _owned_twice() -> Select[str, int, int]:
    other = aliased(Assignment)
    began_before_the_other_ended = or_(other.ended_at.is_(None), Assignment.started_at < other.ended_at)
    ended_after_the_other_began = or_(Assignment.ended_at.is_(None), Assignment.ended_at > other.started_at)
    return (
        select(Assignment.read_id, Assignment.id, other.id)
        .join(other, and_(other.read_id == Assignment.read_id, other.id > Assignment.id))
        .where(began_before_the_other_ended, ended_after_the_other_began)
        .order_by(Assignment.id, other.id)
    )


def _which(condition: ColumnElement[bool]) -> Select[str, int]:
    return select(Assignment.read_id, Assignment.id).where(condition).order_by(Assignment.id)


def _told() -> ColumnElement[bool]:
    """Whether history says that a case was given to this reader."""
    told = and_(History.subject_id == Read.case_id, _NAMES_A_READER)
    return exists().where(Read.id == Assignment.read_id, told, History.after == Assignment.pathologist_id)
