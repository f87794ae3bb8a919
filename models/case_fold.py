"""A case is a fold of what was said about it: any order of arrival ends the same.

Facts are sorted by (effective time, MSH-13, register before change before cancel before what is said of the report,
digest); a field that a message does not state leaves what an earlier one stated. A person's word outranks every
machine's.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from models.case_containers import (
    BlockState,
    Container,
    Containers,
    SlideState,
    SpecimenState,
    meant,
    named_in,
    stated,
    what_came,
    with_stubs,
)
from models.covering import concerned, specimens_of, to_be_covered, with_specimens
from models.facets import LANE_OF_PRIORITY, Lane
from models.round_fold import Round, came_late, ended, reported, settled
from models.statements import (
    CaseUpdateStated,
    Frozen,
    Identifier,
    ImagesStated,
    OrderStated,
    PatientStated,
    ReaderStated,
    ReportPart,
    ReportStated,
)
from models.work_fold import (
    WorkAnswered,
    WorkCancelled,
    WorkDoneFact,
    WorkFact,
    WorkOrdered,
    WorkOrderState,
    WorkSeen,
    number_of,
    worked,
)

RANK_OF_CONTROL = {"register": 0, "change": 1, "replace": 1, "cancel": 2}
A_PERSON = "a person"
THE_POLICY = "policy"
"""Who let a case be read before all of it was there."""
# A slide that is ordered at the very moment of a report belongs to what was reported.
_AFTER_ORDERS = 3
# Of two words of one second, that a slide has images and that it has none, the latter holds: it only holds a case up.
_AFTER_ALL = 4


class OrderFact(Frozen):
    """What one HL7 message ordered, and for which of our patients."""

    order: OrderStated
    patient_id: str | None = None


class PatientFact(Frozen):
    """What one message says about a patient."""

    patient: PatientStated


class CaseReleased(Frozen):
    """A person lets the case be read although slides are missing."""


class ReleasedByPolicy(Frozen):
    """The policy lets the case be read although slides are missing: it has waited for them long enough.

    ``version`` is the policy's, ``None`` the one that ships; ``slide_ids`` are those that were missing.
    """

    version: int | None
    after_hours: float
    slide_ids: tuple[str, ...]


class ReportFact(Frozen):
    """What one message says about the case's report."""

    report: ReportStated


class UpdateFact(Frozen):
    """What one message says became of the case elsewhere."""

    update: CaseUpdateStated


class ImagesFact(Frozen):
    """What an image manager says about the images of one slide of the case."""

    images: ImagesStated


CaseFact = OrderFact | CaseReleased | ReleasedByPolicy | ReportFact | UpdateFact | ImagesFact | WorkFact


@dataclass(frozen=True)
class Told:
    """A case fact with what decides its place in the order of telling."""

    fact: CaseFact
    effective_at: datetime
    received_at: datetime
    digest: str
    sequence_number: int | None = None

    @property
    def place(self) -> tuple[datetime, int, int, str]:
        """The key that facts are sorted by."""
        rank = _rank(self.fact)
        return (self.effective_at, -1 if self.sequence_number is None else self.sequence_number, rank, self.digest)


def _rank(fact: CaseFact) -> int:
    if isinstance(fact, (CaseReleased, ReleasedByPolicy)):
        return 0
    if isinstance(fact, OrderFact):
        return RANK_OF_CONTROL["cancel" if fact.order.cancelled else fact.order.control]
    return _AFTER_ALL if isinstance(fact, ImagesFact) and not fact.images.available else _AFTER_ORDERS


@dataclass(frozen=True)
class Due:
    """By when orders want a case reported, as the last of them that stated a moment says.

    ``round`` is the one in which this moment was first stated and ``digest`` names the fact that did so: an order that
    states the same again wants nothing new.
    """

    at: datetime
    round: int
    digest: str


@dataclass(frozen=True)
class ImagesSaid:
    """What an image manager last said of a slide's images, and when that counts from."""

    images: ImagesStated
    at: datetime


@dataclass(frozen=True)
class CaseState:
    """Everything that the facts say about a case; ``patient_id`` is whom its orders name, merges and moves aside.

    ``set_closed`` is the laboratory's word that no more slides come, as long as none came after it. ``images`` are what
    image managers said of slides, whether an order names them or not.
    """

    accession_number: str = ""
    issuer: str = ""
    site_id: str = ""
    patient_id: str | None = None
    placer_order_numbers: frozenset[str] = frozenset()
    filler_order_numbers: frozenset[str] = frozenset()
    visits: frozenset[Identifier] = frozenset()
    subspecialty: str | None = None
    study_instance_uid: str | None = None
    lane: int = Lane.ROUTINE
    due: Due | None = None
    cancelled: bool = False
    released: bool = False
    released_how: str | None = None
    registered_at: datetime | None = None
    orders_changed_at: datetime | None = None
    set_closed: bool = False
    reader: ReaderStated | None = None
    stated_points: float | None = None
    round: Round = field(default_factory=Round)
    below: Containers = field(default_factory=Containers)
    images: dict[Container, ImagesSaid] = field(default_factory=dict)
    work_orders: dict[str, WorkOrderState] = field(default_factory=dict)

    @property
    def specimens(self) -> dict[Container, SpecimenState]:
        """The specimens of the case."""
        return self.below.specimens

    @property
    def blocks(self) -> dict[Container, BlockState]:
        """The blocks of the case."""
        return self.below.blocks

    @property
    def slides(self) -> dict[Container, SlideState]:
        """The slides of the case."""
        return self.below.slides

    @property
    def is_ordered(self) -> bool:
        """Whether any order has named the case: before that, what was said of it only waits."""
        return self.registered_at is not None

    @property
    def identity_digest(self) -> str:
        """Changes exactly when a DICOM header made of this case would name another patient or case."""
        named = "\x1f".join((self.issuer, self.accession_number, self.patient_id or ""))
        return hashlib.sha256(named.encode()).hexdigest()


def fold(told: Iterable[Told]) -> CaseState:
    """Return what these facts make of a case, in whatever order they are given."""
    state = CaseState()
    for one in _each_once(sorted(told, key=lambda one: one.place)):
        state = _dated(state, _RULES[type(one.fact)](state, one), one)
        if state.is_ordered and state.round.may_end:
            state = replace(state, round=settled(state.round, to_be_covered(state.below), one.effective_at))
    return _finished(state)


def _dated(before: CaseState, after: CaseState, told: Told) -> CaseState:
    """Return a state with when its round began, by when we heard of it, and by when it is wanted."""
    if after.round.number != before.round.number:
        after = replace(after, round=replace(after.round, opened_at=told.received_at))
    due = told.fact.order.due if isinstance(told.fact, OrderFact) else None
    if due is None or (after.due is not None and after.due.at == due.at):
        return after
    return replace(after, due=Due(due.at, after.round.number, told.digest))


def _each_once(told: Iterable[Told]) -> Iterator[Told]:
    """Yield sorted facts without copies, of which the books have none: a supplement twice would open two rounds."""
    last: Told | None = None
    for one in told:
        if last is None or (one.place, one.fact) != (last.place, last.fact):
            yield one
        last = one


def _finished(state: CaseState) -> CaseState:
    """Return the state with what only the whole story decides."""
    below = with_stubs(state.below)
    images = {meant(below.slides, *key): said for key, said in state.images.items()}
    # Who released a case did not mean one that the LIMS cancels; ordered again, it is as they left it.
    stands = state.released and not state.cancelled
    how = state.released_how if stands else None
    return replace(state, below=below, images=images, released=stands, released_how=how)


def _released(state: CaseState, _told: Told) -> CaseState:
    return replace(state, released=True, released_how=A_PERSON)


def _released_by_policy(state: CaseState, _told: Told) -> CaseState:
    return replace(state, released=True, released_how=state.released_how or THE_POLICY)


def _ordered(state: CaseState, told: Told) -> CaseState:
    fact = told.fact
    assert isinstance(fact, OrderFact)  # noqa: S101 - the table of rules gives it no other
    order = fact.order
    state = replace(
        _stamped(state, told),
        accession_number=order.accession_number,
        issuer=order.issuer,
        site_id=order.site,
        patient_id=fact.patient_id or state.patient_id,
        placer_order_numbers=state.placer_order_numbers | set(order.placer_order_numbers),
        filler_order_numbers=state.filler_order_numbers | set(order.filler_order_numbers),
        visits=state.visits | ({order.visit} if order.visit else frozenset()),
        subspecialty=_subspecialty(state, order),
        study_instance_uid=order.study_instance_uid or state.study_instance_uid,
        lane=LANE_OF_PRIORITY[order.priority] if order.priority else state.lane,
        reader=ReaderStated(id=order.reader_stated) if order.reader_stated else state.reader,
        stated_points=state.stated_points if order.points is None else order.points,
    )
    if order.control == "cancel" and not order.cancelled:
        return replace(state, cancelled=True)
    cancelled = state.cancelled and order.control not in ("register", "replace")
    below = stated(state.below, order)
    came = what_came(state.below, below, order)
    if not came:
        return replace(state, cancelled=cancelled, below=below)
    if state.round.is_closed:
        # Who let it be read meant what there was then, and that was reported.
        state = replace(state, released=False, released_how=None)
    return replace(
        state, cancelled=cancelled, below=below, set_closed=False, round=came_late(state.round, concerned(below, came))
    )


def _subspecialty(state: CaseState, order: OrderStated) -> str | None:
    """Return what the case is: what is said of other specimens than its first is no word about the case."""
    first = next((key for key, one in state.specimens.items() if not one.cancelled), None)
    if order.subspecialty is None or state.subspecialty is None or first is None:
        return order.subspecialty or state.subspecialty
    theirs = specimens_of(stated(state.below, order), named_in(order))
    return order.subspecialty if not theirs or first in theirs else state.subspecialty


def _stamped(state: CaseState, told: Told) -> CaseState:
    """Completeness counts from when an order reached us: the sender's clock can't close our set."""
    first = min(state.registered_at or told.received_at, told.received_at)
    last = max(state.orders_changed_at or told.received_at, told.received_at)
    return replace(state, registered_at=first, orders_changed_at=last)


def _reported(state: CaseState, told: Told) -> CaseState:
    assert isinstance(told.fact, ReportFact)  # noqa: S101 - as above
    report = told.fact.report
    parts = [with_specimens(part, state.below, state.accession_number) for part in report.parts]
    points = state.stated_points if report.points is None else report.points
    return replace(state, round=reported(state.round, parts), stated_points=points)


def _updated(state: CaseState, told: Told) -> CaseState:
    assert isinstance(told.fact, UpdateFact)  # noqa: S101 - as above
    update = told.fact.update
    round_ = reported(state.round, (ReportPart(status=update.report),)) if update.report else state.round
    # Dissection is done before anything is cut: it closes a set that there is.
    closes = update.set_closed or (update.grossed and bool(state.slides))
    return replace(
        state,
        round=ended(round_) if update.ended else round_,
        reader=update.reader or state.reader,
        set_closed=state.set_closed or closes,
    )


def _imaged(state: CaseState, told: Told) -> CaseState:
    assert isinstance(told.fact, ImagesFact)  # noqa: S101 - as above
    images = told.fact.images
    key = (images.issuer, images.container_identifier)
    # In the order of telling: two issuers may mean the same slide, of which the last word counts.
    before = {known: said for known, said in state.images.items() if known != key}
    return replace(state, images={**before, key: ImagesSaid(images, told.effective_at)})


def _worked(state: CaseState, told: Told) -> CaseState:
    fact: Any = told.fact
    number = number_of(fact)
    known = state.work_orders.get(number, WorkOrderState())
    return replace(state, work_orders={**state.work_orders, number: worked(known, fact, told.effective_at)})


_RULES: dict[type, Callable[[CaseState, Told], CaseState]] = {
    OrderFact: _ordered,
    CaseReleased: _released,
    ReleasedByPolicy: _released_by_policy,
    ReportFact: _reported,
    UpdateFact: _updated,
    ImagesFact: _imaged,
    WorkOrdered: _worked,
    WorkAnswered: _worked,
    WorkCancelled: _worked,
    WorkSeen: _worked,
    WorkDoneFact: _worked,
}
