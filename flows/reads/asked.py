"""Reads that somebody asks for: an opinion, and what is prepared for a meeting.

The caller holds the case's row in its write transaction.
"""

import hashlib
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from connectors.settings import Settings
from flows import ledger
from flows.books import Cause
from flows.case_assignment import giving
from flows.people.policies import policy_in_force
from flows.reads.owners import primary_read
from models.errors import RefusedError
from models.facets import Images, StepState
from models.tables.case import Case
from models.tables.reading import Assignment, Pathologist, Read
from models.uid import framed, uuid_of

ASKED: Final = ("opinion", "mdt")
"""The roles of reads that are there because somebody asked for them."""

# An opinion is half a read, as a second one is.
_SHARE: Final = 0.5
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
        The case is not to be read any more or others say who reads it, the policy has no opinions in its subspecialty,
        or whoever is named has a read of it already or reads no longer.
    """
    _expect_to_be_read(settings, case)
    rules = policy_in_force(session, now).policy.of(case.subspecialty)
    if not rules.second_opinion:
        raise RefusedError(
            f"the policy has no opinions in {case.subspecialty or 'general'}: hand the case over instead"
        )
    open_reads = _open_reads(session, case)
    if of_pathologist is not None:
        _expect_free(session, open_reads, of_pathologist)
    read = _new(session, case, "opinion", (asked_by, question), of_subspecialty, now)
    if of_pathologist is None:
        _have_assigned(session, case, read, now)
    else:
        _give(session, settings, case, read, of_pathologist, cause, now)
    return read


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
    """Have somebody prepare a case for a meeting, whether it is reported by then or not; it is over when they say so.

    Raises
    ------
    RefusedError
        The case was cancelled, others say who reads it, or it is prepared for a meeting already.
    """
    raise NotImplementedError


def close_asked(session: Session, case: Case, read: Read, *, because: str, cause: Cause, now: datetime) -> None:
    """Say that an opinion was given, or a meeting held: the read is over, and whoever had it has done it.

    Raises
    ------
    RefusedError
        Nobody asked for it: its report closes it. Or it is over already.
    """
    raise NotImplementedError


def _expect_to_be_read(settings: Settings, case: Case) -> None:
    if case.cancelled:
        raise RefusedError(f"case {case.id} was cancelled by the LIMS: nobody has to read it")
    if case.round_closed_at is not None:
        raise RefusedError(f"case {case.id} is reported: what comes later opens it again")
    authority = settings.site(case.site_id).who_allocates(case.subspecialty)
    if authority != "coverslip":
        raise RefusedError(f"{_WHO_ELSE_SAYS[authority]} says who reads this case: ask for it there")


def _expect_free(session: Session, open_reads: Sequence[Any], pathologist_id: str) -> None:
    person = session.get(Pathologist, pathologist_id)
    if person is None or not person.active:
        raise RefusedError(f"{person.name if person else pathologist_id} reads no longer for this laboratory")
    theirs = next((read.role for read, owner in open_reads if owner == pathologist_id), None)
    if theirs is not None:
        raise RefusedError(f"{person.name} has the {theirs} read of this case already: ask somebody else")


def _open_reads(session: Session, case: Case) -> Sequence[Any]:
    owned = (Assignment.read_id == Read.id) & Assignment.ended_at.is_(None)
    of_case = select(Read, Assignment.pathologist_id).outerjoin(Assignment, owned)
    return session.execute(of_case.where(Read.case_id == case.id, Read.closed_at.is_(None))).all()


def _new(
    session: Session, case: Case, role: str, asked: tuple[str, str], subspecialty: str | None, now: datetime
) -> Read:
    of_role = select(Read.scope).where(Read.case_id == case.id, Read.round == case.round, Read.role == role)
    scope = f"{role} {len(session.scalars(of_role).all()) + 1}"
    primary = primary_read(session, case)
    read = Read(
        id=str(uuid_of(hashlib.sha256(framed(("read", case.id, f"{role}:{case.round}:{scope}"))).digest())),
        case_id=case.id,
        round=case.round,
        scope=scope,
        role=role,
        subspecialty=subspecialty,
        points=_SHARE * primary.points if primary else _SHARE,
        asked_by=asked[0],
        because=asked[1],
        created_at=now,
    )
    session.add(read)
    session.flush()
    return read


def _have_assigned(session: Session, case: Case, read: Read, now: datetime) -> None:
    ledger.end_open(session, read.id, ("case_assignment",), StepState.SUPERSEDED)
    if case.images != Images.READY:
        return
    step = ledger.NewStep(
        kind="case_assignment",
        stage="case_assignment",
        subject_kind="read",
        subject_id=read.id,
        rank_at=ledger.rank_at(now, case.due_at),
        lane=case.lane,
    )
    ledger.rerun(session, step)


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
