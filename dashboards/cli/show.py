"""The command ``show``: one scan's story, where one case stands, or what became of a message."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeAlias

import typer
from rich.table import Table

from dashboards.cli.desk import AsJson, console, opened, plain, plain_table, print_json
from dashboards.cli.rows import print_rows, row_as_json
from dashboards.cli.show_message import message_as_json, print_message
from dashboards.cli.show_slides import named_facts, print_slides, slides_as_json
from dashboards.cli.times import when, zone_of
from dashboards.web.words import took

if TYPE_CHECKING:
    from connectors.settings_site import Authority
    from flows.actions import Desk
    from flows.standing.assets import Asset, Work
    from flows.standing.cases import CasePage
    from flows.standing.timeline import Entry, Timeline
    from flows.standing.whereabouts import CaseSlides

_OF_A_FILE: Final = ("id", "state", "bytes", "sha256", "place", "first_seen_at", "taken_at")
_OF_AN_OBJECT: Final = ("role", "edition", "state", "sop_instance_uid", "sha256", "bytes")
_OF_A_CHANGE: Final = ("at", "what", "before", "after", "cause", "actor", "reason")

_WHO_ALLOCATES: Final[dict[str, str]] = {
    "coverslip": "Coverslip",
    "lims": "the LIMS: Coverslip records and checks what it says",
    "pacs": "the PACS: Coverslip records and checks what it says",
}

_Named: TypeAlias = tuple[str, str | None]
_At: TypeAlias = Callable[[datetime], str]
"""How a time is written: in the zone of the site."""


def register(app: typer.Typer) -> None:
    """Add this command."""
    app.command()(show)


def show(
    context: typer.Context,
    name: Annotated[
        str,
        typer.Argument(
            metavar="SCAN|CASE|MESSAGE",
            help="The id of one of them, or at least its first six characters; a case by its accession number or by "
            "what is written on one of its slides, too.",
        ),
    ],
    as_json: AsJson = False,
) -> None:
    """Show one scan's story, where one case stands and who has it, or what became of one message that came in."""
    from flows.actions import thing_named

    with opened(context) as desk:
        with desk.database.read() as session:
            kind, subject_id = thing_named(session, name)
        _SHOWN[kind](desk, subject_id, as_json=as_json)


def _show_message(desk: "Desk", subject_id: str, *, as_json: bool) -> None:
    from flows.standing.received import received

    with desk.database.read() as session:
        message = received(session, subject_id)
    if as_json:
        print_json(message_as_json(message))
    else:
        print_message(message, zone_of(desk.settings))


def _show_scan(desk: "Desk", subject_id: str, *, as_json: bool) -> None:
    from flows.standing import timeline

    with desk.database.read() as session:
        story = timeline(session, subject_id)
    if story is not None and as_json:
        print_json(_story_as_json(story))
    elif story is not None:
        _print_story(story, zone_of(desk.settings, story.row.site))


def _show_case(desk: "Desk", subject_id: str, *, as_json: bool) -> None:
    from flows.standing import case_page
    from flows.standing.assets import assets_of_case, work_of_case
    from flows.standing.story import story_of_case
    from flows.standing.whereabouts import slides_of_case

    with desk.database.read() as session:
        page = case_page(session, subject_id)
        assets, work = assets_of_case(session, subject_id), work_of_case(session, subject_id)
        slides = slides_of_case(session, desk.settings, subject_id)
        if page is None or slides is None:
            return
        zone = zone_of(desk.settings, page.line.site)
        story = story_of_case(session, page.changes, partial(when, zone=zone))
    if as_json:
        print_json(page_as_json(page, assets, work) | slides_as_json(slides))
        return
    site = next((one for one in desk.settings.sites if one.id == page.line.site), None)
    authority = site.who_allocates(page.line.subspecialty) if site else None
    at = partial(when, zone=zone)
    out = console()
    out.print(_facts(_named_of_case(page, slides, assets, work, authority, at)))
    print_slides(slides, at)
    out.print()
    print_rows(page.rows, desk.settings)
    _print_events([(one.at, _with_name(one)) for one in story], zone)


_SHOWN: Final = {"message": _show_message, "scan": _show_scan, "case": _show_case}


def _print_story(story: "Timeline", zone: str) -> None:
    row, out = story.row, console()
    head: list[_Named] = [
        ("Scan", row.scan),
        ("Slide", row.slide),
        ("Accession", story.accession_number),
        ("Case", row.case),
    ]
    until = when(row.until, zone) if row.until else None
    head += [("Site", row.site), ("Scanner", story.scanner), ("Edition", str(story.edition)), ("Stands at", row.state)]
    head += [("Reason", row.reason), ("Until", until), ("Then", row.then)]
    out.print(_facts(head))
    happened = [(entry.at, _with_name(entry)) for entry in story.entries]
    for message in story.messages:
        happened.append((message.stated_at, f"to be told to {message.peer}: {message.what}"))
        if message.answered_at is not None:
            happened.append((message.answered_at, f"{message.peer} answered {message.answer_code}"))
    _print_events(happened, zone)
    table = plain_table("Step", "State", "Tries", "Took", "Problem")
    for work in story.work:
        state = f"{work.state} for {work.waiting_for}" if work.waiting_for else work.state
        cells = (work.what, state, str(work.attempts), took(work.took), work.problem)
        table.add_row(*map(plain, cells))
    out.print()
    out.print(table)


def _named_of_case(
    page: "CasePage",
    slides: "CaseSlides",
    assets: "Sequence[Asset]",
    work: "Sequence[Work]",
    authority: "Authority | None",
    at: _At,
) -> list[_Named]:
    line = page.line
    reader = f"{line.reader.name}, since {at(line.reader.since)}: {line.reader.why}" if line.reader else "nobody"
    head: list[_Named] = [
        ("Case", line.id),
        ("Accession", line.accession_number),
        ("Site", line.site),
        ("Priority", line.lane),
    ]
    head += [("Due", page.beside.due), ("Slides", line.completeness)]
    head += named_facts(slides, at)
    head += [("Stands at", line.standing.state), ("Waits for", line.standing.waiting_for), ("Reader", reader)]
    head += [(one.what.capitalize(), f"{one.name}, since {at(one.since)}: {one.why}") for one in line.others]
    others = page.beside.reader_stated
    head += [("Others", f"{others} reads it" if others else None)]
    head += [("Allocates", _WHO_ALLOCATES[authority] if authority else None), ("Report", page.beside.report)]
    head += [("Patient", f"same person as {one}") for one in page.beside.same_person_as]
    head += [("Elsewhere", _elsewhere(one)) for one in assets if one.images_elsewhere is not None]
    return head + [("Work", one.sentence) for one in work]


def _elsewhere(slide: "Asset") -> str:
    there = "an image manager has its images" if slide.images_elsewhere else "no images are left there"
    return f"{slide.container_identifier}: {there}"


def _print_events(events: Iterable[tuple[datetime, str]], zone: str) -> None:
    table = plain_table("At", "What happened")
    for at, what in sorted(events, key=lambda event: event[0]):
        table.add_row(when(at, zone, exactly=True), plain(what))
    console().print()
    console().print(table)


def _facts(named: Iterable[_Named]) -> Table:
    table = plain_table("what", "how", header=False)
    for what, how in named:
        if how:
            table.add_row(what, plain(how))
    return table


def _with_name(entry: "Entry") -> str:
    return f"{entry.what} – {entry.actor}: {entry.reason}" if entry.actor else entry.what


def _story_as_json(story: "Timeline") -> dict[str, Any]:
    return {
        **row_as_json(story.row),
        "reason": story.row.reason,
        "edition": story.edition,
        "quality": story.quality,
        "entries": [asdict(one) for one in story.entries],
        "steps": [asdict(one) for one in story.work],
        "messages": [asdict(one) for one in story.messages],
        "files": [{name: getattr(one, name) for name in _OF_A_FILE} for one in story.files],
        "objects": [{name: getattr(one, name) for name in _OF_AN_OBJECT} for one in story.objects],
    }


def page_as_json(page: "CasePage", assets: "Sequence[Asset]", work: "Sequence[Work]") -> dict[str, Any]:
    """Return where a case stands, as machines read it."""
    changes = [{name: getattr(one, name) for name in _OF_A_CHANGE} for one in page.changes]
    return {
        **asdict(page.line),
        "rows": [row_as_json(row) for row in page.rows],
        "assets": [asdict(one) for one in assets],
        "work_orders": [asdict(one) for one in work],
        "changes": changes,
        "released": page.released,
        "report_in_words": page.beside.report,
        "due_in_words": page.beside.due,
        "same_person_as": page.beside.same_person_as,
    }
