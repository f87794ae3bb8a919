"""A read that an action holds: its case locked, and as whoever acts saw it; or who was first, and when."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final
from zoneinfo import ZoneInfo

from sqlalchemy import select
from sqlalchemy.orm import Session

from connectors.settings import Settings
from flows import allocation, cases
from flows.actions.reads_named import Seen, seen_now
from models.database import database_now
from models.errors import RefusedError
from models.tables.case import Case
from models.tables.reading import Assignment, Pathologist, Read

MACHINES: Final = frozenset({"coverslip", "batch"})
"""Who decided an assignment when no person and no neighbour did."""


@dataclass(frozen=True)
class Held:
    """A read under its case's lock, with whoever has it, if anybody."""

    case: Case
    read: Read
    seen: Seen
    given: Assignment | None
    now: datetime


def hold(session: Session, settings: Settings, seen: Seen, *, also_marked: bool = True) -> Held:
    """Lock the case of a read, which must still be as it was seen.

    Parameters
    ----------
    also_marked
        Whether it counts that its owner has accepted or opened it since. It does for whoever takes it from them.

    Raises
    ------
    RefusedError
        The read is over, or somebody was first: the sentence says who and when.
    """
    held = hold_any(session, seen)
    before = (seen.assignment_id, seen.accepted_at, seen.opened_at)
    after = (held.seen.assignment_id, held.seen.accepted_at, held.seen.opened_at)
    if before[0] != after[0] or (also_marked and before != after):
        raise RefusedError(f"{who_was_first(session, settings, held)}: nothing was changed, look at it again")
    return held


def hold_any(session: Session, seen: Seen) -> Held:
    """Lock the case of a read, whoever has it by now.

    Raises
    ------
    RefusedError
        The read is over.
    """
    case = cases.lock_case(session, seen.case_id)
    read = session.get(Read, seen.read_id, populate_existing=True)
    if case is None or read is None:
        raise RefusedError("there is no such read: 'coverslip assign reads PERSON' shows what somebody has")
    if case.cancelled:
        raise RefusedError(f"case {case.id} was cancelled by the LIMS: nobody has to read it")
    if read.closed_at is not None:
        raise RefusedError(f"the {read.role} read of case {case.id} is over: its report or a person closed it")
    now_seen = seen_now(session, read)
    given = session.get(Assignment, now_seen.assignment_id) if now_seen.assignment_id is not None else None
    return Held(case, read, now_seen, given, database_now(session))


def expect_ours(settings: Settings, held: Held) -> None:
    """Refuse to say who reads a case where that is not ours to say.

    Raises
    ------
    RefusedError
        The LIMS or the PACS gives this read.
    """
    authority = allocation.authority_of(settings, held.case)
    if authority != "coverslip" and held.read.role == "primary":
        who = allocation.WHO_SAYS[authority]
        raise RefusedError(f"{who} says who reads this case: have it changed there, and it changes here")


def expect_owner(session: Session, settings: Settings, held: Held, reader_id: str) -> Assignment:
    """Return the assignment of whoever acts on what they have.

    Raises
    ------
    RefusedError
        Somebody else has the read, or nobody.
    """
    if held.given is None or held.given.pathologist_id != reader_id:
        who, now = name_of(session, reader_id), who_was_first(session, settings, held)
        if not _ever_had(session, held.read.id, reader_id):
            raise RefusedError(f"{who} never had the {held.read.role} read of case {held.case.id}: {now}")
        raise RefusedError(f"{now}: it is not with {who}")
    return held.given


def who_was_first(session: Session, settings: Settings, held: Held) -> str:
    """Say who has a read and since when, or who gave it back."""
    zone = settings.site(held.case.site_id).zone
    if held.given is None:
        return _gone(session, held, zone)
    who = name_of(session, held.given.pathologist_id)
    if held.given.opened_at is not None:
        return f"{who} opened it {when(held.given.opened_at, held.now, zone)}"
    if held.given.accepted_at is not None:
        return f"{who} accepted it {when(held.given.accepted_at, held.now, zone)}"
    since = when(held.given.started_at, held.now, zone)
    if held.given.decided_by in MACHINES:
        return f"it went to {who} {since}"
    return f"{held.given.decided_by} gave it to {who} {since}"


def when(at: datetime, now: datetime, zone: str) -> str:
    """Return a time as people at a site say it: the day only when it is not today."""
    there, today = at.astimezone(ZoneInfo(zone)), now.astimezone(ZoneInfo(zone)).date()
    offset = there.tzname() or "UTC"
    said = f"at {there:%H:%M} {'UTC' if offset[0] in '+-' else ''}{offset}"
    return said if there.date() == today else f"on {there.day} {there:%b} {said}"


def are_told(session: Session, held: Held, *whom: str | None) -> str:
    """Say who is told of a change of hands: these people, and the LIMS where it hears of this read."""
    named = [name_of(session, one) for one in dict.fromkeys(whom) if one is not None]
    named += ["the LIMS"] if held.read.role == "primary" else []
    *others, last = named
    return f"{', '.join(others)} and {last} are told" if others else f"{last} is told"


def name_of(session: Session, pathologist_id: str) -> str:
    """Return what people call a pathologist."""
    person = session.get(Pathologist, pathologist_id)
    return person.name if person is not None else pathologist_id


def _ever_had(session: Session, read_id: str, reader_id: str) -> bool:
    theirs = select(Assignment.id).where(Assignment.read_id == read_id, Assignment.pathologist_id == reader_id)
    return session.scalar(theirs.limit(1)) is not None


def _gone(session: Session, held: Held, zone: str) -> str:
    last = select(Assignment).where(Assignment.read_id == held.read.id).order_by(Assignment.id.desc()).limit(1)
    had = session.scalars(last).one_or_none()
    if had is None or had.ended_at is None:
        return "nobody has it"
    since, who = when(had.ended_at, held.now, zone), name_of(session, had.pathologist_id)
    return f"nobody has it: it was taken from {who} {since} ({had.ended_because or 'no reason was kept'})"
