"""What a read weighs, by the policy in force or by the model that weighed it first."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from flows.books import Subject, clear_alert, raise_alert
from flows.case_assignment.points import WEIGHTS_VERSION
from flows.case_assignment.weighing import NotWeighed, SpecimenWork, Weighed, Work, weigh
from flows.reads.parts import WHOLE
from flows.reads.rows import Row
from models.policy import Policy
from models.tables.books import History
from models.tables.case import Block, Case, Derivation, Slide, Specimen
from models.tables.reading import Credit, Read, ReadSpecimen

NO_WEIGHT: Final = "weight refused"
"""The alert about a case of which a read could not be weighed: the former weight stands."""

# Slides that name no specimen are read with these.
_TAKE_THE_REST: Final = (WHOLE, "part 1")
_FIRST_ROUND: Final = 1


@dataclass(frozen=True)
class _Below:
    """What stands below a case, and of which specimens each container is."""

    slides: Mapping[str, frozenset[str]]
    blocks: Mapping[str, frozenset[str]]
    specimens: Mapping[str, SpecimenWork]


def weigh_anew(session: Session, case: Case, row: Row, policy: Policy, now: datetime) -> None:
    """Give a read that nobody has the weight that the policy's model makes; what is no weight leaves the former one."""
    found = weight_of(session, case, row, policy, policy.weight_model)
    if isinstance(found, NotWeighed):
        raise_alert(session, Subject("case", case.id), NO_WEIGHT, found.sentence, now)
        if row.read.weights:
            return
        found = weight_of(session, case, row, policy, WEIGHTS_VERSION)
    else:
        clear_alert(session, case.id, NO_WEIGHT, now)
    if isinstance(found, Weighed):
        row.read.points, row.read.weights = found.points, found.model


def weight_of(session: Session, case: Case, row: Row, policy: Policy, model: str) -> Weighed | NotWeighed:
    """Return what a read weighs by a model, with what is known now; a later round is what came with it."""
    own = {code.upper(): points for code, points in policy.specimen_points.items()}
    since = _reported_before(session, case, row)
    if since is not None:
        work = _later_work(session, case, row, since)
    elif row.covers is None and model == WEIGHTS_VERSION:
        work = _whole_work(session, case)
    else:
        work = _work(case, row, _below(session, case))
    return weigh(model, work, role=row.read.role, own=own)


def _whole_work(session: Session, case: Case) -> Work:
    """Return how much there is to read, counted."""
    slides, blocks, specimens = session.execute(
        select(
            *(
                select(func.count()).where(table.case_id == case.id, table.cancelled.is_(False)).scalar_subquery()
                for table in (Slide, Block, Specimen)
            )
        )
    ).one()
    return Work(slides, blocks, (SpecimenWork(),) * specimens)


def _reported_before(session: Session, case: Case, row: Row) -> datetime | None:
    """Return since when there is more to read than was reported; ``None`` while nothing of it was."""
    if row.read.round > _FIRST_ROUND:
        return case.round_opened_at or row.read.created_at
    if row.covers is None:
        return None
    reported = (
        select(func.max(Credit.credited_at))
        .join(Read, Read.id == Credit.read_id)
        .join(ReadSpecimen, ReadSpecimen.read_id == Read.id)
        .where(Read.case_id == case.id, Read.round == row.read.round, Read.role == row.read.role)
        .where(Read.id != row.read.id, ReadSpecimen.specimen_id.in_(row.covers))
        .where(Read.created_at < row.read.created_at)
    )
    return session.scalar(reported)


def _later_work(session: Session, case: Case, row: Row, since: datetime) -> Work:
    """Return the work that came since a moment: the slides that were registered from then on."""
    below = _below(session, case)
    came = select(History.subject_id).where(
        History.subject_id.in_(below.slides), History.what == "slide", History.at >= since
    )
    new = set(session.scalars(came))
    theirs = [slide for slide in new if _is_of(below.slides[slide], row)]
    return Work(len(theirs), 0)


def _work(case: Case, row: Row, below: _Below) -> Work:
    slides = [one for one, roots in below.slides.items() if _is_of(roots, row)]
    blocks = [one for one, roots in below.blocks.items() if _is_of(roots, row)]
    covered = below.specimens if row.covers is None else below.specimens.keys() & row.covers
    share = _share(len(slides) + len(blocks), len(below.slides) + len(below.blocks))
    stated = case.stated_points
    return Work(
        slides=len(slides),
        blocks=len(blocks),
        specimens=tuple(below.specimens[one] for one in sorted(covered)),
        stated_points=stated if stated is None or row.covers is None else stated * share,
    )


def _share(theirs: int, of: int) -> float:
    return theirs / of if of else 1.0


def _is_of(roots: frozenset[str], row: Row) -> bool:
    if row.covers is None:
        return True
    return bool(roots & row.covers) if roots else row.read.scope in _TAKE_THE_REST


def _below(session: Session, case: Case) -> _Below:
    parents: dict[str, list[str]] = defaultdict(list)
    edges = select(Derivation.child_id, Derivation.parent_id).where(Derivation.case_id == case.id)
    for child, parent in session.execute(edges):
        parents[child].append(parent)
    named = session.execute(
        select(Specimen.id, Specimen.specimen_type).where(Specimen.case_id == case.id, Specimen.cancelled.is_(False))
    ).all()
    known = {specimen_id for specimen_id, _ in named}
    slides, blocks = (
        {one: _roots(one, parents) & known for one in session.scalars(ids)}
        for ids in (
            select(table.id).where(table.case_id == case.id, table.cancelled.is_(False)) for table in (Slide, Block)
        )
    )
    return _Below(slides, blocks, {one: _specimen(one, kind, slides, blocks) for one, kind in named})


def _roots(container: str, parents: Mapping[str, Iterable[str]]) -> frozenset[str]:
    to_see, seen = [container], {container}
    while to_see:
        above = [one for one in parents.get(to_see.pop(), ()) if one not in seen]
        seen.update(above)
        to_see += above
    return frozenset(seen)


def _specimen(
    specimen_id: str,
    kind: dict[str, str] | None,
    slides: Mapping[str, frozenset[str]],
    blocks: Mapping[str, frozenset[str]],
) -> SpecimenWork:
    return SpecimenWork(
        code=(kind or {}).get("code", ""),
        meaning=(kind or {}).get("meaning", ""),
        slides=sum(specimen_id in roots for roots in slides.values()),
        blocks=sum(specimen_id in roots for roots in blocks.values()),
    )
