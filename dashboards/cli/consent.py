"""A person at a terminal is asked before something is done that they have just been shown."""

import sys
from typing import Annotated, TypeAlias

import typer

from models.errors import RefusedError

Yes: TypeAlias = Annotated[bool, typer.Option("--yes", help="Do not ask before it is done.")]


def agreed(*, yes: bool) -> None:
    """Ask, unless it was said already or nobody is there to answer; ``RefusedError`` for a no."""
    if not yes and sys.stdin.isatty() and not typer.confirm("Do this?"):
        raise RefusedError("you said no: nothing was changed")
