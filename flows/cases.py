"""The one way a case changes: its facts are folded, the rows below it brought in line, its images judged.

The caller holds the case's row (``lock_case``) in its write transaction.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pydantic import TypeAdapter
from sqlalchemy import delete, insert, select
from sqlalchemy.orm import Session

from connectors.settings import Settings
from flows import ledger
from flows.books import Cause, Subject, clear_alert, note_changes, raise_alert
from flows.case_assignment.points import points
from flows.completeness import Completeness, ExpectedSlide, ScanOfSlide, judge, standing_of
from flows.expectations import expect_scans, settle_later
from flows.sending import announce
from models.base import Base
from models.case_fold import CaseReleased, CaseState, Container, OrderFact, Told, fold
from models.database import database_now, insert_unless_there
from models.facets import Images, Lane, Reading
from models.opaque import OpaqueIds
from models.tables.books import Fact
from models.tables.case import Block, Case, CaseSite, Derivation, Identifier, Slide, Specimen
from models.tables.reading import Read
from models.tables.scan import Scan
from models.uid import framed, uuid_of

_FACT_TYPES: dict[str, TypeAdapter[Any]] = {one.__name__: TypeAdapter(one) for one in (OrderFact, CaseReleased)}
"""Kinds of fact that a case is folded from."""

_CASE_FIELDS = (
    *("site_id", "patient_id", "subspecialty", "study_instance_uid", "lane", "due_at", "cancelled", "released"),
)


@dataclass(frozen=True)
class Projected:
    """What a new fold changed below a case."""

    case: Case
    registered: tuple[Slide, ...]
    """Slides that are known for the first time."""
    cancelled: tuple[Slide, ...]
    """Slides that an order has just cancelled."""
    reinstated: tuple[Slide, ...]


def lock_case(session: Session, case_id: str) -> Case | None:
    """Lock a case's row and return it fresh; ``None`` when there is none yet."""
    return next(iter(lock_cases(session, (case_id,))), None)


def lock_cases(session: Session, case_ids: Sequence[str]) -> Sequence[Case]:
    """Lock the rows of those of these cases that there are, in id order, and return them fresh."""
    # A fresh row must not undo what this transaction has set and not written yet.
    session.flush()
    wanted = select(Case).where(Case.id.in_(case_ids)).order_by(Case.id)
    return session.scalars(wanted.with_for_update().execution_options(populate_existing=True)).all()


def told(session: Session, case_id: str) -> list[Told]:
    """Return everything that was said about a case."""
    rows = session.scalars(select(Fact).where(Fact.subject_id == case_id, Fact.kind.in_(_FACT_TYPES)))
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
    if projected.registered or projected.reinstated or case.expected_closed_at is None:
        settle_later(session, settings, case)
    return projected


def evaluate(session: Session, settings: Settings, case_id: str, cause: Cause) -> Completeness:
    """Judge a case's images anew and add what follows: a read to assign, waits for scans, messages out."""
    case = session.get_one(Case, case_id)
    expected = expected_slides(session, case)
    verdict = judge(expected, closed=case.expected_closed_at is not None, released=case.released)
    now = database_now(session)
    expect_scans(session, settings, case, {slide.slide_id: standing_of(slide) for slide in expected}, now)
    before = case.images
    if before == verdict.images:
        return verdict
    case.images = verdict.images
    case.completeness_version += 1
    note_changes(session, Subject("case", case_id), [("images", before, verdict.images)], cause, now)
    if verdict.images == Images.READY:
        clear_alert(session, case_id, "late slide", now)
        _open_primary_read(session, case, now)
        announce.case_released(session, settings, case, verdict)
    elif before == Images.READY:
        sentence = "a slide was added, replaced or withdrawn after this case could be read: look at its slides again"
        raise_alert(session, Subject("case", case_id), "late slide", sentence, now)
    session.flush()
    return verdict


def expected_slides(session: Session, case: Case) -> list[ExpectedSlide]:
    """Return the slides of a case that count, with their scans; none when the case is cancelled."""
    if case.cancelled:
        return []
    rows = session.execute(
        select(Slide.id, Slide.route, Scan.id, Scan.quality, Scan.storage, Scan.outcome)
        .outerjoin(Scan, Scan.slide_id == Slide.id)
        .where(Slide.case_id == case.id, Slide.cancelled.is_(False))
        .order_by(Slide.id)
    )
    scans: dict[tuple[str, str], list[ScanOfSlide]] = {}
    for slide_id, route, *scan in rows:
        found = scans.setdefault((slide_id, route), [])
        if scan[0] is not None:
            found.append(ScanOfSlide(*scan))
    return [ExpectedSlide(slide_id, route, tuple(found)) for (slide_id, route), found in scans.items()]


def _open_primary_read(session: Session, case: Case, now: datetime) -> None:
    """Add the round's primary read and the step that assigns it, unless they are there."""
    present = session.scalar(
        select(Read.id).where(Read.case_id == case.id, Read.round == case.round, Read.role == "primary")
    )
    if present is not None or case.cancelled:
        return
    read_id = _derived(case.id, f"primary:{case.round}:whole")
    slides = len(session.scalars(select(Slide.id).where(Slide.case_id == case.id, Slide.cancelled.is_(False))).all())
    blocks = len(session.scalars(select(Block.id).where(Block.case_id == case.id)).all())
    specimens = len(session.scalars(select(Specimen.id).where(Specimen.case_id == case.id)).all())
    session.add(
        Read(
            id=read_id,
            case_id=case.id,
            round=case.round,
            role="primary",
            points=points(slides=slides, blocks=blocks, specimens=specimens),
            created_at=now,
        )
    )
    case.reading = Reading.UNASSIGNED
    session.flush()
    step = ledger.NewStep(
        kind="case_assignment",
        stage="case_assignment",
        subject_kind="read",
        subject_id=read_id,
        rank_at=ledger.rank_at(now, case.due_at),
        lane=case.lane,
    )
    ledger.add(session, [step])


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
            registered.append(slide)
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
