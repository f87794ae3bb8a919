"""A case is a fold of what was said about it: any order of arrival ends the same.

Facts are sorted by (effective time, MSH-13, register before change before cancel, digest); a field that a
message does not state leaves what an earlier one stated. A person's word outranks every machine's.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime

from models.facets import LANE_OF_PRIORITY, Lane, Route
from models.statements import BlockStated, Coded, Frozen, OrderStated, PatientStated, SlideStated, SpecimenStated

RANK_OF_CONTROL = {"register": 0, "change": 1, "cancel": 2}

Container = tuple[str, str]
"""Issuer and container identifier: only the two together name a container."""


class OrderFact(Frozen):
    """What one HL7 message ordered, and for which of our patients."""

    order: OrderStated
    patient_id: str | None = None


class PatientFact(Frozen):
    """What one message says about a patient."""

    patient: PatientStated


class CaseReleased(Frozen):
    """A person lets the case be read although slides are missing."""


@dataclass(frozen=True)
class Told:
    """A case fact with what decides its place in the order of telling."""

    fact: OrderFact | CaseReleased
    effective_at: datetime
    received_at: datetime
    digest: str
    sequence_number: int | None = None

    @property
    def place(self) -> tuple[datetime, int, int, str]:
        """The key that facts are sorted by."""
        rank = _rank(self.fact)
        return (self.effective_at, -1 if self.sequence_number is None else self.sequence_number, rank, self.digest)


def _rank(fact: OrderFact | CaseReleased) -> int:
    if isinstance(fact, CaseReleased):
        return 0
    return RANK_OF_CONTROL["cancel" if fact.order.cancelled else fact.order.control]


@dataclass(frozen=True)
class SpecimenState:
    """A specimen as last stated."""

    specimen_type: Coded | None = None
    anatomic_site: Coded | None = None
    laterality: Coded | None = None
    received_at: datetime | None = None
    cancelled: bool = False


@dataclass(frozen=True)
class BlockState:
    """A block as last stated, and what it was taken from."""

    parents: tuple[str, ...] = ()
    cancelled: bool = False


@dataclass(frozen=True)
class SlideState:
    """A slide as last stated, and what it was cut from."""

    parents: tuple[str, ...] = ()
    stains: tuple[Coded, ...] = ()
    stain_text: str | None = None
    route: str = Route.SCAN
    cancelled: bool = False


@dataclass(frozen=True)
class CaseState:
    """Everything that the facts say about a case."""

    accession_number: str = ""
    issuer: str = ""
    site_id: str = ""
    patient_id: str | None = None
    placer_order_numbers: frozenset[str] = frozenset()
    filler_order_numbers: frozenset[str] = frozenset()
    subspecialty: str | None = None
    study_instance_uid: str | None = None
    lane: int = Lane.ROUTINE
    due_at: datetime | None = None
    cancelled: bool = False
    released: bool = False
    registered_at: datetime | None = None
    orders_changed_at: datetime | None = None
    specimens: dict[Container, SpecimenState] = field(default_factory=dict)
    blocks: dict[Container, BlockState] = field(default_factory=dict)
    slides: dict[Container, SlideState] = field(default_factory=dict)

    @property
    def identity_digest(self) -> str:
        """Changes exactly when a DICOM header made of this case would name another patient or case."""
        named = "\x1f".join((self.issuer, self.accession_number, self.patient_id or ""))
        return hashlib.sha256(named.encode()).hexdigest()


def fold(told: Iterable[Told]) -> CaseState:
    """Return what these facts make of a case, in whatever order they are given."""
    state = CaseState()
    for one in sorted(told, key=lambda one: one.place):
        if isinstance(one.fact, CaseReleased):
            state = replace(state, released=True)
            continue
        state = _ordered(_stamped(state, one), one.fact)
    # Who released a case did not mean one that the LIMS cancels; ordered again, it is as they left it.
    return _with_stubs(replace(state, released=state.released and not state.cancelled))


def _stamped(state: CaseState, told: Told) -> CaseState:
    """Completeness counts from when an order reached us: the sender's clock can't close our set."""
    first = min(state.registered_at or told.received_at, told.received_at)
    last = max(state.orders_changed_at or told.received_at, told.received_at)
    return replace(state, registered_at=first, orders_changed_at=last)


def _ordered(state: CaseState, fact: OrderFact) -> CaseState:
    order = fact.order
    state = replace(
        state,
        accession_number=order.accession_number,
        issuer=order.issuer,
        site_id=order.site,
        patient_id=fact.patient_id or state.patient_id,
        placer_order_numbers=state.placer_order_numbers | set(order.placer_order_numbers),
        filler_order_numbers=state.filler_order_numbers | set(order.filler_order_numbers),
        subspecialty=order.subspecialty or state.subspecialty,
        study_instance_uid=order.study_instance_uid or state.study_instance_uid,
        lane=LANE_OF_PRIORITY[order.priority] if order.priority else state.lane,
        due_at=order.due.at if order.due else state.due_at,
    )
    if order.control == "cancel" and not order.cancelled:
        return replace(state, cancelled=True)
    if order.control == "register":
        state = replace(state, cancelled=False)
    return _containers(state, order)


def _containers(state: CaseState, order: OrderStated) -> CaseState:
    specimens, blocks, slides = dict(state.specimens), dict(state.blocks), dict(state.slides)
    back = order.control == "register"
    for specimen in order.specimens:
        key = (specimen.issuer, specimen.container_identifier)
        specimens[key] = _specimen(specimens.get(key, SpecimenState()), specimen, back=back)
    for block in order.blocks:
        key = (block.issuer, block.container_identifier)
        blocks[key] = _block(blocks.get(key, BlockState()), block, back=back)
    for slide in order.slides:
        key = (slide.issuer, slide.container_identifier)
        slides[key] = _slide(slides.get(key, SlideState()), slide, back=back)
    for identifier in order.cancelled:
        key = _meant((*specimens, *blocks, *slides), order.issuer, identifier)
        if key in specimens:
            specimens[key] = replace(specimens[key], cancelled=True)
        elif key in blocks:
            blocks[key] = replace(blocks[key], cancelled=True)
        else:
            # A cancel may come before the order it cancels: it makes the slide, cancelled.
            slides[key] = replace(slides.get(key, SlideState()), cancelled=True)
    return replace(state, specimens=specimens, blocks=blocks, slides=slides)


def _meant(known: Iterable[Container], issuer: str, identifier: str) -> Container:
    """Return which container a cancel names: the message's issuer's, else the case's only one that is called so."""
    called_so = {key for key in known if key[1] == identifier}
    if (issuer, identifier) in called_so or len(called_so) != 1:
        return issuer, identifier
    return called_so.pop()


def _specimen(known: SpecimenState, stated: SpecimenStated, *, back: bool) -> SpecimenState:
    return SpecimenState(
        specimen_type=stated.specimen_type or known.specimen_type,
        anatomic_site=stated.anatomic_site or known.anatomic_site,
        laterality=stated.laterality or known.laterality,
        received_at=stated.received_at.at if stated.received_at else known.received_at,
        cancelled=known.cancelled and not back,
    )


def _block(known: BlockState, stated: BlockStated, *, back: bool) -> BlockState:
    return BlockState(parents=stated.parents or known.parents, cancelled=known.cancelled and not back)


def _slide(known: SlideState, stated: SlideStated, *, back: bool) -> SlideState:
    return SlideState(
        parents=stated.parents or known.parents,
        stains=stated.stains or known.stains,
        stain_text=stated.stain_text or known.stain_text,
        route=stated.route or known.route,
        cancelled=known.cancelled and not back,
    )


def _with_stubs(state: CaseState) -> CaseState:
    """Give every named but never registered parent a stub, as DPOW expects of a workflow manager."""
    specimens, blocks = dict(state.specimens), dict(state.blocks)
    for (issuer, _), slide in state.slides.items():
        for parent in slide.parents:
            if (issuer, parent) not in specimens:
                blocks.setdefault((issuer, parent), BlockState())
    for (issuer, _), block in blocks.items():
        for parent in block.parents:
            specimens.setdefault((issuer, parent), SpecimenState())
    return replace(state, specimens=specimens, blocks=blocks)
