"""All commands, as one application; and one group alone, for whoever is called often by scripts."""

from pathlib import Path
from typing import Annotated

import typer

_ALONE = ("hl7", "assign")
"""Groups that wait for the imports of no other: these start in a fifth of the time."""


def application(first_word: str = "") -> typer.Typer:
    """Return what understands a command line that begins with this word; without one, all of them."""
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
    from dashboards.cli import assign, hl7

    if first_word not in _ALONE:
        from dashboards.cli import (
            alerts,
            audit,
            config,
            deadline,
            demo,
            doctor,
            kafka,
            people,
            policy,
            processes,
            replay,
            roster,
            show,
            work,
        )

        for group in (people, work, replay, alerts, show, deadline, audit, kafka, roster, policy):
            group.register(app)
    hl7.register(app)
    assign.register(app)
    if first_word not in _ALONE:
        for group in (processes, demo, doctor, config):
            group.register(app)
    return app


def coverslip(
    home: Annotated[
        Path | None, typer.Option(help="The state folder: settings, database, spool. [env: COVERSLIP_HOME; else var]")
    ] = None,
) -> None:
    """Take the options of all commands; ``home_of`` reads them."""
