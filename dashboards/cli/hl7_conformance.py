"""The commands ``hl7 conformance`` and ``hl7 simulate``: IHE PaLM DPOW against simulated neighbours."""

import re
import sys
from contextlib import ExitStack
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from models.errors import RefusedError


class Neighbour(StrEnum):
    """Whose part is played."""

    PAWM = "pawm"
    IMA = "ima"


def register(group: typer.Typer) -> None:
    """Add these commands."""
    group.command()(simulate)


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
