"""Writing the books: facts, history, alerts. Whatever changes a subject writes here in the same transaction."""

import hashlib
import json
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import bindparam, insert, text, update
from sqlalchemy.orm import Session

from models.base import table_of
from models.database import insert_unless_there
from models.statements import Frozen
from models.tables.books import Alert, Fact, History

_ALERT = table_of(Alert)
_NOTE = insert(table_of(History))
_CLEAR = (
    update(_ALERT)
    .where(_ALERT.c.subject_id == bindparam("subject"), _ALERT.c.kind.in_(bindparam("of_kinds", expanding=True)))
    # Written out: SQLite uses the index over open alerts only when it can see these very words.
    .where(text("cleared_at IS NULL"))
    .values(cleared_at=bindparam("at"))
)


@dataclass(frozen=True)
class Cause:
    """Why something changed: a step or a command, and with a person's action their name and reason."""

    what: str
    actor: str | None = None
    reason: str | None = None
    inbox_id: str | None = None


@dataclass(frozen=True)
class Subject:
    """What a fact, a change or an alert is about."""

    kind: str
    id: str


def record(  # noqa: PLR0913 - the columns of a fact
    session: Session,
    subject: Subject,
    fact: Frozen,
    cause: Cause,
    *,
    effective_at: datetime,
    received_at: datetime,
    rank: int = 0,
    sequence_number: int | None = None,
) -> bool:
    """Write one fact; return whether it was new. The same fact again changes nothing."""
    body = fact.model_dump(mode="json")
    values = {
        "subject_kind": subject.kind,
        "subject_id": subject.id,
        "kind": type(fact).__name__,
        "effective_at": effective_at,
        "sequence_number": sequence_number,
        "rank": rank,
        "digest": _digest(type(fact).__name__, effective_at, body, cause.actor),
        "body": body,
        "received_at": received_at,
        "inbox_id": cause.inbox_id,
        "actor": cause.actor,
        "reason": cause.reason,
    }
    return insert_unless_there(session, Fact, [values]) == 1


def note_changes(
    session: Session, subject: Subject, changes: Iterable[tuple[str, object, object]], cause: Cause, at: datetime
) -> None:
    """Append one history row for each (what, before, after) that differs."""
    rows = [
        {
            "at": at,
            "subject_kind": subject.kind,
            "subject_id": subject.id,
            "what": what,
            "before": _text(before),
            "after": _text(after),
            "cause": cause.what,
            "actor": cause.actor,
            "reason": cause.reason,
        }
        for what, before, after in changes
        if before != after
    ]
    if rows:
        session.execute(_NOTE, rows)


def raise_alert(session: Session, subject: Subject, kind: str, sentence: str, at: datetime) -> None:
    """Raise an alert unless the same one is open."""
    values = {
        "subject_kind": subject.kind,
        "subject_id": subject.id,
        "kind": kind,
        "sentence": sentence,
        "raised_at": at,
    }
    insert_unless_there(session, Alert, [values])


def clear_alert(session: Session, subject_id: str, kind: str, at: datetime) -> None:
    """Clear an open alert, if there is one."""
    clear_alerts(session, subject_id, (kind,), at)


def clear_alerts(session: Session, subject_id: str, kinds: Collection[str], at: datetime) -> None:
    """Clear the open alerts of these kinds about a subject."""
    session.execute(_CLEAR, {"subject": subject_id, "of_kinds": list(kinds), "at": at})


def _digest(kind: str, effective_at: datetime, body: dict[str, Any], actor: str | None) -> str:
    stated = json.dumps([kind, effective_at.isoformat(), body, actor], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(stated.encode()).hexdigest()


def _text(value: object) -> str | None:
    return None if value is None else str(value)
