"""The commands about deadlines: what is due, a clock that stands still, and meetings."""

from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Final

import typer

from dashboards.cli.acted import say_acted
from dashboards.cli.desk import AsJson, By, console, expect_site, opened, plain, plain_table, print_json, short
from dashboards.cli.times import when as moment

if TYPE_CHECKING:
    from flows.actions import Desk
    from flows.standing.deadlines import DeadlineLine

_Case = Annotated[
    str,
    typer.Argument(metavar="CASE", help="Its id or the beginning of it, its accession number, or one of its slides."),
]
_Because = Annotated[str, typer.Option("--reason", "--because", metavar="TEXT", help="Why; kept with it.")]
_NOT_ANY_MORE: Final = "none"
_COLUMNS: Final = ("Case", "Accession", "Site", "Due", "By", "Stands")
_WIDE: Final = 100
"""From so many columns on, a terminal has room for the case's id, and for who set a deadline."""


def register(app: typer.Typer) -> None:
    """Add this group of commands."""
    group = typer.Typer(help="By when cases are due: what is late, clocks that stand still, meetings.")
    group.command(name="list")(list_command)
    group.command()(pause)
    group.command()(resume)
    group.command()(mdt)
    app.add_typer(group, name="deadline", no_args_is_help=True)


def list_command(
    context: typer.Context,
    late: Annotated[bool, typer.Option("--late", help="Only what is late.")] = False,
    soon: Annotated[bool, typer.Option("--soon", help="Only what is due soon, or foreseen to be late.")] = False,
    site: Annotated[str | None, typer.Option(metavar="SITE", help="Only cases of this site.")] = None,
    as_json: AsJson = False,
) -> None:
    """List by when cases are due, the earliest first: the deadline that rules each."""
    from flows.standing.deadlines import list_deadlines

    with opened(context) as desk, desk.database.read() as session:
        expect_site(desk.settings, site)
        found = list_deadlines(session, late=late, soon=soon, site=site)
    if as_json:
        print_json([asdict(one) for one in found])
    elif not found:
        print(_nothing(late=late, soon=soon))
    else:
        _print_lines(found)


def _nothing(*, late: bool, soon: bool) -> str:
    if late or soon:
        what = " or ".join((*(("late",) if late else ()), *(("due soon",) if soon else ())))
        return f"Nothing is {what}: 'coverslip deadline list' shows all that is due."
    return "Nothing is due: a case appears here with its order, when that or the policy's targets say by when."


def pause(context: typer.Context, case: _Case, by: By, because: _Because, as_json: AsJson = False) -> None:
    """Stop a case's clock: it waits for the clinic, or for decalcification."""
    from flows.actions import Person
    from flows.actions.deadlines import pause_deadlines

    with opened(context) as desk:
        acted = pause_deadlines(desk, _named(desk, case), Person(by, because))
        say_acted(desk, acted, as_json=as_json)


def resume(context: typer.Context, case: _Case, by: By, because: _Because, as_json: AsJson = False) -> None:
    """Let a case's clock run again."""
    from flows.actions import Person
    from flows.actions.deadlines import resume_deadlines

    with opened(context) as desk:
        acted = resume_deadlines(desk, _named(desk, case), Person(by, because))
        say_acted(desk, acted, as_json=as_json)


def mdt(
    context: typer.Context,
    case: _Case,
    when: Annotated[
        str,
        typer.Argument(
            metavar="WHEN", help="When the meeting begins, such as 2026-12-05T14:00 in the site's time; none: no more."
        ),
    ],
    by: By,
    because: _Because,
    as_json: AsJson = False,
) -> None:
    """Say when a multidisciplinary meeting wants a case: it is due by then, and somebody prepares it."""
    from dashboards.cli.moments import time_said
    from flows.actions import Person
    from flows.actions.deadlines import set_mdt
    from models.tables.case import Case

    with opened(context) as desk:
        person = Person(by, because)
        case_id = _named(desk, case)
        with desk.database.read() as session:
            site = session.get_one(Case, case_id).site_id
        at = None if when == _NOT_ANY_MORE else time_said(when, "WHEN", desk.settings, site)
        say_acted(desk, set_mdt(desk, case_id, at, person), as_json=as_json)


def _named(desk: "Desk", name: str) -> str:
    from flows.actions import case_named

    with desk.database.read() as session:
        return case_named(session, name)


def _print_lines(lines: "list[DeadlineLine]") -> None:
    from flows.deadlines.telling import called

    now, out = datetime.now(UTC), console()
    is_wide = out.width >= _WIDE
    shown = [column for column in _COLUMNS if is_wide or column != "Case"]
    table = plain_table(*shown)
    for line in lines:
        by = f"{called(line.kind)}, {line.source}" if is_wide else called(line.kind)
        name = line.accession_number or short(line.case)
        cells = (short(line.case), name, line.site, moment(line.due_at, line.zone, now), by, _stands(line))
        row = dict(zip(_COLUMNS, cells, strict=True))
        table.add_row(*(plain(row[column]) for column in shown))
    out.print(table)


def _stands(line: "DeadlineLine") -> str:
    if line.paused_since is not None:
        return "the clock stands still"
    if line.breached_at is not None:
        return "missed"
    return "at risk" if line.predicted_at is not None else ""
