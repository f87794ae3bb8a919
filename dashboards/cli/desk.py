"""What the commands for people share: the books they open, who acts, and how things are written on a terminal.

Importing it costs next to nothing: what opens the books is imported when a command runs, so that help and wrong usage
wait for no database.
"""

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from dashboards.cli.home import home_of
from dashboards.cli.options import AsJson, By, Reason
from models.errors import RefusedError, TransientError

if TYPE_CHECKING:
    from connectors.settings import Settings
    from flows.actions import Desk
    from models.database import Database

__all__ = ["AsJson", "By", "Reason", "console", "expect_site", "opened", "plain", "plain_table", "print_json", "short"]

_SHOWN_OF_AN_ID: Final = 8
_WHOLE: Final = ("Scan", "Case", "Message", "For", "Since", "Due", "At", "what")
_COLUMNS_OF_A_PIPE: Final = 200
"""What reads a pipe or a file wants a line to stay one; ``COLUMNS`` says otherwise."""


@contextmanager
def opened(context: typer.Context) -> Iterator["Desk"]:
    """Open the books of the state folder that the command was given; close them at the end.

    Raises
    ------
    RefusedError
        There are no settings or no database, it does not answer, or its tables are of another version.
    """
    from connectors.settings import load
    from connectors.wiring import open_database, open_ids
    from flows.actions import Desk

    settings = load(home_of(context))
    _expect_file(settings)
    database = open_database(settings)
    try:
        _expect_tables(database)
        yield Desk(database, settings, open_ids(settings))
    finally:
        database.close()


def expect_site(settings: "Settings", site: str | None) -> None:
    """Refuse a site that the settings do not have, and name those that they have."""
    known = [one.id for one in settings.sites]
    if site is not None and site not in known:
        raise RefusedError(f"no site of the settings is called so; there are: {', '.join(known)}")


def short(opaque_id: str | None) -> str:
    """Return as much of an opaque id as names the thing in lists."""
    return (opaque_id or "")[:_SHOWN_OF_AN_ID]


def plain(text: str | None) -> Text:
    """Return a text as it is to be seen: no mark-up of ours, nothing that a terminal would act on."""
    return Text("".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text or ""))


def print_json(value: object) -> None:
    """Print one JSON value on one line; times in ISO 8601, in UTC."""
    print(json.dumps(value, ensure_ascii=False, default=_as_text))


def console() -> Console:
    """Return where people read; what is written to a file or a pipe has no colours."""
    is_folded = sys.stdout.isatty() or "COLUMNS" in os.environ
    return Console(file=sys.stdout, highlight=False, width=None if is_folded else _COLUMNS_OF_A_PIPE)


def plain_table(*columns: str, header: bool = True) -> Table:
    """Return a table without lines, whose ids, times and ages are never folded."""
    table = Table(box=None, pad_edge=False, header_style="bold", show_header=header)
    for column in columns:
        table.add_column(column, overflow="fold", no_wrap=column in _WHOLE)
    return table


def _as_text(value: object) -> str:
    if not isinstance(value, datetime):
        return str(value)
    return (value.astimezone(UTC) if value.tzinfo else value).isoformat()


def _expect_file(settings: "Settings") -> None:
    """Refuse before SQLite makes an empty database."""
    from sqlalchemy import make_url

    url = make_url(settings.database)
    if url.get_backend_name() == "sqlite" and not Path(url.database or "").exists():
        raise RefusedError(f"there is no database at {url.database} yet: 'coverslip up' makes it")


def _expect_tables(database: "Database") -> None:
    from importlib.resources import files

    from alembic.migration import MigrationContext
    from alembic.script import ScriptDirectory

    try:
        with database.read() as session:
            present = MigrationContext.configure(session.connection()).get_current_revision()
    except TransientError as error:
        raise RefusedError("the database does not answer: see that it runs, and its address in the settings") from error
    migrations = ScriptDirectory(str(files("models") / "migrations"))
    wanted = migrations.get_current_head()
    if present is not None and present not in {one.revision for one in migrations.walk_revisions()}:
        raise RefusedError(
            f"the database's tables are at revision {present}, which this version does not know: a newer Coverslip "
            "made them, so run that one"
        )
    if present != wanted:
        raise RefusedError(
            f"the database's tables are at revision {present or 'none'} and this version needs {wanted}: "
            "'coverslip migrate' brings them there"
        )
