"""The physical assets of a case as the books have them: specimens, blocks and slides, and what was taken from what."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from sqlalchemy import select, union_all
from sqlalchemy.orm import Session

from models.tables.case import Block, Derivation, Slide, Specimen


@dataclass(frozen=True)
class Asset:
    """A specimen, block or slide; ``parents`` are the container identifiers of what it was taken from.

    ``anatomic_site`` and ``received_at`` are a specimen's; ``stains`` (codes), ``stain_text`` and ``route`` a slide's.
    """

    kind: Literal["specimen", "block", "slide"]
    container_identifier: str
    issuer: str
    parents: tuple[str, ...] = ()
    cancelled: bool = False
    anatomic_site: str | None = None
    received_at: datetime | None = None
    stains: tuple[str, ...] = ()
    stain_text: str | None = None
    route: str | None = None


def assets_of_case(session: Session, case_id: str) -> tuple[Asset, ...]:
    """Return a case's specimens, then its blocks, then its slides, by their identifiers."""
    parents = _parents(session, case_id)
    return tuple(
        sorted(
            (*_specimens(session, case_id), *_blocks(session, case_id, parents), *_slides(session, case_id, parents)),
            key=lambda one: (("specimen", "block", "slide").index(one.kind), one.container_identifier),
        )
    )


def _specimens(session: Session, case_id: str) -> Iterator[Asset]:
    for one in session.scalars(select(Specimen).where(Specimen.case_id == case_id)):
        site = (one.anatomic_site or {}).get("code")
        yield Asset(
            "specimen",
            one.container_identifier,
            one.issuer,
            cancelled=one.cancelled,
            anatomic_site=site,
            received_at=one.received_at,
        )


def _blocks(session: Session, case_id: str, parents: dict[str, tuple[str, ...]]) -> Iterator[Asset]:
    for one in session.scalars(select(Block).where(Block.case_id == case_id)):
        yield Asset("block", one.container_identifier, one.issuer, parents[one.id], cancelled=one.cancelled)


def _slides(session: Session, case_id: str, parents: dict[str, tuple[str, ...]]) -> Iterator[Asset]:
    for one in session.scalars(select(Slide).where(Slide.case_id == case_id)):
        yield Asset(
            "slide",
            one.container_identifier,
            one.issuer,
            parents[one.id],
            cancelled=one.cancelled,
            stains=tuple(stain["code"] for stain in one.stains),
            stain_text=one.stain_text,
            route=one.route,
        )


def _parents(session: Session, case_id: str) -> dict[str, tuple[str, ...]]:
    """Return the identifiers of what each thing was taken from, by its own id."""
    above = union_all(
        *(
            select(table.id.label("id"), table.container_identifier.label("name")).where(table.case_id == case_id)
            for table in (Specimen, Block)
        )
    ).subquery()
    rows = session.execute(
        select(Derivation.child_id, above.c.name)
        .join(above, above.c.id == Derivation.parent_id)
        .where(Derivation.case_id == case_id)
        .order_by(above.c.name)
    )
    found: dict[str, tuple[str, ...]] = defaultdict(tuple)
    for child_id, name in rows:
        found[child_id] += (name,)
    return found
