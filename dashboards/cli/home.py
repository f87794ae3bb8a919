"""Which state folder a command works on."""

import os
from pathlib import Path

import typer


def home_of(context: typer.Context) -> Path:
    """Return the state folder: ``--home``, else ``COVERSLIP_HOME``, else ``var``, as an absolute path."""
    given = (context.find_root().params or {}).get("home")
    return Path(given or os.environ.get("COVERSLIP_HOME") or "var").absolute()
