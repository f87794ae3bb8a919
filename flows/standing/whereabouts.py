"""The slides that a case expects, each by name: whether it can be read, where it was seen last, what it waits for."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Row as ResultRow
from sqlalchemy import select
from sqlalchemy.orm import Session

from connectors.settings import Settings
from flows.barcode_matching.identifiers import find, normalised
from flows.cases import ITS_LANE
from flows.completeness import READABLE, ExpectedSlide, SlideStanding, standing_of
from flows.expected import expected_slides
from flows.intake.sightings import SEEN
from flows.late_slides import LATE_SLIDE, PROOF_FAILED
from flows.standing.rows import Row, is_open, open_step, rows_of_case, step_columns
from flows.standing.rule import OpenStep
from models.case_fold import A_PERSON, THE_POLICY
from models.facets import FileState, Outcome
from models.tables.books import Alert, History
from models.tables.case import Case, Slide
from models.tables.scan import Scan, ScanFile
from models.tables.step import Step
from models.tables.work import WorkOrder

_READ_AT: Final[dict[SlideStanding, str]] = {
    "archived": "the archive",
    "not proven yet": "the archive, which has not proven it yet",
    "glass only": "on glass, for a microscope",
    "imaged elsewhere": "another image manager",
}
READ_EARLY: Final = {
    A_PERSON: "a person let it be read without what is missing",
    THE_POLICY: "the policy let it be read without what is missing",
    ITS_LANE: "its urgency lets it be read before the archive has proven all of its images",
}
"""Who lets a case be read before all of it is there and proven."""

_MOST_FILES: Final = 500
_ALERT: Final = "alert "


@dataclass(frozen=True)
class LastSeen:
    """Where a slide was seen last, in words, and when, if that is known."""

    where: str
    at: datetime | None


@dataclass(frozen=True)
class Whereabouts:
    """One slide that a case expects, or work that will bring one.

    ``since`` is since when it can be read, or waits; ``before_proof`` says that it is read before the archive has
    proven its image.
    """

    slide: str
    slide_id: str
    standing: SlideStanding
    can_be_read: bool
    before_proof: bool
    last_seen: LastSeen
    since: datetime | None
    waits_for: str | None = None
    until: datetime | None = None
    then: str | None = None
    reason: str | None = None
    scan: str | None = None


@dataclass(frozen=True)
class LateSlide:
    """A slide that came or went after its case could be read, and who ticked that off; nobody has while open."""

    number: int
    slide: str
    sentence: str
    raised_at: datetime
    acknowledged_at: datetime | None
    acknowledged_by: str | None
    reason: str | None


@dataclass(frozen=True)
class CaseSlides:
    """How complete a case is.

    ``readable`` of ``expected`` slides can be read. ``closed_at`` is missing while more may be ordered. ``held`` is the
    case's wait for what is missing, if the policy holds it back.
    """

    readable: int
    expected: int
    closed_at: datetime | None
    released_how: str | None
    version: int
    held: OpenStep | None
    slides: tuple[Whereabouts, ...]
    late: tuple[LateSlide, ...]

    @property
    def missing(self) -> tuple[Whereabouts, ...]:
        """The slides that can't be read."""
        return tuple(one for one in self.slides if not one.can_be_read)


def slides_of_case(session: Session, settings: Settings, case_id: str) -> CaseSlides | None:
    """Return how complete a case is, slide by slide; ``None`` when there is no such case."""
    case = session.get(Case, case_id)
    if case is None:
        return None
    expected = expected_slides(session, case)
    slides = (
        *_registered(session, settings, case, [one for one in expected if one.being_made is None]),
        *_being_made(session, [one.slide_id for one in expected if one.being_made is not None]),
    )
    return CaseSlides(
        readable=sum(one.can_be_read for one in slides),
        expected=len(slides),
        closed_at=case.expected_closed_at,
        released_how=case.released_how,
        version=case.completeness_version,
        held=holds_of(session, (case_id,)).get(case_id),
        slides=slides,
        late=tuple(_late(session, case_id)),
    )


def holds_of(session: Session, case_ids: Sequence[str]) -> dict[str, OpenStep]:
    """Return the open waits of those of these cases that are held back for what is missing."""
    rows = session.execute(
        select(Step.subject_id, *step_columns()).where(Step.subject_id.in_(case_ids), Step.kind == "hold", is_open())
    )
    return {case_id: open_step(step) for case_id, *step in rows}


def _registered(
    session: Session, settings: Settings, case: Case, expected: Sequence[ExpectedSlide]
) -> Iterator[Whereabouts]:
    rows = {row.id: row for row in session.scalars(select(Slide).where(Slide.case_id == case.id))}
    lines: dict[str, list[Row]] = defaultdict(list)
    for line in rows_of_case(session, case.id):
        lines[line.slide or ""].append(line)
    seen = _last_seen(session, settings, case, [rows[one.slide_id] for one in expected])
    for one in sorted(expected, key=lambda one: rows[one.slide_id].container_identifier):
        slide = rows[one.slide_id]
        yield _whereabouts(one, f"{slide.container_identifier}@{slide.issuer}", lines, seen[slide.id])


def _whereabouts(expected: ExpectedSlide, name: str, lines: Mapping[str, Sequence[Row]], seen: LastSeen) -> Whereabouts:
    standing = standing_of(expected)
    line = _line_that_counts(expected, lines.get(name, ()))
    if standing in READABLE:
        return Whereabouts(
            name,
            expected.slide_id,
            standing,
            can_be_read=True,
            before_proof=standing == "not proven yet",
            last_seen=LastSeen(_READ_AT[standing], expected.readable_at),
            since=expected.readable_at,
            scan=line.scan if line else None,
        )
    return Whereabouts(
        name,
        expected.slide_id,
        standing,
        can_be_read=False,
        before_proof=False,
        last_seen=seen,
        since=line.since if line else None,
        # What goes on by itself waits for nobody: then its next step is what is waited for.
        waits_for=(line.waiting_for or line.state) if line else None,
        until=line.until if line else None,
        then=line.then if line else None,
        reason=line.reason if line else None,
        scan=line.scan if line else None,
    )


def _line_that_counts(expected: ExpectedSlide, lines: Sequence[Row]) -> Row | None:
    """Return the line of the slide's newest active scan, else its own, else of what became of its last scan."""
    active = {scan.scan_id for scan in expected.scans if scan.outcome == Outcome.ACTIVE}
    by_scan = [line for line in lines if line.scan in active]
    its_own = [line for line in lines if line.scan is None]
    return next(iter((*by_scan[::-1], *its_own, *lines[::-1])), None)


def _being_made(session: Session, work_ids: Sequence[str]) -> Iterator[Whereabouts]:
    waits = select(Step.subject_id, *step_columns()).where(
        Step.subject_id.in_(work_ids), Step.kind == "expect_work", is_open()
    )
    steps = {work_id: open_step(step) for work_id, *step in session.execute(waits)} if work_ids else {}
    orders = session.scalars(select(WorkOrder).where(WorkOrder.id.in_(work_ids)).order_by(WorkOrder.asked_at))
    for one in orders if work_ids else ():
        step = steps.get(one.id)
        called = f"{one.kind} {one.stain}".strip()
        yield Whereabouts(
            f"{called} ({one.number})",
            one.id,
            "being made",
            can_be_read=False,
            before_proof=False,
            last_seen=LastSeen(f"the laboratory, {one.filler_number or 'without a number of its own'}", None),
            since=step.waiting_since if step and step.waiting_since else one.asked_at,
            waits_for="the LIMS to register what was made" if one.state == "fulfilled" else "the LIMS to do the work",
            until=step.until if step else None,
            then=step.then if step else None,
            reason=one.because,
        )


def _last_seen(session: Session, settings: Settings, case: Case, slides: Sequence[Slide]) -> dict[str, LastSeen]:
    """Return where each slide was seen last: by its newest scan, a file that bears its name, or what a scanner said."""
    ids = [one.id for one in slides]
    found: dict[str, list[tuple[datetime, str]]] = defaultdict(list)
    for slide_id, at, where in (*_by_scans(session, ids), *_by_scanners(session, ids)):
        found[slide_id].append((at, where))
    for slide_id, at, where in _by_files(session, settings.site(case.site_id).identifier_pattern, case.site_id, slides):
        found[slide_id].append((at, where))
    registered = LastSeen("the laboratory: no scanner has seen it", None)
    return {one: LastSeen(*max(found[one])[::-1]) if found[one] else registered for one in ids}


def _by_scans(session: Session, slide_ids: Sequence[str]) -> Iterator[tuple[str, datetime, str]]:
    rows: Iterable[ResultRow[*tuple[Any, ...]]] = session.execute(
        select(Scan.slide_id, Scan.received_at, Scan.scanner, Scan.site_id, ScanFile.place)
        .outerjoin(ScanFile, (ScanFile.scan_id == Scan.id) & (ScanFile.state == FileState.TAKEN))
        .where(Scan.slide_id.in_(slide_ids))
    )
    for slide_id, received_at, scanner, site, place in rows:
        yield slide_id, received_at, f"{scanner} of {site}" + (f"; its file is at {place}" if place else "")


def _by_scanners(session: Session, slide_ids: Sequence[str]) -> Iterator[tuple[str, datetime, str]]:
    said = select(History.subject_id, History.at, History.after).where(
        History.subject_id.in_(slide_ids), History.what == SEEN
    )
    for slide_id, at, where in session.execute(said):
        yield slide_id, at, where or ""


def _by_files(
    session: Session, pattern: str, site_id: str, slides: Sequence[Slide]
) -> Iterator[tuple[str, datetime, str]]:
    """Yield the files that are no scan yet and whose name names one of these slides, and no other slide."""
    by_name = {normalised(one.container_identifier): one.id for one in slides}
    files = session.execute(
        select(ScanFile.relative_path, ScanFile.root, ScanFile.state, ScanFile.first_seen_at)
        .where(ScanFile.scan_id.is_(None), ScanFile.state.in_((FileState.ARRIVING, FileState.REFUSED)))
        .where(ScanFile.site_id == site_id)
        .order_by(ScanFile.first_seen_at.desc())
        .limit(_MOST_FILES)
    )
    for path, root, state, at in files:
        names = find(pattern, path)
        if len(names) == 1 and names[0] in by_name:
            yield by_name[names[0]], at, f"{root} of {site_id}: a file called so is {state}"


def _late(session: Session, case_id: str) -> Iterator[LateSlide]:
    """Yield what is to be ticked off, and what was; what later news took the place of is told by those."""
    alerts = session.execute(
        select(Alert, Slide.container_identifier, Slide.issuer)
        .join(Slide, Slide.id == Alert.subject_id)
        .where(Slide.case_id == case_id, Alert.kind.in_((LATE_SLIDE, PROOF_FAILED)))
        .order_by(Alert.id)
    ).all()
    ticked = {} if not alerts else _ticked_off(session, [alert.subject_id for alert, *_ in alerts])
    for alert, container, issuer in alerts:
        who = ticked.get(f"{_ALERT}{alert.id}")
        if alert.cleared_at is None or who is not None:
            yield LateSlide(
                alert.id,
                f"{container}@{issuer}",
                alert.sentence,
                alert.raised_at,
                alert.cleared_at,
                who.actor if who else None,
                who.reason if who else None,
            )


def _ticked_off(session: Session, slide_ids: Sequence[str]) -> dict[str, History]:
    rows = session.scalars(
        select(History).where(
            History.subject_id.in_(slide_ids), History.what.startswith(_ALERT), History.after == "acknowledged"
        )
    )
    return {row.what: row for row in rows}
