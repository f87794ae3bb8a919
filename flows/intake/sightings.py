"""What a scanner says of a slide that it has not scanned: kept with the slide, for whoever looks for it."""

from datetime import datetime
from typing import Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from flows.barcode_matching.identifiers import find
from flows.books import Cause, Subject, note_changes
from models.tables.case import Slide

SEEN: Final = "seen"
"""What the history of a slide calls it."""


def note_sighting(session: Session, pattern: str, path: str, where: str, cause: Cause, now: datetime) -> None:
    """Keep where a slide was seen, if the path names exactly one slide; ``pattern`` is the site's of identifiers.

    It helps people to find the glass, and decides nothing.
    """
    names = find(pattern, path)
    if len(names) != 1:
        return
    named = select(Slide.id).where(Slide.container_identifier.in_((names[0], names[0].lower()))).limit(2)
    slides = session.scalars(named).all()
    if len(slides) == 1:
        note_changes(session, Subject("slide", slides[0]), [(SEEN, None, where)], cause, now)
