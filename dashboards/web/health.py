"""Whether messages and slides can be taken in: the database, room in the spool, and Kafka where it is read."""

import shutil
from datetime import timedelta
from pathlib import Path
from typing import Final

from sqlalchemy import select

from connectors.settings import Settings
from flows.intake.consumers import intake_state, reads_events
from models.database import Database, database_now
from models.errors import TransientError

DOORS_NEED: Final = {"database": "answers", "spool": "has room"}
"""What is said when this process itself can take in what comes: Kafka is read by another."""

# A broker that is started again, and readers that share its partitions out anew, take less.
_UNREAD_FOR: Final = timedelta(minutes=1)
_IS_READ: Final = "is read"


def readiness(database: Database, settings: Settings) -> tuple[bool, dict[str, str]]:
    """Return whether intake is possible, and a sentence about each thing that it needs.

    An archive or a LIMS that is away makes nobody unready: what comes in is kept until they are back. Kafka does, where
    it is to be read, once nobody has read it for a minute.
    """
    said = {"database": _database(database), "spool": _spool(settings.home, settings.work.spool_reserve_bytes)}
    ready = said == DOORS_NEED
    if reads_events(settings) and said["database"] == DOORS_NEED["database"]:
        said["kafka"] = _kafka(database)
        ready = ready and said["kafka"] == _IS_READ
    return ready, said


def _database(database: Database) -> str:
    try:
        with database.read() as session:
            session.execute(select(1))
    except TransientError:
        return "does not answer: see that it runs and that its disk has room"
    return "answers"


def _kafka(database: Database) -> str:
    try:
        with database.read() as session:
            state, now = intake_state(session), database_now(session)
    except TransientError:
        return "is not known: the database does not answer"
    is_new = state.away_since is not None and now - state.away_since < _UNREAD_FOR
    return _IS_READ if is_new or (state.consumers and state.away_since is None) else state.sentence


def _spool(home: Path, reserve_bytes: int) -> str:
    try:
        free_bytes = shutil.disk_usage(home).free
    except OSError:
        return "can't be reached: see that its disk is mounted"
    if free_bytes < reserve_bytes:
        return f"has {free_bytes} bytes left, fewer than the {reserve_bytes} kept free: make room on its disk"
    return "has room"
