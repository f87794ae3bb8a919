"""One line for each thing that is on its way: scans, slides without a scan, files that are no scan yet."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any, Final, TypeAlias, cast

from sqlalchemy import BindParameter, ColumnElement, Select, and_, bindparam, func, or_, select
from sqlalchemy import Row as ResultRow
from sqlalchemy.orm import Session, aliased

from flows.journey import SCAN_KINDS
from flows.standing.rule import (
    AT_REST,
    OpenStep,
    Standing,
    State,
    standing_of_file,
    standing_of_scan,
    standing_of_slide,
)
from models.facets import OPEN_STEP_STATES, FileState, Outcome, Reading, Storage
from models.scan_fold import ScanState
from models.tables.books import History
from models.tables.case import Case, Slide
from models.tables.place import Site
from models.tables.scan import Scan, ScanFile
from models.tables.step import Step

_FACETS: Final = tuple(one.name for one in fields(ScanState))
_MOVING_STORAGE: Final = (Storage.RECEIVED, Storage.STORED)
ScanQuery: TypeAlias = Select[*tuple[Any, ...]]
_Rescan: Final = aliased(Step, name="rescan")

_STEP_COLUMNS: Final = (
    "kind",
    "state",
    "created_at",
    "attempt",
    "waiting_for",
    "waiting_since",
    "waiting_until",
    "waiting_then",
    "problem",
    "result",
)


@dataclass(frozen=True)
class Row:
    """Where one thing stands, for lists.

    ``slide`` names the glass as people do, ``container_identifier@issuer``; ``scan`` and ``case`` are opaque ids.
    A thing has neither scan nor slide while it is a file that is still arriving.
    """

    scan: str | None
    slide: str | None
    case: str | None
    site: str
    state: str
    waiting_for: str | None
    since: datetime
    reason: str | None
    until: datetime | None = None
    then: str | None = None

    def as_json(self) -> dict[str, str | None]:
        """Return the fields that a machine may read; times in UTC."""
        names = ("scan", "slide", "case", "site", "state", "waiting_for")
        return {**{name: getattr(self, name) for name in names}, "since": self.since.isoformat(), "reason": self.reason}


def list_rows(session: Session, *, waiting: bool) -> list[Row]:
    """Return everything that is known, or only what waits for something named, the longest first."""
    if waiting:
        rows = [row for row in moving_rows(session) if row.waiting_for is not None]
    else:
        rows = [*_scan_rows(session, select_scans()), *_slides_without_scan(session), *_file_rows(session)]
    return sorted(rows, key=_by_age)


def moving_rows(session: Session) -> list[Row]:
    """Return everything that is neither archived nor at an end; what is, costs nothing however much it is."""
    # Named sites let the index (site, outcome, storage) be used from its first column.
    moving = select_scans().where(
        Scan.site_id.in_(select(Site.id)), Scan.outcome == Outcome.ACTIVE, Scan.storage.in_(_MOVING_STORAGE)
    )
    return [*_scan_rows(session, moving), *_expected_slides(session), *_file_rows(session)]


def rows_at(session: Session, state: State, site: str | None = None, most: int = 500) -> list[Row]:
    """Return what stands there, the longest first; of what is at rest the newest, at most so many."""
    if state not in AT_REST or state is State.REFUSED:
        rows = [row for row in moving_rows(session) if row.state == state and site in (None, row.site)]
        return sorted(rows, key=_by_age)[:most]
    here = Scan.site_id.in_(select(Site.id)) if site is None else Scan.site_id == site
    newest = select(Scan.id).where(here, *_rests_as(state)).order_by(Scan.received_at.desc(), Scan.id).limit(most)
    rows = _scan_rows(session, select_scans().where(Scan.id.in_(newest)))
    return sorted((row for row in rows if row.state == state), key=_by_age, reverse=True)


def _rests_as(state: State) -> list[ColumnElement[bool]]:
    if state not in (State.ARCHIVED, State.ASSIGNED):
        return [Scan.outcome == str(state)]
    cases = select(Case.id)
    assigned = Case.reading == Reading.ASSIGNED
    of_cases = Scan.case_id.in_(cases.where(assigned if state is State.ASSIGNED else ~assigned))
    return [Scan.outcome == Outcome.ACTIVE, Scan.storage.in_((Storage.PROVEN, Storage.PURGED)), of_cases]


def rows_of_case(session: Session, case_id: str) -> list[Row]:
    """Return a case's scans and its slides without one, by the slides' names."""
    scans = _scan_rows(session, select_scans().where(Scan.case_id == case_id))
    slides = _slides_without_scan(session, case_id)
    return sorted([*scans, *slides], key=lambda row: (row.slide or "", row.since))


def row_of_scan(session: Session, scan_id: str) -> Row | None:
    """Return one scan's row."""
    return next(iter(_scan_rows(session, select_scans().where(Scan.id == scan_id))), None)


def open_step(values: Sequence[Any]) -> OpenStep:
    """Return a step from its columns, in the order of ``step_columns``."""
    given = dict(zip(_STEP_COLUMNS, values, strict=True))
    result = given.pop("result") or {}
    problem = given.pop("problem")
    until, then = given.pop("waiting_until"), given.pop("waiting_then")
    told = result.get("reason") if isinstance(result, dict) else None
    return OpenStep(**given, until=until, then=then, reason=told or problem)


def is_open(table: Any = Step) -> ColumnElement[bool]:  # noqa: ANN401 - Step or an alias of it
    """Return the condition that a step is open, with its words written out.

    SQLite uses an index over open steps only when it can see that the words are the index's own.
    """
    words: BindParameter[list[str]] = bindparam(
        None, [str(state) for state in OPEN_STEP_STATES], expanding=True, literal_execute=True
    )
    return cast("ColumnElement[bool]", table.state.in_(words))


def step_columns(table: Any = Step) -> list[Any]:  # noqa: ANN401 - Step or an alias of it
    """Return the columns of a step that ``open_step`` reads."""
    return [getattr(table, name) for name in _STEP_COLUMNS]


def select_scans() -> ScanQuery:
    """Return the query of scans with slide, reading, last change, wait for a rescan, and open steps: one row a step."""
    changed_at = (
        select(History.at).where(History.subject_id == Scan.id).order_by(History.id.desc()).limit(1).scalar_subquery()
    )
    ours = and_(Step.subject_id == Scan.id, Step.kind.in_(SCAN_KINDS), is_open())
    again = and_(_Rescan.subject_id == Scan.slide_id, _Rescan.kind == "expect_scan", is_open(_Rescan))
    return (
        select(
            *(Scan.id, Scan.site_id, Scan.received_at),
            *(getattr(Scan, name) for name in _FACETS),
            *(Slide.container_identifier, Slide.issuer, Case.reading),
            func.coalesce(changed_at, Scan.received_at),
            *step_columns(_Rescan),
            *step_columns(),
        )
        .outerjoin(Slide, Slide.id == Scan.slide_id)
        .outerjoin(Case, Case.id == Scan.case_id)
        .outerjoin(_Rescan, again)
        .outerjoin(Step, ours)
        .order_by(Scan.id)
    )


def _scan_rows(session: Session, query: ScanQuery) -> list[Row]:
    found: dict[str, tuple[ResultRow[*tuple[Any, ...]], list[OpenStep]]] = {}
    for row in session.execute(query):
        steps = found.setdefault(row[0], (row, []))[1]
        values = row[-len(_STEP_COLUMNS) :]
        if values[0] is not None:
            steps.append(open_step(values))
    return [_scan_row(row, steps) for row, steps in found.values()]


def _scan_row(row: ResultRow[*tuple[Any, ...]], steps: list[OpenStep]) -> Row:
    scan_id, site_id = row[0], row[1]
    facets = ScanState(**dict(zip(_FACETS, row[3 : 3 + len(_FACETS)], strict=True)))
    container, issuer, reading, changed_at, *rest = row[3 + len(_FACETS) : -len(_STEP_COLUMNS)]
    rescan = open_step(rest) if rest[0] is not None else None
    assigned = reading == Reading.ASSIGNED
    standing = standing_of_scan(facets, changed_at, steps, assigned=assigned, rescan=rescan)
    return _row(standing, site_id, scan=scan_id, slide=_name(container, issuer), case=facets.case_id)


def _expected_slides(session: Session) -> list[Row]:
    """Return the slides that a wait says are to be scanned and that have no scan on its way."""
    waits = (
        select(Slide.id, *_slide_columns(), *step_columns())
        .select_from(Step)
        .join(Slide, Slide.id == Step.subject_id)
        .join(Case, Case.id == Slide.case_id)
        .where(is_open(), Step.kind == "expect_scan", ~_has_active_scan(Scan.storage.in_(_MOVING_STORAGE)))
    )
    return _slide_rows(session.execute(waits))


def _slides_without_scan(session: Session, case_id: str | None = None) -> list[Row]:
    expected = and_(Step.subject_id == Slide.id, Step.kind == "expect_scan", is_open())
    query = (
        select(Slide.id, *_slide_columns(), *step_columns())
        .join(Case, Case.id == Slide.case_id)
        .outerjoin(Step, expected)
        .where(~_has_active_scan())
    )
    return _slide_rows(session.execute(query if case_id is None else query.where(Slide.case_id == case_id)))


def _slide_columns() -> list[Any]:
    cancelled = or_(Slide.cancelled, Case.cancelled)
    return [
        *(Slide.container_identifier, Slide.issuer, Slide.route, Slide.case_id, Case.site_id, Case.registered_at),
        *(cancelled.label("is_cancelled"), Slide.images_elsewhere),
    ]


def _has_active_scan(*which: ColumnElement[bool]) -> Any:  # noqa: ANN401 - SQLAlchemy's conditions
    return select(Scan.id).where(Scan.slide_id == Slide.id, Scan.outcome == Outcome.ACTIVE, *which).exists()


def _slide_rows(found: Iterable[Any]) -> list[Row]:
    rows: dict[str, Row] = {}
    for slide_id, container, issuer, route, case_id, site_id, registered_at, cancelled, elsewhere, *step in found:
        expected = open_step(step) if step[0] is not None else None
        standing = standing_of_slide(
            route, registered_at, expected, cancelled=cancelled, imaged_elsewhere=elsewhere is True
        )
        rows[slide_id] = _row(standing, site_id, slide=_name(container, issuer), case=case_id)
    return list(rows.values())


def _file_rows(session: Session) -> list[Row]:
    """Return the files that are no scan yet; a duplicate is one already."""
    files = session.scalars(
        select(ScanFile).where(
            ScanFile.scan_id.is_(None), ScanFile.state.in_((FileState.ARRIVING, FileState.TAKEN, FileState.REFUSED))
        )
    )
    return [
        _row(standing_of_file(file.state, file.first_seen_at, file.changed_at, file.problem), file.site_id)
        for file in files
    ]


def _row(
    standing: Standing, site: str, scan: str | None = None, slide: str | None = None, case: str | None = None
) -> Row:
    return Row(
        scan=scan,
        slide=slide,
        case=case,
        site=site,
        state=standing.state,
        waiting_for=standing.waiting_for,
        since=standing.since,
        reason=standing.reason,
        until=standing.until,
        then=standing.then,
    )


def _name(container_identifier: str | None, issuer: str | None) -> str | None:
    return f"{container_identifier}@{issuer}" if container_identifier else None


def _by_age(row: Row) -> tuple[datetime, str]:
    return (row.since, row.scan or row.slide or "")
