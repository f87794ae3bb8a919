"""Reads whose reader may not have them any more, and that no look could move: people are told, so that none goes on so.

A conflict is recorded, a competence ends, another subspecialty or a slide on glass is ordered: by then the read may be
open already. What a person, the LIMS or the PACS decided is theirs to say, whatever the rules have against it.
"""

from collections.abc import Iterator
from datetime import datetime
from typing import Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from flows.alerts import READER_UNFIT
from flows.books import Subject, clear_alert, raise_alert
from flows.case_assignment.eligibility import ruled_out_at_once
from flows.case_assignment.rebalance.gone import still_theirs
from flows.case_assignment.rebalance.snapshot import Snapshot
from models.tables.books import Alert

# The others say who should get a read; these, who should not go on with it.
_RULES: Final = ("competence", "conflict")
_RAISED = select(Alert.subject_id).where(Alert.kind == READER_UNFIT, Alert.cleared_at.is_(None))


def tell_of_unfit(session: Session, seen: Snapshot, now: datetime) -> None:
    """Raise each open read whose reader may not have it, and clear those that may."""
    found = {assignment_id: (read_id, sentence) for assignment_id, read_id, sentence in _unfit(seen)}
    sentences = dict(found[assignment_id] for assignment_id in still_theirs(session, found))
    for read_id, sentence in sorted(sentences.items()):
        raise_alert(session, Subject("read", read_id), READER_UNFIT, sentence, now)
    for read_id in sorted(set(session.scalars(_RAISED)) - sentences.keys()):
        clear_alert(session, read_id, READER_UNFIT, now)


def _unfit(seen: Snapshot) -> Iterator[tuple[int, str, str]]:
    """Yield the assignment, the read, and what the rules have against its reader."""
    people = {one.pathologist_id: one for one in seen.people}
    for one in seen.reads:
        reader = people.get(one.owner or "")
        if reader is None or one.assignment_id is None or not one.by_rules or one.wanted.role == "trainee":
            continue
        excluded = ruled_out_at_once(one.wanted, reader)
        if excluded is not None and excluded.rule in _RULES:
            sentence = (
                f"its reader {excluded.sentence}, and no machine moves it: 'coverslip assign override' gives it to "
                "somebody else, or to them all the same"
            )
            yield one.assignment_id, one.wanted.read_id, sentence
