"""What no deadline tells of any more: a clock that was stopped and never let run, a meeting that nobody prepared."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import bindparam, select
from sqlalchemy.orm import Session

from flows.books import Subject, clear_alert, raise_alert
from flows.deadlines.targets import MDT
from flows.deadlines.telling import at_in_words
from flows.people.policies import policy_in_force
from models.base import table_of
from models.tables.books import Alert
from models.tables.case import Case
from models.tables.deadline import Deadline, DeadlinePause
from models.tables.place import Site
from models.tables.reading import Read

STANDS_STILL: Final = "clock stands still"
"""The alert about a case whose clock was stopped long ago."""

UNPREPARED: Final = "meeting is over"
"""The alert about a read for a meeting that has begun, of which nobody said that it was prepared."""

_ALERT, _CASE, _DEADLINE, _PAUSE, _READ, _SITE = (
    table_of(one) for one in (Alert, Case, Deadline, DeadlinePause, Read, Site)
)
_STAND_STILL = (
    select(_PAUSE.c.case_id, _PAUSE.c.began_at, _PAUSE.c.by, _SITE.c.zone)
    .join(_CASE, _CASE.c.id == _PAUSE.c.case_id)
    .join(_SITE, _SITE.c.id == _CASE.c.site_id)
    .where(_PAUSE.c.ended_at.is_(None), _PAUSE.c.began_at <= bindparam("before"))
)
_NOT_PREPARED = (
    select(_READ.c.id, _DEADLINE.c.due_at, _SITE.c.zone)
    .join(_CASE, _CASE.c.id == _READ.c.case_id)
    .join(_SITE, _SITE.c.id == _CASE.c.site_id)
    .join(_DEADLINE, (_DEADLINE.c.case_id == _READ.c.case_id) & (_DEADLINE.c.round == _READ.c.round))
    .where(_READ.c.role == MDT, _READ.c.closed_at.is_(None), _DEADLINE.c.kind == MDT)
    .where(_DEADLINE.c.due_at <= bindparam("now"))
)
_RAISED = select(_ALERT.c.subject_id).where(_ALERT.c.kind == bindparam("of_kind"), _ALERT.c.cleared_at.is_(None))


@dataclass(frozen=True)
class Forgotten:
    """What is to be said of one kind: the sentences by subject, and the subjects of which it is no longer so."""

    kind: str
    subject_kind: str
    new: Mapping[str, str]
    over: frozenset[str]


def forgotten(session: Session, now: datetime) -> tuple[Forgotten, ...]:
    """Return what should be raised or is over; nothing where that is as it was."""
    before = now - timedelta(days=policy_in_force(session, now).policy.longest_pause_days)
    standing = {
        case_id: f"its clock stands still since {at_in_words(began_at, zone, now)}, when {by} stopped it: "
        "'coverslip deadline resume' lets it run again"
        for case_id, began_at, by, zone in session.execute(_STAND_STILL, {"before": before})
    }
    unprepared = {
        read_id: f"its meeting began {at_in_words(due_at, zone, now)}, and nobody said that it was prepared: "
        "'coverslip assign answer' says so, 'coverslip assign call-off' that nobody wants it any more"
        for read_id, due_at, zone in session.execute(_NOT_PREPARED, {"now": now})
    }
    found = (_news(session, STANDS_STILL, "case", standing), _news(session, UNPREPARED, "read", unprepared))
    return tuple(one for one in found if one.new or one.over)


def say(session: Session, found: Forgotten, now: datetime) -> None:
    """Raise what is new, and clear what is over."""
    for subject_id, sentence in sorted(found.new.items()):
        raise_alert(session, Subject(found.subject_kind, subject_id), found.kind, sentence, now)
    for subject_id in sorted(found.over):
        clear_alert(session, subject_id, found.kind, now)


def _news(session: Session, kind: str, subject_kind: str, sentences: Mapping[str, str]) -> Forgotten:
    raised = frozenset(session.scalars(_RAISED, {"of_kind": kind}))
    new = {subject: sentence for subject, sentence in sentences.items() if subject not in raised}
    return Forgotten(kind, subject_kind, new, raised - sentences.keys())
