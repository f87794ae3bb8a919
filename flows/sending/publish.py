"""What the event log is told, and when: an outbox row and its ``send`` step in the transaction of the change itself.

Nothing is written while the settings have no Kafka. An event states what became true and holds opaque ids and DICOM
UIDs only; its key names the change that made it so, so saying it again changes nothing. Events of one scan, and of one
case, leave in the order in which they became true.
"""

import base64
import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from sqlalchemy import bindparam, func, select
from sqlalchemy.orm import Session

from connectors.settings import Settings
from flows import ledger
from flows.books import Cause
from flows.completeness import Completeness
from flows.journey import SENDING
from models.base import table_of
from models.database import database_now, insert_unless_there
from models.events.fields import EventData
from models.events.kinds import (
    CaseAssigned,
    CaseCompleted,
    SlideArchived,
    SlideMatched,
    SlideNeedsAttention,
    SlideQualityChecked,
)
from models.facets import Outcome, Quality, Storage
from models.scan_fold import QualityJudged, ScanFact, ScanState
from models.tables.books import Fact, OutboxMessage
from models.tables.case import Case, Slide
from models.tables.scan import Scan
from models.uid import series_uid, study_of, uuid_of

THE_LOG: Final = "kafka"
"""The peer, and the slot, of everything that leaves by the event log."""

_FACT, _CASE, _SLIDE = table_of(Fact), table_of(Case), table_of(Slide)
# A scan's facts are only ever added to, under its lock: their number names the change that is being made.
_FACTS_OF_SCAN = select(func.count()).where(_FACT.c.subject_id == bindparam("scan"))
_STUDY_OF_SLIDE = (
    select(_SLIDE.c.issuer, _SLIDE.c.case_id, _CASE.c.study_instance_uid)
    .join(_CASE, _CASE.c.id == _SLIDE.c.case_id)
    .where(_SLIDE.c.id == bindparam("slide"))
)
_DOUBTS: Final = {
    Quality.REVIEW: "quality-review",
    Quality.CANNOT_JUDGE: "cannot-judge",
    Quality.RESCAN: "rescan",
}
_LONGEST_REASON: Final = 500
_MOST_REASONS: Final = 32


@dataclass(frozen=True)
class News:
    """One event that is to leave: what it says, the subject that it is about and ordered by, and its own key."""

    data: EventData
    subject_kind: Literal["scan", "case", "inbox"]
    subject_id: str
    event_key: str


def put_out(session: Session, news: Iterable[News]) -> None:
    """Put events on their way; what was put there before stays as it is."""
    now = database_now(session)
    rows, steps = [], []
    for one in news:
        digest = hashlib.sha256(f"{THE_LOG}\x1f{one.event_key}".encode()).digest()
        message_id = str(uuid_of(digest))
        rows.append(
            {
                "id": message_id,
                "peer": THE_LOG,
                "event_key": one.event_key,
                "subject_kind": one.subject_kind,
                "subject_id": one.subject_id,
                "announcement": {"kind": type(one.data).__name__, **one.data.as_json()},
                "message_control_id": base64.b32encode(digest)[:20].decode(),
                "stated_at": now,
            }
        )
        order_key = f"{THE_LOG}:{one.subject_id}"
        step = ledger.NewStep("send", SENDING, "message", message_id, rank_at=now, slot=THE_LOG, order_key=order_key)
        steps.append(step)
    if rows:
        insert_unless_there(session, OutboxMessage, rows)
        ledger.add(session, steps)


def scan_changed(
    session: Session, scan: Scan, before: ScanState, after: ScanState, facts: Sequence[ScanFact], cause: Cause
) -> None:
    """Tell what a change of a scan made true; call it only where there is a log to tell."""
    told = [
        *_judged(scan, before, after, facts),
        *_matched(scan, before, after, cause),
        *_archived(session, scan, before, after),
        *(_attention(scan, after, reason) for reason in sorted(_doubts(after) - _doubts(before))),
    ]
    if not told:
        return
    number = session.scalar(_FACTS_OF_SCAN, {"scan": scan.id})
    put_out(session, [News(one, "scan", scan.id, f"{_name(one)}:{scan.id}:{number}") for one in told])


def scan_needs_person(session: Session, settings: Settings, scan: Scan, step_id: int) -> None:
    """Tell that a step of a scan waits for a person, however often it asks."""
    if settings.kafka is None:
        return
    data = SlideNeedsAttention(
        scan_id=scan.id, site=scan.site_id, reason="needs-a-person", slide_id=scan.slide_id, case_id=scan.case_id
    )
    put_out(session, [News(data, "scan", scan.id, f"{_name(data)}:{scan.id}:step:{step_id}")])


def case_completed(session: Session, settings: Settings, case: Case, verdict: Completeness) -> None:
    """Tell that the images of a case can be read."""
    if settings.kafka is None:
        return
    data = CaseCompleted(
        case_id=case.id,
        site=case.site_id,
        completeness_version=case.completeness_version,
        ready=len(verdict.ready),
        missing=len(verdict.missing),
        unproven=len(verdict.unproven),
    )
    put_out(session, [News(data, "case", case.id, f"{_name(data)}:{case.id}:{case.completeness_version}")])


def case_assigned(
    session: Session, settings: Settings, case: Case, *, read_id: str, pathologist_id: str, assignment_id: int
) -> None:
    """Tell that somebody has a read of a case."""
    if settings.kafka is None:
        return
    data = CaseAssigned(case_id=case.id, site=case.site_id, read_id=read_id, pathologist_id=pathologist_id)
    put_out(session, [News(data, "case", case.id, f"{_name(data)}:{case.id}:{assignment_id}")])


def _judged(scan: Scan, before: ScanState, after: ScanState, facts: Sequence[ScanFact]) -> Iterator[EventData]:
    was, is_now = (before.quality, before.quality_by_person), (after.quality, after.quality_by_person)
    if was == is_now or after.quality == Quality.PENDING:
        return
    reasons = next((fact.reasons for fact in facts if isinstance(fact, QualityJudged)), ())
    yield SlideQualityChecked(
        scan_id=scan.id,
        site=scan.site_id,
        verdict=after.quality,  # type: ignore[arg-type] # a word of Quality that is not "pending"
        decided_by="person" if after.quality_by_person else "rule",
        reasons=tuple(reason[:_LONGEST_REASON] for reason in reasons[:_MOST_REASONS]),
    )


def _matched(scan: Scan, before: ScanState, after: ScanState, cause: Cause) -> Iterator[EventData]:
    if after.slide_id is None or after.case_id is None or after.slide_id == before.slide_id:
        return
    yield SlideMatched(
        scan_id=scan.id,
        site=scan.site_id,
        slide_id=after.slide_id,
        case_id=after.case_id,
        decided_by="person" if cause.actor else "rule",
    )


def _archived(session: Session, scan: Scan, before: ScanState, after: ScanState) -> Iterator[EventData]:
    where = (after.storage, after.slide_id, after.edition)
    if after.storage != Storage.PROVEN or after.slide_id is None:
        return
    if where == (before.storage, before.slide_id, before.edition):
        return
    slide = session.execute(_STUDY_OF_SLIDE, {"slide": after.slide_id}).one()
    yield SlideArchived(
        scan_id=scan.id,
        site=scan.site_id,
        slide_id=after.slide_id,
        case_id=slide.case_id,
        edition=after.edition,
        study_instance_uid=study_of(slide.study_instance_uid, slide.case_id, slide.issuer),
        series_instance_uid=series_uid(scan.id, after.edition),
    )


def _doubts(state: ScanState) -> frozenset[str]:
    """Return why people should look at a scan, in our own words."""
    if state.outcome == Outcome.SET_ASIDE:
        return frozenset(("set-aside",))
    if state.outcome != Outcome.ACTIVE:
        return frozenset()
    doubts = {_DOUBTS[Quality(state.quality)]} if state.quality in _DOUBTS else set()
    return frozenset(doubts | ({"unmatched"} if state.identity == "unmatched" else set()))


def _attention(scan: Scan, after: ScanState, reason: str) -> EventData:
    return SlideNeedsAttention(
        scan_id=scan.id, site=scan.site_id, reason=reason, slide_id=after.slide_id, case_id=after.case_id
    )


def _name(data: EventData) -> str:
    """Return what begins an event's key; two reasons that come at once are two events."""
    return f"{data.TYPE}:{data.reason}" if isinstance(data, SlideNeedsAttention) else data.TYPE
