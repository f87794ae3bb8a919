"""How complete a case is, for people and for machines: every slide that it expects, the missing ones first."""

from collections.abc import Callable
from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING, Any

from dashboards.cli.desk import console, plain, plain_table

if TYPE_CHECKING:
    from flows.standing.whereabouts import CaseSlides, LateSlide, Whereabouts

At = Callable[[datetime], str]
"""How a time is written: in the zone of the case's site."""


def slides_as_json(slides: "CaseSlides") -> dict[str, Any]:
    """Return how complete a case is, as machines read it."""
    held = slides.held
    return {
        "slides_readable": slides.readable,
        "slides_expected": slides.expected,
        "set_closed_at": slides.closed_at,
        "completeness_version": slides.version,
        "released_how": slides.released_how,
        "held_until": held.until if held else None,
        "held_then": held.then if held else None,
        "slides": [asdict(one) for one in slides.slides],
        "late_slides": [asdict(one) for one in slides.late],
    }


def named_facts(slides: "CaseSlides", at: At) -> list[tuple[str, str | None]]:
    """Return what is said of a case's slides as a whole beside their number."""
    from flows.standing.whereabouts import READ_EARLY

    held = slides.held
    waits = f"for its missing slides until {at(held.until)}, then {held.then}" if held and held.until else None
    late = [one for one in slides.late if one.acknowledged_at is None]
    said = f"{len(late)} not acknowledged: look at them, then 'coverslip acknowledge NUMBER'" if late else None
    return [("Held back", waits), ("Read early", READ_EARLY.get(slides.released_how or "")), ("Late slides", said)]


def print_slides(slides: "CaseSlides", at: At) -> None:
    """Print a table of the slides, those that can't be read first, and what came late."""
    out = console()
    table = plain_table("Slide", "Stands at", "Last seen", "Since")
    table.columns[0].no_wrap = True
    for one in sorted(slides.slides, key=lambda one: one.can_be_read):
        since = at(one.since) if one.since else None
        cells = (one.slide, one.standing, _seen(one, at), since)
        table.add_row(*map(plain, cells))
    if slides.slides:
        out.print()
        out.print(table)
    for one in slides.missing:
        out.print(plain(f"{one.slide} {_waits(one, at)}"))
    late = plain_table("Late", "Slide", "What happened", "Acknowledged")
    for news in slides.late:
        late.add_row(*map(plain, (str(news.number), news.slide, news.sentence, _ticked_off(news, at))))
    if slides.late:
        out.print()
        out.print(late)


def _seen(one: "Whereabouts", at: At) -> str:
    seen = one.last_seen
    return seen.where if one.can_be_read or seen.at is None else f"{seen.where}, {at(seen.at)}"


def _waits(one: "Whereabouts", at: At) -> str:
    """Return what a slide that can't be read waits for, until when, and why."""
    if not one.waits_for:
        return f"can't be read: {one.reason or one.standing}".rstrip(".") + "."
    until = f" until {at(one.until)}, then {one.then}" if one.until else ""
    why = f": {one.reason}" if one.reason else ""
    return f"waits for {one.waits_for}{until}{why}".rstrip(".") + "."


def _ticked_off(news: "LateSlide", at: At) -> str:
    if news.acknowledged_at is None:
        return "by nobody yet"
    return f"{at(news.acknowledged_at)} by {news.acknowledged_by}: {news.reason}"
