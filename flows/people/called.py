"""What the LIMS and the PACS call our readers."""

from sqlalchemy import bindparam, select
from sqlalchemy.orm import Session

from models.base import table_of
from models.tables.reading import Pathologist

_PERSON = table_of(Pathologist)
# Whoever reads no longer may share a name with their successor, who is meant then.
_CALLED = select(_PERSON.c.id, _PERSON.c.known_as).order_by(_PERSON.c.active.desc(), _PERSON.c.id)
_CALLED_ONE = select(_PERSON.c.known_as).where(_PERSON.c.id == bindparam("person"))


def known_reader(session: Session, stated_id: str) -> str | None:
    """Return which of our readers a LIMS or a PACS calls so; capitals do not matter."""
    wanted = stated_id.strip().casefold()
    for person, known_as in session.execute(_CALLED):
        if wanted in {name.casefold() for name in known_as or (person,)}:
            found: str = person
            return found
    return None


def called(session: Session, pathologist_id: str) -> str:
    """Return what we call a reader where others listen."""
    known_as = session.scalar(_CALLED_ONE, {"person": pathologist_id})
    return known_as[0] if known_as else pathologist_id
