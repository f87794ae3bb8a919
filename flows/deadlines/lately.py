"""How long things took in this laboratory lately: the last of what its books say, never more than so many rows."""

from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import func, select
from sqlalchemy.orm import Session, aliased

from flows.deadlines.usual import Stage, Usual
from models.facets import Images, Lane, Storage
from models.tables.books import History
from models.tables.case import Case
from models.tables.reading import Assignment, Read
from models.tables.scan import Scan
from models.tables.work import WorkOrder

_CHANGES: Final = 20_000
_MOST: Final = 500

_Times = Iterable[tuple[datetime | None, datetime | None]]


def usual_of(session: Session) -> Usual:
    """Return how long each stage took lately."""
    newest = session.scalar(select(func.max(History.id))) or 0
    took: dict[Stage, list[timedelta]] = {
        "archive": _between(session.execute(_archived(newest))),
        "scan": _between(session.execute(_scanned(newest))),
        "rescan": _between(session.execute(_scanned_again(newest))),
        "work": _between(session.execute(_worked(newest))),
        "assignment": _between(session.execute(_given(newest))),
    }
    return Usual({**took, **_read(session)})


def _between(times: _Times) -> list[timedelta]:
    return [until - since for since, until in times if since is not None and until is not None and until >= since]


def _lately(newest: int, what: str, after: str) -> Any:  # noqa: ANN401 - the changes of one kind, as a table
    changes = select(History.subject_id, History.at).where(History.id > newest - _CHANGES)
    return changes.where(History.what == what, History.after == after).order_by(History.id.desc()).limit(_MOST)


def _archived(newest: int) -> Any:  # noqa: ANN401 - a SELECT of two times, as all below
    proven = _lately(newest, "storage", Storage.PROVEN).subquery()
    return select(Scan.received_at, proven.c.at).join(proven, proven.c.subject_id == Scan.id)


def _scanned(newest: int) -> Any:  # noqa: ANN401 - as above
    matched, registered = _lately(newest, "identity", "matched").subquery(), aliased(History)
    return (
        select(registered.at, Scan.received_at)
        .join(matched, matched.c.subject_id == Scan.id)
        .join(registered, (registered.subject_id == Scan.slide_id) & (registered.what == "slide"))
        .where(registered.after == "registered", Scan.purpose == "primary")
    )


def _scanned_again(newest: int) -> Any:  # noqa: ANN401 - as above
    again, superseded = aliased(Scan), _lately(newest, "outcome", "superseded").subquery()
    return (
        select(Scan.received_at, again.received_at)
        .join(superseded, superseded.c.subject_id == Scan.id)
        .join(again, again.id == Scan.superseded_by_id)
    )


def _worked(newest: int) -> Any:  # noqa: ANN401 - as above
    done = _lately(newest, "work order recut", "fulfilled").subquery()
    return select(WorkOrder.asked_at, done.c.at).join(done, done.c.subject_id == WorkOrder.case_id)


def _given(newest: int) -> Any:  # noqa: ANN401 - as above
    ready = _lately(newest, "images", Images.READY).subquery()
    first = select(func.min(Assignment.started_at)).join(Read, Read.id == Assignment.read_id)
    given = first.where(Read.case_id == ready.c.subject_id, Assignment.started_at >= ready.c.at).scalar_subquery()
    return select(ready.c.at, given)


def _read(session: Session) -> dict[Stage, list[timedelta]]:
    """Return how long people had what was reported lately, before it was."""
    newest = session.scalar(select(func.max(Assignment.id))) or 0
    rows = session.execute(
        select(Case.lane, Assignment.started_at, Read.closed_at)
        .join(Read, Read.id == Assignment.read_id)
        .join(Case, Case.id == Read.case_id)
        .where(Assignment.id > newest - _CHANGES, Read.role == "primary", Read.closed_at <= Assignment.ended_at)
        .order_by(Assignment.id.desc())
        .limit(_MOST)
    )
    times: dict[Stage, list[tuple[datetime, datetime | None]]] = defaultdict(list)
    for lane, since, until in rows:
        times["frozen section" if lane == Lane.INTRA_OPERATIVE else "reading"].append((since, until))
    return {stage: _between(spans) for stage, spans in times.items()}
