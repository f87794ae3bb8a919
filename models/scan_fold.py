"""What is known about a scan, as a fold of its facts.

Each fact below is a frozen value that is written once into ``fact``; ``fold`` gives the scan's facets. The same
function makes the live row, one fact at a time, and the audit's rebuilt one, from all of them.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any, Literal

from models.facets import Identity, Outcome, Purpose, Quality, Storage
from models.statements import Frozen


class ScanReceived(Frozen):
    """The bytes are ours, in the spool of a place."""

    site_id: str
    scanner: str
    digests: tuple[str, ...]


class QualityJudged(Frozen):
    """What the machine made of the pixels; a person's word stands above it."""

    quality: Quality
    reasons: tuple[str, ...] = ()


class QualityReviewed(Frozen):
    """What a person made of the picture."""

    quality: Literal[Quality.PASS, Quality.RESCAN]


class SlideMatched(Frozen):
    """Label, file name, scanner and an open order agree on the slide; or a person decided."""

    slide_id: str
    case_id: str
    reasons: tuple[str, ...] = ()


class SlideUnmatched(Frozen):
    """No agreement: a person has to say which slide this is."""

    reasons: tuple[str, ...]


class MatchWithdrawn(Frozen):
    """A match was wrong: the next edition begins, without a slide."""


class EditionRaised(Frozen):
    """The objects must name another patient or case: they are made again, from the former ones, under new UIDs.

    ``corrects`` is the former edition; who said this before editions were corrected did not say which.
    """

    corrects: int | None = None


class ObjectsStored(Frozen):
    """Every object of this edition lies in the archive, not yet proven."""

    edition: int


class ObjectsProven(Frozen):
    """Every object of this edition is listed and was read back with the digest it left with."""

    edition: int


class ReplacementFound(Frozen):
    """An earlier scan of the same slide was to be done again, and this is it."""


class Ended(Frozen):
    """The scan takes no part any more."""

    outcome: Literal[Outcome.SET_ASIDE, Outcome.SUPERSEDED, Outcome.CANCELLED, Outcome.WITHDRAWN]
    reason: str
    successor_id: str | None = None


class Resumed(Frozen):
    """The scan takes part again: a person asked for it, or its order came back.

    ``reason`` is why its quality is what it is: the end that is taken back had its own reason in that place.
    """

    reason: str | None = None


ScanFact = (
    ScanReceived
    | QualityJudged
    | QualityReviewed
    | SlideMatched
    | SlideUnmatched
    | MatchWithdrawn
    | EditionRaised
    | ObjectsStored
    | ObjectsProven
    | ReplacementFound
    | Ended
    | Resumed
)


@dataclass(frozen=True)
class ScanState:
    """The facets of a scan; every field is a column of ``scan`` of the same name."""

    purpose: str = Purpose.PRIMARY
    edition: int = 1
    quality: str = Quality.PENDING
    quality_by_person: bool = False
    identity: str = Identity.PENDING
    slide_id: str | None = None
    case_id: str | None = None
    storage: str = Storage.RECEIVED
    outcome: str = Outcome.ACTIVE
    reason: str | None = None
    superseded_by_id: str | None = None


def fold(facts: Iterable[ScanFact], start: ScanState | None = None) -> ScanState:
    """Return what these facts, in their order, make of a scan."""
    state = start or ScanState()
    for fact in facts:
        state = _RULES[type(fact)](state, fact)
    return state


def _judged(state: ScanState, fact: QualityJudged) -> ScanState:
    if state.quality_by_person:
        return state
    reason = None if fact.quality == Quality.PASS else " ".join(fact.reasons) or None
    return replace(state, quality=fact.quality, reason=reason)


def _reviewed(state: ScanState, fact: QualityReviewed) -> ScanState:
    reason = None if fact.quality == Quality.PASS else state.reason
    return replace(state, quality=fact.quality, quality_by_person=True, reason=reason)


def _matched(state: ScanState, fact: SlideMatched) -> ScanState:
    return replace(state, identity=Identity.MATCHED, slide_id=fact.slide_id, case_id=fact.case_id)


def _unmatched(state: ScanState, _fact: SlideUnmatched) -> ScanState:
    return replace(state, identity=Identity.UNMATCHED, slide_id=None, case_id=None)


def _withdrawn(state: ScanState, _fact: MatchWithdrawn) -> ScanState:
    unmatched = replace(state, identity=Identity.UNMATCHED, slide_id=None, case_id=None, purpose=Purpose.PRIMARY)
    return replace(unmatched, edition=state.edition + 1, storage=Storage.RECEIVED)


def _raised(state: ScanState, _fact: EditionRaised) -> ScanState:
    return replace(state, edition=state.edition + 1, storage=Storage.RECEIVED)


def _stored(state: ScanState, fact: ObjectsStored) -> ScanState:
    if state.storage == Storage.PROVEN:
        # Stored again by a rerun: the same bytes, which a proof has read already.
        return state
    return replace(state, storage=Storage.STORED) if fact.edition == state.edition else state


def _proven(state: ScanState, fact: ObjectsProven) -> ScanState:
    return replace(state, storage=Storage.PROVEN) if fact.edition == state.edition else state


def _ended(state: ScanState, fact: Ended) -> ScanState:
    return replace(state, outcome=fact.outcome, reason=fact.reason, superseded_by_id=fact.successor_id)


def _resumed(state: ScanState, fact: Resumed) -> ScanState:
    return replace(state, outcome=Outcome.ACTIVE, reason=fact.reason, superseded_by_id=None)


_RULES: dict[type, Callable[[ScanState, Any], ScanState]] = {
    ScanReceived: lambda state, _fact: state,
    QualityJudged: _judged,
    QualityReviewed: _reviewed,
    SlideMatched: _matched,
    SlideUnmatched: _unmatched,
    MatchWithdrawn: _withdrawn,
    EditionRaised: _raised,
    ObjectsStored: _stored,
    ObjectsProven: _proven,
    ReplacementFound: lambda state, _fact: replace(state, purpose=Purpose.REPLACEMENT),
    Ended: _ended,
    Resumed: _resumed,
}
