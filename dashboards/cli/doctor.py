"""The command ``doctor``: what the system needs and has, or lacks, a line each with what to do about it."""

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Final

import typer
from rich.console import Console
from rich.text import Text

from dashboards.cli.home import home_of

if TYPE_CHECKING:
    from dashboards.doctor.finding import Finding

_STYLES: Final = {"ok": "green", "note": "yellow", "missing": "bold red"}
_WIDTH: Final = 16


def register(app: typer.Typer) -> None:
    """Add this command."""
    app.command()(doctor)


def doctor(
    context: typer.Context,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Say what is there and what is missing, with what to do about it; nothing is changed.

    It works before a first start, too, and ends with 0 when nothing is missing that the system needs, else with 1.
    A note is for you to know.
    """
    from dashboards.doctor.examination import examine

    console = Console(soft_wrap=True)
    found: list[Finding] = []
    for finding in examine(home_of(context)):
        found.append(finding)
        if not as_json:
            console.print(_line(finding))
    missing = sum(finding.level == "missing" for finding in found)
    if as_json:
        print(json.dumps({"ok": not missing, "findings": [asdict(finding) for finding in found]}, indent=2))
    else:
        console.print(_summary(missing))
    raise typer.Exit(1 if missing else 0)


def _line(finding: "Finding") -> Text:
    mark = (f"{finding.level:<8}", _STYLES[finding.level])
    return Text.assemble(mark, (f"{finding.what:<{_WIDTH}}", "bold"), " ", finding.line)


def _summary(missing: int) -> Text:
    if not missing:
        return Text("\nNothing is missing that Coverslip needs.", "green")
    return Text(f"\n{missing} {'thing is' if missing == 1 else 'things are'} missing: see above.", "bold red")
