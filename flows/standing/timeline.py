"""One scan's story: what happened when, which steps worked on it, what was said about it."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from flows.standing.rows import Row, row_of_scan
from models.tables.books import History, OutboxMessage
from models.tables.case import Identifier, Slide
from models.tables.scan import Instance, Scan, ScanFile
from models.tables.step import Step

_SAID: Final = {
    ("identity", "unmatched"): "not matched: a person has to say which slide this is",
    ("storage", "stored"): "stored in the archive, not yet proven",
    ("storage", "proven"): "archived: listed there and read back unchanged",
    ("storage", "received"): "to be archived anew",
    ("outcome", "set aside"): "set aside",
    ("outcome", "superseded"): "replaced by another scan",
    ("outcome", "cancelled"): "cancelled",
    ("outcome", "withdrawn"): "withdrawn",
    ("outcome", "active"): "takes part again",
    ("purpose", "replacement"): "replaces an earlier scan of its slide",
}
_UNTOLD: Final = ("case_id", "reason", "superseded_by_id")
"""Changes that another line of the same moment already tells."""

_KINDS: Final = {
    "slide_qc": "quality check",
    "barcode_matching": "barcode matching",
    "convert": "conversion to DICOM",
    "correct": "correction of who it is",
    "store": "storing",
    "prove": "proof",
    "reject": "hiding in the archive",
}


@dataclass(frozen=True)
class Entry:
    """Something that happened: what, because of which step or command, and with a person's action who and why."""

    at: datetime
    what: str
    cause: str = ""
    actor: str | None = None
    reason: str | None = None


@dataclass(frozen=True)
class Work:
    """One step that worked on the scan, or is to."""

    what: str
    state: str
    generation: int
    edition: int
    attempts: int
    created_at: datetime
    ended_at: datetime | None
    waiting_for: str | None
    problem: str | None

    @property
    def took(self) -> timedelta | None:
        """From the moment it was needed to its end, waits included."""
        return self.ended_at - self.created_at if self.ended_at else None


@dataclass(frozen=True)
class Message:
    """What the LIMS, or the event log, was told about the scan, and what it answered."""

    peer: str
    what: str
    stated_at: datetime
    state: str
    tries: int
    answered_at: datetime | None
    answer_code: str | None
    message_control_id: str


@dataclass(frozen=True)
class Timeline:
    """Everything about one scan that a page shows."""

    row: Row
    scanner: str
    edition: int
    quality: str
    identity: str
    received_at: datetime
    trace_id: str
    accession_number: str | None
    entries: tuple[Entry, ...]
    work: tuple[Work, ...]
    messages: tuple[Message, ...]
    files: tuple[ScanFile, ...]
    objects: tuple[Instance, ...]


def timeline(session: Session, scan_id: str) -> Timeline | None:
    """Return one scan's story; ``None`` when there is no such scan."""
    scan = session.get(Scan, scan_id)
    row = row_of_scan(session, scan_id)
    if scan is None or row is None:
        return None
    files = tuple(session.scalars(select(ScanFile).where(ScanFile.scan_id == scan_id).order_by(ScanFile.id)))
    entries = [*_seen(files), *_changes(session, scan_id)]
    objects = session.scalars(
        select(Instance).where(Instance.scan_id == scan_id).order_by(Instance.edition, Instance.id)
    )
    return Timeline(
        row=row,
        scanner=scan.scanner,
        edition=scan.edition,
        quality=scan.quality,
        identity=scan.identity,
        received_at=scan.received_at,
        trace_id=scan.traceparent.split("-")[1] if scan.traceparent else "",
        accession_number=_accession(session, scan.case_id),
        entries=tuple(sorted(entries, key=lambda entry: entry.at)),
        work=tuple(_work(session, scan_id)),
        messages=tuple(_messages(session, scan_id)),
        files=files,
        objects=tuple(objects),
    )


def _seen(files: tuple[ScanFile, ...]) -> Iterator[Entry]:
    for file in files:
        yield Entry(file.first_seen_at, "first seen in the scanner's folder", file.root)
        if file.taken_at:
            yield Entry(file.taken_at, f"taken into the spool whole, {file.bytes:,} bytes", file.root)


def _changes(session: Session, scan_id: str) -> Iterator[Entry]:
    changes = session.scalars(select(History).where(History.subject_id == scan_id).order_by(History.id)).all()
    matched = [change.after for change in changes if change.what == "slide_id" and change.after]
    slides = session.execute(select(Slide.id, Slide.container_identifier).where(Slide.id.in_(matched)))
    names = dict(slides.all())
    for change in changes:
        if change.what not in _UNTOLD and (change.what, change.after) != ("identity", "matched"):
            said = _said(change, names)
            yield Entry(change.at, said, change.cause, change.actor, change.reason)


def _said(change: History, slides: dict[str, str]) -> str:
    if change.what == "slide_id":
        return (
            f"matched to slide {slides.get(change.after, change.after)}"
            if change.after
            else "matched to no slide any more"
        )
    known = _SAID.get((change.what, change.after or ""))
    return known or in_words(change)


def in_words(change: History) -> str:
    """Return a change as people read it: what, from what to what."""
    what, after = change.what.replace("_", " "), change.after or "nothing"
    return f"{what}: {after}" if change.before is None else f"{what}: {change.before} → {after}"


def _work(session: Session, scan_id: str) -> Iterator[Work]:
    for step in session.scalars(select(Step).where(Step.subject_id == scan_id).order_by(Step.id)):
        told = step.result.get("reason") if isinstance(step.result, dict) else None
        yield Work(
            what=_KINDS.get(step.kind, step.kind),
            state=step.state,
            generation=step.generation,
            edition=step.edition,
            attempts=step.attempt,
            created_at=step.created_at,
            ended_at=step.ended_at,
            waiting_for=step.waiting_for,
            problem=step.problem or (told if step.state == "waiting" else None),
        )


def _messages(session: Session, scan_id: str) -> Iterator[Message]:
    query = select(OutboxMessage).where(OutboxMessage.subject_id == scan_id).order_by(OutboxMessage.stated_at)
    for message in session.scalars(query):
        yield Message(
            peer=message.peer,
            what=news_in_words(message.announcement),
            stated_at=message.stated_at,
            state=message.state,
            tries=message.tries,
            answered_at=message.answered_at,
            answer_code=message.answer_code,
            message_control_id=message.message_control_id,
        )


def news_in_words(announcement: Mapping[str, Any]) -> str:
    """Return what a message states: of a slide or a case a state, of an event its kind, in words."""
    kind = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", str(announcement.get("kind", "news"))).lower()
    return str(announcement.get("state") or kind)


def _accession(session: Session, case_id: str | None) -> str | None:
    return session.scalar(
        select(Identifier.value)
        .where(Identifier.subject_id == case_id, Identifier.kind == "accession")
        .order_by(Identifier.id)
        .limit(1)
    )
