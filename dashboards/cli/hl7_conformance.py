"""The commands ``hl7 conformance`` and ``hl7 simulate``: IHE PaLM DPOW against simulated neighbours."""

import json
import re
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from models.errors import RefusedError

_TERMINATED = 143  # what a shell reports of a program that SIGTERM ended


class Neighbour(StrEnum):
    """Whose part is played."""

    PAWM = "pawm"
    IMA = "ima"


def register(group: typer.Typer) -> None:
    """Add these commands."""
    group.command()(conformance)
    group.command()(simulate)


def conformance(
    tests: Annotated[list[str] | None, typer.Argument(metavar="[TEST]...", help="Only these, such as T07 N12.")] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the report as one JSON object, with every check.")
    ] = False,
    report: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the JSON report here as well.")] = None,
    keep: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Run in this new folder and leave it, to look at afterwards.")
    ] = None,
    against: Annotated[
        str, typer.Option(metavar="FAULT", help="Against a Coverslip with a fault, to see the run fail; ? lists them.")
    ] = "",
) -> None:
    """Show Coverslip as the workflow manager (DAWM) of IHE PaLM DPOW, against a simulated LIMS and image manager.

    It starts a Coverslip of its own on this machine, with both neighbours as processes, and touches no other.
    It ends with 0 when every test passed, else with 1.
    """
    from dashboards.conformance.report import lines_of, summary
    from dashboards.conformance.run import chosen, conform

    _expect_fault(against)
    wanted = chosen(tests or ())
    # Ends what was started too.
    signal.signal(signal.SIGTERM, lambda _number, _frame: sys.exit(_TERMINATED))
    with _folder(keep) as home:
        found = conform(
            home, wanted, lambda one: None if as_json else print("\n".join(lines_of(one)), flush=True), against
        )
    if report is not None:
        report.write_text(json.dumps(found.as_json(), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    print(json.dumps(found.as_json(), ensure_ascii=False) if as_json else summary(found.outcomes, found.seconds))
    if not found.passed:
        raise typer.Exit(1)


def simulate(
    role: Annotated[Neighbour, typer.Argument(help="The LIMS (pawm), or the image manager or archive (ima).")],
    to: Annotated[str, typer.Option("--to", metavar="HOST:PORT", help="Where Coverslip takes messages.")],
    listen: Annotated[int, typer.Option(min=0, max=65535, help="Where it listens itself; 0 chooses a port.")] = 0,
    record: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write all that it sees to this file as well.")
    ] = None,
) -> None:
    """Play a neighbour of IHE PaLM DPOW: one JSON object a line says what to send, and one what was sent and heard.

    For example {"called": "first", "send": {"what": "slide", "case": "26H1", "asset": "26H1-A1-1"}}, or
    {"behave": "refuse"} for the work that Coverslip orders. It ends with its input.
    """
    from connectors.lims.simulated_peer import as_line, play

    with ExitStack() as stack:
        file = stack.enter_context(record.open("a", encoding="utf-8", buffering=1)) if record else None

        def say(event: dict[str, Any]) -> None:
            print(as_line(event), flush=True)
            if file is not None:
                file.write(as_line(event) + "\n")

        play(role.value, _address(to), listen, sys.stdin, say)


def _address(text: str) -> tuple[str, int]:
    named = re.fullmatch(r"([A-Za-z0-9.-]+|\[[0-9A-Fa-f:]+\]):([0-9]{1,5})", text)
    if named is None:
        raise RefusedError("--to wants HOST:PORT, for example 127.0.0.1:2575")
    return named.group(1).strip("[]"), int(named.group(2))


@contextmanager
def _folder(keep: Path | None) -> Iterator[Path]:
    """Yield a state folder that is not there yet; what was not to be kept is removed at the end."""
    if keep is not None:
        if keep.exists():
            raise RefusedError("the folder of --keep is there already: name a new one")
        yield keep.absolute()
        return
    with tempfile.TemporaryDirectory(prefix="coverslip-conformance-") as folder:
        yield Path(folder) / "home"


def _expect_fault(name: str) -> None:
    from dashboards.conformance.wrong import WRONG

    if name and name not in WRONG:
        listed = "\n".join(f"  {known:<12}{wrong.what}" for known, wrong in WRONG.items())
        raise RefusedError(f"--against takes one of these:\n{listed}")
