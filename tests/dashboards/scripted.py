"""The demonstration's outlook as it is when everything ended well, or not quite."""

import uuid
from datetime import UTC, datetime

from flows.simulate.laboratory import issuer_of
from flows.simulate.outcome import CasePlace, Outlook, Place, Traffic
from flows.simulate.script import CASES, ScriptedCase, ScriptedScan, ScriptedSlide
from flows.standing import Row
from flows.standing.cases import CaseLine, Reader
from flows.standing.rule import Standing, State

NOW = datetime(2026, 11, 22, 9, 30, tzinfo=UTC)
_UNMATCHED = ("smudged label", "cut short")
_WAITING_FOR = {
    State.WAITING_FOR_PERSON: "a person",
    State.WAITING_FOR_LIMS: "the LIMS",
    State.WAITING_FOR_RESCAN: "a rescan",
    State.WAITING_FOR_SCAN: "the scanner",
}


def scan_id(scan: ScriptedScan) -> str:
    """Return an id for a scan, always the same."""
    return str(uuid.uuid5(uuid.NAMESPACE_OID, scan.file_name))


def at_its_end(*wrong: str) -> Outlook:
    """Return the outlook when all is done, but for the scans and slides that are named: they are still received."""
    ordered = [case for case in CASES if case.ends is not None]
    return Outlook(
        scans=tuple(
            _place(case, slide, scan, wrong) for case in CASES for slide in case.slides for scan in slide.scans
        ),
        slides=tuple(_place(case, slide, None, wrong) for case in ordered for slide in case.slides),
        cases=tuple(_case(case) for case in ordered),
        traffic=Traffic(came=13, unread=0, told=48, unanswered=0, unheard=0),
        engine="Prefect runs and shows the flows (1 worker)",
        at_work=0,
        unscripted=0,
    )


def _place(case: ScriptedCase, slide: ScriptedSlide, scan: ScriptedScan | None, wrong: tuple[str, ...]) -> Place:
    ends = scan.ends if scan else slide.ends
    name = scan.file_name if scan else slide.container_identifier
    state = State.RECEIVED if name in wrong else ends
    is_known = scan is None or (scan.shows not in _UNMATCHED and case.ends is not None)
    row = Row(
        scan=scan_id(scan) if scan else None,
        slide=f"{slide.container_identifier}@{issuer_of(case.site)}" if is_known else None,
        case=None,
        site=case.site,
        state=state,
        waiting_for=_WAITING_FOR.get(state),
        since=NOW,
        reason="because [of] the script" if state in _WAITING_FOR else None,
    )
    return Place(case, slide, state, row, scan)


def _case(case: ScriptedCase) -> CasePlace:
    reader = Reader("ash", "Dr Ash Example", NOW, "the smallest cost", "coverslip") if case.ends == "assigned" else None
    line = CaseLine(
        id="case",
        accession_number=case.accession_number,
        site=case.site,
        lane="urgent" if case.urgent else "routine",
        subspecialty=case.subspecialty,
        registered_at=NOW,
        due_at=None,
        standing=Standing(str(case.ends), None, NOW),
        completeness="all slides can be read",
        is_closed=True,
        reader=reader,
    )
    return CasePlace(case, str(case.ends), line)
