"""A person stops a case's clock and lets it run again, or says when a meeting wants it."""

from datetime import datetime
from typing import Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from flows import cases, reads
from flows.actions.desk import Acted, Desk, Person
from flows.actions.reads_held import name_of
from flows.books import Subject, note_changes
from flows.deadlines.keep import keep, say_moment
from flows.deadlines.targets import MDT
from flows.deadlines.telling import at_in_words, called
from models.database import database_now
from models.errors import RefusedError
from models.tables.case import Case
from models.tables.deadline import DeadlinePause
from models.tables.reading import Read

_LONGEST_SOURCE: Final = 200


def pause_deadlines(desk: Desk, case_id: str, person: Person) -> Acted:
    """Stop the clock of a case, such as while it waits for the clinic or for decalcification.

    Deadlines that are a moment (what the LIMS asked for, a meeting) and those whose target can't be paused go on.

    Raises
    ------
    RefusedError
        There is no such case, nobody has to read it, or its clock stands still already.
    """
    with desk.database.write("people.pause_deadlines") as session:
        case, now = _open_case(session, case_id), database_now(session)
        standing = _pause_of(session, case)
        if standing is not None:
            raise RefusedError(
                f"the clock of case {case.id} stands still since {_at(desk, case, standing.began_at, now)}: "
                f"{standing.by} stopped it"
            )
        cause = person.cause("pause deadlines")
        session.add(DeadlinePause(case_id=case.id, began_at=now, by=cause.actor, because=cause.reason))
        note_changes(session, Subject("case", case.id), [("clock", "runs", "stands still")], cause, now)
        session.flush()
        keep(session, desk.settings, case, cause, now)
        return Acted("its clock stands still", ("'coverslip deadline resume' lets it run again",), case=case.id)


def resume_deadlines(desk: Desk, case_id: str, person: Person) -> Acted:
    """Let the clock of a case run again.

    Raises
    ------
    RefusedError
        There is no such case, or its clock runs.
    """
    with desk.database.write("people.resume_deadlines") as session:
        case, now = _case(session, case_id), database_now(session)
        standing = _pause_of(session, case)
        if standing is None:
            raise RefusedError(f"the clock of case {case.id} runs: there is nothing to resume")
        standing.ended_at = max(now, standing.began_at)
        cause = person.cause("resume deadlines")
        note_changes(session, Subject("case", case.id), [("clock", "stands still", "runs")], cause, now)
        session.flush()
        keep(session, desk.settings, case, cause, now)
        return Acted("its clock runs again", (_due(desk, case, now),), case=case.id)


def set_mdt(desk: Desk, case_id: str, at: datetime | None, person: Person) -> Acted:
    """Say when a multidisciplinary meeting wants a case, and have somebody prepare it; without a moment, nobody does.

    Raises
    ------
    RefusedError
        There is no such case, nobody has to read it, or the moment is over.
    """
    with desk.database.write("people.set_mdt") as session:
        case, now, cause = _open_case(session, case_id), database_now(session), person.cause("set MDT")
        if at is not None and at <= now:
            raise RefusedError("that moment is over: say when the next meeting begins")
        say_moment(session, case, MDT, f"set by {cause.actor}"[:_LONGEST_SOURCE], at, cause, now)
        keep(session, desk.settings, case, cause, now)
        follows = [_due(desk, case, now)]
        if at is None:
            because = f"{person.name.strip()} says that no meeting wants it any more"
            had = reads.drop_mdt_reads(session, case, because=because, cause=cause, now=now)
            follows += [f"{name_of(session, one)} is told" for one in had]
        elif _may_be_prepared(session, desk, case):
            because = cause.reason or ""
            reads.add_mdt_read(session, desk.settings, case, cause.actor or "", because, at=at, cause=cause, now=now)
            follows.append("somebody is asked to prepare it")
        wanted = "no meeting wants it any more" if at is None else f"a meeting wants it by {_at(desk, case, at, now)}"
        return Acted(wanted, tuple(follows), case=case.id)


def _may_be_prepared(session: Session, desk: Desk, case: Case) -> bool:
    """Whether a read for the meeting is ours to give, and not there yet."""
    if desk.settings.site(case.site_id).who_allocates(case.subspecialty) != "coverslip":
        return False
    there = select(Read.id).where(Read.case_id == case.id, Read.role == "mdt", Read.closed_at.is_(None))
    return session.scalar(there.limit(1)) is None


def _case(session: Session, case_id: str) -> Case:
    case = cases.lock_case(session, case_id)
    if case is None:
        raise RefusedError(f"there is no case {case_id}: 'coverslip list' shows those there are")
    return case


def _open_case(session: Session, case_id: str) -> Case:
    case = _case(session, case_id)
    if case.cancelled:
        raise RefusedError(f"case {case.id} was cancelled by the LIMS: nothing is due")
    if case.round_closed_at is not None:
        raise RefusedError(f"case {case.id} is reported: nothing is due until more is asked of it")
    return case


def _pause_of(session: Session, case: Case) -> DeadlinePause | None:
    found = select(DeadlinePause).where(DeadlinePause.case_id == case.id, DeadlinePause.ended_at.is_(None))
    return session.scalars(found).one_or_none()


def _due(desk: Desk, case: Case, now: datetime) -> str:
    if case.due_at is None:
        return "nothing says by when it is due"
    return f"it is due {_at(desk, case, case.due_at, now)} ({called(case.due_kind or '')})"


def _at(desk: Desk, case: Case, at: datetime, now: datetime) -> str:
    return at_in_words(at, desk.settings.site(case.site_id).zone, now)
