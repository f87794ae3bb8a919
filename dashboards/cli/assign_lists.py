"""The commands by which pathologists see what they have to read, and what they were told of it."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from dashboards.cli.options import AsJson

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flows.actions import Desk
    from flows.standing.worklist import Told, ToRead

_Whose: TypeAlias = Annotated[
    str, typer.Argument(metavar="PERSON", help="A pathologist: the id, or a part of the name that only one has.")
]


_COLUMNS = ("Case", "Accession", "Read", "Points", "Priority", "Due", "State", "For")
_ONLY_WHEN_WIDE = ("Points", "For")
_WIDE = 100
"""From so many columns on, a terminal has room for everything."""


def register_lists(group: typer.Typer) -> None:
    """Add these commands to those of assignment."""
    group.command(name="reads")(reads_command)
    group.command(name="notices")(notices_command)


def reads_command(context: typer.Context, name: _Whose, as_json: AsJson = False) -> None:
    """Show what somebody has to read, the most urgent first."""
    from dashboards.cli.desk import opened, print_json
    from flows.actions import pathologist_named
    from flows.standing.worklist import worklist

    with opened(context) as desk:
        with desk.database.read() as session:
            person = pathologist_named(session, name)
            found = worklist(session, person.id)
        if as_json:
            print_json([asdict(one) for one in found])
        elif found:
            _print_reads(desk, found)
        else:
            print(f"{person.name} has nothing to read: a case appears here as soon as it is given to them.")


def notices_command(
    context: typer.Context,
    name: _Whose,
    seen: Annotated[
        bool, typer.Option("--seen", help="Say that these have been seen: they are not shown again.")
    ] = False,
    everything: Annotated[bool, typer.Option("--all", help="Also those that were seen before.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show what somebody was told of their reads and has not said to have seen."""
    from dashboards.cli.desk import opened, print_json
    from flows.actions import pathologist_named, see
    from flows.standing.worklist import told_to

    with opened(context) as desk:
        with desk.database.read() as session:
            person = pathologist_named(session, name)
            found = told_to(session, person.id, also_seen=everything)
        if as_json:
            print_json([asdict(one) for one in found])
        elif found:
            _print_notices(desk, person.site_id, found)
        else:
            more = "" if everything else " new: --all shows what was seen before"
            print(f"{person.name} was told nothing{more}.")
        if seen:
            see(desk, person.id, [one.number for one in found])


def print_who_is_away(desk: "Desk", *, as_json: bool) -> None:
    """Print who is away, and the reads that they had opened: a person hands those on."""
    from dashboards.cli.desk import console, plain, plain_table, print_json, short
    from dashboards.cli.times import on_day, when
    from flows.actions import who_is_away
    from models.database import database_now

    with desk.database.read() as session:
        now = database_now(session)
        found = who_is_away(session, now)
    if as_json:
        print_json([asdict(one) for one in found])
        return
    for one in found:
        has = f": {len(one.left_open)} opened" if one.left_open else ""
        console().print(plain(f"{one.name} is away until {on_day(one.until)} ({one.kind}){has}"), soft_wrap=True)
    if not found:
        print("Nobody is away: 'coverslip assign absent PERSON --until DAY' says that somebody is.")
    if not any(one.left_open for one in found):
        return
    table = plain_table("Case", "Read", "Reader", "Opened", "Due")
    for one in found:
        for read in one.left_open:
            due = when(read.due_at, one.zone, now) if read.due_at else ""
            cells = (short(read.case_id), read.role, one.name, when(read.opened_at, one.zone, now), due)
            table.add_row(*map(plain, cells))
    console().print()
    console().print(table)
    print("A person gives each to somebody else: coverslip assign override CASE PERSON --by NAME --reason TEXT")


def _print_reads(desk: "Desk", found: "Sequence[ToRead]") -> None:
    from dashboards.cli.desk import console, plain, plain_table, short
    from dashboards.cli.times import when, zone_of
    from dashboards.web.words import age
    from models.database import utc_now

    out, now = console(), utc_now()
    shown = [column for column in _COLUMNS if out.width >= _WIDE or column not in _ONLY_WHEN_WIDE]
    table = plain_table(*shown)
    for one in found:
        zone = zone_of(desk.settings, one.site)
        cells = {
            "Case": short(one.case),
            "Accession": one.accession_number,
            "Read": _called(one),
            "Points": f"{one.points:g}",
            "Priority": one.lane,
            "Due": when(one.due_at, zone, now) if one.due_at else "",
            "State": _stands_at(one),
            "For": age(now - one.since),
        }
        table.add_row(*(plain(cells[column]) for column in shown))
    out.print(table)
    for one in found:
        if one.read_early:
            out.print(plain(f"Case {short(one.case)}: {one.read_early}."), soft_wrap=True)


def _called(one: "ToRead") -> str:
    if one.scope == "whole":
        return one.role
    return one.scope if one.scope.startswith(one.role) else f"{one.role}, {one.scope}"


def _stands_at(one: "ToRead") -> str:
    said = "opened" if one.opened_at else "accepted" if one.accepted_at else "new"
    said = f"{said}, by hand" if one.by_hand and not one.opened_at else said
    return said if one.images == "ready" or one.opened_at else f"{said}; images {one.images}"


def _print_notices(desk: "Desk", site_id: str, found: "Sequence[Told]") -> None:
    from dashboards.cli.desk import console, plain, plain_table, short
    from dashboards.cli.times import when, zone_of
    from models.database import utc_now

    now, zone = utc_now(), zone_of(desk.settings, site_id)
    table = plain_table("At", "Case", "What")
    for one in found:
        called = one.accession_number or short(one.case)
        said = one.sentence.replace(f"case {one.case}", f"case {called}")
        table.add_row(*map(plain, (when(one.made_at, zone, now), called, said)))
    console().print(table)
