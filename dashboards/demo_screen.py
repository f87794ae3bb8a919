"""What a person sees while the demonstration runs: every slide on its way, or a plain line now and then."""

import time
from collections import Counter
from typing import Final, Protocol

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from flows.simulate.outcome import NOT_SEEN, CasePlace, Outlook
from flows.simulate.script import CASES
from flows.standing.rule import State

_PLAIN_SECONDS: Final = 5.0
_ENGINE: Final = "; engine: "

# Where a slide stands: its mark, its colour, and the word that counts it. The marks differ without colour too.
_MARKS: Final[dict[str, tuple[str, str, str]]] = {
    NOT_SEEN: ("·", "dim", "to come"),
    State.WAITING_FOR_SCAN: ("·", "dim", "to come"),
    State.ARRIVING: ("▁", "cyan", "arriving"),
    State.RECEIVED: ("▂", "cyan", "arriving"),
    State.CHECKING: ("▃", "blue", "checking"),
    State.MATCHING: ("▃", "blue", "checking"),
    State.CONVERTING: ("▄", "blue", "archiving"),
    State.CORRECTING: ("▄", "blue", "archiving"),
    State.STORING: ("▅", "blue", "archiving"),
    State.PROVING: ("▆", "blue", "archiving"),
    State.ARCHIVED: ("█", "green", "archived"),
    State.ASSIGNED: ("█", "bold bright_green", "assigned"),
    State.WAITING_FOR_PERSON: ("?", "bold yellow", "for a person"),
    State.WAITING_FOR_LIMS: ("@", "bold yellow", "for the LIMS"),
    State.WAITING_FOR_RESCAN: ("~", "bold magenta", "for a rescan"),
    State.SET_ASIDE: ("x", "bold red", "set aside"),
    State.REFUSED: ("x", "bold red", "set aside"),
}
_OTHER: Final = ("-", "dim", "ended")
_FIRST_WAIT: Final = _MARKS[State.WAITING_FOR_PERSON][2]
_WORDS: Final = tuple(dict.fromkeys(word for _, _, word in _MARKS.values()))


class Screen(Protocol):
    """Shows how far the demonstration is."""

    def say(self, sentence: str) -> None:
        """Tell people something that happened."""
        ...

    def show(self, outlook: Outlook) -> None:
        """Show where everything stands now."""
        ...

    def tell(self, sentence: str) -> None:
        """Tell people something that they should be able to read later too."""
        ...

    def close(self) -> None:
        """Leave the place to what is printed next; doing it again changes nothing."""
        ...


class LiveScreen:
    """For a terminal: a picture that moves."""

    def __init__(self, console: Console, limit_seconds: float) -> None:
        self._console = console
        self._began = time.monotonic()
        self._limit_seconds = limit_seconds
        self._doing = "Starting"
        self._outlook: Outlook | None = None
        self._live = Live(console=console, refresh_per_second=4, get_renderable=self._picture, transient=True)
        self._live.start()

    def say(self, sentence: str) -> None:
        """Show what is going on below the title."""
        self._doing = sentence

    def show(self, outlook: Outlook) -> None:
        """Show the picture."""
        self._outlook = outlook

    def tell(self, sentence: str) -> None:
        """Print it, above the picture while there is one."""
        self._console.print(f"  {sentence}", markup=False, highlight=False, soft_wrap=True)

    def close(self) -> None:
        """Take the picture away."""
        self._live.stop()

    def _picture(self) -> RenderableType:
        seconds = int(time.monotonic() - self._began)
        head = Text.assemble(("Coverslip demonstration", "bold"), f"  {seconds} s of at most {self._limit_seconds:.0f}")
        if self._outlook is None:
            return Group(head, Text(f"{self._doing} …"))
        doing, rest = Text(self._doing, "dim"), Text(_rest(self._outlook).replace(_ENGINE, "\n"))
        return Group(head, doing, _table(self._outlook), _legend(self._outlook), rest)


class PlainScreen:
    """For a log: what was said, and a line every few seconds."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._began = time.monotonic()
        self._next_at = self._began

    def say(self, sentence: str) -> None:
        """Print it."""
        self._print(sentence)

    def show(self, outlook: Outlook) -> None:
        """Print a line if the last is some seconds old."""
        if time.monotonic() >= self._next_at:
            self._next_at = time.monotonic() + _PLAIN_SECONDS
            self._print(_line(outlook))

    def tell(self, sentence: str) -> None:
        """Print it."""
        self._print(sentence)

    def close(self) -> None:
        """Leave it as it is: what was printed stays."""

    def _print(self, sentence: str) -> None:
        seconds = int(time.monotonic() - self._began)
        self._console.print(f"{seconds:4d} s  {sentence}", markup=False, highlight=False, soft_wrap=True)


def _line(outlook: Outlook) -> str:
    counts = _counts(outlook)
    return f"slides: {', '.join(f'{counts[word]} {word}' for word in _WORDS if counts[word])}; {_rest(outlook)}"


def _table(outlook: Outlook) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for title in ("site", "case", "", "slides", "where it stands"):
        table.add_column(title, no_wrap=True)
    standing = {one.case: one for one in outlook.cases}
    for number, case in enumerate(CASES):
        is_first = number == 0 or CASES[number - 1].site != case.site
        marks = Text(" ").join(Text(*_mark(place.state)[:2]) for place in outlook.glass(case))
        about = Text.assemble(case.subspecialty, (" urgent", "bold red") if case.urgent else "")
        table.add_row(case.site if is_first else "", case.accession_number, about, marks, _stands(standing.get(case)))
    return table


def _stands(place: CasePlace | None) -> Text:
    if place is None:
        return Text("nobody orders it", "dim")
    if place.line is None or place.line.reader is None:
        return Text("no order yet", "dim") if place.state == NOT_SEEN else Text(place.state)
    return Text(f"on the worklist of {place.line.reader.name}", "green")


def _legend(outlook: Outlook) -> Text:
    counts = _counts(outlook)
    legend = Text("\n")
    for word in _WORDS:
        mark, style, _ = next(one for one in _MARKS.values() if one[2] == word)
        legend.append("\n" if word == _FIRST_WAIT else "")
        legend.append(f"{mark} ", style)
        legend.append(f"{counts[word]} {word} ", "" if counts[word] else "dim")
    return legend


def _counts(outlook: Outlook) -> Counter[str]:
    return Counter(_mark(place.state)[2] for case in CASES for place in outlook.glass(case))


def _mark(state: str) -> tuple[str, str, str]:
    return _MARKS.get(state, _OTHER)


def _rest(outlook: Outlook) -> str:
    """Return a sentence of what is no slide: cases, messages, the engine."""
    assigned = sum(one.state == State.ASSIGNED for one in outlook.cases)
    traffic = outlook.traffic
    return (
        f"cases: {assigned} of {len(outlook.cases)} assigned; "
        f"messages: {traffic.came} in, {traffic.told} out, {traffic.unanswered} of them unanswered{_events(outlook)}"
        f"{_ENGINE}{outlook.engine}"
    )


def _events(outlook: Outlook) -> str:
    return f"; Kafka: {outlook.events.sentence}" if outlook.events else ""
