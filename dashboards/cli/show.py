"""The command ``show``: one scan's story, where one case stands, or what became of a message."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Annotated, Any, Final, TypeAlias
from zoneinfo import ZoneInfo

import typer
from rich.table import Table

from connectors.settings_site import Authority
from dashboards.cli.desk import AsJson, console, opened, plain, plain_table, print_json
from dashboards.cli.rows import print_rows, row_as_json
from dashboards.cli.show_message import message_as_json, print_message
from dashboards.cli.show_slides import named_facts, print_slides, slides_as_json
from dashboards.web.words import took, zone_name
from flows.actions import Desk, thing_named
from flows.standing import case_page, timeline
from flows.standing.assets import Asset, Work, assets_of_case, work_of_case
from flows.standing.cases import CasePage
from flows.standing.received import received
from flows.standing.timeline import Timeline
from flows.standing.whereabouts import CaseSlides, slides_of_case
from models.tables.books import History

_OF_A_FILE: Final = ("id", "state", "bytes", "sha256", "place", "first_seen_at", "taken_at")
_OF_AN_OBJECT: Final = ("role", "edition", "state", "sop_instance_uid", "sha256", "bytes")
_OF_A_CHANGE: Final = ("at", "what", "before", "after", "cause", "actor", "reason")

_WHO_ALLOCATES: Final[dict[Authority, str]] = {
    "coverslip": "Coverslip",
    "lims": "the LIMS: Coverslip records and checks what it says",
    "pacs": "the PACS: Coverslip records and checks what it says",
}

_Named: TypeAlias = tuple[str, str | None]


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
    with opened(context) as desk:
        with desk.database.read() as session:
            kind, subject_id = thing_named(session, name)
            message = received(session, subject_id) if kind == "message" else None
            story = timeline(session, subject_id) if kind == "scan" else None
            page = case_page(session, subject_id) if kind == "case" else None
            assets = assets_of_case(session, subject_id) if kind == "case" else ()
            work = work_of_case(session, subject_id) if kind == "case" else ()
            slides = slides_of_case(session, desk.settings, subject_id) if kind == "case" else None
        if message is not None and as_json:
            print_json(message_as_json(message))
        elif message is not None:
            print_message(message)
        elif story is not None and as_json:
            print_json(_story_as_json(story))
        elif story is not None:
            _print_story(story, _zone(desk, story.row.site))
        elif page is not None and slides is not None and as_json:
            print_json(page_as_json(page, assets, work) | slides_as_json(slides))
        elif page is not None and slides is not None:
            authority = desk.settings.site(page.line.site).who_allocates(page.line.subspecialty)
            _print_page(page, slides, assets, work, authority, _zone(desk, page.line.site))


def _zone(desk: Desk, site_id: str) -> ZoneInfo:
    return ZoneInfo(desk.settings.site(site_id).zone)


def _print_story(story: Timeline, zone: ZoneInfo) -> None:
    row, out = story.row, console()
    head: list[_Named] = [
        ("Scan", row.scan),
        ("Slide", row.slide),
        ("Accession", story.accession_number),
        ("Case", row.case),
    ]
    head += [("Site", row.site), ("Scanner", story.scanner), ("Edition", str(story.edition)), ("Stands at", row.state)]
    head += [("Reason", row.reason), ("Until", _at(row.until, zone) if row.until else None), ("Then", row.then)]
    out.print(_facts(head))
    happened = [(entry.at, _with_name(entry.what, entry.actor, entry.reason)) for entry in story.entries]
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


def _print_page(
    page: CasePage,
    slides: CaseSlides,
    assets: Sequence[Asset],
    work: Sequence[Work],
    authority: Authority,
    zone: ZoneInfo,
) -> None:
    line, out = page.line, console()
    reader = f"{line.reader.name}, since {_at(line.reader.since, zone)}: {line.reader.why}" if line.reader else "nobody"
    head: list[_Named] = [
        ("Case", line.id),
        ("Accession", line.accession_number),
        ("Site", line.site),
        ("Priority", line.lane),
    ]
    head += [("Due", page.beside.due), ("Slides", line.completeness)]
    head += named_facts(slides, lambda at: _at(at, zone))
    head += [("Stands at", line.standing.state), ("Waits for", line.standing.waiting_for), ("Reader", reader)]
    head += [(one.what.capitalize(), f"{one.name}, since {_at(one.since, zone)}: {one.why}") for one in line.others]
    others = page.beside.reader_stated
    head += [("Others", f"{others} reads it" if others else None), ("Allocates", _WHO_ALLOCATES[authority])]
    head += [("Report", page.beside.report)]
    head += [("Patient", f"same person as {one}") for one in page.beside.same_person_as]
    head += [("Elsewhere", _elsewhere(one)) for one in assets if one.images_elsewhere is not None]
    head += [("Work", one.sentence) for one in work]
    out.print(_facts(head))
    print_slides(slides, lambda at: _at(at, zone))
    out.print()
    print_rows(page.rows)
    _print_events([(change.at, _change(change)) for change in page.changes], zone)


def _elsewhere(slide: Asset) -> str:
    there = "an image manager has its images" if slide.images_elsewhere else "no images are left there"
    return f"{slide.container_identifier}: {there}"


def _print_events(events: Iterable[tuple[datetime, str]], zone: ZoneInfo) -> None:
    table = plain_table("At", "What happened")
    for at, what in sorted(events, key=lambda event: event[0]):
        table.add_row(_at(at, zone), plain(what))
    console().print()
    console().print(table)


def _facts(named: Iterable[_Named]) -> Table:
    table = plain_table("what", "how", header=False)
    for what, how in named:
        if how:
            table.add_row(what, plain(how))
    return table


def _at(at: datetime, zone: ZoneInfo) -> str:
    there = at.astimezone(zone)
    return f"{there.day:2} {there:%b %H:%M:%S} {zone_name(there)}"


def _change(change: History) -> str:
    said = f"{change.what}: {change.before or 'nothing'} → {change.after or 'nothing'}"
    return _with_name(said, change.actor, change.reason)


def _with_name(what: str, actor: str | None, reason: str | None) -> str:
    return f"{what} – {actor}: {reason}" if actor else what


def _story_as_json(story: Timeline) -> dict[str, Any]:
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


def page_as_json(page: CasePage, assets: Sequence[Asset], work: Sequence[Work]) -> dict[str, Any]:
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
