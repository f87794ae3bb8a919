"""The physical assets of a case as the books have them: specimens, blocks and slides; and the work asked for."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from sqlalchemy import select, union_all
from sqlalchemy.orm import Session

from models.case_fold import ImagesFact
from models.tables.books import Fact
from models.tables.case import Block, Derivation, Slide, Specimen
from models.tables.work import WorkOrder


@dataclass(frozen=True)
class Asset:
    """A specimen, block or slide; ``parents`` are the container identifiers of what it was taken from.

    ``anatomic_site`` and ``received_at`` are a specimen's; ``stains`` (codes), ``stain_text`` and ``route`` a slide's.
    So is what an image manager says of it: whether it has images, of which study, and when they were scanned.
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
    images_elsewhere: bool | None = None
    study_instance_uid: str | None = None
    scanned_at: datetime | None = None


@dataclass(frozen=True)
class Work:
    """Work that the laboratory was asked for: our number and its own, what it made, why it refused."""

    number: str
    kind: str
    state: str
    asked_by: str
    because: str
    asked_at: datetime
    filler_number: str | None
    refusal: str | None
    made: str | None

    @property
    def sentence(self) -> str:
        """The work order in words."""
        said = {
            "refused": f", because {self.refusal}" if self.refusal else "",
            "accepted": f" as {self.filler_number}" if self.filler_number else "",
            "fulfilled": f" as {self.made}" if self.made else "",
        }.get(self.state, "")
        state = "not answered yet" if self.state == "asked" else self.state
        return f"{self.number}: {self.kind}, {state}{said}; asked for by {self.asked_by}: {self.because}"


def work_of_case(session: Session, case_id: str) -> tuple[Work, ...]:
    """Return the work orders of a case, the first one first."""
    rows = session.scalars(select(WorkOrder).where(WorkOrder.case_id == case_id).order_by(WorkOrder.asked_at))
    return tuple(
        Work(
            number=one.number,
            kind=one.kind,
            state=one.state,
            asked_by=one.asked_by,
            because=one.because,
            asked_at=one.asked_at,
            filler_number=one.filler_number,
            refusal=one.refusal,
            made=one.made_container,
        )
        for one in rows
    )


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
    scanned_at = _scanned_at(session, case_id)
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
            images_elsewhere=one.images_elsewhere,
            study_instance_uid=one.elsewhere_study_uid,
            scanned_at=scanned_at.get((one.issuer, one.container_identifier)),
        )


def _scanned_at(session: Session, case_id: str) -> dict[tuple[str, str], datetime]:
    """Return when image managers say that slides were scanned, by issuer and identifier: what was said last counts."""
    bodies = session.scalars(
        select(Fact.body)
        .where(Fact.subject_id == case_id, Fact.kind == ImagesFact.__name__)
        .order_by(Fact.effective_at, Fact.id)
    )
    told = (ImagesFact.model_validate(body).images for body in bodies)
    return {(one.issuer, one.container_identifier): one.scanned_at.at for one in told if one.scanned_at}


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
