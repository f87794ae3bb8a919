"""The changes of a roster in the database, each with its row of history; in the caller's transaction."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any, Final

from sqlalchemy import BindParameter, bindparam, delete, insert, update
from sqlalchemy.orm import Session

from flows.books import Cause, Subject, note_changes
from flows.people.pools import THE_POOL, keep_pools
from flows.people.roster.difference import Change
from flows.people.roster.lines import PARTS
from flows.people.roster.standing import KEYS, TABLES
from models.uid import uuid_of

# What a row of history has room for.
_LONGEST_ID: Final = 36


def bring_in(session: Session, changes: Sequence[Change], cause: Cause, now: datetime) -> None:
    """Write what changes, and say so in the books; whoever holds a read keeps it.

    The caller holds all pools (``lock_pools``) since before it read what stands.
    """
    by_part = {part: [change for change in changes if change.part == part] for part in PARTS}
    for part in PARTS:
        _write(session, part, by_part[part])
    # Only when nothing names them any more.
    for part in reversed(PARTS):
        _delete(session, part, by_part[part])
    keep_pools(session)
    for change in changes:
        note_changes(session, _in_books(change.subject), change.told(), cause, now)


def _write(session: Session, part: str, changes: Sequence[Change]) -> None:
    table, keys = TABLES[part], KEYS[part]
    added = [_row(part, one.after) for one in changes if one.before is None]
    changed = [_row(part, one.after) for one in changes if one.before is not None and one.after is not None]
    if added:
        session.execute(insert(table), added)
    if changed:
        others: dict[str, BindParameter[Any]] = {
            name: bindparam(f"to_{name}") for name in changed[0] if name not in keys and name != "pool_id"
        }
        where = [table.c[name] == bindparam(f"of_{name}") for name in keys]
        rows = [{f"{'of' if name in keys else 'to'}_{name}": row[name] for name in (*keys, *others)} for row in changed]
        session.execute(update(table).where(*where).values(others), rows)


def _delete(session: Session, part: str, changes: Sequence[Change]) -> None:
    table, keys = TABLES[part], KEYS[part]
    gone = [{f"of_{name}": getattr(one.before, name) for name in keys} for one in changes if one.after is None]
    if gone:
        session.execute(delete(table).where(*(table.c[name] == bindparam(f"of_{name}") for name in keys)), gone)


def _row(part: str, line: Any) -> Mapping[str, Any]:  # noqa: ANN401 - the line of that part
    row = asdict(line)
    if part == "pathologists":
        row |= {"known_as": list(line.known_as) or None, "pool_id": THE_POOL}
    return row


def _in_books(subject: Subject) -> Subject:
    if len(subject.id) <= _LONGEST_ID:
        return subject
    return Subject(subject.kind, str(uuid_of(hashlib.sha256(f"{subject.kind}\x1f{subject.id}".encode()).digest())))
