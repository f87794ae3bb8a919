"""Bringing a database to the present shape of the tables."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from models.database import Database
from models.errors import RefusedError

_FOLDER = Path(__file__).parent / "migrations"


def migrate(database: Database) -> None:
    """Apply every migration that is still missing; safe to repeat, each one whole or not at all.

    Raises
    ------
    RefusedError
        The database was written by a newer Coverslip.
    """
    scripts = ScriptDirectory.from_config(_config())
    with database.engine.execution_options(writes=True).connect() as connection, connection.begin():
        present = MigrationContext.configure(connection).get_current_revision()
        known = {script.revision for script in scripts.walk_revisions()}
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
