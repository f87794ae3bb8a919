"""The fold of all facts of a case is its live rows, and its facets follow from those."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from pydantic import ValidationError
from sqlalchemy import Select, exists, or_, select
from sqlalchemy.orm import Session

from flows import cases
from flows.audit.snapshots import Books, portions, snapshot
from flows.case_assignment.giving import NEEDED
from flows.cases import ITS_LANE, Known
from flows.completeness import READABLE, Completeness, ExpectedSlide, judge, standing_of
from flows.expected import slides_of_cases
from flows.work_orders import columns_of
from models.case_containers import Container
from models.case_fold import CaseState, ImagesFact, ImagesSaid, ReportFact, UpdateFact
from models.facets import Images, Outcome, Reading, Storage
from models.opaque import OpaqueIds
from models.statements import Coded
from models.tables.books import Fact
from models.tables.case import Block, Case, CasePatient, CaseVisit, Derivation, Identifier, Slide, Specimen
from models.tables.reading import Assignment, Read
from models.tables.scan import Scan
from models.tables.work import WorkOrder
from models.work_fold import WorkDoneFact

_MAY_COME_FIRST: Final = tuple(one.__name__ for one in (ReportFact, UpdateFact, ImagesFact, WorkDoneFact))
_COLUMNS: Final[dict[str, tuple[Any, ...]]] = {
    "specimens": (
        *(Specimen.id, Specimen.issuer, Specimen.container_identifier, Specimen.specimen_type),
        *(Specimen.anatomic_site, Specimen.laterality, Specimen.received_at, Specimen.cancelled),
        *(Specimen.subspecialty, Specimen.reported),
    ),
    "blocks": (Block.id, Block.issuer, Block.container_identifier, Block.cancelled),
    "slides": (
        *(Slide.id, Slide.issuer, Slide.container_identifier, Slide.stains),
        *(Slide.stain_text, Slide.route, Slide.cancelled),
        *(Slide.images_elsewhere, Slide.elsewhere_study_uid, Slide.elsewhere_series_uid, Slide.elsewhere_at),
    ),
    "work_orders": (
        *(WorkOrder.id, WorkOrder.number, WorkOrder.kind, WorkOrder.state, WorkOrder.subject_id),
        *(WorkOrder.filler_number, WorkOrder.refusal, WorkOrder.made_container, WorkOrder.made_issuer),
    ),
    "visits": (CaseVisit.visit_id,),
    "patients": (CasePatient.patient_id,),
    "derivations": (Derivation.child_id, Derivation.parent_id),
}
"""What the facts say of the rows below a case, by what people call them; each has a column ``case_id``."""

_Rows = dict[str, list[tuple[object, ...]]]


@dataclass(frozen=True)
class _Live:
    """A case as the database has it, beside its state as its facts have it; no state when they can't be read.

    ``expected`` are the slides that count, with what was noted of each.
    """

    case: Case
    told: Known | None
    below: _Rows
    expected: Sequence[ExpectedSlide]
    reading: str


def cases_are_their_facts(books: Books) -> Iterator[str]:
    """Yield each case that its facts would make another, or whose facets do not follow from its slides and reads."""
    for portion in portions(books, Case.id, lambda session, ids: _load(session, books, ids)):
        for live in portion:
            yield from _compare(books.ids, live)
    with snapshot(books.database) as session:
        # What was said of a case that nobody has ordered yet waits among the facts.
        counts = (Fact.subject_kind == "case", Fact.kind.not_in(_MAY_COME_FIRST))
        orphans = select(Fact.subject_id).where(*counts, ~exists().where(Case.id == Fact.subject_id))
        for case_id in session.scalars(orphans.distinct().order_by(Fact.subject_id)):
            yield f"case {case_id} has facts and no row"
        for read_id in session.scalars(_reads_of_closed_rounds()):
            yield f"read {read_id} is open, and its round is over"
        for slide_id in session.scalars(_slides_that_prefer_another_scan()):
            yield f"slide {slide_id} does not name its latest archived scan as the one that is read"


def _compare(ids: OpaqueIds, live: _Live) -> Iterator[str]:
    case = live.case
    if live.told is None:
        yield f"case {case.id} has a fact that can't be read"
        return
    state = live.told.state
    facts = live.told.row | {"registered_at": state.registered_at, "orders_changed_at": state.orders_changed_at}
    wrong = [name for name, value in facts.items() if getattr(case, name) != value]
    rebuilt = _rows_of(ids, live.told, case.id)
    wrong += [what for what, rows in rebuilt.items() if _sorted(rows) != _sorted(live.below[what])]
    if wrong:
        yield f"case {case.id} is not what its facts say: {', '.join(wrong)}"
    verdict = judge(live.expected, closed=case.expected_closed_at is not None, released=case.released)
    if case.images != verdict.images:
        yield f"case {case.id} has images {case.images}, and its slides say {verdict.images}"
    how = _how_released(case, state, verdict)
    if case.released_how != how:
        yield f"case {case.id} is read early by {case.released_how}, and its facts and slides say {how}"
    for slide in live.expected:
        if slide.being_made is None and (slide.readable_at is not None) != (standing_of(slide) in READABLE):
            yield f"slide {slide.slide_id} is {standing_of(slide)}, and whether it can be read is noted otherwise"
    if case.reading != live.reading:
        yield f"case {case.id} has reading {case.reading}, and its reads say {live.reading}"


def _how_released(case: Case, state: CaseState, verdict: Completeness) -> str | None:
    if state.released:
        return state.released_how
    return ITS_LANE if case.images == Images.READY and verdict.unproven else None


def _rows_of(ids: OpaqueIds, known: Known, case_id: str) -> _Rows:
    """Return the rows below a case that its facts make."""
    told = known.state
    return {
        "visits": [(visit_id,) for visit_id in known.visits],
        "patients": [(patient_id,) for patient_id in known.patients],
        "work_orders": list(_work_orders(ids, told, case_id)),
        "specimens": [
            (
                *_named(ids, "specimen", key),
                *(_dumped(one.specimen_type), _dumped(one.anatomic_site), _dumped(one.laterality)),
                *(one.received_at, one.cancelled, one.subspecialty, key[1] in told.round.covered),
            )
            for key, one in told.specimens.items()
        ],
        "blocks": [(*_named(ids, "block", key), one.cancelled) for key, one in told.blocks.items()],
        "slides": [
            (
                *_named(ids, "slide", key),
                [_dumped(stain) for stain in one.stains],
                one.stain_text,
                one.route,
                one.cancelled,
                *_elsewhere(told.images.get(key)),
            )
            for key, one in told.slides.items()
        ],
        "derivations": sorted({*_edges(ids, told, "block"), *_edges(ids, told, "slide")}),
        "identifiers": [
            ("accession", told.issuer, told.accession_number),
            *(("placer", told.issuer, one) for one in told.placer_order_numbers),
            *(("filler", told.issuer, one) for one in told.filler_order_numbers),
        ],
    }


def _elsewhere(said: ImagesSaid | None) -> tuple[object, ...]:
    if said is None:
        return (None, None, None, None)
    images = said.images
    return (images.available, images.study_instance_uid, images.series_instance_uid, said.at)


def _work_orders(ids: OpaqueIds, told: CaseState, case_id: str) -> Iterator[tuple[object, ...]]:
    for number, known in told.work_orders.items():
        if known.ordered is not None:
            made = columns_of(ids, told, known)
            names = ("state", "subject_id", "filler_number", "refusal", "made_container", "made_issuer")
            work_id = ids.of("work order", case_id, number)
            yield (work_id, number, known.ordered.kind, *(made[name] for name in names))


def _edges(ids: OpaqueIds, told: CaseState, kind: str) -> Iterator[tuple[str, str]]:
    children = told.slides if kind == "slide" else told.blocks
    for (issuer, identifier), child in children.items():
        for parent in child.parents:
            parent_kind = "specimen" if (issuer, parent) in told.specimens else "block"
            yield ids.of(kind, issuer, identifier), ids.of(parent_kind, issuer, parent)


def _named(ids: OpaqueIds, kind: str, key: Container) -> tuple[str, str, str]:
    return ids.of(kind, *key), *key


def _dumped(coded: Coded | None) -> dict[str, Any] | None:
    return coded.model_dump() if coded else None


def _sorted(rows: list[tuple[object, ...]]) -> list[tuple[object, ...]]:
    # Ids come first and are unique, so nothing that can't be ordered is ever compared.
    return sorted(rows, key=lambda row: tuple(str(value) for value in row[:3]))


def _load(session: Session, books: Books, ids: Sequence[str]) -> list[_Live]:
    below: dict[str, _Rows] = {what: defaultdict(list) for what in (*_COLUMNS, "identifiers")}
    for what, columns in _COLUMNS.items():
        owner = columns[0].class_.case_id
        for case_id, *values in session.execute(select(owner, *columns).where(owner.in_(ids))):
            below[what][case_id].append(tuple(values))
    for case_id, *values in session.execute(_identifiers(ids)):
        below["identifiers"][case_id].append(tuple(values))
    reading, slides = _reading(session, ids), slides_of_cases(session, ids)
    return [
        _Live(
            case=case,
            told=_told(session, books, case.id),
            below={what: rows.get(case.id, []) for what, rows in below.items()},
            expected=() if case.cancelled else slides.get(case.id, ()),
            reading=reading.get(case.id, Reading.NONE),
        )
        for case in session.scalars(select(Case).where(Case.id.in_(ids)).order_by(Case.id))
    ]


def _identifiers(case_ids: Sequence[str]) -> Select[str, str, str, str]:
    columns = (Identifier.subject_id, Identifier.kind, Identifier.issuer, Identifier.value)
    return select(*columns).where(Identifier.subject_kind == "case", Identifier.subject_id.in_(case_ids))


def _told(session: Session, books: Books, case_id: str) -> Known | None:
    try:
        return cases.known(session, books.ids, case_id)
    except ValidationError:
        return None


def _reads_of_closed_rounds() -> Select[str]:
    over = or_(Read.round != Case.round, Case.round_closed_at.is_not(None))
    owned = exists().where(Assignment.read_id == Read.id, Assignment.ended_at.is_(None))
    return (
        select(Read.id)
        .join(Case, Case.id == Read.case_id)
        .where(Read.role != "mdt")  # prepared for a meeting, whatever was reported before it
        .where(or_(Read.closed_at.is_(None), owned), or_(over, Read.closed_at.is_not(None)))
        .order_by(Read.id)
    )


def _slides_that_prefer_another_scan() -> Select[str]:
    latest = (
        select(Scan.id)
        .where(Scan.slide_id == Slide.id, Scan.outcome == Outcome.ACTIVE, Scan.storage == Storage.PROVEN)
        .order_by(Scan.received_at.desc(), Scan.id)
        .limit(1)
        .scalar_subquery()
    )
    return select(Slide.id).where(Slide.preferred_scan_id.is_distinct_from(latest)).order_by(Slide.id)


def _reading(session: Session, case_ids: Sequence[str]) -> dict[str, str]:
    """Return, for each case that has an open read that its round needs, whether somebody owns every one of them."""
    owned = exists().where(Assignment.read_id == Read.id, Assignment.ended_at.is_(None))
    rows = session.execute(
        select(Case.id, owned)
        .join(Read, Read.case_id == Case.id)
        .where(Case.id.in_(case_ids), Read.round == Case.round, Read.role.in_(NEEDED), Read.closed_at.is_(None))
    )
    needed: dict[str, bool] = {}
    for case_id, is_owned in rows:
        needed[case_id] = needed.get(case_id, True) and is_owned
    return {case_id: Reading.ASSIGNED if every else Reading.UNASSIGNED for case_id, every in needed.items()}
