"""What becomes of a step in trouble: its error says what happens next."""

import logging
import random
from datetime import timedelta

from sqlalchemy import bindparam, update
from sqlalchemy.orm import Session

from connectors.wiring import Lab
from flows import alerts, ledger
from flows.books import Subject, raise_alert
from flows.changes import change_scan, lock_scan
from flows.intake import storm
from flows.ledger import Claim, LostClaimError
from flows.sending.dead_letters import announce_dead_letter
from flows.sending.publish import scan_needs_person
from flows.step import A_PERSON, End, cause_of
from models.base import table_of
from models.database import database_now
from models.errors import CoverslipError, NeedsPersonError, RefusedError, RejectedError, TransientError
from models.facets import Outcome, StepState
from models.scan_fold import Ended
from models.tables.books import InboxMessage

_log = logging.getLogger(__name__)

_FIRST_PAUSE = timedelta(seconds=1)
_LONGEST_PAUSE = timedelta(seconds=60)
# After so many tries in a row (about ten minutes) people are told; the step goes on trying.
_TRIES_BEFORE_ALERT = 12
_PERSON_WAIT = timedelta(hours=4)
OUR_FAULT = "fault"
"""What is said of the trouble that no message is to blame for."""

_INBOX = table_of(InboxMessage)
_SET_ASIDE = (
    update(_INBOX).where(_INBOX.c.id == bindparam("message_id")).values(state="set aside", problem=bindparam("because"))
)


def in_trouble(lab: Lab, claimed: Claim, error: Exception) -> End:
    """Return the end of a step that raised: tried again, for a person, or set aside."""
    if isinstance(error, LostClaimError):
        return lambda _session: None
    if isinstance(error, TransientError):
        return lambda session: _try_again(session, claimed, str(error))
    if isinstance(error, NeedsPersonError):
        return lambda session: _ask(lab, session, claimed, str(error))
    if isinstance(error, (RejectedError, RefusedError)):
        kind = "rejected" if isinstance(error, RejectedError) else "refused"
        return lambda session: set_aside(lab, session, claimed, str(error), kind)
    # A bug: its text may quote a message, so only its class is kept; the place goes to the log.
    _log.error("step %s of %s failed", claimed.kind, claimed.subject_id, exc_info=_without_text(error))
    sentence = f"{claimed.kind} failed by a fault of ours ({type(error).__name__}): report it, then rerun"
    return lambda session: set_aside(lab, session, claimed, sentence)


def set_aside(lab: Lab, session: Session, claimed: Claim, problem: str, error: str = OUR_FAULT) -> None:
    """End a step as set aside, and say so where its subject stands; nothing is lost."""
    if claimed.subject_kind == "scan":
        # Case, scan, step: who locks them in another order waits for us while we wait for them.
        lock_scan(session, claimed.subject_id)
    ledger.finish(session, claimed, state=StepState.SET_ASIDE, problem=problem)
    settle_set_aside(lab, session, claimed, problem, error)


def settle_set_aside(lab: Lab, session: Session, claimed: Claim, problem: str, error: str = OUR_FAULT) -> None:
    """Bring the subject of a step in line that was set aside, and tell people: of a peer's storm only once."""
    now = database_now(session)
    if claimed.subject_kind == "scan" and claimed.kind != "reject":
        scan = lock_scan(session, claimed.subject_id)
        if scan.outcome == Outcome.ACTIVE:
            ended = Ended(outcome=Outcome.SET_ASIDE, reason=problem)
            change_scan(session, lab.settings, scan, [ended], cause_of(claimed))
    if claimed.subject_kind == "inbox":
        session.execute(_SET_ASIDE, {"message_id": claimed.subject_id, "because": problem})
        # What a gateway can't hand on is no storm of its peer's.
        if claimed.kind == "apply" and storm.message_set_aside(session, lab.ids, claimed.subject_id, now):
            return
        tries = claimed.generation
        announce_dead_letter(session, claimed.subject_id, problem=problem, error=error, tries=tries, now=now)
    raise_alert(session, Subject(claimed.subject_kind, claimed.subject_id), alerts.SET_ASIDE, problem, now)


def _try_again(session: Session, claimed: Claim, problem: str) -> None:
    longest = min(_FIRST_PAUSE * 2**claimed.tries, _LONGEST_PAUSE) if claimed.tries < 10 else _LONGEST_PAUSE  # noqa: PLR2004 - 2**10 s is beyond the cap
    pause = longest * random.uniform(0.5, 1.0)  # noqa: S311 - jitter, no secret
    ledger.give_back(session, claimed, retry_after=pause, problem=problem)
    if claimed.tries == _TRIES_BEFORE_ALERT:
        subject = Subject(claimed.subject_kind, claimed.subject_id)
        raise_alert(session, subject, alerts.keeps_failing(claimed.kind), problem, database_now(session))


def _ask(lab: Lab, session: Session, claimed: Claim, problem: str) -> None:
    now = database_now(session)
    if claimed.subject_kind == "scan":
        scan_needs_person(session, lab.settings, lock_scan(session, claimed.subject_id), claimed.id)
    wait = ledger.Wait(A_PERSON, f"step:{claimed.id}", now + _PERSON_WAIT, "tried again")
    ledger.wait(session, claimed, wait, {"reason": problem})
    raise_alert(session, Subject(claimed.subject_kind, claimed.subject_id), alerts.NEEDS_A_PERSON, problem, now)


def _without_text(error: Exception) -> Exception:
    """Return the error with its place but without its words, which may be a patient's."""
    return CoverslipError(type(error).__name__).with_traceback(error.__traceback__)
