"""The commands by which people ask the laboratory for work."""

from dataclasses import asdict
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from dashboards.cli.desk import AsJson, By, console, opened, plain, print_json, short

if TYPE_CHECKING:
    from flows.actions import Acted

Because = Annotated[
    str, typer.Option("--reason", "--because", metavar="TEXT", help="Why; kept, and told to the laboratory.")
]


class Work(StrEnum):
    """What may be asked for."""

    RESCAN = "rescan"
    RECUT = "recut"
    STAIN = "stain"
    NEW_BLOCK = "new block"
    RE_COVERSLIP = "re-coverslip"


def register(app: typer.Typer) -> None:
    """Add these commands."""
    app.command(name="order-work")(order_work)
    app.command(name="cancel-work")(cancel_work)


def order_work(  # noqa: PLR0917 - arguments and options of a command
    context: typer.Context,
    name: Annotated[
        str,
        typer.Argument(metavar="SLIDE|BLOCK", help="What is written on it, with @issuer where two use it; or its id."),
    ],
    kind: Annotated[Work, typer.Argument(metavar="KIND", help="rescan, recut, stain, 'new block' or re-coverslip.")],
    by: By,
    because: Because,
    stain: Annotated[str, typer.Option(metavar="NAME", help="Which, when a stain is asked for.")] = "",
    as_json: AsJson = False,
) -> None:
    """Ask the laboratory for work on a slide or block; its LIMS takes it or refuses."""
    from flows import actions

    with opened(context) as desk:
        acted = actions.order_work(desk, name, kind.value, actions.Person(by, because), stain=stain)
    _say(acted, as_json=as_json)


def cancel_work(
    context: typer.Context,
    number: Annotated[str, typer.Argument(metavar="NUMBER", help="The work order's, as 'coverslip show CASE' has it.")],
    by: By,
    because: Because,
    as_json: AsJson = False,
) -> None:
    """Expect work no more that the laboratory was asked for."""
    from flows import actions

    with opened(context) as desk:
        acted = actions.cancel_work(desk, number, actions.Person(by, because))
    _say(acted, as_json=as_json)


def _say(acted: "Acted", *, as_json: bool) -> None:
    if as_json:
        print_json(asdict(acted))
    else:
        said = "; ".join((acted.what, *acted.follows))
        console().print(plain(f"Case {short(acted.case)}: {said}."), soft_wrap=True)
