"""Who reads a case as others say: recorded where that is theirs to say, compared with ours where it is not.

The caller holds the case's row in its write transaction.
"""

from collections.abc import Collection, Iterable
from datetime import datetime
from typing import Any, Final

from sqlalchemy.orm import Session

from connectors.settings import Settings
from connectors.settings_site import Authority
from flows import ledger, reads
from flows.books import Cause, Subject, clear_alert, clear_alerts, raise_alert
from flows.case_assignment import giving
from flows.case_assignment.candidate import ReadToAssign
from flows.case_assignment.eligibility import Excluded, eligible
from flows.case_assignment.wanted import wanted
from flows.people.called import known_reader
from flows.people.candidates import load_candidates
from flows.people.policies import policy_in_force
from flows.people.pools import hold_pools_of
from flows.step import THE_LIMS, THE_PACS
from models.tables.case import Case
from models.tables.reading import Pathologist, Read

OTHER_READER: Final = "another reader stated"
UNKNOWN_READER: Final = "unknown reader"
DOUBTFUL_READER: Final = "doubtful reader"
_ABOUT_READERS: Final = (OTHER_READER, UNKNOWN_READER, DOUBTFUL_READER)

WHO_SAYS: Final[dict[Authority, str]] = {"lims": THE_LIMS, "pacs": THE_PACS}
"""Who is waited for where it is not ours to say who reads a case."""


def authority_of(settings: Settings, case: Case) -> Authority:
    """Return who says who reads a case."""
    return settings.site(case.site_id).who_allocates(case.subspecialty)


def reader_key(read_id: str) -> str:
    """Return what a read waits by until somebody else says who reads it."""
    return f"reader:{read_id}"


def hold_readers(session: Session, settings: Settings, locked: Iterable[Case]) -> None:
    """Lock the pools of all who may be given one of these cases, since the authority stated them.

    Whoever follows several cases in one transaction does this once before: taken case by case, pools would be taken in
    any order.
    """
    stated = [
        known_reader(session, case.reader_stated["id"])
        for case in locked
        if case.reader_stated is not None and authority_of(settings, case) != "coverslip"
    ]
    hold_pools_of(session, {one for one in stated if one is not None})


def follow(session: Session, settings: Settings, case: Case, cause: Cause, now: datetime) -> None:
    """Compare who reads a case with who was stated to, and follow where that is not ours to say."""
    if case.reader_stated is None:
        return
    read = reads.primary_read(session, case)
    if read is None or read.closed_at is not None or case.cancelled:
        clear_alerts(session, case.id, _ABOUT_READERS, now)
        return
    owner = reads.owner_of(session, read.id)
    authority = authority_of(settings, case)
    stated = known_reader(session, case.reader_stated["id"])
    if authority == "coverslip":
        _compare(session, case, reads.primary_owners(session, case), stated, now)
    elif stated is None:
        raise_alert(session, Subject("case", case.id), UNKNOWN_READER, _unknown(authority), now)
    elif owner is None:
        ledger.wake(session, WHO_SAYS[authority], reader_key(read.id))
    elif owner != stated:
        give_stated(session, settings, case, read, cause=cause, now=now)
    else:
        clear_alert(session, case.id, UNKNOWN_READER, now)


def give_stated(
    session: Session, settings: Settings, case: Case, read: Read, *, cause: Cause, now: datetime
) -> int | None:
    """Give an open read to the reader whom the authority stated; ``None`` while there is none whom we know.

    Whoever it is, they have it, and nobody else any more: where we doubt it, people are told.
    """
    authority = authority_of(settings, case)
    if case.reader_stated is None:
        return None
    subject, reader_id = Subject("case", case.id), known_reader(session, case.reader_stated["id"])
    person = session.get(Pathologist, reader_id) if reader_id else None
    if person is None:
        raise_alert(session, subject, UNKNOWN_READER, _unknown(authority), now)
        return None
    in_force = policy_in_force(session, now)
    objection = _objection(session, wanted(session, case, read, in_force.policy), person, now)
    given = giving.give(
        session,
        settings,
        case,
        read,
        person.id,
        decided_by=authority,
        explanation=_explanation(authority, objection),
        cause=cause,
        now=now,
        policy_version=in_force.version,
        because=f"{WHO_SAYS[authority]} gave it to {person.name}",
    )
    _settle_alerts(session, case, authority, objection, now)
    return given


def _compare(session: Session, case: Case, owners: Collection[str], stated: str | None, now: datetime) -> None:
    """Raise a difference between who has a case and who was stated to: ours stands until people say otherwise."""
    if not owners or stated in owners:
        clear_alert(session, case.id, OTHER_READER, now)
        return
    whom = f"reader {stated}" if stated else "a reader whom nothing here calls so"
    ours = " and ".join(sorted(owners))
    sentence = f"the LIMS says that {whom} reads this case, and here it is with {ours}: have one of the two put right"
    raise_alert(session, Subject("case", case.id), OTHER_READER, sentence, now)


def _objection(session: Session, want: ReadToAssign, person: Pathologist, now: datetime) -> str | None:
    """Return what our rules have against somebody's having a read, their pool locked: whoever decides next sees it."""
    people = load_candidates(
        session,
        now,
        pools=(person.pool_id,),
        subspecialty=want.subspecialty,
        among=lambda one: one.pathologist_id == person.id,
    )
    candidate = next(one for one in people if one.pathologist_id == person.id)
    verdict = eligible(want, candidate, now)
    return verdict.sentence if isinstance(verdict, Excluded) else None


def _settle_alerts(session: Session, case: Case, authority: Authority, objection: str | None, now: datetime) -> None:
    clear_alerts(session, case.id, _ABOUT_READERS, now)
    if objection is not None:
        sentence = f"{WHO_SAYS[authority]} gave this case to somebody who {objection}: ask there if that was meant"
        raise_alert(session, Subject("case", case.id), DOUBTFUL_READER, sentence, now)


def _explanation(authority: Authority, objection: str | None) -> dict[str, Any]:
    who = WHO_SAYS[authority]
    doubt = f"; by our own rules this reader {objection}" if objection else ""
    return {"sentence": f"{who} gave it, who says so here{doubt}", "decided_by": authority, "objection": objection}


def _unknown(authority: Authority) -> str:
    return (
        f"{WHO_SAYS[authority]} gave this case to a reader whom nothing here calls so: add what it calls them to "
        "'known_as' of the reader, where people are kept"
    )
