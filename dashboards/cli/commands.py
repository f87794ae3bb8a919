"""All commands, as one application. What a command works with is imported when it runs: help waits for nothing."""

from pathlib import Path
from typing import Annotated, Final

import typer

from dashboards.cli import (
    alerts,
    assign,
    audit,
    config,
    deadline,
    demo,
    doctor,
    hl7,
    kafka,
    people,
    policy,
    processes,
    replay,
    roster,
    show,
    work,
)

_GROUPS: Final = (
    *(people, work, replay, alerts, show, deadline, audit, kafka, roster, policy, hl7, assign),
    *(processes, demo, doctor, config),
)
"""In the order in which help lists them."""


def application() -> typer.Typer:
    """Return what understands every command line."""
    app = typer.Typer(
        name="coverslip",
        help="From a scanned slide and an HL7 order to an archived series and a case on the right pathologist's "
        "worklist.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(coverslip)
    for group in _GROUPS:
        group.register(app)
    return app


def coverslip(
    home: Annotated[
        Path | None, typer.Option(help="The state folder: settings, database, spool. [env: COVERSLIP_HOME; else var]")
    ] = None,
) -> None:
    """Take the options of all commands; ``home_of`` reads them."""
