"""What people should look at: what waits for what, what was raised, and who is silent."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from flows.standing.rows import is_open
from models.database import database_now
from models.tables.books import Alert, InboxMessage, OutboxMessage
from models.tables.case import Case, Identifier, Slide
from models.tables.reading import Read
from models.tables.scan import Scan
from models.tables.step import Slot, Step, Worker
from models.tables.work import WorkOrder

_THINGS: Final = {"inbox": "message", "message": "message", "read": "case"}
"""What people call the subject of a step; a case, a scan and a slide are called so."""

_EXAMPLES: Final = 5

_SHOWN_OF_AN_ID: Final = 8
"""Enough for every command to know it by."""

LOST_FOR_AT_MOST: Final = timedelta(minutes=10)
"""For so long a worker that stopped without a word is spoken of; what it held was taken over long before."""


@dataclass(frozen=True)
class Waits:
    """So many things of one kind wait for the same."""

    count: int
    thing: str
    waiting_for: str
    since: datetime
    until: datetime | None
    then: str | None


@dataclass(frozen=True)
class About:
    """A subject as a page can link it: its kind, its opaque id, its site when it has one."""

    kind: str
    id: str
    site: str | None = None
    name: str | None = None


@dataclass(frozen=True)
class Raised:
    """Open alerts with one cause: the sentence, how many, since when the first, and a few of what they are about."""

    kind: str
    sentence: str
    count: int
    since: datetime
    about: tuple[About, ...]


@dataclass(frozen=True)
class EngineState:
    """Whether anybody works, and in which way; one sentence for people."""

    sentence: str
    all_is_well: bool
    workers: int


@dataclass(frozen=True)
class SilentPeer:
    """A neighbour that does not answer, since when and why, and how many steps wait for it."""

    name: str
    since: datetime
    next_try_at: datetime | None
    because: str | None
    waiting: int


def waits(session: Session) -> list[Waits]:
    """Return what waits for what, grouped by what happens then; the longest wait first."""
    rows = session.execute(
        select(
            Step.subject_kind,
            Step.waiting_for,
            Step.waiting_then,
            func.count(Step.subject_id.distinct()),
            func.min(Step.waiting_since),
            func.min(Step.waiting_until),
        )
        # The next look at all open reads is no more than a clock.
        .where(Step.state == "waiting", Step.subject_kind != "laboratory")
        .group_by(Step.subject_kind, Step.waiting_for, Step.waiting_then)
    )
    found = [
        Waits(count, _THINGS.get(kind, kind), waiting_for, since, until, then)
        for kind, waiting_for, then, count, since, until in rows
        if waiting_for is not None and since is not None
    ]
    return sorted(found, key=lambda one: (one.since, one.thing))


def open_alerts(session: Session) -> list[Raised]:
    """Return what was raised and not cleared, by cause; the oldest first."""
    groups: dict[tuple[str, str], list[Alert]] = defaultdict(list)
    for alert in session.scalars(select(Alert).where(Alert.cleared_at.is_(None)).order_by(Alert.raised_at, Alert.id)):
        groups[alert.kind, alert.sentence].append(alert)
    shown = [alert for group in groups.values() for alert in group[:_EXAMPLES]]
    about = _about(session, shown)
    return [
        Raised(
            kind=kind,
            sentence=sentence,
            count=len(group),
            since=group[0].raised_at,
            about=tuple(about[alert.subject_id] for alert in group[:_EXAMPLES]),
        )
        for (kind, sentence), group in groups.items()
    ]


def engine_state(session: Session, grace: timedelta) -> EngineState:
    """Return how the work runs; a worker whose heartbeat is older than ``grace`` does not count."""
    alive_since = database_now(session) - grace
    running = session.execute(
        select(Worker.engine, Worker.heartbeat_at).where(Worker.ended_at.is_(None)).order_by(Worker.started_at)
    ).all()
    alive = [engine for engine, heartbeat_at in running if heartbeat_at >= alive_since]
    lost = sum(LOST_FOR_AT_MOST > alive_since - heartbeat_at > timedelta(0) for _, heartbeat_at in running)
    if not alive:
        last = session.scalar(select(func.max(Worker.heartbeat_at)))
        since = f" since {last:%d %b %Y %H:%M:%S} UTC" if last else ""
        return EngineState(f"No worker is running{since}: slides wait until one is started", False, 0)  # noqa: FBT003
    said = sorted({engine or "a worker has just started" for engine in alive})
    away = any(" away " in f" {one} " for one in said)
    workers = "1 worker" if len(alive) == 1 else f"{len(alive)} workers"
    missing = f"; {lost} more stopped without a word, what they held is taken over" if lost else ""
    return EngineState(f"{'; '.join(said)} ({workers}{missing})", not away and not lost, len(alive))


def silent_peers(session: Session) -> list[SilentPeer]:
    """Return the neighbours that do not answer, the longest silent first."""
    silent = session.execute(
        select(Slot.name, func.min(Slot.silent_since), func.max(Slot.paused_until), func.max(Slot.paused_because))
        .where(Slot.silent_since.is_not(None))
        .group_by(Slot.name)
    ).all()
    if not silent:
        return []
    names = [name for name, *_ in silent]
    counted = select(Step.slot, func.count()).where(is_open(), Step.slot.in_(names)).group_by(Step.slot)
    waiting = dict(session.execute(counted).all())
    found = [SilentPeer(name, since, until, why, waiting.get(name, 0)) for name, since, until, why in silent if since]
    return sorted(found, key=lambda peer: (peer.since, peer.name))


def _about(session: Session, alerts: Sequence[Alert]) -> dict[str, About]:
    """Return what alerts are about, by subject: one query a kind of subject, however many there are."""
    ids: dict[str, list[str]] = defaultdict(list)
    for alert in alerts:
        ids[alert.subject_kind].append(alert.subject_id)
    found = {alert.subject_id: About(alert.subject_kind, alert.subject_id) for alert in alerts}
    for about in (
        *_scans(session, ids["scan"]),
        *_slides(session, ids["slide"]),
        *_cases(session, ids["case"]),
        *_reads(session, ids["read"]),
        *_work_orders(session, ids["work order"]),
        *_messages(session, ids["inbox"], ids["message"]),
    ):
        found[about[0]] = about[1]
    return found


def _scans(session: Session, ids: Sequence[str]) -> Iterable[tuple[str, About]]:
    query = (
        select(Scan.id, Scan.site_id, Slide.container_identifier)
        .outerjoin(Slide, Slide.id == Scan.slide_id)
        .where(Scan.id.in_(ids))
    )
    for scan_id, site, name in session.execute(query) if ids else ():
        yield scan_id, About("scan", scan_id, site, name)


def _slides(session: Session, ids: Sequence[str]) -> Iterable[tuple[str, About]]:
    """A slide has no page of its own: its case's has it."""
    query = (
        select(Slide.id, Slide.case_id, Case.site_id, Slide.container_identifier)
        .join(Case, Case.id == Slide.case_id)
        .where(Slide.id.in_(ids))
    )
    for slide_id, case_id, site, name in session.execute(query) if ids else ():
        yield slide_id, About("case", case_id, site, name)


def _cases(session: Session, ids: Sequence[str]) -> Iterable[tuple[str, About]]:
    accession = (Identifier.subject_id == Case.id) & (Identifier.kind == "accession")
    query = (
        select(Case.id, Case.site_id, Identifier.value)
        .outerjoin(Identifier, accession)
        .where(Case.id.in_(ids))
        .order_by(Identifier.id.desc())
    )
    for case_id, site, number in session.execute(query) if ids else ():
        yield case_id, About("case", case_id, site, number)


def _reads(session: Session, ids: Sequence[str]) -> Iterable[tuple[str, About]]:
    query = select(Read.id, Read.case_id, Case.site_id).join(Case, Case.id == Read.case_id).where(Read.id.in_(ids))
    for read_id, case_id, site in session.execute(query) if ids else ():
        yield read_id, About("case", case_id, site)


def _work_orders(session: Session, ids: Sequence[str]) -> Iterable[tuple[str, About]]:
    query = (
        select(WorkOrder.id, WorkOrder.case_id, Case.site_id, WorkOrder.kind)
        .join(Case, Case.id == WorkOrder.case_id)
        .where(WorkOrder.id.in_(ids))
    )
    for work_id, case_id, site, kind in session.execute(query) if ids else ():
        yield work_id, About("case", case_id, site, f"a {kind}")


def _messages(session: Session, came: Sequence[str], left: Sequence[str]) -> Iterable[tuple[str, About]]:
    """A message that came in is named by its peer; one that goes out leads to what it is about."""
    arrived = select(InboxMessage.id, InboxMessage.peer).where(InboxMessage.id.in_(came))
    for inbox_id, peer in session.execute(arrived) if came else ():
        yield inbox_id, About("inbox", inbox_id, None, f"message {inbox_id[:_SHOWN_OF_AN_ID]} from {peer}")
    sent = select(OutboxMessage.id, OutboxMessage.subject_kind, OutboxMessage.subject_id).where(
        OutboxMessage.id.in_(left)
    )
    for message_id, kind, subject_id in session.execute(sent) if left else ():
        yield message_id, About(kind, subject_id, None, f"the {kind} it tells of")
