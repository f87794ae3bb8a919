"""What becomes of a case's reads when its rounds change: a report closes them and credits who had them.

The caller holds the case's row in its write transaction.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import bindparam, func, select
from sqlalchemy.orm import Session

from flows.books import Cause, clear_alert
from flows.case_assignment import giving
from flows.people.policies import policy_in_force
from flows.reads import crediting, rows
from flows.reads.rows import REPORTED, Row
from models.facets import Report
from models.round_fold import Round
from models.tables.books import History
from models.tables.case import Case

CANCELLED: Final = "the LIMS cancelled the case"
_NOBODY_WORKS_ON_IT: Final = "nobody works on the case any more"
# What is prepared for a meeting is read whatever was reported before it.
_BESIDE_ROUNDS: Final = ("mdt",)
# Asked for by somebody, or only before anything else is read.
_NOT_BY_ITSELF: Final = ("opinion", "mdt", "intra-operative")
_CANCELLED_AT = select(func.max(History.at)).where(
    History.subject_id == bindparam("of_case"), History.what == "cancelled", History.after == str(True)
)


@dataclass(frozen=True)
class Was:
    """Where the rounds of a case stood before it was projected anew."""

    round: int
    closed_at: datetime | None
    cancelled: bool

    @classmethod
    def of(cls, case: Case | None) -> "Was | None":
        """Return where they stand; ``None`` while there is no such case."""
        return cls(case.round, case.round_closed_at, case.cancelled) if case else None


def follow_rounds(session: Session, case: Case, round_: Round, was: Was | None, cause: Cause, now: datetime) -> None:
    """Close, credit and reopen reads after a case was projected anew, as its rounds, and its cancel, have it."""
    if was is not None and (was.round, was.closed_at) != (case.round, case.round_closed_at):
        _follow_round(session, case, round_, was, cause, now)
    if was is None or was.cancelled == case.cancelled:
        return
    if case.cancelled:
        _end_all(session, case, cause, now)
    else:
        _bring_back(session, case)


def correct_credits(session: Session, case: Case, cause: Cause, now: datetime) -> None:
    """Correct what was credited in the present round, once, when the LIMS has said more since."""
    if case.report == Report.NONE:
        return
    there = rows.rows_of_round(session, case)
    if any(row.credited for row in there):
        crediting.correct(session, case, there, policy_in_force(session, now).policy, cause, now)


def _follow_round(session: Session, case: Case, round_: Round, was: Was, cause: Cause, now: datetime) -> None:
    """Close the reads of every round but an open present one.

    A round that an older message opens again, heard of only now, has its reads back, and their credits are revoked.
    """
    was_over = was.round > case.round or (was.round == case.round and was.closed_at is not None)
    reopened = case.round_closed_at is None and was_over
    closed: list[Row] = []
    for row in rows.rows_of_case(session, case):
        number = row.read.round
        if row.read.role in _BESIDE_ROUNDS:
            continue
        if number == case.round and case.round_closed_at is None:
            if reopened:
                _reopen(session, case, row, cause, now)
        elif number > case.round:
            _end(session, case, row, _NOBODY_WORKS_ON_IT, cause, now)
            crediting.revoke(session, case, row, cause, now)
        else:
            by_report = _closed_by(round_, number) == Report.FINAL
            _end(session, case, row, REPORTED if by_report else _NOBODY_WORKS_ON_IT, cause, now)
            closed += [row] if by_report else []
    session.flush()
    if closed:
        crediting.credit(session, case, closed, policy_in_force(session, now).policy, cause, now)
    clear_alert(session, case.id, giving.NOBODY_ELIGIBLE, now)
    giving.say_reading(session, case, cause, now)


def _end_all(session: Session, case: Case, cause: Cause, now: datetime) -> None:
    """End the open reads of a cancelled case, and tell whoever had one; ordered again, it has them back."""
    for row in rows.rows_of_case(session, case):
        if row.is_open:
            rows.drop(session, case, row, because=CANCELLED, cause=cause, now=now)
    clear_alert(session, case.id, giving.NOBODY_ELIGIBLE, now)
    giving.say_reading(session, case, cause, now)


def _bring_back(session: Session, case: Case) -> None:
    """Open what the cancel ended and nothing else would: whatever else a round needs comes by itself."""
    ended_at = session.scalar(_CANCELLED_AT, {"of_case": case.id})
    for row in rows.rows_of_case(session, case):
        is_open_round = row.read.round == case.round and case.round_closed_at is None
        if (
            row.read.closed_at == ended_at
            and row.read.role in _NOT_BY_ITSELF
            and (is_open_round or row.read.role in _BESIDE_ROUNDS)
        ):
            row.read.closed_at = None


def _end(session: Session, case: Case, row: Row, because: str, cause: Cause, now: datetime) -> None:
    if row.is_open:
        rows.close(session, case, row, because=because, cause=cause, now=now)


def _reopen(session: Session, case: Case, row: Row, cause: Cause, now: datetime) -> None:
    """Take back that the end of a round closed a read; what somebody answered, or dropped out, stays as it is."""
    _, why = crediting.last_reader(session, row)
    if not row.is_open and why in (None, REPORTED, _NOBODY_WORKS_ON_IT):
        row.read.closed_at = None
        crediting.revoke(session, case, row, cause, now)


def _closed_by(round_: Round, number: int) -> str:
    """Return what closed a round: a final report, or only the word that nobody works on the case any more."""
    return round_.past[number - 1] if number <= len(round_.past) else round_.by
