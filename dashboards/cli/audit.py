"""The command ``audit books``: whether every promise that the books make is kept; it only reads."""

from dataclasses import asdict, fields, replace
from typing import TYPE_CHECKING, Annotated, Final

import typer

from dashboards.cli.desk import AsJson, console, opened, plain, plain_table, print_json
from dashboards.cli.progress import added_up, progress

if TYPE_CHECKING:
    from flows.actions import Desk
    from flows.audit.conservation import SiteAccount
    from flows.audit.oracle import Finding
    from flows.audit.snapshots import Books

_SHOWN: Final = 20
"""Sentences of one check that are printed; all that are kept are in the JSON."""


def register(app: typer.Typer) -> None:
    """Add this group of commands."""
    group = typer.Typer(help="Look whether everything is as it should be; nothing is changed.", no_args_is_help=True)
    group.command(name="books")(books)
    app.add_typer(group, name="audit")


def books(
    context: typer.Context,
    full: Annotated[
        bool,
        typer.Option("--full", help="Read back every object and file, not a sample: takes as long as the disks do."),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Check every promise against database, archive and spool; 0 when the books agree, else 1 and why."""
    from flows.audit.conservation import accounts

    with opened(context) as desk:
        opened_books = _books(desk, full=full)
        findings = _look(opened_books)
        sites = accounts(opened_books)
    agrees = not any(finding.sentences for finding in findings)
    if as_json:
        print_json(_as_json(sites, findings, agrees=agrees))
    else:
        _print_accounts(sites)
        _print_findings(findings, agrees=agrees)
    if not agrees:
        raise typer.Exit(1)


def _books(desk: "Desk", *, full: bool) -> "Books":
    from connectors.wiring import open_archive, open_spool
    from flows.audit.snapshots import Books

    spool, archive = open_spool(desk.settings), open_archive(desk.settings)
    return Books(desk.settings, desk.database, desk.ids, spool, archive, full=full)


def _look(opened_books: "Books") -> "list[Finding]":
    """Make all checks; whoever waits at a terminal sees how far they are."""
    from flows.audit.oracle import CHECKS, audit, rows_to_look_at

    with progress(f"Making {len(CHECKS)} checks") as told:
        return list(audit(replace(opened_books, looked=added_up(told, rows_to_look_at(opened_books)))))


def _print_accounts(sites: "list[SiteAccount]") -> None:
    from flows.audit.conservation import SiteAccount

    places = [one.name for one in fields(SiteAccount) if one.name not in {"site", "received"}]
    table = plain_table("Site", "Received", *(place.replace("_", " ").capitalize() for place in places))
    for column in table.columns[1:]:
        column.justify = "right"
    for site in sites:
        numbers = (str(getattr(site, place)) for place in ("received", *places))
        table.add_row(plain(site.site), *numbers)
    console().print(table)
    console().print()


def _print_findings(findings: "list[Finding]", *, agrees: bool) -> None:
    table = plain_table("Check", "Promise", "Result")
    for finding in findings:
        result = f"{len(finding.sentences)} breaches" if finding.sentences else "holds"
        table.add_row(finding.check.name, finding.check.promise, result)
    console().print(table)
    console().print()
    for finding in findings:
        for sentence in finding.sentences[:_SHOWN]:
            console().print(plain(f"{finding.check.name}: {sentence}"), soft_wrap=True)
        if len(finding.sentences) > _SHOWN:
            print(f"{finding.check.name}: … {len(finding.sentences) - _SHOWN} more, see --json")
    print("The books agree." if agrees else "The books do not agree.")


def _as_json(sites: "list[SiteAccount]", findings: "list[Finding]", *, agrees: bool) -> dict[str, object]:
    checks = [
        {"name": one.check.name, "promise": one.check.promise, "breaches": list(one.sentences)} for one in findings
    ]
    return {"agrees": agrees, "sites": [asdict(site) for site in sites], "checks": checks}
