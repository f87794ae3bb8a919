"""How many of what, where: figures that stay cheap however large the archive grows."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session

from connectors.telemetry import Figure
from flows.standing.attention import LOST_FOR_AT_MOST
from flows.standing.rows import is_open, moving_rows
from flows.standing.rule import State
from models.database import database_now
from models.facets import Outcome, Reading, Storage
from models.tables.books import Alert, History, InboxMessage
from models.tables.case import Case
from models.tables.intake import Consumer
from models.tables.reading import Assignment
from models.tables.scan import Scan, ScanFile
from models.tables.step import Slot, Step, Worker

_STAGE_OF_STATE: Final = {
    State.ARRIVING: "arriving",
    State.RECEIVED: "received",
    State.CHECKING: "slide_qc",
    State.MATCHING: "barcode_matching",
    State.WAITING_FOR_SCAN: "scan",
    State.WAITING_FOR_LIMS: "order",
    State.WAITING_FOR_PERSON: "person",
    State.WAITING_FOR_RESCAN: "rescan",
    State.CONVERTING: "archive_upload",
    State.CORRECTING: "archive_upload",
    State.STORING: "archive_upload",
    State.PROVING: "archive_upload",
}


@dataclass(frozen=True)
class Count:
    """How many slides stand where at a site; ``oldest`` is since when the first of them has."""

    site: str
    state: str
    count: int
    oldest: datetime | None = None


def counts_by_stage_and_site(session: Session) -> list[Count]:
    """Return how many slides stand where: what moves with its oldest, what is at rest by an index alone."""
    counted: dict[tuple[str, str], Count] = {}
    for row in moving_rows(session):
        known = counted.get((row.site, row.state))
        oldest = row.since if known is None or known.oldest is None else min(row.since, known.oldest)
        counted[row.site, row.state] = Count(row.site, row.state, known.count + 1 if known else 1, oldest)
    return [*counted.values(), *_at_rest(session)]


def change_mark(session: Session) -> str:
    """Return a text that differs whenever something that people see has changed; one query, carried by indexes."""
    still_open = is_open()
    row = session.execute(
        select(
            select(func.max(History.id)).scalar_subquery(),
            select(func.max(Step.id)).scalar_subquery(),
            select(func.count()).select_from(Step).where(still_open).scalar_subquery(),
            select(func.sum(Step.attempt)).where(still_open).scalar_subquery(),
            select(func.count()).select_from(Step).where(Step.state == "waiting").scalar_subquery(),
            select(func.count()).select_from(Step).where(Step.state == "running").scalar_subquery(),
            select(func.max(Alert.id)).scalar_subquery(),
            select(func.count()).select_from(Alert).where(Alert.cleared_at.is_(None)).scalar_subquery(),
            select(func.count()).select_from(ScanFile).where(ScanFile.scan_id.is_(None)).scalar_subquery(),
            select(func.max(ScanFile.changed_at)).where(ScanFile.scan_id.is_(None)).scalar_subquery(),
            select(func.max(Slot.paused_until)).where(Slot.silent_since.is_not(None)).scalar_subquery(),
            select(func.max(Worker.engine)).where(Worker.ended_at.is_(None)).scalar_subquery(),
            select(func.count()).select_from(Worker).where(Worker.ended_at.is_(None)).scalar_subquery(),
            select(func.count()).select_from(Consumer).where(Consumer.ended_at.is_(None)).scalar_subquery(),
            select(func.max(Consumer.away_since)).scalar_subquery(),
        )
    ).one()
    return " ".join(str(value) for value in row)


def figures(session: Session, grace: timedelta) -> Iterable[Figure]:
    """Return the figures that metrics are made of; ``grace`` is how long a worker may miss its heartbeat."""
    now = database_now(session)
    waiting: dict[tuple[str, str], tuple[int, float]] = {}
    for count in counts_by_stage_and_site(session):
        stage = _STAGE_OF_STATE.get(State(count.state))
        if stage is None or count.oldest is None:
            continue
        number, age = waiting.get((count.site, stage), (0, 0.0))
        waiting[count.site, stage] = (number + count.count, max(age, (now - count.oldest).total_seconds()))
    for (site, stage), (number, age) in waiting.items():
        yield Figure("coverslip.slides.waiting", number, site, stage)
        yield Figure("coverslip.slides.oldest_age", age, site, stage)
    for name, query in (
        ("coverslip.inbox.unprocessed", select(func.count()).where(InboxMessage.state == "kept")),
        (
            "coverslip.deadletters",
            select(func.count()).where(InboxMessage.state == "set aside", InboxMessage.replaced_by_id.is_(None)),
        ),
        (
            "coverslip.outbox.unpublished",
            select(func.count()).where(Step.kind.in_(("send", "forward")), is_open()),
        ),
        (
            "coverslip.archive.unverified",
            select(func.count()).where(Step.kind == "prove", is_open()),
        ),
        ("coverslip.assignments.open", select(func.count()).where(Assignment.ended_at.is_(None))),
        (
            "coverslip.workers.lost",
            select(func.count()).where(
                Worker.ended_at.is_(None), Worker.heartbeat_at.between(now - grace - LOST_FOR_AT_MOST, now - grace)
            ),
        ),
    ):
        yield Figure(name, session.scalar(query) or 0)


def _awaiting_their_case() -> Select[str, int]:
    """Return the query of scans that are archived and whose case nobody has yet: cases first, they are fewer."""
    unassigned = select(Case.id).where(Case.reading != Reading.ASSIGNED)
    return (
        select(Scan.site_id, func.count())
        .where(Scan.case_id.in_(unassigned), Scan.outcome == Outcome.ACTIVE)
        .where(Scan.storage.in_((Storage.PROVEN, Storage.PURGED)))
        .group_by(Scan.site_id)
    )


def _at_rest(session: Session) -> list[Count]:
    rows = session.execute(
        select(Scan.site_id, Scan.outcome, Scan.storage, func.count()).group_by(
            Scan.site_id, Scan.outcome, Scan.storage
        )
    )
    found: dict[tuple[str, str], int] = {}
    for site, outcome, storage, number in rows:
        if outcome == Outcome.ACTIVE and storage not in (Storage.PROVEN, Storage.PURGED):
            continue
        state = State.ASSIGNED if outcome == Outcome.ACTIVE else State(outcome)
        found[site, state] = found.get((site, state), 0) + number
    for site, number in session.execute(_awaiting_their_case()):
        found[site, State.ARCHIVED] = number
        found[site, State.ASSIGNED] -= number
    return [Count(site, state, number) for (site, state), number in found.items() if number]
