"""The one way a case changes: its facts are folded, the rows below it brought in line, its images judged.

The caller holds the case's row (``lock_case``) in its write transaction.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pydantic import TypeAdapter
from sqlalchemy import bindparam, delete, func, insert, select
from sqlalchemy.orm import Session

from connectors.settings import Settings
from flows import ledger
from flows.books import Cause, Subject, clear_alert, note_changes, raise_alert
from flows.case_assignment.points import points
from flows.completeness import Completeness, ExpectedSlide, ScanOfSlide, judge, standing_of
from flows.expectations import expect_scans, settle_later
from flows.sending import announce, publish
from models.base import Base, table_of
from models.case_fold import CaseReleased, CaseState, Container, OrderFact, Told, fold
from models.database import database_now, insert_unless_there
from models.facets import Images, Lane, Reading, StepState
from models.opaque import OpaqueIds
from models.tables.books import Fact
from models.tables.case import Block, Case, CaseSite, Derivation, Identifier, Slide, Specimen
from models.tables.reading import Assignment, Read
from models.tables.scan import Scan
from models.uid import framed, uuid_of

_LATE_SLIDE = (
    "late slide",
    "a slide was added, replaced or withdrawn after this case could be read: look at its slides again",
)
_CANCELLED = ("case cancelled", "the LIMS cancelled this case after it could be read: tell whoever has it")

_FACT_TYPES: dict[str, TypeAdapter[Any]] = {one.__name__: TypeAdapter(one) for one in (OrderFact, CaseReleased)}
"""Kinds of fact that a case is folded from."""

_SLIDE, _SCAN = table_of(Slide), table_of(Scan)
_CASES_LOCKED = (
    select(Case)
    .where(Case.id.in_(bindparam("cases", expanding=True)))
    .order_by(Case.id)
    .with_for_update()
    .execution_options(populate_existing=True)
)
_SLIDES_WITH_SCANS = (
    select(_SLIDE.c.id, _SLIDE.c.route, _SCAN.c.id, _SCAN.c.quality, _SCAN.c.storage, _SCAN.c.outcome)
    .select_from(_SLIDE.outerjoin(_SCAN, _SCAN.c.slide_id == _SLIDE.c.id))
    .where(_SLIDE.c.case_id == bindparam("of_case"), _SLIDE.c.cancelled.is_(False))
    .order_by(_SLIDE.c.id)
)
_FACTS = select(Fact).where(Fact.subject_id == bindparam("of_case"), Fact.kind.in_(_FACT_TYPES))

_CASE_FIELDS = (
    *("site_id", "patient_id", "subspecialty", "study_instance_uid", "lane", "due_at", "cancelled", "released"),
)


@dataclass(frozen=True)
class Projected:
    """What a new fold changed below a case."""

    case: Case
    registered: tuple[Slide, ...]
    """Slides that are expected for the first time."""
    cancelled: tuple[Slide, ...]
    """Slides that an order has just cancelled, perhaps before any other named them."""
    reinstated: tuple[Slide, ...]


def lock_case(session: Session, case_id: str) -> Case | None:
    """Lock a case's row and return it fresh; ``None`` when there is none yet, and nobody else can make it meanwhile."""
    found = lock_cases(session, (case_id,))
    if not found:
        ledger.hold_key(session, "a case", case_id)
        found = lock_cases(session, (case_id,))
    return next(iter(found), None)


def lock_cases(session: Session, case_ids: Sequence[str]) -> Sequence[Case]:
    """Lock the rows of those of these cases that there are, in id order, and return them fresh."""
    # A fresh row must not undo what this transaction has set and not written yet.
    session.flush()
    return session.scalars(_CASES_LOCKED, {"cases": case_ids}).all()


def told(session: Session, case_id: str) -> list[Told]:
    """Return everything that was said about a case."""
    rows = session.scalars(_FACTS, {"of_case": case_id})
    return [
        Told(
            _FACT_TYPES[row.kind].validate_python(row.body, strict=False),
            row.effective_at,
            row.received_at,
            row.digest,
            row.sequence_number,
        )
        for row in rows
    ]


def project(session: Session, settings: Settings, ids: OpaqueIds, case_id: str, cause: Cause) -> Projected:
    """Fold a case's facts and bring its rows in line with them; the case row is made when it is new."""
    now = database_now(session)
    state = fold(told(session, case_id))
    case = _case_row(session, case_id, state, cause, now)
    _identifiers(session, case_id, state)
    _specimens_and_blocks(session, ids, case_id, state)
    projected = _slides(session, ids, case, state, cause, now)
    session.flush()
    late = bool(projected.registered or projected.reinstated)
    if late or case.expected_closed_at is None:
        settle_later(session, settings, case)
    if late:
        # At once: an open set is not ready, not even for the rest of this transaction.
        evaluate(session, settings, case_id, cause, late=True)
    return projected


def evaluate(session: Session, settings: Settings, case_id: str, cause: Cause, *, late: bool = False) -> Completeness:
    """Judge a locked case's images anew and add what follows: a read to assign, waits for scans, messages out.

    ``late`` says that a slide has just come to it: whoever reads the case hears of it, even if a person released it.
    """
    case = session.get_one(Case, case_id)
    expected = expected_slides(session, case)
    verdict = judge(expected, closed=case.expected_closed_at is not None, released=case.released)
    now = database_now(session)
    expect_scans(session, settings, case, {slide.slide_id: standing_of(slide) for slide in expected}, now)
    if case.images != verdict.images:
        _turn(session, settings, case, verdict, cause)
    elif late and case.images == Images.READY:
        case.completeness_version += 1
        raise_alert(session, Subject("case", case_id), *_LATE_SLIDE, now)
    session.flush()
    return verdict


def _turn(session: Session, settings: Settings, case: Case, verdict: Completeness, cause: Cause) -> None:
    """Turn a case's images facet, and have its read assigned only as long as it is ready."""
    subject, now, before = Subject("case", case.id), database_now(session), case.images
    case.images = verdict.images
    case.completeness_version += 1
    note_changes(session, subject, [("images", before, verdict.images)], cause, now)
    if verdict.images == Images.READY:
        for kind, _sentence in (_LATE_SLIDE, _CANCELLED):
            clear_alert(session, case.id, kind, now)
        _have_it_read(session, case, now)
        announce.case_released(session, settings, case, verdict)
        publish.case_completed(session, settings, case, verdict)
    elif before == Images.READY:
        _stop_assigning(session, case, now)
        raise_alert(session, subject, *(_CANCELLED if case.cancelled else _LATE_SLIDE), now)


def expected_slides(session: Session, case: Case) -> list[ExpectedSlide]:
    """Return the slides of a case that count, with their scans; none when the case is cancelled."""
    if case.cancelled:
        return []
    rows = session.execute(_SLIDES_WITH_SCANS, {"of_case": case.id})
    scans: dict[tuple[str, str], list[ScanOfSlide]] = {}
    for slide_id, route, *scan in rows:
        found = scans.setdefault((slide_id, route), [])
        if scan[0] is not None:
            found.append(ScanOfSlide(*scan))
    return [ExpectedSlide(slide_id, route, tuple(found)) for (slide_id, route), found in scans.items()]


def _have_it_read(session: Session, case: Case, now: datetime) -> None:
    """See that the round's primary read is there, and that it is being assigned unless somebody has it."""
    read = session.scalars(
        select(Read).where(Read.case_id == case.id, Read.round == case.round, Read.role == "primary")
    ).one_or_none()
    if read is None:
        read = _new_primary_read(session, case, now)
    owned = select(Assignment.id).where(Assignment.read_id == read.id, Assignment.ended_at.is_(None))
    if read.closed_at is not None or session.scalar(owned) is not None:
        return
    read.points = _points_of(session, case)
    step = ledger.NewStep(
        kind="case_assignment",
        stage="case_assignment",
        subject_kind="read",
        subject_id=read.id,
        rank_at=ledger.rank_at(now, case.due_at),
        lane=case.lane,
    )
    ledger.rerun(session, step)


def _new_primary_read(session: Session, case: Case, now: datetime) -> Read:
    read = Read(
        id=_derived(case.id, f"primary:{case.round}:whole"),
        case_id=case.id,
        round=case.round,
        role="primary",
        points=_points_of(session, case),
        created_at=now,
    )
    session.add(read)
    case.reading = Reading.UNASSIGNED
    session.flush()
    return read


def _points_of(session: Session, case: Case) -> float:
    slides = select(func.count()).select_from(Slide).where(Slide.case_id == case.id, Slide.cancelled.is_(False))
    blocks = select(func.count()).select_from(Block).where(Block.case_id == case.id)
    specimens = select(func.count()).select_from(Specimen).where(Specimen.case_id == case.id)
    return points(
        slides=session.scalars(slides).one(),
        blocks=session.scalars(blocks).one(),
        specimens=session.scalars(specimens).one(),
    )


def _stop_assigning(session: Session, case: Case, now: datetime) -> None:
    """Give the reads of a case that is no longer ready to nobody; who has one keeps it."""
    for read_id in session.scalars(select(Read.id).where(Read.case_id == case.id)).all():
        ledger.end_open(session, read_id, ("case_assignment",), StepState.SUPERSEDED)
    clear_alert(session, case.id, "nobody eligible", now)


def _case_row(session: Session, case_id: str, state: CaseState, cause: Cause, now: datetime) -> Case:
    case = session.get(Case, case_id)
    if case is None:
        case = Case(
            id=case_id,
            site_id=state.site_id,
            registered_at=state.registered_at or now,
            orders_changed_at=state.orders_changed_at or now,
            completeness_version=0,
            images=Images.AWAITING,
            reading=Reading.NONE,
            report="none",
            round=1,
            lane=Lane.ROUTINE,
            cancelled=False,
            released=False,
        )
        session.add(case)
        session.flush()
        note_changes(session, Subject("case", case_id), [("case", None, "registered")], cause, now)
    changes = []
    for name in _CASE_FIELDS:
        changes.append((name, getattr(case, name), getattr(state, name)))
        setattr(case, name, getattr(state, name))
    case.identity_digest = state.identity_digest
    case.registered_at = state.registered_at or now
    if state.orders_changed_at:
        case.orders_changed_at = state.orders_changed_at
    note_changes(session, Subject("case", case_id), changes, cause, now)
    session.flush()
    if session.get(CaseSite, (case_id, "requesting", state.site_id)) is None:
        session.execute(delete(CaseSite).where(CaseSite.case_id == case_id, CaseSite.role == "requesting"))
        session.add(CaseSite(case_id=case_id, role="requesting", site_id=state.site_id))
        session.flush()
    return case


def _identifiers(session: Session, case_id: str, state: CaseState) -> None:
    numbers = [("accession", state.accession_number)]
    numbers += [("placer", one) for one in sorted(state.placer_order_numbers)]
    numbers += [("filler", one) for one in sorted(state.filler_order_numbers)]
    rows = [
        {"subject_kind": "case", "subject_id": case_id, "kind": kind, "issuer": state.issuer, "value": value}
        for kind, value in numbers
    ]
    insert_unless_there(session, Identifier, rows)


def _specimens_and_blocks(session: Session, ids: OpaqueIds, case_id: str, state: CaseState) -> None:
    _forget_stubs(session, ids, case_id, state)
    for (issuer, identifier), specimen in state.specimens.items():
        row = session.get(Specimen, ids.of("specimen", issuer, identifier))
        if row is None:
            row = Specimen(id=ids.of("specimen", issuer, identifier), case_id=case_id)
            session.add(row)
        row.issuer, row.container_identifier = issuer, identifier
        row.specimen_type = specimen.specimen_type.model_dump() if specimen.specimen_type else None
        row.anatomic_site = specimen.anatomic_site.model_dump() if specimen.anatomic_site else None
        row.laterality = specimen.laterality.model_dump() if specimen.laterality else None
        row.received_at, row.cancelled = specimen.received_at, specimen.cancelled
    for (issuer, identifier), block in state.blocks.items():
        cassette = session.get(Block, ids.of("block", issuer, identifier))
        if cassette is None:
            cassette = Block(id=ids.of("block", issuer, identifier), case_id=case_id)
            session.add(cassette)
        cassette.issuer, cassette.container_identifier, cassette.cancelled = issuer, identifier, block.cancelled
    _derivations(session, ids, case_id, state)


def _forget_stubs(session: Session, ids: OpaqueIds, case_id: str, state: CaseState) -> None:
    """Delete rows that earlier facts alone made: a stub that a later message calls by another kind."""
    specimens = {ids.of("specimen", *key) for key in state.specimens}
    blocks = {ids.of("block", *key) for key in state.blocks}
    slides = {ids.of("slide", *key) for key in state.slides}
    gone: list[Base] = []
    gone += [row for row in session.scalars(select(Specimen).filter_by(case_id=case_id)) if row.id not in specimens]
    gone += [row for row in session.scalars(select(Block).filter_by(case_id=case_id)) if row.id not in blocks]
    gone += [row for row in session.scalars(select(Slide).filter_by(case_id=case_id)) if row.id not in slides]
    for row in gone:
        session.delete(row)
    session.flush()


def _derivations(session: Session, ids: OpaqueIds, case_id: str, state: CaseState) -> None:
    def parent_of(issuer: str, identifier: str) -> str:
        kind = "specimen" if (issuer, identifier) in state.specimens else "block"
        return ids.of(kind, issuer, identifier)

    edges = {
        (ids.of(kind, issuer, identifier), parent_of(issuer, parent))
        for kind, children in (("block", state.blocks), ("slide", state.slides))
        for (issuer, identifier), child in children.items()
        for parent in child.parents
    }
    session.execute(delete(Derivation).where(Derivation.case_id == case_id))
    rows = [{"child_id": child, "parent_id": parent, "case_id": case_id} for child, parent in sorted(edges)]
    if rows:
        session.execute(insert(Derivation), rows)


def _slides(session: Session, ids: OpaqueIds, case: Case, state: CaseState, cause: Cause, now: datetime) -> Projected:
    registered: list[Slide] = []
    cancelled: list[Slide] = []
    reinstated: list[Slide] = []
    for key, stated in sorted(state.slides.items()):
        slide_id = ids.of("slide", *key)
        slide = session.get(Slide, slide_id)
        if slide is None:
            slide = _new_slide(slide_id, case.id, key)
            session.add(slide)
            (cancelled if stated.cancelled else registered).append(slide)
            note_changes(session, Subject("slide", slide_id), [("slide", None, "registered")], cause, now)
        elif slide.cancelled != stated.cancelled:
            (cancelled if stated.cancelled else reinstated).append(slide)
            change = ("cancelled", slide.cancelled, stated.cancelled)
            note_changes(session, Subject("slide", slide_id), [change], cause, now)
        slide.stains = [stain.model_dump() for stain in stated.stains]
        slide.stain_text, slide.route, slide.cancelled = stated.stain_text, stated.route, stated.cancelled
    session.flush()
    return Projected(case, tuple(registered), tuple(cancelled), tuple(reinstated))


def _new_slide(slide_id: str, case_id: str, key: Container) -> Slide:
    return Slide(
        id=slide_id,
        case_id=case_id,
        issuer=key[0],
        container_identifier=key[1],
        stains=[],
        route="scan",
        cancelled=False,
    )


def _derived(case_id: str, name: str) -> str:
    """Return the same id for the same read of a case, whoever makes it first."""
    return str(uuid_of(hashlib.sha256(framed(("read", case_id, name))).digest()))
