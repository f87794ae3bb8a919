"""Where everything in the script stands by now, beside where the script says that it ends."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from connectors.settings import Settings
from flows.sending.publish import THE_LOG
from flows.simulate.laboratory import heard_path, issuer_of, scanner_name
from flows.simulate.listener import read_back
from flows.simulate.script import CASES, SITES, ScriptedCase, ScriptedScan, ScriptedSlide
from flows.standing import Row, engine_state, list_cases, list_rows
from flows.standing.cases import CaseLine
from flows.standing.rule import standing_of_file
from models.facets import Outcome, StepState
from models.tables.books import InboxMessage, OutboxMessage
from models.tables.scan import ScanFile
from models.tables.step import Step

NOT_SEEN: Final = "not seen yet"
_AT_WORK: Final = (StepState.READY, StepState.RUNNING)
_ENDED: Final = frozenset(str(outcome) for outcome in Outcome if outcome is not Outcome.ACTIVE)


@dataclass(frozen=True)
class Place:
    """Where a piece of glass, or one scan of it, stands; ``row`` is what the lists show of it, if they do."""

    case: ScriptedCase
    slide: ScriptedSlide
    state: str
    row: Row | None = None
    scan: ScriptedScan | None = None

    @property
    def name(self) -> str:
        """The name of the scan's file, or the number on the glass."""
        return self.scan.file_name if self.scan else self.slide.container_identifier

    @property
    def expected(self) -> str:
        """Where the script says that it ends."""
        return self.scan.ends if self.scan else self.slide.ends

    @property
    def is_right(self) -> bool:
        """Whether it stands there."""
        return self.state == self.expected


@dataclass(frozen=True)
class CasePlace:
    """Where a scripted case stands; ``line`` is what the lists show of it, once it is ordered."""

    case: ScriptedCase
    state: str
    line: CaseLine | None

    @property
    def is_right(self) -> bool:
        """Whether it stands where the script says that it ends."""
        return self.state == self.case.ends


@dataclass(frozen=True)
class Traffic:
    """Messages: those that came in, and of them not acted on; those to be told, not answered, and not heard."""

    came: int
    unread: int
    told: int
    unanswered: int
    unheard: int


@dataclass(frozen=True)
class Events:
    """Events by Kafka: those that came in, and of them not acted on; those to leave, not written, and not read back."""

    came: int
    unread: int
    left: int
    unwritten: int
    unheard: int

    @property
    def sentence(self) -> str:
        """How many of each, for people."""
        return f"{self.came} events in, {self.left} out, {self.left - self.unwritten - self.unheard} of them read back"


@dataclass(frozen=True)
class Outlook:
    """One look at everything; ``unscripted`` counts scans in the books that no scanner of the script made.

    ``events`` are there with Kafka only.
    """

    scans: tuple[Place, ...]
    slides: tuple[Place, ...]
    cases: tuple[CasePlace, ...]
    traffic: Traffic
    engine: str
    at_work: int
    unscripted: int
    events: Events | None = None

    def glass(self, case: ScriptedCase) -> tuple[Place, ...]:
        """Return for each slide of a case where its newest scan stands, or the slide itself while it has none."""
        newest = {one.slide: one for one in (*self.slides, *self.scans) if one.case == case and one.state != NOT_SEEN}
        return tuple(newest.get(slide) or Place(case, slide, NOT_SEEN) for slide in case.slides)

    @property
    def is_done(self) -> bool:
        """Whether all of it ended as the script says, and nothing is at work or unsaid any more."""
        return self.at_work == 0 and not self.differences

    @property
    def differences(self) -> tuple[str, ...]:
        """A sentence for everything that is not as the script says."""
        events = self.events or Events(0, 0, 0, 0, 0)
        return (
            *(_difference("scan", one.name, one.expected, one.state) for one in self.scans if not one.is_right),
            *(_difference("slide", one.name, one.expected, one.state) for one in self.slides if not one.is_right),
            *(
                _difference("case", one.case.accession_number, one.case.ends, one.state)
                for one in self.cases
                if not one.is_right
            ),
            *(
                f"{count} {sentence}"
                for count, sentence in (
                    (self.unscripted, "scans are in the books that no scanner made"),
                    (self.traffic.unread, "messages that came in were not acted on"),
                    (self.traffic.unanswered, "messages to the LIMS were not answered"),
                    (self.traffic.unheard, "messages count as answered that no LIMS heard"),
                    (events.unread, "events that came by Kafka were not acted on"),
                    (events.unwritten, "events did not leave by Kafka"),
                    (events.unheard, "events count as written that nobody could read from Kafka"),
                )
                if count
            ),
        )


def look(session: Session, settings: Settings) -> Outlook:
    """Return where everything stands at this moment."""
    rows = list_rows(session, waiting=False)
    scans = tuple(
        _scan_places(rows, {(file.root, file.relative_path): file for file in session.scalars(select(ScanFile))})
    )
    lines = {line.accession_number: line for line in list_cases(session)}
    return Outlook(
        scans=scans,
        slides=tuple(_slide_places(rows)),
        cases=tuple(_case_place(case, lines.get(case.accession_number)) for case in CASES if case.ends is not None),
        traffic=_traffic(session, settings),
        engine=engine_state(session, settings.work.heartbeat_grace).sentence,
        at_work=session.scalar(select(func.count()).select_from(Step).where(Step.state.in_(_AT_WORK))) or 0,
        unscripted=len({row.scan for row in rows if row.scan} - {one.row.scan for one in scans if one.row}),
        events=_events(session, settings) if settings.kafka else None,
    )


def changes(before: Outlook, after: Outlook) -> tuple[str, ...]:
    """Return a sentence for every scan and case that stands elsewhere than before."""
    was, is_now = _standing(before), _standing(after)
    return tuple(f"{name}: {was[name]} → {state}" for name, state in is_now.items() if was[name] != state)


def _standing(outlook: Outlook) -> dict[str, str]:
    scans = {one.name: one.state for one in outlook.scans}
    return scans | {f"case {one.case.accession_number}": one.state for one in outlook.cases}


def _scan_places(rows: Sequence[Row], files: Mapping[tuple[str, str], ScanFile]) -> Iterator[Place]:
    by_scan = {row.scan: row for row in rows if row.scan}
    for case in CASES:
        for slide in case.slides:
            for scan in slide.scans:
                file = files.get((scanner_name(case.site), scan.file_name))
                row = by_scan.get(file.scan_id) if file and file.scan_id else None
                yield Place(case, slide, _state_of(row, file), row, scan)


def _state_of(row: Row | None, file: ScanFile | None) -> str:
    if row is not None:
        return row.state
    if file is None:
        return NOT_SEEN
    return standing_of_file(file.state, file.first_seen_at, file.changed_at, file.problem).state


def _slide_places(rows: Sequence[Row]) -> Iterator[Place]:
    """Yield every ordered slide: its row without a scan, else that of its active scan."""
    by_slide: dict[str, Row] = {}
    for row in rows:
        if row.slide and (row.scan is None or row.state not in _ENDED):
            by_slide[row.slide] = row
    for case in CASES:
        for slide in case.slides if case.ends is not None else ():
            row_of_slide = by_slide.get(f"{slide.container_identifier}@{issuer_of(case.site)}")
            state = row_of_slide.state if row_of_slide else NOT_SEEN
            yield Place(case, slide, state, row_of_slide)


def _case_place(case: ScriptedCase, line: CaseLine | None) -> CasePlace:
    return CasePlace(case, line.standing.state if line else NOT_SEEN, line)


def _traffic(session: Session, settings: Settings) -> Traffic:
    by_state = select(InboxMessage.state, func.count()).where(InboxMessage.source == "hl7")
    came = dict(session.execute(by_state.group_by(InboxMessage.state)).all())
    of_lims = select(OutboxMessage.message_control_id, OutboxMessage.state).where(OutboxMessage.peer != THE_LOG)
    told = dict(session.execute(of_lims).all())
    answered = {control_id for control_id, state in told.items() if state == "answered"}
    return Traffic(
        came=sum(came.values()),
        unread=came.get("kept", 0),
        told=len(told),
        unanswered=len(told) - len(answered),
        unheard=len(answered - set(_heard(settings))),
    )


def _events(session: Session, settings: Settings) -> Events:
    by_state = select(InboxMessage.state, func.count()).where(InboxMessage.origin.is_not(None))
    came = dict(session.execute(by_state.group_by(InboxMessage.state)).all())
    of_log = select(OutboxMessage.id, OutboxMessage.state).where(OutboxMessage.peer == THE_LOG)
    left = dict(session.execute(of_log).all())
    written = {event_id for event_id, state in left.items() if state == "answered"}
    return Events(
        came=sum(came.values()),
        unread=sum(came.values()) - came.get("applied", 0),
        left=len(left),
        unwritten=len(left) - len(written),
        unheard=len(written - set(read_back(settings))),
    )


def _heard(settings: Settings) -> Iterator[str]:
    """Yield the message control ids that the simulated LIMS noted."""
    for site in SITES:
        path = heard_path(settings.home, site.id)
        # The last line may be under way.
        for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
            if line.endswith("}"):
                yield json.loads(line)["message_control_id"]


def _difference(what: str, name: str, expected: str | None, state: str) -> str:
    return f"the {what} {name} should end as '{expected}' and is '{state}'"
