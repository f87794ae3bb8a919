"""The commands by which pathologists, and those who plan for them, act on reads."""

from collections.abc import Callable
from datetime import date
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from dashboards.cli.options import AsJson, By, Reason
from models.errors import RefusedError

if TYPE_CHECKING:
    from flows.actions import Acted, Away, Desk, Seen

CaseName: TypeAlias = Annotated[
    str,
    typer.Argument(metavar="CASE", help="Its id or the beginning of it, its accession number, or one of its slides."),
]
_To: TypeAlias = Annotated[
    str, typer.Argument(metavar="PERSON", help="A pathologist: the id, or a part of the name that only one has.")
]
ReaderName: TypeAlias = Annotated[
    str | None,
    typer.Option("--reader", metavar="PERSON", help="Whose read it is, unless it is that of whom --by names."),
]
Role: TypeAlias = Annotated[
    str | None,
    typer.Option("--role", metavar="ROLE", help="Which read, where a case has several: primary, second, opinion …"),
]
_Why: TypeAlias = Annotated[
    str, typer.Option("--reason", "--because", metavar="TEXT", help="Why, if there is more to say.")
]
Insist: TypeAlias = Annotated[
    bool, typer.Option("--insist", help="Even if the rules are against it; what they object to is kept.")
]


def register_actions(group: typer.Typer) -> None:
    """Add these commands to those of assignment."""
    for name, command in (
        ("open", open_command),
        ("accept", accept),
        ("decline", decline),
        ("hand-over", hand_over),
        ("override", override),
        ("absent", absent),
        ("back", back),
    ):
        group.command(name=name)(command)


def open_command(
    context: typer.Context,
    case: CaseName,
    by: By,
    *,
    reader: ReaderName = None,
    role: Role = None,
    reason: _Why = "begins to read it",
    as_json: AsJson = False,
) -> None:
    """Say that you have opened a case: from now on no machine moves it."""
    from flows.actions import Person, open_read

    def act(desk: "Desk", seen: "Seen", reader_id: str) -> "Acted":
        return open_read(desk, seen, reader_id, Person(by, reason))

    on_own_read(context, case, by, reader, role, act, as_json=as_json)


def accept(
    context: typer.Context,
    case: CaseName,
    by: By,
    *,
    reader: ReaderName = None,
    role: Role = None,
    reason: _Why = "takes it",
    insist: Insist = False,
    as_json: AsJson = False,
) -> None:
    """Say that you will read a case; one that nobody has yet becomes yours."""
    from flows import actions

    def act(desk: "Desk", seen: "Seen", reader_id: str) -> "Acted":
        return actions.accept(desk, seen, reader_id, actions.Person(by, reason), insist=insist)

    on_own_read(context, case, by, reader, role, act, as_json=as_json)


def decline(
    context: typer.Context,
    case: CaseName,
    by: By,
    reason: Reason,
    *,
    reader: ReaderName = None,
    role: Role = None,
    as_json: AsJson = False,
) -> None:
    """Give a case back: it goes to somebody else at once."""
    from flows import actions

    def act(desk: "Desk", seen: "Seen", reader_id: str) -> "Acted":
        return actions.decline(desk, seen, reader_id, actions.Person(by, reason))

    on_own_read(context, case, by, reader, role, act, as_json=as_json)


def hand_over(
    context: typer.Context,
    case: CaseName,
    to: _To,
    by: By,
    reason: Reason,
    *,
    reader: ReaderName = None,
    role: Role = None,
    insist: Insist = False,
    as_json: AsJson = False,
) -> None:
    """Hand a case of yours over to a colleague, who is told."""
    from flows import actions

    def act(desk: "Desk", seen: "Seen", reader_id: str) -> "Acted":
        with desk.database.read() as session:
            to_id = actions.pathologist_named(session, to).id
        return actions.hand_over(desk, seen, reader_id, to_id, actions.Person(by, reason), insist=insist)

    on_own_read(context, case, by, reader, role, act, as_json=as_json)


def override(
    context: typer.Context,
    case: CaseName,
    by: By,
    reason: Reason,
    to: Annotated[
        str | None, typer.Argument(metavar="[PERSON]", help="Who is to read it: the id, or a part of the name.")
    ] = None,
    *,
    seen_with: Annotated[
        str | None, typer.Option("--from", metavar="PERSON", help="Do it only if it is still with this person.")
    ] = None,
    role: Role = None,
    release: Annotated[
        bool, typer.Option("--release", help="Instead, let the machine move it again that was not to.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Decide who reads a case, whatever the rules say; no machine changes that."""
    from dashboards.cli.acted import say_acted
    from dashboards.cli.desk import opened
    from flows import actions

    if (to is None) != release:
        raise RefusedError("say who is to read it, or --release to let the machine decide again")
    with opened(context) as desk:
        with desk.database.read() as session:
            to_id = actions.pathologist_named(session, to).id if to is not None else None
            whose = actions.pathologist_named(session, seen_with) if seen_with is not None else None
            seen = actions.read_named(session, case, reader=whose.id if whose else None, role=role)
        if whose is not None and seen.pathologist_id != whose.id:
            raise RefusedError(f"{whose.name} does not have it: 'coverslip show {seen.case_id[:8]}' says who does")
        person = actions.Person(by, reason)
        acted = actions.override(desk, seen, to_id, person) if to_id else actions.let_move(desk, seen, person)
        say_acted(desk, acted, as_json=as_json)


def absent(
    context: typer.Context,
    name: Annotated[
        str | None, typer.Argument(metavar="[PERSON]", help="Who is away from today: the id, or a part of the name.")
    ] = None,
    until: Annotated[
        str | None, typer.Option("--until", metavar="DAY", help="The last day of the absence, as in 2026-11-27.")
    ] = None,
    by: By = "",
    reason: Reason = "",
    as_json: AsJson = False,
) -> None:
    """Have somebody away from now on: others read what they have not opened; without PERSON, list who is."""
    from dashboards.cli.assign_lists import print_who_is_away
    from dashboards.cli.desk import opened
    from flows import actions

    if name is None and until is not None:
        raise RefusedError("say who is away: coverslip assign absent PERSON --until DAY")
    with opened(context) as desk:
        if name is None:
            print_who_is_away(desk, as_json=as_json)
            return
        last = _day(until)
        with desk.database.read() as session:
            person_id = actions.pathologist_named(session, name).id
        away = actions.absent_now(desk, person_id, last, actions.Person(by, reason))
    _say_away(away, as_json=as_json)


def back(context: typer.Context, name: _To, by: By, reason: Reason, *, as_json: AsJson = False) -> None:
    """Have somebody back before their absence was to end; what was moved stays where it is."""
    from dashboards.cli.desk import console, opened, plain, print_json
    from flows import actions

    with opened(context) as desk:
        with desk.database.read() as session:
            person_id = actions.pathologist_named(session, name).id
        who = actions.back_early(desk, person_id, actions.Person(by, reason))
    if as_json:
        print_json({"pathologist": person_id, "name": who})
        return
    console().print(plain(f"{who} reads again from now on; what others were given stays theirs."), soft_wrap=True)


def on_own_read(
    context: typer.Context,
    case: str,
    by: str,
    reader: str | None,
    role: str | None,
    act: "Callable[[Desk, Seen, str], Acted]",
    *,
    as_json: bool,
) -> None:
    """Find the read that is meant, as it is at this moment, and act on that."""
    from dashboards.cli.acted import say_acted
    from dashboards.cli.desk import opened
    from flows.actions import read_named

    with opened(context) as desk:
        reader_id = _reader(desk, by, reader)
        with desk.database.read() as session:
            seen = read_named(session, case, reader=reader_id, role=role)
        say_acted(desk, act(desk, seen, reader_id), as_json=as_json)


def _reader(desk: "Desk", by: str, reader: str | None) -> str:
    """Return whose read it is: the one who was named, else whoever acts."""
    from flows.actions import pathologist_named

    with desk.database.read() as session:
        if reader is not None:
            return pathologist_named(session, reader).id
        try:
            return pathologist_named(session, by, by_whole_words=True).id
        except RefusedError as error:
            message = "--by names no pathologist, or several: say with --reader whose read it is"
            raise RefusedError(message) from error


def _day(said: str | None) -> date:
    if said is None:
        raise RefusedError("say with --until which day is the last of the absence, as in --until 2026-11-27")
    try:
        return date.fromisoformat(said)
    except ValueError as error:
        raise RefusedError("--until takes a day, as in 2026-11-27") from error


def _say_away(away: "Away", *, as_json: bool) -> None:
    from dataclasses import asdict

    from dashboards.cli.desk import console, plain, print_json
    from dashboards.cli.times import on_day

    if as_json:
        print_json(asdict(away))
        return
    parts = (
        (away.moved, "moved to others, who are told"),
        (away.waiting, "wait, since nobody else may have them: 'coverslip list --waiting' shows them"),
        (away.left_open, "had been opened: 'coverslip assign absent' lists what a person has to hand on"),
        (away.elsewhere, "are the LIMS's or the PACS's to give away"),
        (away.later, "are held by somebody else just now: say it again if they stay"),
    )
    said = [f"{_reads(number)} {what}" for number, what in parts if number]
    sentence = f"{away.name} is away until {on_day(away.until)}: {'; '.join(said) or 'nothing had to move'}."
    console().print(plain(sentence), soft_wrap=True)


def _reads(number: int) -> str:
    return "1 read" if number == 1 else f"{number} reads"
