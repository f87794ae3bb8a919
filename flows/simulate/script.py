"""The demonstration's script: three sites, twelve cases, forty slides, what goes wrong with some, and where each ends.

Every name and number is invented. Where the script says that something ends, the database must say so when all is done.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Final, Literal

from flows.standing.rule import State

Shows = Literal["sharp", "blurred", "partly blurred", "no tissue", "smudged label", "cut short"]
Order = Literal["at first", "after its scans", "never"]
Form = Literal["OML^O33", "OML^O21"]


@dataclass(frozen=True)
class ScriptedSite:
    """One hospital laboratory."""

    id: str
    name: str
    zone: str


@dataclass(frozen=True)
class ScriptedScan:
    """One turn of a slide on the scanner: what the file shows, and where the scan stands at the end.

    A second turn comes when the LIMS was told that the slide is to be scanned again.
    """

    container_identifier: str
    turn: int
    shows: Shows
    ends: State

    @property
    def file_name(self) -> str:
        """The name that the scanner gives the file: by the code on the label, if it can read it."""
        if self.shows == "smudged label":
            return f"no_code_{self.container_identifier[2:7].lower()}.svs"
        again = f"_{self.turn}" if self.turn > 1 else ""
        return f"{self.container_identifier}{again}.svs"


@dataclass(frozen=True)
class ScriptedSlide:
    """One piece of glass: its turns on the scanner, and where the slide stands at the end."""

    container_identifier: str
    stain: str
    scans: tuple[ScriptedScan, ...]
    ends: State


@dataclass(frozen=True)
class Glass:
    """Slides of a case that share a stain and a fate: their numbers, and what their turns on the scanner show."""

    numbers: tuple[str, ...]
    shows: tuple[Shows, ...] = ("sharp",)
    stain: str = "H&E"


@dataclass(frozen=True)
class ScriptedCase:
    """One request: whom and what it is about, how its order comes, its glass, and where it stands at the end.

    ``ends`` is ``None`` for a case that nobody orders. The last ``added`` slides are ordered by a change (ORC-1 XO).
    """

    site: str
    accession_number: str
    given_name: str
    nhs_number: str
    subspecialty: str
    ends: str | None
    glass: tuple[Glass, ...]
    urgent: bool = False
    order: Order = "at first"
    form: Form = "OML^O33"
    added: int = 0
    sent_twice: bool = False

    @cached_property
    def slides(self) -> tuple[ScriptedSlide, ...]:
        """Its slides, in the order in which they are scanned."""
        return tuple(self._slide(glass, number) for glass in self.glass for number in glass.numbers)

    def _slide(self, glass: Glass, number: str) -> ScriptedSlide:
        name = f"{self.accession_number}-{number}"
        instead = _INSTEAD.get(self.ends, _ARCHIVED_ONLY)
        of_scans, of_slide = _ENDS[glass.shows]
        scans = tuple(
            ScriptedScan(name, turn, shows, instead.get(ends, ends))
            for turn, (shows, ends) in enumerate(zip(glass.shows, of_scans, strict=True), start=1)
        )
        return ScriptedSlide(name, glass.stain, scans, instead.get(of_slide, of_slide))


# What the turns of a slide show: where each of its scans ends, and where the slide does.
_ENDS: Final[dict[tuple[Shows, ...], tuple[tuple[State, ...], State]]] = {
    ("sharp",): ((State.ASSIGNED,), State.ASSIGNED),
    ("blurred", "sharp"): ((State.SUPERSEDED, State.ASSIGNED), State.ASSIGNED),
    ("blurred",): ((State.WAITING_FOR_RESCAN,), State.WAITING_FOR_RESCAN),
    ("partly blurred",): ((State.WAITING_FOR_PERSON,), State.WAITING_FOR_PERSON),
    ("no tissue",): ((State.WAITING_FOR_PERSON,), State.WAITING_FOR_PERSON),
    # Nobody knows yet which slide these two show, so the slide itself waits on.
    ("smudged label",): ((State.WAITING_FOR_PERSON,), State.WAITING_FOR_SCAN),
    ("cut short",): ((State.SET_ASIDE,), State.WAITING_FOR_SCAN),
    (): ((), State.WAITING_FOR_SCAN),
}
# A slide is on somebody's worklist with its whole case only, and without an order it has no case.
_ARCHIVED_ONLY: Final = {State.ASSIGNED: State.ARCHIVED}
_INSTEAD: Final[dict[str | None, dict[State, State]]] = {
    "assigned": {},
    None: {State.ASSIGNED: State.WAITING_FOR_LIMS},
}


SITES: Final = (
    ScriptedSite("alder", "Alder Example Hospital", "Europe/London"),
    ScriptedSite("birch", "Birch Example Hospital", "Europe/London"),
    ScriptedSite("cedar", "Cedar Example Hospital", "Europe/Dublin"),
)

CASES: Final = (
    ScriptedCase(
        *("alder", "26A1001", "Ada", "9990001006", "breast", "assigned"),
        (Glass(("A1-1", "A1-2", "B1-1")), Glass(("A1-3",), stain="ER")),
        sent_twice=True,
    ),
    ScriptedCase(
        *("alder", "26A1002", "Basil", "9990001103", "gi", "assigned"),
        (Glass(("A1-1",), ("blurred", "sharp")), Glass(("A2-1", "A3-1"))),
    ),
    ScriptedCase(
        *("alder", "26A1003", "Cleo", "9990001189", "skin", "incomplete"),
        (Glass(("A1-1", "A1-2")), Glass(("A2-1",), ("smudged label",))),
    ),
    ScriptedCase(
        *("alder", "26A1004", "Dora", "9990001278", "thoracic", "assigned"),
        (Glass(("A1-1", "A2-1")), Glass(("A1-2",), stain="TTF-1")),
        urgent=True,
    ),
    ScriptedCase(
        *("birch", "26B2001", "Edgar", "9990001359", "gi", "assigned"),
        (Glass(("A1-1", "A2-1", "A3-1", "A4-1")),),
        form="OML^O21",
    ),
    ScriptedCase(
        *("birch", "26B2002", "Flora", "9990001448", "skin", "incomplete"),
        (Glass(("A1-1",), ("partly blurred",)), Glass(("A1-2", "A2-1"))),
    ),
    ScriptedCase(
        *("birch", "26B2003", "Gwen", "9990001529", "gynae", "incomplete"),
        (Glass(("A1-1", "A2-1")), Glass(("A3-1",), ("blurred",))),
    ),
    ScriptedCase(
        *("birch", "26B2004", "Hugo", "9990001618", "urology", "incomplete"),
        (Glass(("A1-1", "A2-1")), Glass(("A2-2",), (), stain="PSA")),
    ),
    ScriptedCase(
        *("birch", "26B2090", "Nobody", "", "skin", None),
        (Glass(("A1-1",)),),
        order="never",
    ),
    ScriptedCase(
        *("cedar", "26C3001", "Ines", "9990001707", "haem", "assigned"),
        (Glass(("A1-1", "A1-2", "A1-3")), Glass(("A1-4",), stain="CD3")),
        added=1,
    ),
    ScriptedCase(
        *("cedar", "26C3002", "Jonas", "9990001790", "urology", "incomplete"),
        (Glass(("A1-1", "A2-1")), Glass(("A3-1",), ("no tissue",))),
    ),
    ScriptedCase(
        *("cedar", "26C3003", "Kira", "9990001871", "breast", "incomplete"),
        (Glass(("A1-1",), ("cut short",)), Glass(("A1-2", "B1-1"))),
    ),
    ScriptedCase(
        *("cedar", "26C3004", "Leo", "9990001952", "hpb", "assigned"),
        (Glass(("A1-1", "A2-1", "A3-1")), Glass(("A1-2",), stain="Masson")),
        order="after its scans",
    ),
)
