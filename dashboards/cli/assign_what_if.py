"""The command ``assign what-if``: some weeks replayed under changed rules or with other people, beside today's."""

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, TypeAlias

import typer

from dashboards.cli.options import AsJson
from models.errors import RefusedError

if TYPE_CHECKING:
    from flows.case_assignment.what_if.figures import Figures
    from flows.case_assignment.what_if.history import History, Staff
    from models.policy import Policy

_PolicyFile: TypeAlias = Annotated[
    Path | None,
    typer.Option("--policy", metavar="FILE", help="Other rules, as 'coverslip policy show --toml' writes them."),
]
_Absent: TypeAlias = Annotated[
    list[str] | None,
    typer.Option("--absent", metavar="NAME", help="Somebody who is not there at all; may be repeated."),
]
_More: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        "--add-pathologist", metavar="FILE", help=r"More people, written as \[\[readers]] of the settings are."
    ),
]
_Days: TypeAlias = Annotated[int, typer.Option(min=1, max=92, help="How many days are replayed, up to now.")]
_Generated: TypeAlias = Annotated[
    bool, typer.Option("--generated", help="A made-up network instead of this laboratory's own history.")
]
_Seed: TypeAlias = Annotated[int, typer.Option(min=0, help="With --generated: another number, other weeks.")]
_Picture: TypeAlias = Annotated[
    Path, typer.Option("--picture", metavar="FILE", help="Where the picture goes, an SVG that any browser shows.")
]

_TODAY: Final = "today's rules"
_CHANGED: Final = "changed"
_AS_IT_WAS: Final = "as it was"
_DAYS_OF_WEEK: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_NOTICED_DAYS: Final = 0.05
_NOTICED_LATE: Final = 0.05


def register_what_if(group: typer.Typer) -> None:
    """Add this command to the group ``assign``."""
    group.command(name="what-if")(what_if)


def what_if(  # noqa: PLR0917 - what a person may change
    context: typer.Context,
    policy: _PolicyFile = None,
    absent: _Absent = None,
    add_pathologist: _More = None,
    days: _Days = 28,
    generated: _Generated = False,
    seed: _Seed = 1,
    picture: _Picture = Path("what-if.svg"),
    as_json: AsJson = False,
) -> None:
    """Replay the last weeks under other rules or with other people; nothing is changed.

    Turnaround, lateness, spread of load, moves and what is read elsewhere are shown beside a replay by today's rules.
    """
    # numpy takes a tenth of a second to import: not for who asks for help.
    from dashboards.cli.desk import opened, print_json
    from dashboards.cli.progress import progress
    from flows.case_assignment.what_if.figures import figures_of, recorded
    from flows.case_assignment.what_if.replay import replay
    from models.policy import Policy

    _expect_folder(picture)
    if policy is None and not absent and add_pathologist is None:
        raise RefusedError("say what is to be different: --policy FILE, --absent NAME or --add-pathologist FILE")
    rules = None if policy is None else _policy_in(policy)
    if generated:
        from flows.case_assignment.what_if.generated import generated as made_up

        history, present = made_up(days, seed), Policy()
    else:
        with opened(context) as desk, desk.database.read() as session:
            from flows.case_assignment.what_if.from_books import own_history
            from flows.people.policies import policy_in_force
            from models.database import database_now

            history = own_history(session, days)
            present = policy_in_force(session, database_now(session)).policy
    other = _with_other_people(history, absent or [], add_pathologist)
    ways: dict[str, Figures] = {}
    for name, weeks, by in ((_TODAY, history, present), (_CHANGED, other, rules or present)):
        with progress(f"Replaying {days} days, {name}") as told:
            ways[name] = figures_of(replay(weeks, by, told))
    if not generated:
        ways[_AS_IT_WAS] = recorded(history, present)
    _write(picture, history, ways)
    if as_json:
        print_json({name: _as_json(figures) for name, figures in ways.items()})
    else:
        _show(history, ways, picture)


def _with_other_people(history: "History", absent: list[str], more: Path | None) -> "History":
    for name in absent:
        history = history.without(name)
    return history if more is None else history.with_staff(_staff_in(more, history))


def _policy_in(file: Path) -> "Policy":
    from flows.people.policy_document import read_policy

    try:
        found = read_policy(file.read_bytes())
    except OSError as error:
        raise RefusedError(f"{file} can't be read ({error.strerror}): give the path of a policy's file") from error
    if isinstance(found, tuple):
        place = found[0].place or "the file"
        raise RefusedError(f"{file}: {place} {found[0].sentence} ('coverslip policy check {file}' names every fault)")
    return found


def _staff_in(file: Path, history: "History") -> "list[Staff]":
    """Return the people of a file that is written as the settings are."""
    from connectors.settings_readers import readers_in
    from flows.case_assignment.candidate import WeeklySession
    from flows.case_assignment.what_if.history import Staff

    zones = {one.site_id: one.zone for one in history.staff}
    return [
        Staff(
            pathologist_id=one.id,
            name=one.name,
            site_id=one.site,
            zone=zones.get(one.site, "Europe/London"),
            points_a_week=one.points_a_week,
            levels=dict.fromkeys(one.may_read, 2) | dict.fromkeys(one.leads, 1),
            sessions=tuple(
                WeeklySession(_DAYS_OF_WEEK.index(day), hours.starts, hours.ends)
                for hours in one.hours
                for day in hours.days
            ),
        )
        for one in readers_in(file)
    ]


def _write(file: Path, history: "History", ways: "dict[str, Figures]") -> None:
    from dashboards.what_if_picture import picture

    title = f"{len(history.work):,} reads of {len(history.staff)} people, {_span(history)}"
    try:
        file.write_text(picture(title, ways), encoding="utf-8")
    except OSError as error:
        raise RefusedError(
            f"the picture can't be written ({error.strerror}): give another file for --picture"
        ) from error


def _expect_folder(file: Path) -> None:
    """Refuse before the long work what can't be written after it."""
    if not file.resolve().parent.is_dir():
        raise RefusedError(f"there is no folder {file.resolve().parent}: give another file for --picture")


def _span(history: "History") -> str:
    from dashboards.cli.times import on_day

    return f"{on_day(history.begins)} to {on_day(history.ends)}"


def _show(history: "History", ways: "dict[str, Figures]", file: Path) -> None:
    from dashboards.cli.desk import console, plain, plain_table

    table = plain_table(_span(history), *ways)
    for column in table.columns[1:]:
        column.justify = "right"
    for what, how in _ROWS:
        table.add_row(what, *(plain(how(figures)) for figures in ways.values()))
    out = console()
    out.print(table)
    today, changed = ways[_TODAY], ways[_CHANGED]
    out.print(plain(_sentence(today, changed)), soft_wrap=True)
    out.print(plain(f"The picture is in {file}."), soft_wrap=True)


def _days(share: float) -> "Callable[[Figures], str]":
    return lambda figures: _or_dash(figures.turnaround(share), "{:.1f} days", otherwise="never")


def _or_dash(value: float | None, how: str, times: float = 1.0, otherwise: str = "-") -> str:
    return otherwise if value is None else how.format(times * value)


_ROWS: "Final[tuple[tuple[str, Callable[[Figures], str]], ...]]" = (
    ("reads", lambda figures: f"{figures.reads:,}"),
    ("half of them reported within", _days(0.5)),
    ("nine tenths within", _days(0.9)),
    ("never reported", lambda figures: f"{figures.waiting:,}"),
    ("points that missed their deadline", lambda figures: _or_dash(figures.late, "{:.2f} %", 100)),
    ("spread of load (variation)", lambda figures: _or_dash(figures.spread, "{:.1f} %", 100)),
    ("spread of load (Gini)", lambda figures: _or_dash(figures.gini, "{:.3f}")),
    ("moves for each hundred reads", lambda figures: _or_dash(figures.moved, "{:.1f}")),
    ("points read at another site", lambda figures: _or_dash(figures.other_site, "{:.1f} %", 100)),
    ("points read in another network", lambda figures: _or_dash(figures.other_network, "{:.1f} %", 100)),
)


def _sentence(today: "Figures", changed: "Figures") -> str:
    """Say what the change does to whom it matters most to: patients who wait."""
    before, after = today.turnaround(0.9), changed.turnaround(0.9)
    if before is None or after is None:
        whom = "Either way" if before is after else "By today's rules" if before is None else "With the change"
        return f"{whom}, more than a tenth of the reads is never reported: see who may read what."
    differs = after - before
    if abs(differs) < _NOTICED_DAYS:
        how = f"Nine tenths are reported as soon as today, within {after:.1f} days"
    else:
        how = f"Nine tenths are reported {abs(differs):.1f} days {'later' if differs > 0 else 'sooner'} than today"
    late = 100 * ((changed.late or 0.0) - (today.late or 0.0))
    if abs(late) < _NOTICED_LATE:
        return f"{how}; as many points miss their deadline."
    return f"{how}; {abs(late):.1f} points in a hundred {'more' if late > 0 else 'fewer'} miss their deadline."


def _as_json(figures: "Figures") -> dict[str, object]:
    shown = {name: value for name, value in asdict(figures).items() if name != "turnarounds"}
    return shown | {"turnaround_days": {f"p{at}": figures.turnaround(at / 100) for at in (50, 90, 99)}}
