"""The one function that says where something stands, in plain words; everything that people see asks it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Final

from flows.journey import SCAN_KINDS
from flows.step import A_PERSON, THE_LIMS
from models.facets import FileState, Identity, Images, Outcome, Quality, Reading, Route, StepState, Storage
from models.scan_fold import ScanState


class State(StrEnum):
    """Where a slide can be seen to stand, in the order in which it usually passes."""

    ARRIVING = "arriving"
    REFUSED = "refused"
    WAITING_FOR_SCAN = "waiting for a scan"
    RECEIVED = "received"
    CHECKING = "being checked"
    MATCHING = "being matched"
    WAITING_FOR_LIMS = "waiting for the LIMS"
    WAITING_FOR_PERSON = "waiting for a person"
    WAITING_FOR_RESCAN = "waiting for a rescan"
    CONVERTING = "converting"
    CORRECTING = "correcting"
    STORING = "storing"
    PROVING = "proving"
    ARCHIVED = "archived"
    ASSIGNED = "assigned"
    SET_ASIDE = "set aside"
    GLASS_ONLY = "glass only"
    IMAGED_ELSEWHERE = "imaged elsewhere"
    SUPERSEDED = "superseded"
    CANCELLED = "cancelled"
    WITHDRAWN = "withdrawn"


STATES: Final = tuple(State)

AT_REST: Final = frozenset(
    [
        *(State.REFUSED, State.ARCHIVED, State.ASSIGNED, State.SET_ASIDE),
        *(State.GLASS_ONLY, State.IMAGED_ELSEWHERE, State.SUPERSEDED, State.CANCELLED, State.WITHDRAWN),
    ]
)
"""States in which nothing is to happen by itself any more."""

_STATE_OF_KIND: Final = {
    "slide_qc": State.CHECKING,
    "barcode_matching": State.MATCHING,
    "convert": State.CONVERTING,
    "correct": State.CORRECTING,
    "store": State.STORING,
    "prove": State.PROVING,
}
_STATE_OF_WAIT: Final = {A_PERSON: State.WAITING_FOR_PERSON, THE_LIMS: State.WAITING_FOR_LIMS}
_PLACE: Final = {kind: place for place, kind in enumerate(SCAN_KINDS)}


@dataclass(frozen=True)
class OpenStep:
    """A step that is ready, running or waiting, as far as people care.

    ``reason`` is why it waits, in a sentence.
    """

    kind: str
    state: str
    created_at: datetime
    attempt: int = 0
    waiting_for: str | None = None
    waiting_since: datetime | None = None
    until: datetime | None = None
    then: str | None = None
    reason: str | None = None


@dataclass(frozen=True)
class Standing:
    """Where something stands: the word, what it waits for, since when; until when, and what happens then."""

    state: str
    waiting_for: str | None
    since: datetime
    until: datetime | None = None
    then: str | None = None
    reason: str | None = None


def standing_of_scan(
    scan: ScanState,
    changed_at: datetime,
    steps: Sequence[OpenStep] = (),
    *,
    assigned: bool = False,
    rescan: OpenStep | None = None,
) -> Standing:
    """Return where a scan stands.

    Parameters
    ----------
    changed_at
        When one of its facets changed last.
    steps
        Its open steps of the scan's journey.
    assigned
        Whether somebody has its case's read.
    rescan
        Its slide's wait for another scan, if there is one.
    """
    if scan.outcome != Outcome.ACTIVE:
        return Standing(State(scan.outcome), None, changed_at, reason=scan.reason)
    if scan.storage in (Storage.PROVEN, Storage.PURGED) and scan.quality != Quality.RESCAN:
        return Standing(State.ASSIGNED if assigned else State.ARCHIVED, None, changed_at)
    # What a person has to do comes first, then what the LIMS has to, then what goes on by itself.
    for waiting_for, state in _STATE_OF_WAIT.items():
        for step in steps:
            if step.waiting_for == waiting_for:
                return _waiting(state, step, changed_at, step.reason or scan.reason)
    if steps:
        return _moving(steps, changed_at)
    return _still(scan, changed_at, rescan)


def standing_of_slide(
    route: str,
    changed_at: datetime,
    expected: OpenStep | None = None,
    *,
    cancelled: bool = False,
    imaged_elsewhere: bool = False,
) -> Standing:
    """Return where a slide without an active scan stands; ``expected`` is its wait for a scan."""
    if cancelled:
        return Standing(State.CANCELLED, None, changed_at, reason="the LIMS cancelled it")
    if imaged_elsewhere:
        return Standing(State.IMAGED_ELSEWHERE, None, changed_at, reason="an image manager says that it has its images")
    if route == Route.GLASS_ONLY:
        return Standing(State.GLASS_ONLY, None, changed_at, reason="read under a microscope")
    wait = expected or OpenStep("expect_scan", StepState.WAITING, changed_at)
    if wait.waiting_for == "a rescan":
        return _waiting(State.WAITING_FOR_RESCAN, wait, changed_at, wait.reason)
    # Between the end of its time and its next turn a wait names nothing, and the slide waits on.
    return _waiting(State.WAITING_FOR_SCAN, replace(wait, waiting_for="the scanner"), changed_at, wait.reason)


def standing_of_file(state: str, first_seen_at: datetime, changed_at: datetime, problem: str | None) -> Standing:
    """Return where a scanner's file stands that is no scan yet."""
    if state == FileState.REFUSED:
        return Standing(State.REFUSED, None, changed_at, reason=problem)
    if state == FileState.TAKEN:
        return Standing(State.RECEIVED, None, changed_at)
    return Standing(State.ARRIVING, "the scanner", first_seen_at, reason=problem, then="taken once it is whole")


def standing_of_case(  # noqa: PLR0913 - the facets of a case
    images: str,
    reading: str,
    changed_at: datetime,
    *,
    closed: bool,
    cancelled: bool = False,
    reported: bool = False,
    assigning: OpenStep | None = None,
    held: OpenStep | None = None,
) -> Standing:
    """Return where a case stands; ``assigning`` is the open step that looks for its reader, ``held`` its hold.

    ``reported`` says that its round of reading is closed, whatever becomes of its slides.
    """
    if cancelled:
        return Standing(State.CANCELLED, None, changed_at, reason="the LIMS cancelled it")
    if reported:
        return Standing("reported", None, changed_at)
    if reading == Reading.ASSIGNED:
        late = "a slide is missing again since it was assigned" if images != Images.READY else None
        return Standing(State.ASSIGNED, None, changed_at, reason=late)
    if images == Images.READY:
        if assigning is None or assigning.waiting_for is None:
            return Standing("being assigned", None, assigning.created_at if assigning else changed_at)
        return _waiting("being assigned", assigning, changed_at, assigning.reason)
    waiting_for = "slides" if closed else "slides, and for its orders to settle"
    until, then = (held.until, held.then) if held else (None, None)
    state = "incomplete" if images == Images.INCOMPLETE else "awaiting slides"
    return Standing(state, waiting_for, changed_at, until, then)


def _waiting(state: str, step: OpenStep, changed_at: datetime, reason: str | None) -> Standing:
    since = step.waiting_since or changed_at
    return Standing(state, step.waiting_for, since, step.until, step.then, reason)


def _moving(steps: Sequence[OpenStep], changed_at: datetime) -> Standing:
    """The earliest open step names the state; one that a neighbour put off says so."""
    first = min(steps, key=lambda step: _PLACE[step.kind])
    if all(step.state == StepState.READY and step.attempt == 0 for step in steps) and _PLACE[first.kind] == 0:
        return Standing(State.RECEIVED, None, changed_at)
    put_off = next((step for step in steps if step.state == StepState.WAITING), None)
    if put_off is not None and put_off.kind == first.kind:
        return _waiting(_STATE_OF_KIND[first.kind], put_off, changed_at, put_off.reason)
    return Standing(_STATE_OF_KIND[first.kind], None, first.created_at)


def _still(scan: ScanState, changed_at: datetime, rescan: OpenStep | None) -> Standing:
    """Return where a scan stands that has no open step: nothing goes on by itself."""
    if scan.quality == Quality.RESCAN:
        wait = rescan or OpenStep("expect_scan", StepState.WAITING, changed_at, waiting_for="a rescan")
        return _waiting(State.WAITING_FOR_RESCAN, replace(wait, waiting_for="a rescan"), changed_at, scan.reason)
    if scan.quality in (Quality.REVIEW, Quality.CANNOT_JUDGE) or scan.identity == Identity.UNMATCHED:
        return Standing(State.WAITING_FOR_PERSON, A_PERSON, changed_at, reason=scan.reason)
    return Standing(State.RECEIVED, None, changed_at)
