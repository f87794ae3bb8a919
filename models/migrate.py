"""Bringing a database to the present shape of the tables."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import func, select

from models.database import Database
from models.errors import RefusedError

_FOLDER = Path(__file__).parent / "migrations"
# The key of PostgreSQL's lock: any number that nothing else in this database uses.
_ONE_AT_A_TIME = 5_177_220_001


def migrate(database: Database) -> None:
    """Apply every migration that is still missing; safe to repeat, each one whole or not at all.

    Raises
    ------
    RefusedError
        The database was written by a newer Coverslip.
    TransientError
        The database was away, or another process has been migrating it for too long.
    """
    scripts = ScriptDirectory.from_config(_config())
    known = {script.revision for script in scripts.walk_revisions()}
    with database.write("migrate") as session:
        if not database.is_sqlite:
            # Several processes may start at once; on SQLite a write is alone anyway.
            session.execute(select(func.pg_advisory_xact_lock(_ONE_AT_A_TIME)))
        connection = session.connection()
        present = MigrationContext.configure(connection).get_current_revision()
        if present is not None and present not in known:
            message = f"the database has revision {present}, which this version does not know: install the newer one"
            raise RefusedError(message)
        config = _config()
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(_FOLDER))
    return config
