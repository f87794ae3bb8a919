"""The commands by which people see what waits, and act."""

import sys
from collections.abc import Callable
from dataclasses import replace
from enum import StrEnum
from typing import Annotated, TypeAlias

import typer
from sqlalchemy.orm import Session

from dashboards.cli.acted import say_acted
from dashboards.cli.desk import AsJson, By, Reason, console, opened, plain, plain_table, print_json
from dashboards.cli.messages import print_unanswered
from dashboards.cli.rows import print_rows, row_as_json
from flows import actions
from flows.actions import RESEND, Desk, Person, Rerun, case_named, scan_named, slide_named, thing_named
from flows.standing import list_rows
from flows.standing.messages import unanswered
from models.errors import RefusedError

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
    with opened(context) as desk:
        if messages:
            with desk.database.read() as session:
                found = unanswered(session)
            print_unanswered(found, as_json=as_json)
            return
        _expect_site(desk, site)
        with desk.database.read() as session:
            rows = [row for row in list_rows(session, waiting=waiting) if site in (None, row.site)]
    if as_json:
        print_json([row_as_json(row) for row in rows])
    elif rows:
        print_rows(rows)
    else:
        print("Nothing waits." if waiting else "No slide is known yet: drop one into a scanner's folder, or order one.")


def match(
    context: typer.Context, scan: ScanName, slide: SlideName, by: By, reason: Reason, as_json: AsJson = False
) -> None:
    """Say which slide a scan shows."""
    with opened(context) as desk:
        scan_id, slide_id = _named(desk, scan_named, scan), _named(desk, slide_named, slide)
        say_acted(desk, actions.match(desk, scan_id, slide_id, Person(by, reason)), as_json=as_json)


def review(
    context: typer.Context,
    scan: ScanName,
    verdict: Annotated[Verdict, typer.Argument(metavar="pass|rescan", help="Whether the picture is good enough.")],
    by: By,
    reason: Reason,
    as_json: AsJson = False,
) -> None:
    """Say whether a scan's picture is good enough, or is to be made again."""
    with opened(context) as desk:
        scan_id = _named(desk, scan_named, scan)
        say_acted(desk, actions.review(desk, scan_id, verdict.value, Person(by, reason)), as_json=as_json)


def release(context: typer.Context, case: CaseName, by: By, reason: Reason, as_json: AsJson = False) -> None:
    """Let a case be read although slides are missing."""
    with opened(context) as desk:
        case_id = _named(desk, case_named, case)
        say_acted(desk, actions.release(desk, case_id, Person(by, reason)), as_json=as_json)


def rerun(
    context: typer.Context,
    name: ToRerun,
    by: By,
    reason: Reason,
    start: From = None,
    *,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask before it is done.")] = False,
    as_json: AsJson = False,
) -> None:
    """Do steps of a scan again, after showing what stands and what is redone; a scan that was set aside comes back."""
    with opened(context) as desk:
        person, asks = Person(by, reason), not (yes or as_json) and sys.stdin.isatty()
        if start == RESEND and (case_id := _case_meant(desk, name)):
            # A case of which nothing was scanned is told of too, as when work was asked for.
            _send_again(desk, case_id, person, asks=asks, as_json=as_json)
            return
        plan = actions.preview_rerun(desk, _named(desk, scan_named, name), start)
        if not as_json:
            _show(plan)
        if asks:
            _expect_consent()
        acted = actions.rerun(desk, plan.scan, person, seen=plan)
        say_acted(desk, acted if as_json else replace(acted, follows=()), as_json=as_json)


def _case_meant(desk: Desk, name: str) -> str | None:
    with desk.database.read() as session:
        kind, subject_id = thing_named(session, name)
    return subject_id if kind == "case" else None


def _send_again(desk: Desk, case_id: str, person: Person, *, asks: bool, as_json: bool) -> None:
    seen = actions.preview_resend(desk, case_id)
    if asks:
        for sentence in seen:
            console().print(plain(sentence), soft_wrap=True)
        _expect_consent()
    say_acted(desk, actions.resend_of_case(desk, case_id, person), as_json=as_json)


def _expect_consent() -> None:
    if not typer.confirm("Do this?"):
        raise RefusedError("you said no: nothing was changed")


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
    with opened(context) as desk:
        scan_id = _named(desk, scan_named, scan)
        say_acted(desk, actions.withdraw(desk, scan_id, Person(by, reason), close=close), as_json=as_json)


def _named(desk: Desk, how: Callable[[Session, str], str], name: str) -> str:
    with desk.database.read() as session:
        return how(session, name)


def _expect_site(desk: Desk, site: str | None) -> None:
    known = [one.id for one in desk.settings.sites]
    if site is not None and site not in known:
        raise RefusedError(f"no site of the settings is called so; there are: {', '.join(known)}")


def _show(plan: Rerun) -> None:
    table = plain_table("what", "how", header=False)
    table.add_row("Scan", plain(plan.scan))
    table.add_row("Stands", plain(", ".join(plan.kept) or "nothing"))
    table.add_row("Redone", plain(", ".join(plan.redone)))
    for sentence in plan.outside:
        table.add_row("Outside", plain(sentence))
    console().print(table)
