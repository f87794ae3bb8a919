"""Specimens, blocks and slides of a case, as last stated: what an order does to them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TypeVar

from models.facets import Route
from models.statements import BlockStated, Coded, OrderStated, SlideStated, SpecimenStated

Container = tuple[str, str]
"""Issuer and container identifier: only the two together name a container."""


@dataclass(frozen=True)
class SpecimenState:
    """A specimen as last stated.

    ``ordered_by`` are the numbers of the messages' orders that name it, ``order_numbers`` those of its own.
    """

    specimen_type: Coded | None = None
    anatomic_site: Coded | None = None
    laterality: Coded | None = None
    received_at: datetime | None = None
    cancelled: bool = False
    ordered_by: frozenset[str] = frozenset()
    order_numbers: frozenset[str] = frozenset()
    subspecialty: str | None = None


@dataclass(frozen=True)
class BlockState:
    """A block as last stated, and what it was taken from."""

    parents: tuple[str, ...] = ()
    cancelled: bool = False
    ordered_by: frozenset[str] = frozenset()
    order_numbers: frozenset[str] = frozenset()


@dataclass(frozen=True)
class SlideState:
    """A slide as last stated, and what it was cut from."""

    parents: tuple[str, ...] = ()
    stains: tuple[Coded, ...] = ()
    stain_text: str | None = None
    route: str = Route.SCAN
    cancelled: bool = False
    ordered_by: frozenset[str] = frozenset()
    order_numbers: frozenset[str] = frozenset()


_State = TypeVar("_State", SpecimenState, BlockState, SlideState)


@dataclass(frozen=True)
class Containers:
    """Everything below a case."""

    specimens: dict[Container, SpecimenState] = field(default_factory=dict)
    blocks: dict[Container, BlockState] = field(default_factory=dict)
    slides: dict[Container, SlideState] = field(default_factory=dict)


def stated(known: Containers, order: OrderStated) -> Containers:
    """Return the containers of a case after an order."""
    if order.control == "replace":
        known = _replaced(known, order)
    specimens, blocks, slides = dict(known.specimens), dict(known.blocks), dict(known.slides)
    for specimen in order.specimens:
        key = (specimen.issuer, specimen.container_identifier)
        specimens[key] = _specimen(specimens.get(key, SpecimenState()), specimen, order)
    for block in order.blocks:
        key = (block.issuer, block.container_identifier)
        blocks[key] = _block(blocks.get(key, BlockState()), block, order)
    for slide in order.slides:
        key = (slide.issuer, slide.container_identifier)
        slides[key] = _slide(slides.get(key, SlideState()), slide, order)
    for identifier in order.cancelled:
        key = meant((*specimens, *blocks, *slides), order.issuer, identifier)
        if key in specimens:
            specimens[key] = replace(specimens[key], cancelled=True)
        elif key in blocks:
            blocks[key] = replace(blocks[key], cancelled=True)
        else:
            # A cancel may come before the order it cancels: it makes the slide, cancelled.
            slides[key] = replace(slides.get(key, SlideState()), cancelled=True)
    return Containers(specimens, blocks, slides)


def named_in(order: OrderStated) -> frozenset[Container]:
    """Return what an order states."""
    assets: tuple[SpecimenStated | BlockStated | SlideStated, ...] = (*order.specimens, *order.blocks, *order.slides)
    return frozenset((one.issuer, one.container_identifier) for one in assets)


def what_came(before: Containers, after: Containers, order: OrderStated) -> frozenset[Container]:
    """Return what an order has brought that a report is about: specimens and slides that were not expected."""
    specimens = _what_came(before.specimens, after.specimens, order.specimens)
    return specimens | _what_came(before.slides, after.slides, order.slides)


def meant(known: Iterable[Container], issuer: str, identifier: str) -> Container:
    """Return which container is named: the message's issuer's, else the case's only one that is called so."""
    called_so = {key for key in known if key[1] == identifier}
    if (issuer, identifier) in called_so or len(called_so) != 1:
        return issuer, identifier
    return called_so.pop()


def with_stubs(known: Containers) -> Containers:
    """Give every named but never registered parent a stub, as DPOW expects of a workflow manager."""
    specimens, blocks = dict(known.specimens), dict(known.blocks)
    for (issuer, _), slide in known.slides.items():
        for parent in slide.parents:
            if (issuer, parent) not in specimens:
                blocks.setdefault((issuer, parent), BlockState())
    for (issuer, _), block in blocks.items():
        for parent in block.parents:
            specimens.setdefault((issuer, parent), SpecimenState())
    return Containers(specimens, blocks, known.slides)


def _what_came(
    before: Mapping[Container, _State],
    after: Mapping[Container, _State],
    said: Iterable[SpecimenStated | SlideStated],
) -> frozenset[Container]:
    named = {(one.issuer, one.container_identifier) for one in said}
    unexpected = {key for key in named if key not in before or before[key].cancelled}
    return frozenset(key for key in unexpected if not after[key].cancelled)


def _replaced(known: Containers, order: OrderStated) -> Containers:
    """Cancel what only the order named that is replaced; what the new one names comes back below."""
    old = _numbers(order)
    return Containers(_taken_over(known.specimens, old), _taken_over(known.blocks, old), _taken_over(known.slides, old))


def _taken_over(known: Mapping[Container, _State], old: frozenset[str]) -> dict[Container, _State]:
    found = {}
    for key, one in known.items():
        theirs = one.ordered_by - old
        # Without numbers nobody can tell two orders of a case apart: then all of it is replaced.
        gone = not theirs or not old
        found[key] = replace(one, ordered_by=theirs, cancelled=one.cancelled or gone)
    return found


def _numbers(order: OrderStated) -> frozenset[str]:
    return frozenset(order.placer_order_numbers or order.filler_order_numbers)


def _is_ordered(order: OrderStated) -> bool:
    """Whether what an order names is to be there, even if it was cancelled before."""
    return order.control in ("register", "replace")


def _specimen(known: SpecimenState, said: SpecimenStated, order: OrderStated) -> SpecimenState:
    return SpecimenState(
        specimen_type=said.specimen_type or known.specimen_type,
        anatomic_site=said.anatomic_site or known.anatomic_site,
        laterality=said.laterality or known.laterality,
        received_at=said.received_at.at if said.received_at else known.received_at,
        cancelled=known.cancelled and not _is_ordered(order),
        ordered_by=known.ordered_by | _numbers(order),
        order_numbers=known.order_numbers.union(said.order_numbers),
        subspecialty=said.subspecialty or known.subspecialty,
    )


def _block(known: BlockState, said: BlockStated, order: OrderStated) -> BlockState:
    return BlockState(
        parents=said.parents or known.parents,
        cancelled=known.cancelled and not _is_ordered(order),
        ordered_by=known.ordered_by | _numbers(order),
        order_numbers=known.order_numbers.union(said.order_numbers),
    )


def _slide(known: SlideState, said: SlideStated, order: OrderStated) -> SlideState:
    return SlideState(
        parents=said.parents or known.parents,
        stains=said.stains or known.stains,
        stain_text=said.stain_text or known.stain_text,
        route=said.route or known.route,
        cancelled=known.cancelled and not _is_ordered(order),
        ordered_by=known.ordered_by | _numbers(order),
        order_numbers=known.order_numbers.union(said.order_numbers),
    )
