"""The rows of a case's reads: which there are, what they cover, how they come and end.

The caller holds the case's row in its write transaction.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import count
from typing import Final

from sqlalchemy import ColumnElement, bindparam, delete, exists, insert, select
from sqlalchemy.orm import Session

from flows import ledger
from flows.books import Cause, clear_alert
from flows.case_assignment import giving
from models.base import table_of
from models.facets import OPEN_STEP_STATES, StepState
from models.tables.case import Case
from models.tables.reading import Assignment, Credit, Read, ReadSpecimen
from models.tables.step import Step
from models.uid import framed, uuid_of

REPORTED: Final = "reported"
ANSWERED: Final = "answered"
"""Why somebody has a read no more who has done it; every other reason credits nobody."""

_KIND: Final = "case_assignment"
_STEP, _COVERS = table_of(Step), table_of(ReadSpecimen)
_LOOKED_FOR = select(_STEP.c.subject_id).where(
    _STEP.c.subject_id.in_(bindparam("subjects", expanding=True)),
    _STEP.c.kind == _KIND,
    _STEP.c.state.in_(bindparam("states", expanding=True)),
)
_COVERED = select(_COVERS.c.read_id, _COVERS.c.specimen_id).where(
    _COVERS.c.read_id.in_(bindparam("subjects", expanding=True))
)
_UNCOVER = delete(_COVERS).where(_COVERS.c.read_id == bindparam("subject"))
_COVER = insert(_COVERS)


@dataclass
class Row:
    """A read with who has it, whether it is credited, and the specimens that it covers, if it names any."""

    read: Read
    owner: str | None = None
    credited: bool = False
    covers: frozenset[str] | None = None

    @property
    def is_open(self) -> bool:
        """Whether it is still to be read."""
        return self.read.closed_at is None


def rows_of_round(session: Session, case: Case) -> list[Row]:
    """Return the reads of a case's present round, in the order in which they came."""
    return _rows(session, Read.case_id == case.id, Read.round == case.round)


def rows_of_case(session: Session, case: Case) -> list[Row]:
    """Return the reads of all rounds of a case, in the order in which they came."""
    return _rows(session, Read.case_id == case.id)


def open_to_all(session: Session, case: Case) -> list[Read]:
    """Return the open reads of a case that nobody has."""
    session.flush()
    owned = exists().where(Assignment.read_id == Read.id, Assignment.ended_at.is_(None))
    return list(session.scalars(select(Read).where(Read.case_id == case.id, Read.closed_at.is_(None), ~owned)))


def _rows(session: Session, *which: ColumnElement[bool]) -> list[Row]:
    owned = (Assignment.read_id == Read.id) & Assignment.ended_at.is_(None)
    wanted = (
        select(Read, Assignment.pathologist_id, Credit.read_id)
        .outerjoin(Assignment, owned)
        .outerjoin(Credit, Credit.read_id == Read.id)
        .where(*which)
        .order_by(Read.created_at, Read.id)
    )
    rows = [Row(read, owner, credited is not None) for read, owner, credited in session.execute(wanted)]
    if not rows:
        return rows
    covers: dict[str, set[str]] = {}
    for read_id, specimen_id in session.execute(_COVERED, {"subjects": [row.read.id for row in rows]}):
        covers.setdefault(read_id, set()).add(specimen_id)
    for row in rows:
        row.covers = frozenset(covers[row.read.id]) if row.read.id in covers else None
    return rows


def new_row(session: Session, case: Case, rows: list[Row], role: str, scope: str, now: datetime) -> Row:
    """Add a read to those of the round; the same one has the same id, whoever makes it."""
    known = {row.read.id for row in rows}
    names = (f"{role}:{case.round}:{scope}" + f":{again}" * bool(again) for again in count())
    read = Read(
        # One that went by this scope before keeps the id that came of it.
        id=next(made for name in names if (made := _derived(case.id, name)) not in known),
        case_id=case.id,
        round=case.round,
        scope=scope,
        role=role,
        points=0.0,
        weights="",
        created_at=now,
    )
    session.add(read)
    rows.append(Row(read))
    return rows[-1]


def cover(session: Session, row: Row, specimens: frozenset[str] | None) -> None:
    """Have a read cover these specimens and no others; ``None`` is all of its case."""
    if row.covers == specimens:
        return
    session.flush()
    session.execute(_UNCOVER, {"subject": row.read.id})
    if specimens:
        given = [{"read_id": row.read.id, "specimen_id": one} for one in sorted(specimens)]
        session.execute(_COVER, given)
    row.covers = specimens


def close(session: Session, case: Case, row: Row, *, because: str, cause: Cause, now: datetime) -> None:
    """End a read that is over: done, or nobody's any more; whoever had it needs no notice of that."""
    _end(session, case, row, now)
    giving.end(session, case, row.read, because=because, cause=cause, now=now)


def drop(session: Session, case: Case, row: Row, *, because: str, cause: Cause, now: datetime) -> None:
    """End a read of which nothing is left to read, and tell whoever had it."""
    _end(session, case, row, now)
    giving.take(session, case, row.read, because=because, cause=cause, now=now)


def have_assigned(session: Session, case: Case, reads: Sequence[Read], now: datetime) -> None:
    """Have readers found for reads that nobody has, unless that is under way."""
    if not reads:
        return
    session.flush()
    asked = {"subjects": [read.id for read in reads], "states": OPEN_STEP_STATES}
    under_way = set(session.scalars(_LOOKED_FOR, asked))
    for read in reads:
        if read.id not in under_way:
            ledger.rerun(session, _step(case, read, now))


def stop(session: Session, read_ids: Iterable[str]) -> None:
    """Look for nobody any more; who has a read keeps it."""
    for read_id in read_ids:
        ledger.end_open(session, read_id, (_KIND,), StepState.SUPERSEDED)


def _end(session: Session, case: Case, row: Row, now: datetime) -> None:
    row.read.closed_at, row.owner = now, None
    ledger.end_open(session, row.read.id, (_KIND,), StepState.CANCELLED)
    # Where another read of the case is escalated too, its next try says so again.
    clear_alert(session, case.id, giving.NOBODY_ELIGIBLE, now)


def _derived(case_id: str, name: str) -> str:
    return str(uuid_of(hashlib.sha256(framed(("read", case_id, name))).digest()))


def _step(case: Case, read: Read, now: datetime) -> ledger.NewStep:
    return ledger.NewStep(
        kind=_KIND,
        stage=_KIND,
        subject_kind="read",
        subject_id=read.id,
        rank_at=ledger.rank_at(now, case.due_at),
        lane=case.lane,
    )
