"""What people call readers and reads: a pathologist by id or part of a name, a read by its case and role."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from flows.actions.naming import thing_named
from models.errors import RefusedError
from models.tables.reading import Assignment, Pathologist, Read

_MOST_LISTED: Final = 8


@dataclass(frozen=True)
class Seen:
    """A read as somebody saw it when they decided to act: who had it, by which assignment, and what they had done.

    Whoever acts names this; when it is no longer so, they learn who was first, and nothing is changed.
    """

    read_id: str
    case_id: str
    role: str
    assignment_id: int | None = None
    pathologist_id: str | None = None
    accepted_at: datetime | None = None
    opened_at: datetime | None = None


def pathologist_named(session: Session, name: str, *, by_whole_words: bool = False) -> Pathologist:
    """Return the one pathologist with this id, or of whose name or id this is a part; capitals do not matter.

    Somebody who reads no longer is meant only where nobody else can be. With ``by_whole_words`` a name must consist of
    words of theirs: for what was not said to find somebody by.

    Raises
    ------
    RefusedError
        There is none, or more than one: the sentence names those there are.
    """
    wanted = " ".join(name.split()).casefold()
    people = session.scalars(select(Pathologist).order_by(Pathologist.name, Pathologist.id)).all()
    exact = [one for one in people if one.id.casefold() == wanted]
    partly = [one for one in people if _is_part(wanted, one, by_whole_words=by_whole_words)]
    found = exact or [one for one in partly if one.active] or partly
    if len(found) == 1:
        return found[0]
    if found:
        raise RefusedError(f"that names more than one pathologist: say which of {_listed(found)}")
    known = [one for one in people if one.active]
    if not known:
        raise RefusedError("no pathologist is known yet: the settings name them, or 'coverslip people import'")
    raise RefusedError(f"no pathologist is called so: there are {_listed(known)}")


def pathologist_called(session: Session, name: str) -> str | None:
    """Return the id of the pathologist who acts under this name; ``None`` for anybody else, such as a secretary."""
    try:
        return pathologist_named(session, name, by_whole_words=True).id
    except RefusedError:
        return None


def read_named(session: Session, case: str, *, reader: str | None = None, role: str | None = None) -> Seen:
    """Return the one open read that is meant, as it is now.

    Parameters
    ----------
    case
        As ``thing_named`` takes a case.
    reader
        The id of the pathologist whose read is meant, where a case has several.
    role
        Its role, where that does not tell it apart either; with its scope where it must be: ``opinion 2``.

    Raises
    ------
    RefusedError
        There is no such case, it has no such read, or several.
    """
    kind, case_id = thing_named(session, case)
    if kind != "case":
        raise RefusedError(f"that is a {kind}: name a case, by its id or its accession number")
    of_case = [seen for read, seen in _open_reads(session, case_id) if role is None or role in _called(read)]
    theirs = [seen for seen in of_case if seen.pathologist_id == reader]
    found = theirs if reader is not None and theirs else of_case
    if len(found) == 1:
        return found[0]
    if found:
        none_theirs = (
            f", none of them with {session.get_one(Pathologist, reader).name}" if reader and not theirs else ""
        )
        roles = ", ".join(dict.fromkeys(_called(read)[-1] for read, _ in _open_reads(session, case_id)))
        raise RefusedError(f"case {case_id[:8]} has several open reads{none_theirs}: say with --role which of {roles}")
    which = f"no open {role} read" if role else "no open read"
    raise RefusedError(f"case {case_id[:8]} has {which}: 'coverslip show {case_id[:8]}' says where it stands")


def seen_now(session: Session, read: Read) -> Seen:
    """Return a read as it is now, to be held against what it is when an action has locked it."""
    open_one = select(Assignment).where(Assignment.read_id == read.id, Assignment.ended_at.is_(None))
    given = session.scalars(open_one.execution_options(populate_existing=True)).one_or_none()
    if given is None:
        return Seen(read.id, read.case_id, read.role)
    return Seen(
        read_id=read.id,
        case_id=read.case_id,
        role=read.role,
        assignment_id=given.id,
        pathologist_id=given.pathologist_id,
        accepted_at=given.accepted_at,
        opened_at=given.opened_at,
    )


def _is_part(wanted: str, person: Pathologist, *, by_whole_words: bool) -> bool:
    words = wanted.split()
    if by_whole_words:
        return bool(words) and set(words) <= set(person.name.casefold().split())
    return bool(words) and (wanted in person.name.casefold() or wanted in person.id.casefold())


def _open_reads(session: Session, case_id: str) -> list[tuple[Read, Seen]]:
    ordered = select(Read).where(Read.case_id == case_id, Read.closed_at.is_(None)).order_by(Read.role, Read.scope)
    return [(read, seen_now(session, read)) for read in session.scalars(ordered)]


def _called(read: Read) -> tuple[str, ...]:
    """Return what a read may be called: its role, its scope, both; the last one is the most exact."""
    if read.scope == "whole":
        return (read.role,)
    if read.scope.startswith(read.role):
        return (read.role, read.scope)
    return (read.role, read.scope, f"{read.role} {read.scope}")


def _listed(people: list[Pathologist]) -> str:
    named = [f"{one.id} ({one.name})" for one in people[:_MOST_LISTED]]
    more = len(people) - len(named)
    return ", ".join(named) + (f" and {more} more" if more else "")
