"""The command by which people tick off what happened and nothing but a person ends."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from dashboards.cli.desk import AsJson, By, Reason, console, opened, plain, plain_table, print_json
from dashboards.cli.times import when, zone_of

if TYPE_CHECKING:
    from flows.actions import Desk


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(acknowledge)


def acknowledge(
    context: typer.Context,
    alert: Annotated[int | None, typer.Argument(metavar="ALERT", help="The alert's number.")] = None,
    by: By = "",
    reason: Reason = "",
    as_json: AsJson = False,
) -> None:
    """Tick off an alert that nothing else ends, such as records that were lost; without ALERT, list those there are."""
    from flows import actions

    with opened(context) as desk:
        if alert is None:
            _list_acknowledgeable(desk, as_json=as_json)
            return
        acted = actions.acknowledge(desk, alert, actions.Person(by, reason))
    if as_json:
        print_json(asdict(acted))
    else:
        console().print(plain("; ".join((acted.what, *acted.follows)) + "."), soft_wrap=True)


def _list_acknowledgeable(desk: "Desk", *, as_json: bool) -> None:
    from flows import actions

    with desk.database.read() as session:
        found = actions.acknowledgeable_alerts(session)
    if as_json:
        print_json([asdict(one) for one in found])
        return
    if not found:
        print("No alert waits to be ticked off: those that are open end by themselves.")
        return
    table, zone = plain_table("Alert", "Since", "Slide", "What"), zone_of(desk.settings)
    for one in found:
        table.add_row(str(one.number), when(one.raised_at, zone), plain(one.slide), plain(one.sentence))
    console().print(table)
