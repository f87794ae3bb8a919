"""The one way in which a read gets its owner and loses them: assignment, history, notices and messages together.

The caller holds the case's row in its write transaction.
"""

from datetime import datetime
from typing import Any, Final

from sqlalchemy import bindparam, func, insert, select, update
from sqlalchemy.orm import Session
from sqlalchemy.orm.attributes import set_committed_value

from connectors.settings import Settings
from flows import late_slides, notices
from flows.books import Cause, Subject, clear_alert, note_changes
from flows.case_assignment.choice import Choice, Escalated, SmallestMarginalCost
from flows.case_assignment.eligibility import ruled_out_at_once
from flows.case_assignment.wanted import wanted
from flows.people.candidates import load_candidates, pools_of
from flows.people.policies import policy_in_force
from flows.people.pools import hold_pools_of
from flows.sending import announce, publish
from models.base import table_of
from models.facets import Reading, StepState
from models.tables.case import Case
from models.tables.reading import Assignment, Pathologist, Read
from models.tables.step import Step

NOBODY_ELIGIBLE: Final = "nobody eligible"
"""The alert about a case of which a read is escalated."""

AN_ELIGIBLE_PATHOLOGIST: Final = "an eligible pathologist"
"""What the step of a read waits for that is escalated."""

NEEDED: Final = ("primary", "second", "intra-operative")
"""Roles of the reads that a round needs: a trainee's, an opinion and a meeting hold no report up."""

_CASE, _READ, _ASSIGNMENT = table_of(Case), table_of(Read), table_of(Assignment)
_OWNER = select(_ASSIGNMENT.c.pathologist_id).where(
    _ASSIGNMENT.c.read_id == bindparam("read"), _ASSIGNMENT.c.ended_at.is_(None)
)
_GIVE = insert(_ASSIGNMENT).returning(_ASSIGNMENT.c.id)
_END = (
    update(_ASSIGNMENT)
    .where(_ASSIGNMENT.c.read_id == bindparam("read"), _ASSIGNMENT.c.ended_at.is_(None))
    .values(ended_at=bindparam("at"), ended_because=bindparam("why"))
)
_LONGEST_REASON: Final = 200
_ANOTHER_WAITS = (
    select(Step.id)
    .join(_READ, _READ.c.id == Step.subject_id)
    .where(_READ.c.case_id == bindparam("of_case"), _READ.c.id != bindparam("read"))
    # Nobody waits for a trainee's: it is never raised.
    .where(_READ.c.role != "trainee", Step.kind == "case_assignment", Step.waiting_for == AN_ELIGIBLE_PATHOLOGIST)
    .where(Step.state == StepState.WAITING)
    .limit(1)
)
# A trainee's supervisor is whoever has the primary read; while nobody has, it stays who had it.
_SUPERVISE = (
    update(_READ)
    .where(_READ.c.case_id == bindparam("of_case"), _READ.c.round == bindparam("of_round"))
    .where(_READ.c.role == "trainee", _READ.c.scope == bindparam("of"))
    .values(supervisor_id=bindparam("by"))
)
_SAY_READING = update(_CASE).where(_CASE.c.id == bindparam("of_case")).values(reading=bindparam("is_now"))
_NEEDED_READS = (
    select(func.count(), func.count(_ASSIGNMENT.c.id))
    .select_from(_READ.outerjoin(_ASSIGNMENT, (_ASSIGNMENT.c.read_id == _READ.c.id) & _ASSIGNMENT.c.ended_at.is_(None)))
    .where(_READ.c.case_id == bindparam("of_case"), _READ.c.round == bindparam("of_round"))
    .where(_READ.c.role.in_(NEEDED), _READ.c.closed_at.is_(None))
)


def decide(session: Session, case: Case, read: Read, now: datetime, cut_off: frozenset[str]) -> Choice | Escalated:
    """Return who should have a read, or that nobody may; nothing is written.

    The pools of all who may be thought of stay locked until the caller's transaction ends, and the loads are read after
    that: whoever decides next sees what this one gives. ``cut_off`` are the sites that are so for now.
    """
    in_force = policy_in_force(session, now)
    want = wanted(session, case, read, in_force.policy)
    asked = [one for one in (want, want.counterpart) if one is not None]
    candidates = load_candidates(
        session,
        now,
        pools=pools_of(session, want),
        subspecialty=want.subspecialty,
        among=lambda person: any(ruled_out_at_once(one, person) is None for one in asked),
        window_days=in_force.policy.fairness.window_days,
        cut_off=cut_off,
    )
    return SmallestMarginalCost(in_force.policy, in_force.version).choose(want, candidates, now)


def give(  # noqa: PLR0913 - an assignment's own columns
    session: Session,
    settings: Settings,
    case: Case,
    read: Read,
    pathologist_id: str,
    *,
    decided_by: str,
    explanation: dict[str, Any],
    cause: Cause,
    now: datetime,
    manual: bool = False,
    policy_version: int | None = None,
    because: str | None = None,
) -> int:
    """Give a read to somebody, and take it from whoever had it; return the assignment's number.

    ``because`` is for whoever had it. Where the LIMS decided it need not be told. The pool of whoever gets it is locked
    here, if it was not to decide: so whoever decides next sees what lies on their desk.
    """
    hold_pools_of(session, (pathologist_id,))
    why = because or f"{session.get_one(Pathologist, pathologist_id).name} has it now"
    had = _end(session, read, why, now)
    given = {
        "read_id": read.id,
        "pathologist_id": pathologist_id,
        "started_at": now,
        "decided_by": decided_by,
        "explanation": explanation,
        "policy_version": policy_version,
        "manual": manual,
    }
    assignment_id: int = session.scalars(_GIVE, given).one()
    note_changes(session, Subject("case", case.id), [(_what(read), had, pathologist_id)], cause, now)
    if read.role == "primary":
        session.execute(
            _SUPERVISE, {"of_case": case.id, "of_round": read.round, "by": pathologist_id, "of": read.scope}
        )
    say_reading(session, case, cause, now)
    if not session.scalars(_ANOTHER_WAITS, {"of_case": case.id, "read": read.id}).first():
        clear_alert(session, case.id, NOBODY_ELIGIBLE, now)
    if had is not None and had != pathologist_id:
        _tell_of_loss(session, case, read, had, why, now)
    notices.tell(session, pathologist_id, case.id, "given", _given(case, read), now, read.id)
    late_slides.tell_what_lacks(session, case, pathologist_id, read.id, now)
    if decided_by != "lims":
        announce.case_assigned(session, settings, case, read, pathologist_id, assignment_id)
    publish.case_assigned(
        session, settings, case, read_id=read.id, pathologist_id=pathologist_id, assignment_id=assignment_id
    )
    return assignment_id


def take(session: Session, case: Case, read: Read, *, because: str, cause: Cause, now: datetime) -> str | None:
    """Take an open read from whoever has it, tell them, and return them; nobody has it then."""
    had = end(session, case, read, because=because, cause=cause, now=now)
    if had is not None:
        say_reading(session, case, cause, now)
        _tell_of_loss(session, case, read, had, because, now)
    return had


def end(session: Session, case: Case, read: Read, *, because: str, cause: Cause, now: datetime) -> str | None:
    """End who has a read that is over, without a notice: nothing was taken from them. Return them."""
    had = _end(session, read, because, now)
    note_changes(session, Subject("case", case.id), [(_what(read), had, None)], cause, now)
    return had


def say_reading(session: Session, case: Case, cause: Cause, now: datetime) -> None:
    """Say of a case whether the reads are there that its round needs, and whether each has somebody."""
    session.flush()
    open_reads, owned = session.execute(_NEEDED_READS, {"of_case": case.id, "of_round": case.round}).one()
    reading = Reading.NONE if not open_reads else Reading.ASSIGNED if owned == open_reads else Reading.UNASSIGNED
    if case.reading == reading:
        return
    note_changes(session, Subject("case", case.id), [("reading", case.reading, reading)], cause, now)
    session.execute(_SAY_READING, {"of_case": case.id, "is_now": reading})
    set_committed_value(case, "reading", reading)


def _end(session: Session, read: Read, why: str, now: datetime) -> str | None:
    had: str | None = session.scalar(_OWNER, {"read": read.id})
    if had is not None:
        session.execute(_END, {"read": read.id, "at": now, "why": why[:_LONGEST_REASON]})
    return had


def _what(read: Read) -> str:
    """Return what history calls whoever has a read; ``reader`` alone is whoever reports the whole case."""
    scope = "" if read.scope == "whole" else f" of {read.scope}"
    return f"reader{scope}" if read.role == "primary" else f"{read.role} reader{scope}"


def _given(case: Case, read: Read) -> str:
    return f"you have {_named(case, read)}"


def _tell_of_loss(session: Session, case: Case, read: Read, had: str, because: str, now: datetime) -> None:
    sentence = f"{_named(case, read)} is no longer yours: {because}"
    notices.tell(session, had, case.id, "taken", sentence, now, read.id)


def _named(case: Case, read: Read) -> str:
    scope = "" if read.scope == "whole" else f" ({read.scope})"
    return f"the {read.role} read{scope} of case {case.id}"
