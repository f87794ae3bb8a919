"""The commands of ``policy``: the rules by which reads are given, weighed and due, as a document with versions."""

from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import typer

from dashboards.cli.consent import Yes, agreed
from dashboards.cli.desk import AsJson, console, opened, plain, plain_table, print_json
from dashboards.cli.options import By, Reason
from dashboards.cli.times import when, zone_of
from models.errors import RefusedError

if TYPE_CHECKING:
    from flows.actions import Desk
    from flows.actions.ruling import Ruling
    from flows.people.policies import Version
    from flows.people.policy_document import Differs, PolicyFault
    from models.policy import Policy

_File: TypeAlias = Annotated[
    Path, typer.Argument(metavar="FILE", help="A TOML document, such as 'coverslip policy show --toml' prints.")
]
_Number: TypeAlias = Annotated[
    int | None, typer.Option("--version", min=0, metavar="N", help="Not the one in force; 0 is the one that ships.")
]
_From: TypeAlias = Annotated[
    str | None,
    typer.Option("--from", metavar="WHEN", help="When it begins, as in 2026-12-01T06:00+00:00; by default now."),
]


def register(app: typer.Typer) -> None:
    """Add this group of commands."""
    group = typer.Typer(
        help="The rules by which reads are given, weighed and due: checked, set, shown; every version is kept.",
        no_args_is_help=True,
    )
    group.command(name="check")(check)
    group.command(name="set")(set_command)
    group.command(name="show")(show)
    group.command(name="history")(history)
    app.add_typer(group, name="policy")


def check(context: typer.Context, file: _File, as_json: AsJson = False) -> None:
    """Name every fault of a policy's file by its place; 0 when there is none, else 1; nothing is stored."""
    from flows.actions.ruling import preview_policy
    from flows.people.policy_document import read_policy
    from models.policy import Policy

    found = read_policy(_content(file))
    if not isinstance(found, Policy):
        _refuse(found, as_json=as_json)
        return
    with opened(context) as desk:
        ruling = preview_policy(desk, found)
    if as_json:
        print_json({"faults": [], "differs": [asdict(one) for one in ruling.differs]})
        return
    print("Nothing is wrong with this policy.")
    _print_ruling(ruling)


def set_command(
    context: typer.Context,
    file: _File,
    by: By,
    because: Reason,
    *,
    begins: _From = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would differ, and set nothing.")] = False,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Make a new version of the policy, after showing what differs; the same document again makes none."""
    from flows.actions import Person
    from flows.actions.ruling import preview_policy, set_policy
    from flows.people.policy_document import read_policy
    from models.policy import Policy

    person, found = Person(by, because), read_policy(_content(file))
    if not isinstance(found, Policy):
        _refuse(found, as_json=as_json)
        return
    with opened(context) as desk:
        at, zone = _moment(desk, begins), zone_of(desk.settings)
        ruling = preview_policy(desk, found, at)
        if not as_json:
            _print_ruling(ruling)
        if ruling.is_new and not dry_run:
            agreed(yes=yes or as_json)
            ruling = set_policy(desk, found, person, at)
    if as_json:
        print_json({"set": ruling.is_new and not dry_run, **asdict(ruling)})
    elif ruling.is_new and dry_run:
        print("Nothing was set: this was a dry run.")
    elif ruling.is_new:
        print(f"Version {ruling.version} is set, from {when(ruling.begins_at, zone)} on.")


def show(
    context: typer.Context,
    version: _Number = None,
    toml: Annotated[bool, typer.Option("--toml", help="The whole document, to be edited and set again.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show the policy in force, or another version of it; what is not as it ships is marked."""
    from flows.people.policy_document import as_toml, compare, places_of
    from models.policy import Policy

    with opened(context) as desk:
        chosen, policy = _chosen(desk, version)
        zone = zone_of(desk.settings)
    if toml:
        print(as_toml(policy), end="")
    elif as_json:
        print_json({**_as_json(chosen), "policy": policy.model_dump(mode="json")})
    else:
        console().print(plain(_headline(chosen, zone)), soft_wrap=True)
        shipped = {one.place: one.before for one in compare(Policy(), policy)}
        table = plain_table("Rule", "Value", "As it ships")
        for place, value in places_of(policy).items():
            ships = (shipped[place] or "nothing") if place in shipped else ""
            table.add_row(plain(place), plain(value), plain(ships))
        console().print(table)


def history(context: typer.Context, as_json: AsJson = False) -> None:
    """List every version: from when, by whom, why, and what it changed."""
    from flows.people.policies import policy_in_force, policy_versions
    from flows.people.policy_document import compare
    from models.database import database_now
    from models.policy import Policy

    with opened(context) as desk, desk.database.read() as session:
        zone = zone_of(desk.settings)
        versions = policy_versions(session)
        in_force = policy_in_force(session, database_now(session)).version
    before, rows = Policy(), []
    for one in versions:
        rows.append((one, compare(before, one.policy)))
        before = one.policy
    if as_json:
        print_json(
            [
                {**_as_json(one), "in_force": one.version == in_force, "differs": [asdict(each) for each in differs]}
                for one, differs in rows
            ]
        )
        return
    if not versions:
        print("No policy was set: the one that ships is in force. 'coverslip policy show --toml' prints it.")
        return
    table = plain_table("Version", "From", "By", "Why", "What differs from the one before")
    for one, differs in reversed(rows):
        mark = " (in force)" if one.version == in_force else ""
        at = when(one.begins_at, zone)
        table.add_row(*map(plain, (f"{one.version}{mark}", at, one.by, one.because, _in_short(differs))))
    console().print(table)


def _content(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise RefusedError(f"that file can't be read ({error.strerror}): give a TOML document") from error


def _refuse(faults: "tuple[PolicyFault, ...]", *, as_json: bool) -> None:
    if as_json:
        print_json({"faults": [asdict(one) for one in faults], "set": False})
    else:
        table = plain_table("Place", "Fault")
        for one in faults:
            table.add_row(plain(one.place or "the file"), plain(one.sentence))
        console().print(table)
        print(f"\n{len(faults)} fault{'' if len(faults) == 1 else 's'}. Nothing was set.")
    raise typer.Exit(1)


def _print_ruling(ruling: "Ruling") -> None:
    out = console()
    if not ruling.is_new:
        print(f"Version {ruling.version} says the same: there is nothing to set.")
        return
    before = f"version {ruling.version - 1}" if ruling.version > 1 else "the policy that ships"
    if not ruling.differs:
        out.print(plain(f"It says the same as {before}."), soft_wrap=True)
    else:
        out.print(plain(f"What differs from {before}:"), soft_wrap=True)
        table = plain_table("Rule", "Before", "After")
        for one in ruling.differs:
            table.add_row(*map(plain, (one.place, one.before or "not said", one.after or "not said")))
        out.print(table)
    for sentence in ruling.notes:
        out.print(plain(f"Note: {sentence}."), soft_wrap=True)


def _moment(desk: "Desk", said: str | None) -> datetime | None:
    if said is None:
        return None
    if said.isdecimal():
        raise RefusedError("--from takes a time as in 2026-03-02T09:30+00:00")
    from dashboards.cli.moments import time_said

    return time_said(said, "--from", desk.settings, None)


def _chosen(desk: "Desk", number: int | None) -> "tuple[Version | None, Policy]":
    from flows.people.policies import policy_in_force, policy_versions
    from models.database import database_now
    from models.policy import Policy

    with desk.database.read() as session:
        versions = {one.version: one for one in policy_versions(session)}
        wanted = policy_in_force(session, database_now(session)).version if number is None else number
    if not wanted:
        return None, Policy()
    if wanted not in versions:
        raise RefusedError(f"there is no version {wanted}: 'coverslip policy history' lists those there are")
    return versions[wanted], versions[wanted].policy


def _headline(version: "Version | None", zone: str) -> str:
    if version is None:
        return "The policy that ships."
    return f"Version {version.version}, from {when(version.begins_at, zone)} on – {version.by}: {version.because}"


def _as_json(version: "Version | None") -> dict[str, Any]:
    if version is None:
        return {"version": None, "begins_at": None, "by": None, "because": None}
    return {name: getattr(version, name) for name in ("version", "begins_at", "by", "because")}


def _in_short(differs: "tuple[Differs, ...]") -> str:
    said = [f"{one.place}: {one.before or 'not said'} → {one.after or 'not said'}" for one in differs[:3]]
    return "; ".join([*said, *([f"{len(differs) - 3} more"] if len(differs) > 3 else [])]) or "nothing"  # noqa: PLR2004 - the same three
