"""The commands by which pathologists ask each other what they think of a case."""

from typing import TYPE_CHECKING, Annotated

import typer

from dashboards.cli.assign_actions import CaseName, Insist, ReaderName, Role, on_own_read
from dashboards.cli.options import AsJson, By, Reason
from models.errors import RefusedError

if TYPE_CHECKING:
    from flows.actions import Acted, Desk, Seen


def register_asked(group: typer.Typer) -> None:
    """Add these commands to those of assignment."""
    group.command(name="ask")(ask)
    group.command(name="answer")(answer)
    group.command(name="call-off")(call_off)


def ask(
    context: typer.Context,
    case: CaseName,
    by: By,
    reason: Annotated[
        str, typer.Option("--question", "--reason", "--because", metavar="TEXT", help="What you want to know; kept.")
    ],
    *,
    of: Annotated[
        str | None, typer.Option("--of", metavar="PERSON", help="Whom you ask: the id, or a part of the name.")
    ] = None,
    subspecialty: Annotated[
        str | None, typer.Option(metavar="NAME", help="Whoever reads this subspecialty, instead of the case's own.")
    ] = None,
    insist: Insist = False,
    as_json: AsJson = False,
) -> None:
    """Ask for a second opinion: of a person, of a subspecialty, or of whoever may read the case."""
    from dashboards.cli.acted import say_acted
    from dashboards.cli.desk import opened
    from flows import actions

    if of is not None and subspecialty is not None:
        raise RefusedError("ask a person with --of, or a subspecialty with --subspecialty: not both")
    with opened(context) as desk:
        with desk.database.read() as session:
            case_id = actions.case_named(session, case)
            of_whom = actions.pathologist_named(session, of).id if of is not None else None
        asked = {"of_pathologist": of_whom, "of_subspecialty": subspecialty}
        person = actions.Person(by, reason)
        say_acted(desk, actions.ask_opinion(desk, case_id, person, **asked, insist=insist), as_json=as_json)


def answer(
    context: typer.Context,
    case: CaseName,
    by: By,
    reason: Annotated[
        str, typer.Option("--answer", "--reason", "--because", metavar="TEXT", help="What you think; kept.")
    ],
    *,
    reader: ReaderName = None,
    role: Role = None,
    as_json: AsJson = False,
) -> None:
    """Give an opinion that you were asked for, or say that a case is prepared for its meeting."""
    from flows import actions

    def act(desk: "Desk", seen: "Seen", reader_id: str) -> "Acted":
        return actions.answer(desk, seen, reader_id, actions.Person(by, reason))

    on_own_read(context, case, by, reader, role, act, as_json=as_json)


def call_off(
    context: typer.Context, case: CaseName, by: By, reason: Reason, *, role: Role = "opinion", as_json: AsJson = False
) -> None:
    """Say that an opinion is no longer wanted; whoever was to give it is told."""
    from dashboards.cli.acted import say_acted
    from dashboards.cli.desk import opened
    from flows import actions

    with opened(context) as desk:
        with desk.database.read() as session:
            seen = actions.read_named(session, case, role=role)
        say_acted(desk, actions.call_off(desk, seen, actions.Person(by, reason)), as_json=as_json)
