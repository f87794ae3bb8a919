"""A person asks the laboratory for work on a slide or a block: another scan, another cut, another stain."""

from typing import Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from flows import asking, cases
from flows.actions.desk import Acted, Desk, Person
from flows.actions.naming import block_named, slide_named
from flows.books import Subject, record
from models.database import database_now
from models.errors import RefusedError
from models.tables.case import Block, Case, Slide
from models.tables.work import WorkOrder
from models.work_fold import WorkCancelled, WorkKind

_OF_A_SLIDE: Final = ("rescan", "re-coverslip")
_LONGEST_STAIN: Final = 200


def order_work(desk: Desk, name: str, kind: WorkKind, person: Person, *, stain: str = "") -> Acted:
    """Ask the LIMS for work; ``name`` is a slide's or a block's, as ``slide_named`` takes it.

    Raises
    ------
    RefusedError
        Nothing is called so, or more than one thing; it was cancelled; it can't be worked on so; no stain was said, or
        one that nobody asked for; or the LIMS has the same work before it already.
    """
    _refuse_words(kind, stain)
    with desk.database.write("people.order_work") as session:
        found = _subject(session, name)
        case = cases.lock_case(session, found.case_id)
        session.refresh(found)
        assert case is not None  # noqa: S101 - a slide or block has its case's row
        _refuse(session, case, found, kind)
        cause = person.cause("order work")
        number = asking.ask(
            session, desk.settings, desk.ids, found, kind, cause, because=person.reason.strip(), stain=stain.strip()
        )
        slide_id = found.id if isinstance(found, Slide) else None
        lims = desk.settings.site(case.site_id).lims
        follows = (f"LIMS {lims} is asked as number {number}, and answers whether it takes the work",)
        return Acted(f"asked for: {kind}", follows, slide=slide_id, case=case.id)


def cancel_work(desk: Desk, number: str, person: Person) -> Acted:
    """Expect work no more that the LIMS was asked for; DPOW has no message for it, so people have to tell the LIMS.

    Raises
    ------
    RefusedError
        There is no such work order, or it is at its end.
    """
    with desk.database.write("people.cancel_work") as session:
        row = session.scalars(select(WorkOrder).where(WorkOrder.number == number.strip().upper())).one_or_none()
        if row is None:
            raise RefusedError("there is no such work order: 'coverslip show CASE' names those of a case")
        cases.lock_case(session, row.case_id)
        session.refresh(row)
        if row.state not in ("asked", "accepted"):
            raise RefusedError(f"work order {row.number} is {row.state}: there is nothing to take back")
        cause, now = person.cause("cancel work"), database_now(session)
        fact = WorkCancelled(number=row.number)
        record(session, Subject("case", row.case_id), fact, cause, effective_at=now, received_at=now)
        cases.project(session, desk.settings, desk.ids, row.case_id, cause)
        follows = ("nobody waits for it any more", "tell the LIMS: no message does")
        return Acted(f"work order {row.number} ({row.kind}) is cancelled", follows, case=row.case_id)


def _refuse_words(kind: WorkKind, stain: str) -> None:
    if kind == "stain" and not stain.strip():
        raise RefusedError("say which stain, as the laboratory calls it")
    if kind != "stain" and stain.strip():
        raise RefusedError(f"a {kind} has no stain: ask for a stain, or leave it out")
    if len(stain) > _LONGEST_STAIN:
        raise RefusedError(f"a stain has a name of at most {_LONGEST_STAIN} characters")


def _subject(session: Session, name: str) -> Slide | Block:
    """Return the slide that is called so; when none is, the block."""
    try:
        return session.get_one(Slide, slide_named(session, name))
    except RefusedError:
        block_id = block_named(session, name)
        if block_id is None:
            raise
        return session.get_one(Block, block_id)


def _refuse(session: Session, case: Case, found: Slide | Block, kind: WorkKind) -> None:
    if case.cancelled or found.cancelled:
        raise RefusedError("the LIMS has cancelled it: nobody would work on it")
    if isinstance(found, Block) and kind in _OF_A_SLIDE:
        raise RefusedError(f"a block can't have a {kind}: name one of its slides")
    if asking.is_asked(session, found.id, kind):
        raise RefusedError(f"the LIMS was asked for a {kind} of it already: 'coverslip show' says where that stands")
