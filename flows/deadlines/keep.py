"""The deadlines of a case, brought in line with its round, the policy and its pauses; the earliest that lives rules.

The caller holds the case's row in its write transaction. A round that closes ends its deadlines, the next one has its
own. Those of the policy follow the version in force whenever their case is looked at; a moment that somebody set (the
LIMS by its orders, a person for a meeting) stays as it was said.
"""

import hashlib
from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from typing import Final

from sqlalchemy import bindparam, select, update
from sqlalchemy.orm import Session

from connectors.settings import Settings
from flows import ledger
from flows.books import Cause, Subject, clear_alerts, note_changes
from flows.deadlines.clocks import counted_for, pauses_of
from flows.deadlines.targets import A_MOMENT, ORDERED, Counted, is_pausable
from flows.people.policies import policy_in_force
from models.base import table_of
from models.case_fold import CaseState, Due
from models.tables.books import Fact
from models.tables.case import Case
from models.tables.deadline import Deadline, DeadlinePause
from models.tables.reading import Read
from models.tables.scan import Scan
from models.uid import framed, uuid_text

AT_RISK: Final = "deadline at risk"
"""The alert about a case that will probably be reported too late."""

MISSED: Final = "deadline missed"
"""The alert about a case that was not reported in time."""

_SHOWN_OF_AN_ID: Final = 8

_FACT, _PAUSE = table_of(Fact), table_of(DeadlinePause)
_OF_CASE = select(Deadline).where(Deadline.case_id == bindparam("of_case")).order_by(Deadline.round, Deadline.kind)
_SAID_BY = select(_FACT.c.inbox_id).where(_FACT.c.subject_id == bindparam("of_case"), _FACT.c.digest == bindparam("of"))
_RUN_AGAIN = (
    update(_PAUSE)
    .where(_PAUSE.c.case_id == bindparam("of_case"), _PAUSE.c.ended_at.is_(None))
    .values(ended_at=bindparam("at"))
)
_SCANS = select(Scan.id).where(Scan.case_id == bindparam("of_case"))
_READS = select(Read.id).where(Read.case_id == bindparam("of_case"))


def follow_orders(
    session: Session, settings: Settings, case: Case, state: CaseState, cause: Cause, now: datetime
) -> None:
    """Bring the deadlines of a case in line with what its facts say; as ``keep``, but no step is moved."""
    due = state.due if state.due and state.due.round == case.round else None
    source = _said_by(session, case, due) if due else ""
    say_moment(session, case, ORDERED, source, due.at if due else None, cause, now)
    _bring_in_line(session, settings, case, cause, now)


def keep(session: Session, settings: Settings, case: Case, cause: Cause, now: datetime) -> None:
    """Bring the deadlines of a locked case in line with all that they rest on, and its steps in the new order.

    Call it when its images can be read, when its clock is stopped or runs again, and when a policy or the holidays
    have changed. It changes nothing where nothing did.
    """
    before = case.due_at
    _bring_in_line(session, settings, case, cause, now)
    if case.due_at is not None and case.due_at != before:
        theirs = [one for query in (_SCANS, _READS) for one in session.scalars(query, {"of_case": case.id})]
        ledger.reprioritise(session, theirs, case.lane, case.due_at)


def say_moment(  # noqa: PLR0913, PLR0917 - a deadline's own columns
    session: Session, case: Case, kind: str, source: str, at: datetime | None, cause: Cause, now: datetime
) -> None:
    """Write down that the present round of a case is due at a moment that somebody set; ``None`` takes it back.

    ``keep`` it afterwards: whether that moment rules is decided there.
    """
    present = {row.kind: row for row in deadlines_of(session, case.id) if row.round == case.round}
    had_alert = _is_told(present.values())
    row = present.pop(kind, None)
    before = row.due_at if row else None
    if at is not None:
        present[kind] = row = row or _new(case, kind)
        began_at = case.round_opened_at or case.registered_at
        _set(row, Counted(kind, source, A_MOMENT, began_at, at), now)
        session.add(row)
    elif row is not None:
        session.delete(row)
    if had_alert:
        _settle_alerts(session, case, present.values(), now)
    note_changes(session, Subject("case", case.id), [(f"due ({kind})", before, at)], cause, now)
    session.flush()


def deadlines_of(session: Session, case_id: str) -> Sequence[Deadline]:
    """Return the deadlines of a case, of all its rounds."""
    return session.scalars(_OF_CASE, {"of_case": case_id}).all()


def _bring_in_line(session: Session, settings: Settings, case: Case, cause: Cause, now: datetime) -> None:
    # Of a round that is over all is as it was then, whatever is in force now.
    at = min(now, case.round_closed_at or now)
    policy = policy_in_force(session, at).policy
    pauses, is_paused = pauses_of(session, case.id, at)
    rows = deadlines_of(session, case.id)
    had_alert = _is_told(rows)
    present = {row.kind: row for row in rows if row.round == case.round}
    counts = {one.kind: one for one in counted_for(session, settings, case, policy, pauses)}
    for kind, one in counts.items():
        present[kind] = row = present.get(kind) or _new(case, kind)
        _set(row, one, now)
        session.add(row)
    for kind in [kind for kind, row in present.items() if row.basis != A_MOMENT and kind not in counts]:
        session.delete(present.pop(kind))
    for row in (*present.values(), *(row for row in rows if row.round != case.round)):
        _end(case, row, now)
    live = [row for row in present.values() if row.ended_at is None]
    stand = [row for row in live if is_paused and is_pausable(policy, row.kind)]
    for row in stand:
        row.predicted_at = None
    # A clock that stands still rules where no other one runs.
    _rule(session, case, [row for row in live if row not in stand] or live, cause, now)
    if is_paused and case.round_closed_at is not None:
        session.execute(_RUN_AGAIN, {"of_case": case.id, "at": now})
    if had_alert:
        _settle_alerts(session, case, live, now)
    session.flush()


def _rule(session: Session, case: Case, live: Sequence[Deadline], cause: Cause, now: datetime) -> None:
    """Say which deadline of a case rules; that one begins and ends with a round is told by the round."""
    first = min(live, key=lambda row: (row.due_at, row.kind), default=None)
    before, case.due_kind = case.due_kind, first.kind if first else None
    case.due_at = first.due_at if first else None
    if before and case.due_kind:
        note_changes(session, Subject("case", case.id), [("deadline", before, case.due_kind)], cause, now)


def _is_told(rows: Iterable[Deadline]) -> bool:
    return any(row.predicted_at or row.breached_at for row in rows)


def _settle_alerts(session: Session, case: Case, live: Collection[Deadline], now: datetime) -> None:
    over = [] if any(row.predicted_at and not row.breached_at for row in live) else [AT_RISK]
    over += [] if any(row.breached_at for row in live) else [MISSED]
    clear_alerts(session, case.id, over, now)


def _new(case: Case, kind: str) -> Deadline:
    named = hashlib.sha256(framed(("deadline", case.id, str(case.round), kind))).digest()
    return Deadline(id=uuid_text(named), case_id=case.id, round=case.round, kind=kind)


def _set(row: Deadline, said: Counted, now: datetime) -> None:
    """Make a deadline what is said; one that was moved has not been looked at yet."""
    if row.due_at != said.due_at:
        row.predicted_at = None
        row.breached_at = row.breached_at if said.due_at <= now else None
    row.source, row.basis, row.starts_at, row.due_at = said.source, said.basis, said.starts_at, said.due_at


def _end(case: Case, row: Deadline, now: datetime) -> None:
    """End a deadline with its round, late or in time; one of a round that is open after all lives."""
    if row.round != case.round or case.cancelled:
        row.ended_at = row.ended_at or now
    elif case.round_closed_at is None:
        row.ended_at = None
    else:
        row.ended_at = case.round_closed_at
        row.breached_at = row.due_at if row.due_at < case.round_closed_at else None


def _said_by(session: Session, case: Case, due: Due) -> str:
    inbox_id = session.scalar(_SAID_BY, {"of_case": case.id, "of": due.digest})
    return f"message {inbox_id[:_SHOWN_OF_AN_ID]}" if inbox_id else "its order"
