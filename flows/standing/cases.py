"""Where cases stand: what of each can be read, what is missing, who has it and why."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from flows.case_assignment.giving import NEEDED
from flows.completeness import READABLE, ExpectedSlide, standing_of
from flows.expected import slides_of_cases
from flows.reads.parts import WHOLE
from flows.standing.beside import Beside, beside
from flows.standing.rows import Row, is_open, open_step, rows_of_case, step_columns
from flows.standing.rule import OpenStep, Standing, standing_of_case
from flows.standing.whereabouts import holds_of
from models.case_fold import A_PERSON, THE_POLICY
from models.facets import Lane, Reading
from models.tables.books import History
from models.tables.case import Case, Identifier
from models.tables.place import Site
from models.tables.reading import Assignment, Pathologist, Read
from models.tables.step import Step

_LANE_WORDS: Final = {Lane.INTRA_OPERATIVE: "intra-operative", Lane.URGENT: "urgent", Lane.ROUTINE: "routine"}
_MISSING_WORDS: Final = {
    "moving": "on the way",
    "waiting for a rescan": "rescan",
    "set aside": "set aside",
    "waiting for a scan": "awaited",
    "images gone": "whose images are gone",
    "being made": "being made",
}
_ROLES: Final = ("primary", "intra-operative", "second", "trainee", "opinion", "mdt")
_REPORT: Final = _ROLES[:2]
_RELEASED_WORDS: Final = {A_PERSON: "released by a person", THE_POLICY: "released by the policy"}


@dataclass(frozen=True)
class Reader:
    """Who has a read of a case, since when, and why it went to them; which read that is."""

    id: str
    name: str
    since: datetime
    why: str
    decided_by: str
    role: str = "primary"
    scope: str = WHOLE

    @property
    def what(self) -> str:
        """What they have, as people call it: the whole case, a part of it, or what goes beside."""
        beside = "" if self.role == "primary" else self.role
        scope = "" if self.scope == WHOLE or self.scope.startswith(self.role) else self.scope
        return ", ".join(filter(None, (beside, scope))) or self.role


@dataclass(frozen=True)
class CaseLine:
    """Where one case stands.

    ``completeness`` is a sentence such as "7 of 9 slides can be read, 1 rescan, 1 awaited"; it never becomes a tick.
    ``reader`` reports it; ``others`` have its other parts and what is read beside. ``reader_stated`` is whom somebody
    else says to have the case, as they call them.
    """

    id: str
    accession_number: str
    site: str
    lane: str
    subspecialty: str | None
    registered_at: datetime
    due_at: datetime | None
    standing: Standing
    completeness: str
    is_closed: bool
    reader: Reader | None
    report: str = "none"
    round: int = 1
    reader_stated: str | None = None
    others: tuple[Reader, ...] = ()


@dataclass(frozen=True)
class CasePage:
    """Everything about one case that a page shows."""

    line: CaseLine
    rows: tuple[Row, ...]
    readers: tuple[Reader, ...]
    changes: tuple[History, ...]
    closed_at: datetime | None
    released: bool
    released_how: str | None
    beside: Beside


def list_cases(session: Session, *, site: str | None = None, most: int = 200) -> list[CaseLine]:
    """Return the cases that nobody has yet, the most urgent first, then the newest of the others; at most so many."""
    assigned, reported = Case.reading == Reading.ASSIGNED, Case.round_closed_at.is_not(None)
    query = (
        select(Case)
        .where(Case.site_id.in_(select(Site.id)) if site is None else Case.site_id == site)
        .order_by(
            assigned | Case.cancelled | reported,
            Case.lane,
            Case.due_at.is_(None),
            Case.due_at,
            Case.registered_at.desc(),
        )
        .limit(most)
    )
    return _lines(session, session.scalars(query).all())


def count_cases(session: Session) -> dict[tuple[str, str], int]:
    """Return how many cases of a site stand at which word, by the facets alone."""
    reported = Case.round_closed_at.is_not(None)
    rows = session.execute(
        select(Case.site_id, Case.images, Case.reading, Case.cancelled, reported, func.count()).group_by(
            Case.site_id, Case.images, Case.reading, Case.cancelled, reported
        )
    )
    counted: Counter[tuple[str, str]] = Counter()
    epoch = datetime.min.replace(tzinfo=UTC)
    for site, images, reading, cancelled, is_reported, number in rows:
        standing = standing_of_case(
            images, reading, epoch, closed=True, cancelled=cancelled, reported=bool(is_reported)
        )
        counted[site, standing.state] += number
    return dict(counted)


def case_page(session: Session, case_id: str) -> CasePage | None:
    """Return one case with its slides, readers and changes; ``None`` when there is no such case."""
    case = session.get(Case, case_id)
    if case is None:
        return None
    changes = session.scalars(select(History).where(History.subject_id == case_id).order_by(History.id))
    return CasePage(
        line=_lines(session, [case])[0],
        rows=tuple(rows_of_case(session, case_id)),
        readers=tuple(reader for _, reader in _readers(session, [case_id], ended=True)),
        changes=tuple(changes),
        closed_at=case.expected_closed_at,
        released=case.released,
        released_how=case.released_how,
        beside=beside(session, case),
    )


def completeness_in_words(expected: Sequence[ExpectedSlide], *, closed: bool, released_how: str | None) -> str:
    """Say what of a case can be read and what is missing; an open set says that more may come."""
    where = Counter(standing_of(slide) for slide in expected)
    readable = sum(where[one] for one in READABLE)
    slides = "slide" if len(expected) == 1 else "slides"
    parts = [f"{readable} of {len(expected)} {slides} can be read" if expected else "no slides are ordered yet"]
    if where["not proven yet"]:
        parts.append(f"{where['not proven yet']} of them before the archive has proven them")
    parts += [f"{where[one]} {word}" for one, word in _MISSING_WORDS.items() if where[one]]  # type: ignore[index] # its keys are the words of SlideStanding
    said = ", ".join(parts)
    if released_how in _RELEASED_WORDS:
        return f"{said}; {_RELEASED_WORDS[released_how]}"
    return said if closed else f"{said}; more may be ordered"


def _lines(session: Session, cases: Sequence[Case]) -> list[CaseLine]:
    ids = [case.id for case in cases]
    expected, accessions = slides_of_cases(session, ids), _accessions(session, ids)
    readers, assigning = _open_readers(session, ids), _assigning(session, ids)
    changed, held = _last_changes(session, ids), holds_of(session, ids)
    return [
        CaseLine(
            id=case.id,
            accession_number=accessions.get(case.id, ""),
            site=case.site_id,
            lane=_LANE_WORDS[Lane(case.lane)],
            subspecialty=case.subspecialty,
            registered_at=case.registered_at,
            due_at=case.due_at,
            standing=standing_of_case(
                case.images,
                case.reading,
                changed.get(case.id, case.registered_at),
                closed=case.expected_closed_at is not None,
                cancelled=case.cancelled,
                reported=case.round_closed_at is not None,
                assigning=assigning.get(case.id),
                held=held.get(case.id),
            ),
            completeness=completeness_in_words(
                expected[case.id], closed=case.expected_closed_at is not None, released_how=case.released_how
            ),
            is_closed=case.expected_closed_at is not None,
            reader=_reporter(readers[case.id]),
            report=case.report,
            round=case.round,
            reader_stated=(case.reader_stated or {}).get("id"),
            others=tuple(one for one in readers[case.id] if one != _reporter(readers[case.id])),
        )
        for case in cases
    ]


def _accessions(session: Session, ids: Sequence[str]) -> dict[str, str]:
    rows = session.execute(
        select(Identifier.subject_id, Identifier.value)
        .where(Identifier.subject_id.in_(ids), Identifier.kind == "accession")
        .order_by(Identifier.id.desc())
    )
    return dict(rows.all())


def _readers(session: Session, ids: Sequence[str], *, ended: bool) -> list[tuple[str, Reader]]:
    query = (
        select(Read.case_id, Pathologist.id, Pathologist.name, Assignment, Read.role, Read.scope)
        .join(Read, Read.id == Assignment.read_id)
        .join(Pathologist, Pathologist.id == Assignment.pathologist_id)
        .where(Read.case_id.in_(ids))
        .order_by(Assignment.id)
    )
    rows = session.execute(query if ended else query.where(Assignment.ended_at.is_(None)))
    return [
        (case_id, Reader(reader_id, name, given.started_at, _why(given.explanation), given.decided_by, role, scope))
        for case_id, reader_id, name, given, role, scope in rows
    ]


def _open_readers(session: Session, ids: Sequence[str]) -> dict[str, list[Reader]]:
    """Return who has a read of each case now: of a primary one first, of its first part before others."""
    readers: dict[str, list[Reader]] = {case_id: [] for case_id in ids}
    for case_id, reader in _readers(session, ids, ended=False):
        readers[case_id].append(reader)
    for of_case in readers.values():
        of_case.sort(key=lambda one: (_ROLES.index(one.role), one.scope != WHOLE, len(one.scope), one.scope))
    return readers


def _reporter(readers: Sequence[Reader]) -> Reader | None:
    """Return who reports a case, of these."""
    return readers[0] if readers and readers[0].role in _REPORT else None


def _why(explanation: dict[str, Any]) -> str:
    return str(explanation.get("sentence") or "no reason was kept")


def _assigning(session: Session, ids: Sequence[str]) -> dict[str, OpenStep]:
    rows = session.execute(
        select(Read.case_id, *step_columns())
        .join(Step, Step.subject_id == Read.id)
        .where(Read.case_id.in_(ids), Read.role.in_(NEEDED), Step.kind == "case_assignment", is_open())
        .order_by(Step.id.desc())
    )
    return {case_id: open_step(step) for case_id, *step in rows}


def _last_changes(session: Session, ids: Sequence[str]) -> dict[str, datetime]:
    last = select(func.max(History.id)).where(History.subject_id.in_(ids)).group_by(History.subject_id)
    rows = session.execute(select(History.subject_id, History.at).where(History.id.in_(last)))
    return dict(rows.all())
