"""What people may call things: an opaque id or its beginning; a slide also by what is written on it."""

import re
from collections.abc import Sequence
from typing import Final

from sqlalchemy import ColumnElement, and_, or_, select
from sqlalchemy.orm import InstrumentedAttribute, Session

from models.errors import RefusedError
from models.tables.books import InboxMessage
from models.tables.case import Block, Case, Identifier, Slide
from models.tables.scan import Scan

_SHORTEST: Final = 6
_LENGTH: Final = 36
_BEGINNING: Final = re.compile(rf"[0-9a-f-]{{{_SHORTEST},{_LENGTH}}}")


def scan_named(session: Session, name: str) -> str:
    """Return the id of the one scan that this is the id of, or the beginning of its id: at least six characters.

    Raises
    ------
    RefusedError
        There is none, or more than one.
    """
    return _only("scan", _beginning_with(session, Scan.id, name), name)


def case_named(session: Session, name: str) -> str:
    """Return the id of the one case that this names; as ``scan_named``.

    Also by its accession number, or by what is written on one of its slides.
    """
    return _only("case", _beginning_with(session, Case.id, name) or _cases_known_as(session, name), name)


def message_named(session: Session, name: str) -> str:
    """Return the id of the one message that came in that this names; as ``scan_named``."""
    return _only("message", _beginning_with(session, InboxMessage.id, name), name)


def thing_named(session: Session, name: str) -> tuple[str, str]:
    """Return ``scan``, ``case`` or ``message`` and the id of the one thing that this names; as ``scan_named``.

    A case also by its accession number, or by what is written on one of its slides.
    """
    keys = {"scan": Scan.id, "case": Case.id, "message": InboxMessage.id}
    kinds = {one: kind for kind, key in keys.items() for one in _beginning_with(session, key, name)}
    kinds = kinds or dict.fromkeys(_cases_known_as(session, name), "case")
    found = _only("scan, case or message", list(kinds), name)
    return kinds[found], found


def slide_named(session: Session, name: str) -> str:
    """Return the id of the one slide that this names.

    By what is written on it, as ``container_identifier@issuer`` or without the issuer, or by its id; capitals do not
    matter in the first two, as when a label is read.

    Raises
    ------
    RefusedError
        There is none, or more than one.
    """
    found = {*_labelled(session, name), *_beginning_with(session, Slide.id, name)}
    if name.lower() in found:
        return name.lower()
    if len(found) > 1:
        listed = ", ".join(sorted(found))
        raise RefusedError(f"that names more than one slide: use container_identifier@issuer, or one of {listed}")
    if not found:
        raise RefusedError(
            "no order has named such a slide: give its container identifier as it is on the label, "
            "container_identifier@issuer, or its id"
        )
    return found.pop()


def block_named(session: Session, name: str) -> str | None:
    """Return the id of the one block that this names, as ``slide_named`` does of a slide; ``None`` if it is not one."""
    found = {*_labelled(session, name, Block), *_beginning_with(session, Block.id, name)}
    return found.pop() if len(found) == 1 else None


def _cases_known_as(session: Session, name: str) -> Sequence[str]:
    """Return the case that people know by this accession number, or by one of its slides."""
    accession = (Identifier.kind == "accession", Identifier.value.in_(_written(name)))
    found = {
        *session.scalars(select(Case.id).join(Identifier, Identifier.subject_id == Case.id).where(*accession).limit(2)),
        *session.scalars(select(Slide.case_id).where(Slide.id.in_(_labelled(session, name))).limit(2)),
    }
    if len(found) > 1:
        listed = ", ".join(sorted(found))
        raise RefusedError(f"that is in more than one case: use container_identifier@issuer, or one of {listed}")
    return list(found)


def _labelled(session: Session, name: str, kind: type[Slide | Block] = Slide) -> Sequence[str]:
    """Return the slides, or blocks, that bear this name; either part of it may hold an @ itself."""
    wanted: list[ColumnElement[bool]] = [kind.container_identifier.in_(_written(name))]
    for place in (at.start() for at in re.finditer("@", name)):
        container, issuer = name[:place], name[place + 1 :]
        wanted.append(and_(kind.container_identifier.in_(_written(container)), kind.issuer.in_(_written(issuer))))
    return session.scalars(select(kind.id).where(or_(*wanted)).limit(10)).all()


def _written(text: str) -> tuple[str, ...]:
    stripped = text.strip()
    return (stripped, stripped.upper(), stripped.lower())


def _beginning_with(session: Session, key: InstrumentedAttribute[str], name: str) -> Sequence[str]:
    wanted = name.strip().lower()
    if not _BEGINNING.fullmatch(wanted):
        return ()
    # A range and no LIKE: only it is carried by the key's index on both databases.
    until = f"{wanted}g"
    found = session.scalars(select(key).where(key >= wanted, key < until).order_by(key).limit(2)).all()
    # Some collations of PostgreSQL pass over hyphens.
    return [one for one in found if one.startswith(wanted)]


def _only(what: str, found: Sequence[str], name: str) -> str:
    if len(found) == 1:
        return found[0]
    if found:
        raise RefusedError(f"more than one {what} begins with {name.strip()}: give more of its id")
    of_a_case = "; a case also by its accession number or one of its slides" if "case" in what else ""
    raise RefusedError(
        f"there is no such {what}: give its id, or at least the first {_SHORTEST} characters, as "
        f"'coverslip {'replay' if what == 'message' else 'list'}' shows{of_a_case}"
    )
