"""How the processes that read an event log stand: what each has, how far it is behind, since when the log is away."""

import os
import socket
import time
import uuid
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.orm import Session

from connectors.eventlog.protocol import EventSource
from connectors.settings import Settings
from models.base import table_of
from models.database import Database, database_now
from models.errors import TransientError
from models.tables.intake import Consumer

_BEAT_SECONDS: Final = 2.0
# After so many missed beats a consumer counts as gone: the group has long given its partitions to others.
_GONE_AFTER: Final = timedelta(seconds=30)
_FORGOTTEN_AFTER: Final = timedelta(days=1)

_CONSUMER = table_of(Consumer)
_ALL = select(
    *(_CONSUMER.c.heartbeat_at, _CONSUMER.c.ended_at, _CONSUMER.c.partitions, _CONSUMER.c.lag),
    *(_CONSUMER.c.away_since, _CONSUMER.c.away_because),
)


@dataclass(frozen=True)
class Intake:
    """What is to be said of reading an event log: one sentence, and whether all is well."""

    sentence: str
    consumers: int = 0
    lag: int = 0
    away_since: datetime | None = None
    all_is_well: bool = False


class Standing:
    """One process's row: written every two seconds, and when things change; never an error of its own."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._id = str(uuid.uuid4())
        self._beat_at = 0.0
        self._away: str | None = None

    def begin(self) -> None:
        """Enter this process; forget those that ended long ago."""
        with suppress(TransientError), self._database.write("consumer_begin") as session:
            now = database_now(session)
            session.execute(delete(_CONSUMER).where(_CONSUMER.c.heartbeat_at < now - _FORGOTTEN_AFTER))
            values = {"id": self._id, "host": socket.gethostname(), "pid": os.getpid(), "partitions": 0, "lag": 0}
            session.execute(insert(_CONSUMER).values(**values, started_at=now, heartbeat_at=now))

    def reads(self, source: EventSource) -> None:
        """Say that the log answers, and how far we are behind it."""
        missing = sorted(source.missing_topics())
        away = f"the event log has no topic {', '.join(missing)}" if missing else None
        if away == self._away and time.monotonic() < self._beat_at:
            return
        lag = source.lag()
        self._write(away, {"partitions": len(lag), "lag": sum(lag.values())})

    def away(self, because: str) -> None:
        """Say that the log or the database does not answer."""
        if self._away is None or time.monotonic() >= self._beat_at:
            self._write(because, {})

    def end(self) -> None:
        """Say that this process has ended by itself."""
        with suppress(TransientError), self._database.write("consumer_end") as session:
            ended = update(_CONSUMER).where(_CONSUMER.c.id == self._id)
            session.execute(ended.values(ended_at=database_now(session), partitions=0))

    def _write(self, away: str | None, values: dict[str, Any]) -> None:
        self._beat_at = time.monotonic() + _BEAT_SECONDS
        with suppress(TransientError), self._database.write("consumer_beat") as session:
            now = database_now(session)
            since = None if away is None else func.coalesce(_CONSUMER.c.away_since, now)
            beat = update(_CONSUMER).where(_CONSUMER.c.id == self._id)
            session.execute(beat.values(heartbeat_at=now, away_since=since, away_because=away, **values))
            self._away = away


def reads_events(settings: Settings) -> bool:
    """Return whether an installation is to read the event log: a gateway only writes to it."""
    return settings.kafka is not None and not settings.forwards


def intake_state(session: Session) -> Intake:
    """Return how reading the event log stands."""
    rows = session.execute(_ALL).all()
    if not rows:
        return Intake("Nobody has read the event log yet: 'coverslip up' or 'coverslip intake' does")
    alive_since = database_now(session) - _GONE_AFTER
    alive = [row for row in rows if row.ended_at is None and row.heartbeat_at >= alive_since]
    if not alive:
        last = max(row.heartbeat_at for row in rows)
        return Intake(f"Nobody reads the event log since {_moment(last)}: start 'coverslip intake'", away_since=last)
    partitions, lag = sum(row.partitions for row in alive), sum(row.lag for row in alive)
    away = min((row for row in alive if row.away_since), key=lambda row: row.away_since, default=None)
    if away is not None:
        sentence = f"The event log can't be read since {_moment(away.away_since)}: {away.away_because}"
        return Intake(sentence, consumers=len(alive), lag=lag, away_since=away.away_since)
    who = "1 process reads" if len(alive) == 1 else f"{len(alive)} processes read"
    sentence = f"{who} the event log: {partitions} partitions, {lag} records to come"
    return Intake(sentence, consumers=len(alive), lag=lag, all_is_well=partitions > 0)


def _moment(at: datetime) -> str:
    return f"{at:%d %b %Y %H:%M:%S} UTC"
