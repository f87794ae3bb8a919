"""A person at a terminal is asked before something is done that they have just been shown."""

import sys
from typing import Annotated, TypeAlias

import typer

from models.errors import RefusedError

Yes: TypeAlias = Annotated[bool, typer.Option("--yes", help="Do not ask before it is done.")]


def agreed(*, yes: bool) -> None:
    """Ask, unless it was said already or nobody is there to answer; ``RefusedError`` for a no, and for Ctrl-C."""
    if yes or not sys.stdin.isatty():
        return
    try:
        is_wanted = typer.confirm("Do this?")
    except typer.Abort:
        is_wanted = False
    if not is_wanted:
        raise RefusedError("you said no: nothing was changed")
