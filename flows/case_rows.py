"""The rows below a case, brought in line with what its facts say: identifiers, specimens, blocks, slides."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import delete, insert, select
from sqlalchemy.orm import Session

from flows.books import Cause, Subject, note_changes
from models.base import Base
from models.case_containers import Container
from models.case_fold import CaseState, ImagesSaid
from models.database import insert_unless_there
from models.opaque import OpaqueIds
from models.tables.case import Block, Case, Derivation, Identifier, Slide, Specimen
from models.tables.reading import ReadSpecimen


@dataclass(frozen=True)
class SlideChanges:
    """Which slides a new fold made, took away, or brought back."""

    registered: tuple[Slide, ...] = ()
    """Slides that are expected for the first time."""
    cancelled: tuple[Slide, ...] = ()
    """Slides that an order has just cancelled, perhaps before any other named them."""
    reinstated: tuple[Slide, ...] = ()

    @property
    def are_late(self) -> bool:
        """Whether more is expected than before."""
        return bool(self.registered or self.reinstated)


def bring_in_line(
    session: Session, ids: OpaqueIds, case: Case, state: CaseState, cause: Cause, now: datetime
) -> SlideChanges:
    """Make the rows below a locked case what its facts say."""
    _identifiers(session, case.id, state)
    _specimens_and_blocks(session, ids, case.id, state)
    return _slides(session, ids, case, state, cause, now)


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
        row.subspecialty, row.reported = specimen.subspecialty, identifier in state.round.covered
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
    stubs = [row for row in session.scalars(select(Specimen).filter_by(case_id=case_id)) if row.id not in specimens]
    if stubs:
        session.execute(delete(ReadSpecimen).where(ReadSpecimen.specimen_id.in_([row.id for row in stubs])))
    gone += stubs
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


def _slides(
    session: Session, ids: OpaqueIds, case: Case, state: CaseState, cause: Cause, now: datetime
) -> SlideChanges:
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
        _imaged(slide, state.images.get(key))
    session.flush()
    return SlideChanges(tuple(registered), tuple(cancelled), tuple(reinstated))


def _imaged(slide: Slide, said: ImagesSaid | None) -> None:
    slide.images_elsewhere = said.images.available if said else None
    slide.elsewhere_study_uid = said.images.study_instance_uid if said else None
    slide.elsewhere_series_uid = said.images.series_instance_uid if said else None
    slide.elsewhere_at = said.at if said else None


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
