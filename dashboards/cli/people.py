"""The commands by which people see what waits, and act."""

import sys
from collections.abc import Callable
from dataclasses import replace
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from dashboards.cli.acted import say_acted
from dashboards.cli.consent import Yes, agreed
from dashboards.cli.desk import AsJson, By, Reason, console, expect_site, opened, plain, plain_table, print_json
from dashboards.cli.messages import print_unanswered
from dashboards.cli.rows import print_rows, row_as_json

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from flows.actions import Desk, Person, Rerun

ScanName: TypeAlias = Annotated[
    str, typer.Argument(metavar="SCAN", help="A scan's id, or at least its first six characters.")
]
SlideName: TypeAlias = Annotated[
    str,
    typer.Argument(metavar="SLIDE", help="What is written on it, with @issuer where two issuers use it; or its id."),
]
CaseName: TypeAlias = Annotated[
    str,
    typer.Argument(metavar="CASE", help="Its id or the beginning of it, its accession number, or one of its slides."),
]
From: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--from",
        metavar="STEP",
        help="slide_qc, barcode_matching, convert or correct, store or prove; send for messages that the LIMS refused. "
        "By default the first step that is not done.",
    ),
]
ToRerun: TypeAlias = Annotated[
    str,
    typer.Argument(
        metavar="SCAN|CASE", help="A scan's id, with --from send a case's too; or at least its first six characters."
    ),
]


class Verdict(StrEnum):
    """What a person may make of a picture."""

    GOOD = "pass"
    RESCAN = "rescan"


def register(app: typer.Typer) -> None:
    """Add these commands."""
    app.command(name="list")(list_command)
    app.command()(match)
    app.command()(review)
    app.command()(release)
    app.command()(rerun)
    app.command()(withdraw)


def list_command(
    context: typer.Context,
    waiting: Annotated[bool, typer.Option("--waiting", help="Only what waits for somebody or something.")] = False,
    site: Annotated[str | None, typer.Option(metavar="SITE", help="Only one site's.")] = None,
    messages: Annotated[
        bool, typer.Option("--messages", help="Instead, the messages that went out and that nobody has answered.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Show where every slide stands, what it waits for and since when; the longest first."""
    from flows.standing import list_rows
    from flows.standing.messages import unanswered

    with opened(context) as desk:
        if messages:
            with desk.database.read() as session:
                found = unanswered(session)
            print_unanswered(found, as_json=as_json)
            return
        expect_site(desk.settings, site)
        with desk.database.read() as session:
            rows = [row for row in list_rows(session, waiting=waiting) if site in (None, row.site)]
    if as_json:
        print_json([row_as_json(row) for row in rows])
    elif rows:
        print_rows(rows, desk.settings)
    else:
        of_site = f" at site {site}" if site else ""
        print(
            f"Nothing waits{of_site}: what needs somebody or something appears here, with whom it waits for."
            if waiting
            else f"No slide is known yet{of_site}: drop one into a scanner's folder, or have the LIMS order one."
        )


def match(
    context: typer.Context, scan: ScanName, slide: SlideName, by: By, reason: Reason, as_json: AsJson = False
) -> None:
    """Say which slide a scan shows."""
    from flows import actions

    with opened(context) as desk:
        scan_id, slide_id = _named(desk, actions.scan_named, scan), _named(desk, actions.slide_named, slide)
        say_acted(desk, actions.match(desk, scan_id, slide_id, actions.Person(by, reason)), as_json=as_json)


def review(
    context: typer.Context,
    scan: ScanName,
    verdict: Annotated[Verdict, typer.Argument(metavar="pass|rescan", help="Whether the picture is good enough.")],
    by: By,
    reason: Reason,
    as_json: AsJson = False,
) -> None:
    """Say whether a scan's picture is good enough, or is to be made again."""
    from flows import actions

    with opened(context) as desk:
        scan_id = _named(desk, actions.scan_named, scan)
        acted = actions.review(desk, scan_id, verdict.value, actions.Person(by, reason))
        say_acted(desk, acted, as_json=as_json)


def release(context: typer.Context, case: CaseName, by: By, reason: Reason, as_json: AsJson = False) -> None:
    """Let a case be read although slides are missing."""
    from flows import actions

    with opened(context) as desk:
        case_id = _named(desk, actions.case_named, case)
        say_acted(desk, actions.release(desk, case_id, actions.Person(by, reason)), as_json=as_json)


def rerun(
    context: typer.Context,
    name: ToRerun,
    by: By,
    reason: Reason,
    start: From = None,
    *,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Do steps of a scan again, after showing what stands and what is redone; a scan that was set aside comes back."""
    from flows import actions

    with opened(context) as desk:
        person = actions.Person(by, reason)
        if start == actions.RESEND and (case_id := _case_meant(desk, name)):
            # A case of which nothing was scanned is told of too, as when work was asked for.
            _send_again(desk, case_id, person, yes=yes or as_json, as_json=as_json)
            return
        plan = actions.preview_rerun(desk, _named(desk, actions.scan_named, name), start)
        if not as_json:
            _show(plan)
        agreed(yes=yes or as_json)
        acted = actions.rerun(desk, plan.scan, person, seen=plan)
        say_acted(desk, acted if as_json else replace(acted, follows=()), as_json=as_json)


def _case_meant(desk: "Desk", name: str) -> str | None:
    from flows.actions import thing_named

    with desk.database.read() as session:
        kind, subject_id = thing_named(session, name)
    return subject_id if kind == "case" else None


def _send_again(desk: "Desk", case_id: str, person: "Person", *, yes: bool, as_json: bool) -> None:
    from flows import actions

    seen = actions.preview_resend(desk, case_id)
    if not yes and sys.stdin.isatty():
        for sentence in seen:
            console().print(plain(sentence), soft_wrap=True)
    agreed(yes=yes)
    say_acted(desk, actions.resend_of_case(desk, case_id, person), as_json=as_json)


def withdraw(
    context: typer.Context,
    scan: ScanName,
    by: By,
    reason: Reason,
    close: Annotated[
        bool, typer.Option("--close", help="It shows no slide of ours: it takes no part any more, matched or not.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Take a scan's match back: its images are hidden, reader and LIMS are told, and a person says what it shows."""
    from flows import actions

    with opened(context) as desk:
        scan_id = _named(desk, actions.scan_named, scan)
        acted = actions.withdraw(desk, scan_id, actions.Person(by, reason), close=close)
        say_acted(desk, acted, as_json=as_json)


def _named(desk: "Desk", how: "Callable[[Session, str], str]", name: str) -> str:
    with desk.database.read() as session:
        return how(session, name)


def _show(plan: "Rerun") -> None:
    table = plain_table("what", "how", header=False)
    table.add_row("Scan", plain(plan.scan))
    table.add_row("Stands", plain(", ".join(plan.kept) or "nothing"))
    table.add_row("Redone", plain(", ".join(plan.redone)))
    for sentence in plan.outside:
        table.add_row("Outside", plain(sentence))
    console().print(table)
