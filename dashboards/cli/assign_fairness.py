"""The command that shows how evenly reads are spread: over people, over groups, over weeks and days."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from dashboards.cli.options import AsJson
from models.errors import RefusedError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from flows.standing.fairness import Group, Shown, Summary

_BAR: Final = 16
_EIGHTHS: Final = " ▏▎▍▌▋▊▉"
_MOST_PEOPLE: Final = 60
_AT_EITHER_END: Final = 10
"""Of more people than that, so many of the most and of the least loaded are shown."""


def register_fairness(group: typer.Typer) -> None:
    """Add this command to those of assignment."""
    group.command(name="fairness")(fairness_command)


def fairness_command(
    context: typer.Context,
    *,
    site: Annotated[str | None, typer.Option(metavar="SITE", help="Only the people of a site.")] = None,
    network: Annotated[str | None, typer.Option(metavar="NETWORK", help="Only the people of a network.")] = None,
    subspecialty: Annotated[
        str | None, typer.Option(metavar="NAME", help="Only those who read a subspecialty; large and urgent are of it.")
    ] = None,
    weeks: Annotated[
        int | None, typer.Option(min=1, max=52, metavar="N", help="How far back; by default the policy's window.")
    ] = None,
    days: Annotated[bool, typer.Option("--days", help="The series day by day, not week by week.")] = False,
    viewer: Annotated[
        str | None, typer.Option("--as", metavar="PATHOLOGIST", help="What this pathologist may see, not a manager.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show how evenly work is spread, for what each can do, and who has the large and the urgent reads."""
    from dashboards.cli.desk import opened, print_json
    from dashboards.cli.times import zone_of
    from flows.actions import pathologist_named
    from flows.standing.fairness import Group, fairness_of, summaries_of
    from models.database import database_now

    wanted = Group(site, network, subspecialty)
    with opened(context) as desk:
        with desk.database.read() as session:
            now = database_now(session)
            person = pathologist_named(session, viewer).id if viewer is not None else None
            step = "day" if days else "week"
            shown = fairness_of(session, now, wanted, weeks=weeks, step=step, viewer=person)  # type: ignore[arg-type] # one of the two words
            everywhere = person is None and wanted == Group()
            is_empty = not shown.evenness.people and not shown.hidden
            groups = summaries_of(session, now, weeks=weeks) if everywhere or is_empty else ()
        if is_empty:
            raise RefusedError(_nobody(wanted, [one.group for one in groups]))
        if as_json:
            print_json(_as_json(shown, groups))
        else:
            _print(shown, groups, zone_of(desk.settings, site))


def _nobody(wanted: "Group", there: "Sequence[Group]") -> str:
    """Say that a group has nobody, and which there are."""
    said = []
    for what, plural in (("network", "networks"), ("site", "sites"), ("subspecialty", "subspecialties")):
        names = [getattr(one, what) for one in there if getattr(one, what) is not None]
        if getattr(wanted, what) is not None and getattr(wanted, what) not in names:
            said.append(f"there are the {plural} {', '.join(names)}" if names else f"there are no {plural}")
    if wanted == type(wanted)():
        return "nobody reads yet: 'coverslip people import' brings people in"
    others = "; ".join(said) or "'coverslip people list' shows who reads where, and what"
    return f"nobody who reads belongs to {called(wanted)}: {others}"


def _print(shown: "Shown", groups: "Sequence[Summary]", zone: str) -> None:
    from dashboards.cli.desk import console, plain

    out, people = console(), shown.evenness.people
    name = called(shown.group)
    head = f"{name[0].upper()}{name[1:]}: what was reported in the last {shown.window_days} days, and what is open."
    out.print(plain(head), soft_wrap=True)
    _print_people(shown)
    if len(people) > _MOST_PEOPLE:
        hidden = len(people) - 2 * _AT_EITHER_END
        out.print(f"… {hidden} people in between: --json, or a smaller group, shows each of them.", soft_wrap=True)
    for sentence in _sentences(shown):
        out.print()
        out.print(plain(sentence), soft_wrap=True)
    _print_series(shown, zone)
    if len(groups) > 1:
        _print_groups(groups)


def _sentences(shown: "Shown") -> "Iterator[str]":
    from flows.fairness import how_even

    if not shown.hidden:
        yield how_even(shown.evenness)
    elif shown.evenness.mean is None:
        yield "Of so small a group nothing more can be said without telling what somebody else has."
    else:
        yield (
            f"By the policy the figures of the {shown.hidden} others are theirs alone; all together have "
            f"{shown.evenness.mean:.0%}. {how_even(shown.evenness)}"
        )


def _print_people(shown: "Shown") -> None:
    from dashboards.cli.desk import console, plain, plain_table

    out, people = console(), shown.evenness.people
    table = plain_table("Who", "Load", "", "Reported", "Open", "Large", "Urgent")
    most = max((one.relative or 0.0 for one in people), default=0.0)
    ends = (*people[:_AT_EITHER_END], *people[-_AT_EITHER_END:]) if len(people) > _MOST_PEOPLE else people
    for one in ends:
        load = "away" if one.relative is None else f"{one.relative:.0%}"
        cells = (one.name, load, bar(one.relative or 0.0, most), f"{one.reported:g}", f"{one.open:g}")
        table.add_row(*map(plain, (*cells, _due(one.large), _due(one.urgent))))
    for column in table.columns[1:2] + table.columns[3:]:
        column.justify = "right"
    out.print(table)
    if people:
        large = f"large is {shown.large_points:g} points or more"
        out.print(f"Large and urgent: 1.0 is their due share of such points; {large}.", soft_wrap=True)


def _print_series(shown: "Shown", zone: str) -> None:
    from dashboards.cli.desk import console, plain, plain_table
    from dashboards.cli.times import when

    series = shown.evenness.series
    if not any(one.reported for one in series):
        return
    table = plain_table("Up to", "Reported", "Of what was possible", "Gini")
    most = max((one.relative or 0.0 for one in series), default=0.0)
    for one in series:
        share = "" if one.relative is None else f"{bar(one.relative, most)} {one.relative:.0%}"
        cells = (when(one.ends_at, zone), f"{one.reported:g}", share, _two_digits(one.gini))
        table.add_row(*map(plain, cells))
    console().print()
    console().print(table)


def _print_groups(groups: "Sequence[Summary]") -> None:
    from dashboards.cli.desk import console, plain, plain_table

    table = plain_table("Group", "People", "Load", "", "Gini", "Most over mean")
    most = max((one.evenness.mean or 0.0 for one in groups), default=0.0)
    for one in groups:
        mean, highest = one.evenness.mean, one.evenness.highest
        cells = (called(one.group), str(one.people), "" if mean is None else f"{mean:.0%}", bar(mean or 0.0, most))
        table.add_row(
            *map(plain, (*cells, _two_digits(one.evenness.gini), "" if highest is None else f"{highest:.1f}"))
        )
    console().print()
    console().print(table)


def bar(value: float, most: float) -> str:
    """Return a bar that is as long as its column when the value is the most there is."""
    eighths = round(8 * _BAR * value / most) if most > 0 else 0
    return ("█" * (eighths // 8) + _EIGHTHS[eighths % 8]).rstrip()


def called(group: "Group") -> str:
    """Return a group as people call it."""
    parts = ((group.network, "network"), (group.site, "site"), (group.subspecialty, "subspecialty"))
    return ", ".join(f"{what} {name}" for name, what in parts if name is not None) or "all who read"


def _due(share: float | None) -> str:
    return "" if share is None else f"{share:.1f}"


def _two_digits(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def _as_json(shown: "Shown", groups: "Sequence[Summary]") -> dict[str, Any]:
    from flows.fairness import how_even

    return {
        **asdict(shown),
        "sentence": how_even(shown.evenness),
        "groups": [
            {
                **asdict(one.group),
                "people": one.people,
                **{name: getattr(one.evenness, name) for name in ("mean", "gini", "highest")},
            }
            for one in groups
        ],
    }
