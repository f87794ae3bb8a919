"""Every specimen is in exactly one primary read that is open, and a credit is for a read that is over."""

from collections.abc import Iterator

from sqlalchemy import Select, and_, exists, func, or_, select
from sqlalchemy.orm import aliased

from flows.audit.snapshots import Books, snapshot
from models.statements import MOST_POINTS
from models.tables.case import Specimen
from models.tables.reading import Assignment, Credit, Read, ReadSpecimen


def specimens_are_read_once(books: Books) -> Iterator[str]:
    """Yield each specimen that two open primary reads cover, or none, and each credit that no report gave."""
    with snapshot(books.database) as session:
        for specimen_id in session.scalars(_covered_twice()):
            yield f"specimen {specimen_id} is in several open primary reads"
        for case_id in session.scalars(_whole_and_more()):
            yield f"case {case_id} has an open primary read of all of it, and another one"
        for specimen_id in session.scalars(_not_covered()):
            yield f"specimen {specimen_id} is not reported, and in none of the open primary reads of its case"
        for read_id in session.scalars(_credited_in_vain()):
            yield f"read {read_id} is credited, and open, or to somebody who never had it, or with what is no weight"


def _covered_twice() -> Select[str]:
    open_ones = and_(Read.role == "primary", Read.closed_at.is_(None))
    return (
        select(ReadSpecimen.specimen_id)
        .join(Read, Read.id == ReadSpecimen.read_id)
        .where(open_ones)
        .group_by(ReadSpecimen.specimen_id)
        .having(func.count() > 1)
        .order_by(ReadSpecimen.specimen_id)
    )


def _whole_and_more() -> Select[str]:
    other = aliased(Read)
    named = exists().where(ReadSpecimen.read_id == Read.id)
    another = exists().where(
        other.case_id == Read.case_id, other.id != Read.id, other.role == "primary", other.closed_at.is_(None)
    )
    return (
        select(Read.case_id)
        .where(Read.role == "primary", Read.closed_at.is_(None), ~named, another)
        .distinct()
        .order_by(Read.case_id)
    )


def _not_covered() -> Select[str]:
    """A case that is divided, or was, has each specimen that is to be read in one of its parts."""
    open_ones = (Read.case_id == Specimen.case_id, Read.role == "primary", Read.closed_at.is_(None))
    is_divided = exists().where(*open_ones, ReadSpecimen.read_id == Read.id)
    covers = exists().where(*open_ones, ReadSpecimen.read_id == Read.id, ReadSpecimen.specimen_id == Specimen.id)
    to_be_read = and_(Specimen.cancelled.is_(False), Specimen.reported.is_(False))
    return select(Specimen.id).where(to_be_read, is_divided, ~covers).order_by(Specimen.id)


def _credited_in_vain() -> Select[str]:
    had = exists().where(Assignment.read_id == Credit.read_id, Assignment.pathologist_id == Credit.pathologist_id)
    is_weight = and_(Credit.points >= 0, Credit.points <= MOST_POINTS)
    return (
        select(Credit.read_id)
        .join(Read, Read.id == Credit.read_id)
        .where(or_(Read.closed_at.is_(None), ~had, ~is_weight))
        .order_by(Credit.read_id)
    )
