"""Whether this process can take in messages and slides: the database and room in the spool, nothing further."""

import shutil
from pathlib import Path

from sqlalchemy import select

from connectors.settings import Settings
from models.database import Database
from models.errors import TransientError


def readiness(database: Database, settings: Settings) -> tuple[bool, dict[str, str]]:
    """Return whether intake is possible, and a sentence about each thing that it needs.

    An archive or a LIMS that is away makes nobody unready: what comes in is kept until they are back.
    """
    database_says = _database(database)
    spool_says = _spool(settings.home, settings.work.spool_reserve_bytes)
    ready = database_says == "answers" and spool_says == "has room"
    return ready, {"database": database_says, "spool": spool_says}


def _database(database: Database) -> str:
    try:
        with database.read() as session:
            session.execute(select(1))
    except TransientError:
        return "does not answer: see that it runs and that its disk has room"
    return "answers"


def _spool(home: Path, reserve_bytes: int) -> str:
    try:
        free_bytes = shutil.disk_usage(home).free
    except OSError:
        return "can't be reached: see that its disk is mounted"
    if free_bytes < reserve_bytes:
        return f"has {free_bytes} bytes left, fewer than the {reserve_bytes} kept free: make room on its disk"
    return "has room"
