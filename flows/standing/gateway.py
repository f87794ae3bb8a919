"""How a gateway stands: what it has still to hand on, and how long its disks last if nobody takes anything from it."""

import os
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from sqlalchemy import func, make_url, select
from sqlalchemy.orm import Session

from connectors.settings import Settings
from flows.sending.publish import THE_LOG
from flows.standing.rows import is_open
from models.database import database_now
from models.facets import FileState
from models.tables.books import InboxMessage
from models.tables.scan import ScanFile
from models.tables.step import Slot, Step

_LOOKED_BACK: Final = timedelta(hours=6)
# A pace of minutes says nothing about days.
_SHORTEST: Final = timedelta(minutes=15)
_ROW_BYTES: Final = 1_000
"""What a message takes in the database beside its own bytes, its step and all indexes counted."""
_STATES: Final = ("kept", "applied", "set aside")
_MUCH: Final = 1_000
_SOON: Final = 24.0


@dataclass(frozen=True)
class Disk:
    """A disk that fills: how much may still be written, and how much was in the time looked back on."""

    free_bytes: int
    grown_bytes: int


@dataclass(frozen=True)
class GatewayState:
    """What people should know of a gateway, in one sentence.

    ``full_in`` is how many hours its fullest disk lasts at the pace of late; ``None`` while nothing comes in.
    """

    sentence: str
    all_is_well: bool
    waiting: int
    full_in: float | None


def gateway_state(session: Session, settings: Settings) -> GatewayState:
    """Return what waits to be handed on, since when Kafka is silent, and when the disks are full."""
    now = database_now(session)
    forwards = select(func.count(), func.min(Step.created_at)).where(Step.kind == "forward", is_open())
    waiting, oldest = session.execute(forwards).one()
    silent = session.scalar(select(func.max(Slot.silent_since)).where(Slot.name == THE_LOG))
    looked_back = _since_when(session, now)
    hours = full_in(_disks(session, settings, now - looked_back), looked_back)
    parts = [f"Kafka has been silent since {_moment(silent)}"] if silent else []
    parts.append(_waiting(waiting, oldest))
    parts.append(_room(hours, looked_back))
    well = silent is None and (hours is None or hours > _SOON)
    return GatewayState("; ".join(parts), well, waiting, hours)


def full_in(disks: Iterable[Disk], during: timedelta) -> float | None:
    """Return after how many hours the first of these disks is full; ``None`` when none of them fills."""
    hours = during.total_seconds() / 3_600
    lasts = [max(0, one.free_bytes) / one.grown_bytes * hours for one in disks if one.grown_bytes > 0]
    return min(lasts, default=None)


def _disks(session: Session, settings: Settings, since: datetime) -> list[Disk]:
    """Return the disks of spool and database, which may be one; the reserve counts as full."""
    spool, work = settings.resolved(settings.work.spool), settings.work
    grown: dict[Path, int] = {spool: _taken_bytes(session, since)}
    url = make_url(settings.database)
    if url.get_backend_name() == "sqlite":
        # Somebody else sees to a server's disk.
        grown[Path(url.database or "").parent] = _kept_bytes(session, since)
    by_device: dict[int, tuple[Path, int]] = defaultdict(lambda: (spool, 0))
    for folder, count in grown.items():
        there = next(one for one in (folder, *folder.parents) if one.exists())
        device = there.stat().st_dev
        by_device[device] = (there, by_device[device][1] + count)
    return [Disk(_free(folder) - work.spool_reserve_bytes, count) for folder, count in by_device.values()]


def _free(folder: Path) -> int:
    status = os.statvfs(folder)
    return status.f_bavail * status.f_frsize


def _since_when(session: Session, now: datetime) -> timedelta:
    """Return how far back the pace is measured: six hours, or since the first message came."""
    firsts = (
        session.scalar(select(func.min(InboxMessage.received_at)).where(InboxMessage.state == state))
        for state in _STATES
    )
    first = min((one for one in firsts if one is not None), default=now)
    return max(_SHORTEST, min(_LOOKED_BACK, now - first))


def _taken_bytes(session: Session, since: datetime) -> int:
    taken = (ScanFile.state == FileState.TAKEN, ScanFile.taken_at >= since)
    return int(session.scalar(select(func.sum(ScanFile.bytes)).where(*taken)) or 0)


def _kept_bytes(session: Session, since: datetime) -> int:
    size = func.sum(func.length(InboxMessage.payload) + _ROW_BYTES)
    return int(
        session.scalar(select(size).where(InboxMessage.state.in_(_STATES), InboxMessage.received_at >= since)) or 0
    )


def _waiting(count: int, oldest: datetime | None) -> str:
    if not count or oldest is None:
        return "everything that came in was handed on"
    what = "1 message or scan waits" if count == 1 else f"{count:,} messages and scans wait"
    return f"{what} to be handed on, the oldest since {_moment(oldest)}"


def _room(hours: float | None, during: timedelta) -> str:
    minutes = round(during.total_seconds() / 60)
    late = f"{minutes // 60} h" if minutes % 60 == 0 else f"{minutes} min"
    if hours is None:
        return f"nothing came in during the last {late}"
    lasts = f"more than {_MUCH:,} h" if hours > _MUCH else f"{hours:.0f} h"
    return f"full in {lasts} at the pace of the last {late}"


def _moment(at: datetime) -> str:
    return f"{at:%d %b %Y %H:%M} UTC"
