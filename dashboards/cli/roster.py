"""The commands of ``people``: who reads, where, what and when, as files: checked, brought in, written out."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeAlias
from zoneinfo import ZoneInfo

import typer

from dashboards.cli.consent import Yes, agreed
from dashboards.cli.desk import AsJson, console, opened, plain, plain_table, print_json
from dashboards.cli.options import By, Reason
from flows.people.roster.cells import LEVELS
from flows.people.roster.sheets import FILES, Fault
from models.errors import RefusedError

if TYPE_CHECKING:
    from flows.actions import Desk
    from flows.people.roster.difference import Change
    from flows.people.roster.lines import CompetenceLine, LeaveLine, PersonLine, Roster, SessionLine
    from flows.people.roster.preview import Preview

_Folder: TypeAlias = Annotated[
    Path, typer.Argument(metavar="FOLDER", help=f"Holds some or all of {', '.join(FILES)}.", show_default=False)
]
_DryRun: TypeAlias = Annotated[bool, typer.Option("--dry-run", help="Show what would change, and change nothing.")]

# Of a first import of hundreds, people see how many of what, and each thing that ends or changes.
_MOST_SHOWN: Final = 40
_FEW: Final = 20
_KEPT_BY: Final = "kept by"
"""What changes of whoever the settings named before: told once, not for each."""
_HOW: Final = ("ended", "changed", "added")
_COLUMNS: Final = ("Id", "Name", "Site", "Network", "Points a week", "Reads", "Hours", "Away")
_ONLY_WHEN_WIDE: Final = ("Name", "Network", "Hours")
_WIDE: Final = 110
"""From so many columns on, a terminal has room for everything."""


def register(app: typer.Typer) -> None:
    """Add this group of commands."""
    group = typer.Typer(
        help="Who reads, where, what and when, kept as data: checked, brought in and written out as CSV files.",
        no_args_is_help=True,
    )
    group.command(name="list")(list_command)
    group.command(name="check")(check)
    group.command(name="import")(import_command)
    group.command(name="export")(export)
    app.add_typer(group, name="people")


def check(context: typer.Context, folder: _Folder, as_json: AsJson = False) -> None:
    """Name every fault of a folder's files by file, row and column; 0 when there is none, else 1; nothing is stored."""
    from flows.actions.peopling import preview_people

    with opened(context) as desk:
        preview = preview_people(desk, folder)
    if as_json:
        said = {"faults": [asdict(one) for one in preview.faults], "notes": list(preview.notes)}
        print_json(said | {"changes": len(preview.changes)})
    elif preview.faults:
        _print_faults(preview.faults)
    else:
        told = _told(preview)
        will = f"Bringing them in changes {_count(told)}" if told else "They say what stands"
        console().print(plain(f"Nothing is wrong with these files. {will}."), soft_wrap=True)
        _print_taken(preview)
        _print_notes(preview)
    if preview.faults:
        raise typer.Exit(1)


def import_command(
    context: typer.Context,
    folder: _Folder,
    by: By,
    because: Reason,
    *,
    dry_run: _DryRun = False,
    verbose: Annotated[bool, typer.Option("--verbose", help="List every line that changes, new ones too.")] = False,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Bring a folder's files in, all or nothing, after showing what changes.

    A part without a file stays as it is. Whoever pathologists.csv does not name becomes inactive; nobody is deleted.
    """
    from flows.actions import Person
    from flows.actions.peopling import import_people, preview_people

    person = Person(by, because)
    with opened(context) as desk:
        preview = preview_people(desk, folder)
        if preview.faults:
            _refuse(preview, as_json=as_json)
        if not as_json:
            _print_changes(preview, verbose=verbose)
        if preview.changes and not dry_run:
            agreed(yes=yes or as_json)
            preview = import_people(desk, folder, person, seen=preview)
    if as_json:
        print_json({"imported": bool(preview.changes) and not dry_run, **_as_json(preview)})
    elif preview.changes:
        print("Nothing was changed: this was a dry run." if dry_run else "Brought in.")


def export(
    context: typer.Context,
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Where the files go; made when it is not there.")],
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Write over files of these names.")] = False,
) -> None:
    """Write what stands as CSV files that can be edited and brought in again."""
    from flows.actions.peopling import export_people

    with opened(context) as desk:
        names = export_people(desk, folder, overwrite=overwrite)
    console().print(plain(f"Written: {', '.join(names)}."), soft_wrap=True)


def list_command(
    context: typer.Context,
    site: Annotated[str | None, typer.Option(metavar="SITE", help="Only one site's.")] = None,
    everybody: Annotated[bool, typer.Option("--all", help="Those who read no longer, too.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show who reads: where, what, when, and how much."""
    from flows.actions.peopling import roster

    with opened(context) as desk:
        stands = roster(desk)
        known = [one.id for one in stands.sites]
        if site is not None and site not in known:
            raise RefusedError(f"no site is called so; there are: {', '.join(known)}")
        people = [one for one in stands.pathologists if site in (None, one.site_id)]
        if as_json:
            print_json(_people_as_json(stands, people))
            return
        _print_people(desk, stands, [one for one in people if one.active or everybody])
        hidden = sum(not one.active for one in people)
        if hidden and not everybody:
            print(f"\n{hidden} read no longer: --all shows them too.")


def _refuse(preview: "Preview", *, as_json: bool) -> None:
    if as_json:
        print_json({"imported": False, **_as_json(preview)})
    else:
        _print_faults(preview.faults)
        print("Nothing was changed.")
    raise typer.Exit(1)


def _print_faults(faults: Sequence[Fault]) -> None:
    table = plain_table("File", "Row", "Column", "Fault")
    for one in faults:
        table.add_row(*map(plain, (one.file, str(one.row or ""), one.column, one.sentence)))
    out = console()
    out.print(table)
    out.print(f"\n{len(faults)} fault{'' if len(faults) == 1 else 's'}. Row 1 is the header.", soft_wrap=True)


def _print_changes(preview: "Preview", *, verbose: bool) -> None:
    out = console()
    if not preview.changes:
        print("Nothing changes: the files say what stands.")
    told = _told(preview)
    if told:
        out.print(plain(f"This changes {_count(told)}."), soft_wrap=True)
    shown = told if verbose or len(told) <= _FEW else [one for one in told if one[0].how != "added"][:_MOST_SHOWN]
    table = plain_table("Of", "How", "What", "Before", "After")
    for change, what, before, after in shown:
        table.add_row(*map(plain, (change.subject.id, change.how, what, before or "", after or "")))
    if shown:
        out.print(table)
    if len(shown) < len(told):
        print(f"{len(told) - len(shown)} more are not listed, most of them new: --verbose lists them.")
    _print_taken(preview)
    _print_notes(preview)


def _told(preview: "Preview") -> "list[tuple[Change, str, str | None, str | None]]":
    """Return what changes, in words; what ends is first, however much is new."""
    ordered = sorted(preview.changes, key=lambda change: _HOW.index(change.how))
    return [(change, *told) for change in ordered for told in change.told() if told[0] != _KEPT_BY]


def _print_taken(preview: "Preview") -> None:
    """Say of how many people the settings are not asked any more."""
    told = [(change.subject.id, *told) for change in preview.changes for told in change.told()]
    taken = {of for of, what, before, _after in told if what == _KEPT_BY and before is not None}
    if taken:
        whom = "1 person is" if len(taken) == 1 else f"{len(taken)} people are"
        print(f"{whom} kept as data from now on: what the settings say of them does not count any more.")


def _print_notes(preview: "Preview") -> None:
    for sentence in preview.notes:
        console().print(plain(f"Note: {sentence}."), soft_wrap=True)


def _count(told: "Iterable[tuple[Change, str, str | None, str | None]]") -> str:
    """Return how many lines of which part are added, changed and ended, as in ``pathologists (1 ended, 3 added)``."""
    from flows.people.roster.lines import PARTS

    counted: dict[str, Counter[str]] = defaultdict(Counter)
    for change in dict.fromkeys(change for change, *_ in told):
        counted[change.part][change.how] += 1
    said = [
        f"{part.replace('_', ' ')} ({', '.join(f'{counted[part][how]} {how}' for how in _HOW if counted[part][how])})"
        for part in PARTS
        if part in counted
    ]
    return ", ".join(said)


def _as_json(preview: "Preview") -> dict[str, Any]:
    changes = [
        {
            "part": one.part,
            "how": one.how,
            "of": one.subject.id,
            "what": what,
            "before": before,
            "after": after,
        }
        for one in preview.changes
        for what, before, after in one.told()
    ]
    return {"faults": [asdict(one) for one in preview.faults], "changes": changes, "notes": list(preview.notes)}


def _print_people(desk: "Desk", stands: "Roster", people: "Sequence[PersonLine]") -> None:
    from flows.people.roster.difference import leave_in_words, sessions_in_words

    if not people:
        print("Nobody: 'coverslip people import' brings people in, or name readers in the settings.")
        return
    networks = {one.id: one.network_id or "" for one in stands.sites}
    reads, hours, away = _by_person(stands.competences), _by_person(stands.sessions), _by_person(stands.leave)
    out = console()
    shown = [column for column in _COLUMNS if out.width >= _WIDE or column not in _ONLY_WHEN_WIDE]
    table = plain_table(*shown)
    table.columns[0].no_wrap = True
    zones = {site.id: site.zone for site in desk.settings.sites}
    for one in people:
        today = datetime.now(UTC).astimezone(ZoneInfo(zones.get(one.site_id, "UTC"))).date()
        valid = [
            each
            for each in reads[one.id]
            if each.valid_from <= today and (each.valid_to is None or today < each.valid_to)
        ]
        leave = [each for each in away[one.id] if each.last_day >= today]
        most = "" if one.max_points is None else f", at most {one.max_points:g} open"
        amount = f"{one.points_a_week:g}{most}" if one.active else "inactive"
        cells = (one.id, one.name, one.site_id, networks[one.site_id], amount)
        said = (_reads(valid), sessions_in_words(hours[one.id]), "; ".join(map(leave_in_words, leave[:2])))
        row = dict(zip(_COLUMNS, (*cells, *said), strict=True))
        table.add_row(*(plain(row[column]) for column in shown))
    out.print(table)


def _reads(competences: "Sequence[CompetenceLine]") -> str:
    """Return what somebody reads by level, as in ``lead breast, skin (glass only); may read gi``."""
    said = []
    for level, called in enumerate(LEVELS, start=1):
        fitting = [f"{one.subspecialty}{_only(one)}" for one in competences if one.level == level]
        said += [f"{called} {', '.join(fitting)}"] if fitting else []
    return "; ".join(said)


def _only(one: "CompetenceLine") -> str:
    return "" if one.digital and one.glass else " (digital only)" if one.digital else " (glass only)"


_OfAPerson: TypeAlias = Any


def _by_person(lines: Iterable[_OfAPerson]) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = defaultdict(list)
    for line in lines:
        found[line.pathologist_id].append(line)
    return found


def _people_as_json(stands: "Roster", people: "Sequence[PersonLine]") -> list[dict[str, Any]]:
    parts: dict[str, Iterable[CompetenceLine | SessionLine | LeaveLine]] = {
        "competences": stands.competences,
        "sessions": stands.sessions,
        "leave": stands.leave,
    }
    grouped = {name: _by_person(lines) for name, lines in parts.items()}
    networks = {one.id: one.network_id for one in stands.sites}
    return [
        {
            **asdict(one),
            "network_id": networks[one.site_id],
            **{name: [_without_id(line) for line in lines[one.id]] for name, lines in grouped.items()},
        }
        for one in people
    ]


def _without_id(line: Any) -> dict[str, Any]:  # noqa: ANN401 - a line of somebody
    return {name: value for name, value in asdict(line).items() if name != "pathologist_id"}
