"""Reads that somebody asks for: an opinion, and what is prepared for a meeting.

The caller holds the case's row in its write transaction.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import Final

from sqlalchemy.orm import Session

from connectors.settings import Settings
from flows.alerts import READER_ABSENT
from flows.books import Cause, Subject, clear_alert, note_changes
from flows.case_assignment import giving
from flows.people.policies import policy_in_force
from flows.reads import crediting, rows
from flows.reads.rows import ANSWERED, Row
from flows.reads.weight import weigh_anew
from models.errors import RefusedError
from models.facets import Images
from models.policy import Policy
from models.tables.case import Case
from models.tables.reading import Pathologist, Read

ASKED: Final = ("opinion", "mdt")
"""The roles of reads that are there because somebody asked for them."""

_WHO_ELSE_SAYS: Final = {"lims": "the LIMS", "pacs": "the PACS"}


def ask_opinion(  # noqa: PLR0913 - who asks whom, what, and why now
    session: Session,
    settings: Settings,
    case: Case,
    asked_by: str,
    question: str,
    *,
    cause: Cause,
    now: datetime,
    of_pathologist: str | None = None,
    of_subspecialty: str | None = None,
) -> Read:
    """Have somebody else say what they think of a case: whoever is named, else whoever may read it, or a subspecialty.

    Raises
    ------
    RefusedError
        The case is not to be read any more, nothing of it can be yet, or others say who reads it; the policy has no
        opinions in its subspecialty; the same was asked already; whoever is named has a read of it or reads no longer.
    """
    _expect_ours(settings, case)
    if case.round_closed_at is not None:
        raise RefusedError(f"case {case.id} is reported: what comes later opens it again")
    if case.images == Images.AWAITING:
        raise RefusedError(f"nothing of case {case.id} can be read yet: ask once its first images are there")
    policy = policy_in_force(session, now).policy
    if not policy.of(case.subspecialty).second_opinion:
        name = case.subspecialty or "general"
        raise RefusedError(f"the policy has no opinions in {name}: hand the case over, or have the policy changed")
    there = rows.rows_of_round(session, case)
    _expect_new(there, "opinion", asked_by, question)
    if of_pathologist is not None:
        _expect_free(session, there, of_pathologist)
    row = _asked(session, case, there, "opinion", (asked_by, question), policy, cause, now)
    row.read.subspecialty = of_subspecialty if of_subspecialty != case.subspecialty else None
    if of_pathologist is not None:
        _give(session, settings, case, row.read, of_pathologist, cause, now)
    elif case.images == Images.READY:
        rows.have_assigned(session, case, [row.read], now)
    return row.read


def add_mdt_read(  # noqa: PLR0913 - who asks for it, for which meeting, and why now
    session: Session,
    settings: Settings,
    case: Case,
    asked_by: str,
    meeting: str,
    *,
    at: datetime,
    cause: Cause,
    now: datetime,
) -> Read:
    """Have somebody prepare a case for a meeting, reported or not; it is over when they say so, whatever is reported.

    Whoever has a primary read of it prepares it, or had one last; nobody else is looked for while they may.

    Raises
    ------
    RefusedError
        The case was cancelled, others say who reads it, or it is prepared for this meeting already.
    """
    _expect_ours(settings, case)
    there = rows.rows_of_round(session, case)
    because = f"{meeting} at {at:%Y-%m-%d %H:%M} UTC"
    _expect_new(there, "mdt", None, because)
    row = _asked(session, case, there, "mdt", (asked_by, because), policy_in_force(session, now).policy, cause, now)
    if case.images == Images.READY:
        rows.have_assigned(session, case, [row.read], now)
    return row.read


def drop_mdt_reads(session: Session, case: Case, *, because: str, cause: Cause, now: datetime) -> tuple[str, ...]:
    """End what is prepared for a meeting that no longer wants a case; return who had it, whom that tells."""
    theirs = [row for row in rows.rows_of_case(session, case) if row.read.role == "mdt" and row.is_open]
    had = tuple(row.owner for row in theirs if row.owner is not None)
    for row in theirs:
        rows.drop(session, case, row, because=because, cause=cause, now=now)
        clear_alert(session, row.read.id, READER_ABSENT, now)
    return had


def close_asked(session: Session, case: Case, read: Read, *, cause: Cause, now: datetime) -> None:
    """Say that an opinion was given, or a meeting held: the read is over, and credited to whoever has it.

    Raises
    ------
    RefusedError
        Nobody asked for it: its report closes it. Or it is over already, or with nobody.
    """
    if read.role not in ASKED:
        raise RefusedError(f"the {read.role} read is not over before the case is reported: its report closes it")
    row = next((one for one in rows.rows_of_case(session, case) if one.read.id == read.id), None)
    if row is None or not row.is_open or row.owner is None:
        raise RefusedError(f"the {read.role} read of case {case.id} is over, or nobody has it: look at it again")
    rows.close(session, case, row, because=ANSWERED, cause=cause, now=now)
    crediting.credit(session, case, [row], policy_in_force(session, now).policy, cause, now)
    giving.say_reading(session, case, cause, now)


def _expect_ours(settings: Settings, case: Case) -> None:
    if case.cancelled:
        raise RefusedError(f"case {case.id} was cancelled by the LIMS: nobody has to read it")
    authority = settings.site(case.site_id).who_allocates(case.subspecialty)
    if authority != "coverslip":
        raise RefusedError(f"{_WHO_ELSE_SAYS[authority]} says who reads this case: ask for it there")


def _expect_new(there: Iterable[Row], role: str, asked_by: str | None, because: str) -> None:
    """Refuse to ask twice: an answer to the first would leave the other open for ever."""
    for row in there:
        same = row.read.role == role and row.read.because == because and asked_by in (None, row.read.asked_by)
        if same and row.is_open:
            raise RefusedError(f"that was asked already, and is open: the read is called {row.read.scope}")


def _expect_free(session: Session, there: Iterable[Row], pathologist_id: str) -> None:
    person = session.get(Pathologist, pathologist_id)
    if person is None or not person.active:
        raise RefusedError(f"{person.name if person else pathologist_id} reads no longer for this laboratory")
    theirs = next((row.read.role for row in there if row.is_open and row.owner == pathologist_id), None)
    if theirs is not None:
        raise RefusedError(f"{person.name} has the {theirs} read of this case already: ask somebody else")


def _asked(  # noqa: PLR0913, PLR0917 - a read's own columns
    session: Session,
    case: Case,
    there: list[Row],
    role: str,
    asked: tuple[str, str],
    policy: Policy,
    cause: Cause,
    now: datetime,
) -> Row:
    number = sum(row.read.role == role for row in there) + 1
    row = rows.new_row(session, case, there, role, f"{role} {number}", now)
    row.read.asked_by, row.read.because = asked
    weigh_anew(session, case, row, policy, now)
    session.flush()
    note_changes(session, Subject("case", case.id), [(row.read.scope, None, f"asked for by {asked[0]}")], cause, now)
    return row


def _give(  # noqa: PLR0913, PLR0917 - who gets which read, and why
    session: Session, settings: Settings, case: Case, read: Read, pathologist_id: str, cause: Cause, now: datetime
) -> None:
    sentence = f"{read.asked_by} asked for their opinion: {read.because}"
    giving.give(
        *(session, settings, case, read, pathologist_id),
        decided_by=read.asked_by or "coverslip",
        explanation={"sentence": sentence, "decided_by": read.asked_by, "objection": None},
        cause=cause,
        now=now,
        manual=True,
        policy_version=policy_in_force(session, now).version,
    )
