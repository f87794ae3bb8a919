"""What pathologists are told of their reads: a row each, seen when they say so."""

from datetime import datetime
from typing import Literal

from sqlalchemy import insert
from sqlalchemy.orm import Session

from models.base import table_of
from models.tables.reading import Notice

NoticeKind = Literal[
    "given",
    "taken",
    "incomplete",
    "before proof",
    "proven",
    "proof failed",
    "late slide",
    "withdrawn",
    "absence",
    "asked",
    "deadline",
    "paused",
]

_TELL = insert(table_of(Notice))


def tell(  # noqa: PLR0913, PLR0917 - a notice's own columns
    session: Session,
    pathologist_id: str,
    case_id: str,
    kind: NoticeKind,
    sentence: str,
    now: datetime,
    read_id: str | None = None,
) -> None:
    """Leave a notice for somebody; the sentence names no patient, and the case by nothing but its id."""
    row = {"pathologist_id": pathologist_id, "case_id": case_id, "read_id": read_id, "kind": kind}
    session.execute(_TELL, row | {"sentence": sentence, "made_at": now, "seen_at": None})
