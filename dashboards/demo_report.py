"""What the demonstration says at its end: what went where and why, what waits for whom, and what to do about it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from connectors.settings import Settings
from flows.pictures import LABEL, THUMBNAIL, picture_path
from flows.simulate.laboratory import issuer_of, scanner_folder
from flows.simulate.outcome import Outlook, Place
from flows.standing.rule import State

_GROUPS: Final = {
    State.ASSIGNED: ("On a pathologist's worklist", "bright_green"),
    State.ARCHIVED: ("Archived, the case waits for other slides", "green"),
    State.WAITING_FOR_PERSON: ("Waiting for a person", "yellow"),
    State.WAITING_FOR_LIMS: ("Waiting for an order from the LIMS", "yellow"),
    State.WAITING_FOR_RESCAN: ("To be scanned again", "magenta"),
    State.WAITING_FOR_SCAN: ("Waiting for the scanner", "magenta"),
    State.SET_ASIDE: ("Set aside", "red"),
    State.SUPERSEDED: ("Replaced by a sharper scan", "dim"),
}
_NEEDS_SOMEBODY: Final = (
    State.WAITING_FOR_PERSON,
    State.WAITING_FOR_RESCAN,
    State.SET_ASIDE,
    State.WAITING_FOR_SCAN,
    State.WAITING_FOR_LIMS,
)
# Groups in which every one has a reason of its own; the others are named only.
_WITH_REASON: Final = frozenset((*_NEEDS_SOMEBODY, State.SUPERSEDED))
_NAMED_AT_MOST: Final = 4
_SHORT_ID: Final = 8


@dataclass(frozen=True)
class Action:
    """What somebody can do about one thing that waits: in words, and as commands where there are some."""

    name: str
    waits_for: str
    reason: str
    sentence: str
    commands: tuple[str, ...] = ()


@dataclass(frozen=True)
class Report:
    """The end of a demonstration; ``faults`` are the sentences that make it fail."""

    settings: Settings
    outlook: Outlook
    seconds: float
    books: str
    faults: tuple[str, ...]
    program: str

    @property
    def actions(self) -> tuple[Action, ...]:
        """What waits for somebody, and how they act on it."""
        return tuple(self._action(place) for place in _waiting(self.outlook))

    def _action(self, place: Place) -> Action:
        sentence, commands = self._advice(place)
        row = place.row
        return Action(
            name=place.name,
            waits_for=(row.waiting_for if row else None) or "a person",
            reason=_reason(place),
            sentence=sentence,
            commands=tuple(f"{self.program} {command} --by YOU --reason WHY" for command in commands),
        )

    def _advice(self, place: Place) -> tuple[str, tuple[str, ...]]:
        """Return what to do, and the commands that do it; a scan is named by the beginning of its id."""
        scan = place.row.scan if place.row else None
        folder = _short(scanner_folder(self.settings.home, place.case.site))
        if scan is None:
            return f"scan its glass into {folder}, or have its LIMS cancel it", ()
        if place.state == State.WAITING_FOR_LIMS:
            return "nothing: it goes on by itself when its order comes", ()
        named = scan[:_SHORT_ID]
        if place.state == State.WAITING_FOR_RESCAN:
            return f"scan its glass again into {folder}, or overrule", (f"review {named} pass",)
        if place.state == State.SET_ASIDE:
            return f"scan its glass again into {folder}, or have another try at this file", (f"rerun {named}",)
        if place.row and place.row.slide is None:
            glass = f"{place.slide.container_identifier}@{issuer_of(place.case.site)}"
            picture = _short(picture_path(self.settings, scan, LABEL))
            return f"say which slide it is, by its label in {picture}", (f"match {named} {glass}",)
        picture = _short(picture_path(self.settings, scan, THUMBNAIL))
        return f"decide, by {picture} (rescan instead of pass has it scanned again)", (f"review {named} pass",)

    def as_json(self) -> dict[str, object]:
        """Return it for machines."""
        traffic = self.outlook.traffic
        return {
            "ok": not self.faults,
            "faults": list(self.faults),
            "seconds": round(self.seconds, 1),
            "home": str(self.settings.home),
            "page": page_of(self.settings),
            "archive": str(self.settings.resolved(self.settings.archive_folder)),
            "slides": [_as_json(place) for place in self.outlook.slides],
            "scans": [_as_json(place) for place in self.outlook.scans],
            "cases": [
                {
                    "case": one.case.accession_number,
                    "site": one.case.site,
                    "expected": one.case.ends,
                    "state": one.state,
                    "completeness": one.line.completeness if one.line else None,
                    "reader": one.line.reader.name if one.line and one.line.reader else None,
                    "why": one.line.reader.why if one.line and one.line.reader else None,
                }
                for one in self.outlook.cases
            ],
            "actions": [vars(one) for one in self.actions],
            "messages": vars(traffic),
            "events": vars(self.outlook.events) if self.outlook.events else None,
            "engine": self.outlook.engine,
            "books": self.books,
        }

    def print(self, console: Console) -> None:
        """Print it for people."""
        console.print()
        console.print(_slides(self.outlook))
        console.print(_cases(self.outlook))
        console.print("What waits, and what you can do about it", style="bold")
        for action in self.actions:
            _print_action(console, action)
        console.print()
        for what, how in self._where():
            console.print(Text.assemble((f"{what:<10}", "bold"), how), soft_wrap=True)
        console.print()
        if not self.faults:
            done = f"All {len(self.outlook.slides)} slides ended where they should, in {self.seconds:.0f} seconds."
            console.print(done, style="bold green", highlight=False)
            return
        console.print(
            f"After {self.seconds:.0f} seconds not all is as it should be:", style="bold red", highlight=False
        )
        for fault in self.faults:
            console.print(f"  {fault}", style="red", markup=False, highlight=False)

    def _where(self) -> Iterator[tuple[str, str]]:
        traffic = self.outlook.traffic
        yield "messages", f"{traffic.came} from the LIMS, {traffic.told} to the LIMS, {traffic.unanswered} not answered"
        if self.outlook.events:
            yield "Kafka", self.outlook.events.sentence
        yield "engine", self.outlook.engine
        yield "books", self.books
        yield "archive", f"{_short(self.settings.resolved(self.settings.archive_folder))} (DICOM)"
        yield "all of it", f"{_short(self.settings.home)} (settings, database, logs; remove it when you are done)"
        if self.settings.engine.enabled:
            yield "Prefect", f"http://127.0.0.1:{self.settings.engine.port}"
        yield "page", page_of(self.settings)


def page_of(settings: Settings) -> str:
    """Return the page's address."""
    return f"http://{settings.page.host}:{settings.page.port}"


def _waiting(outlook: Outlook) -> Iterator[Place]:
    """Yield what somebody has to do something about: scans, then slides that no scanner has had yet."""
    places = (*outlook.scans, *(one for one in outlook.slides if not one.slide.scans))
    for state in _NEEDS_SOMEBODY:
        yield from (place for place in places if place.state == state)


def _slides(outlook: Outlook) -> Table:
    table = Table(title="Slides", title_justify="left", box=box.SIMPLE_HEAD, title_style="bold", padding=(0, 1))
    table.add_column("where", no_wrap=True)
    table.add_column("", justify="right")
    table.add_column("which, and why", overflow="fold")
    # A slide that waits for its scan is counted; one that has scans stands where they stand.
    places = [*outlook.scans, *(one for one in outlook.slides if one.state == State.WAITING_FOR_SCAN)]
    for state, (words, style) in _GROUPS.items():
        group = [place for place in places if place.state == state]
        if group:
            table.add_row(Text(words, style), str(len(group)), Text("\n").join(_which(state, group)))
    for other in dict.fromkeys(place.state for place in places if place.state not in _GROUPS):
        group = [place for place in places if place.state == other]
        table.add_row(Text(other.capitalize(), "red"), str(len(group)), Text(_named(group)))
    return table


def _which(state: State, group: Sequence[Place]) -> Iterator[Text]:
    if state not in _WITH_REASON:
        yield Text(_named(group))
        return
    for place in group:
        yield Text(f"{place.name}: {_reason(place)}")


def _named(group: Sequence[Place]) -> str:
    names = [place.slide.container_identifier for place in group]
    more = f" and {len(names) - _NAMED_AT_MOST} more" if len(names) > _NAMED_AT_MOST else ""
    return ", ".join(names[:_NAMED_AT_MOST]) + more


def _reason(place: Place) -> str:
    """Return why it stands where it stands: as the lists say, else as the script knows."""
    if place.row and place.row.reason:
        return place.row.reason.rstrip(".")
    if place.state == State.WAITING_FOR_LIMS:
        return "no order names it"
    return "nobody scanned it" if not place.slide.scans else "no scan is known to show it"


def _cases(outlook: Outlook) -> Table:
    table = Table(title="Cases", title_justify="left", box=box.SIMPLE_HEAD, title_style="bold", padding=(0, 1))
    for title in ("site", "case", "", "slides", "reader, and why"):
        table.add_column(title, overflow="fold", no_wrap=title in ("site", "case"))
    for one in outlook.cases:
        line = one.line
        about = f"{one.case.subspecialty}{', urgent' if one.case.urgent else ''}"
        if line is None:
            table.add_row(one.case.site, one.case.accession_number, about, "", one.state)
            continue
        reader = f"{line.reader.name}: {line.reader.why}" if line.reader else f"nobody yet: {one.state}"
        table.add_row(one.case.site, one.case.accession_number, about, line.completeness, reader)
    return table


def _print_action(console: Console, action: Action) -> None:
    console.print(Text.assemble("  ", (action.name, "bold"), f" waits for {action.waits_for}: {action.reason}"))
    for line, style in ((action.sentence, ""), *((command, "cyan") for command in action.commands)):
        console.print(Text(f"      {line}", style), soft_wrap=True)


def _as_json(place: Place) -> dict[str, object]:
    return {
        "name": place.name,
        "slide": place.slide.container_identifier,
        "case": place.case.accession_number,
        "site": place.case.site,
        "shows": place.scan.shows if place.scan else None,
        "expected": place.expected,
        "state": place.state,
        "scan": place.row.scan if place.row else None,
        "waiting_for": place.row.waiting_for if place.row else None,
        "reason": place.row.reason if place.row else None,
    }


def _short(path: Path) -> str:
    """Return a path as short as it can be typed here."""
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)
