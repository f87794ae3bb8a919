"""Whether a case's images can be read: a rule over its expected slides."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from models.facets import Images, Outcome, Quality, Route, Storage

SlideStanding = Literal["archived", "glass only", "waiting for a scan", "waiting for a rescan", "moving", "set aside"]
"""Where one expected slide stands; only the first two let a case be read."""


@dataclass(frozen=True)
class ScanOfSlide:
    """What counts of one scan of a slide."""

    scan_id: str
    quality: str
    storage: str
    outcome: str


@dataclass(frozen=True)
class ExpectedSlide:
    """A slide that the order names and nobody cancelled, with its scans."""

    slide_id: str
    route: str
    scans: tuple[ScanOfSlide, ...] = ()


@dataclass(frozen=True)
class Completeness:
    """What can be said about a case's images."""

    images: Images
    ready: tuple[str, ...]
    missing: tuple[tuple[str, SlideStanding], ...]


def judge(expected: Sequence[ExpectedSlide], *, closed: bool, released: bool) -> Completeness:
    """Return a case's images facet with the slides that are ready and those that are missing.

    An open set is never shown as complete, unless a person released it.
    """
    standing = [(slide.slide_id, standing_of(slide)) for slide in expected]
    ready = tuple(slide_id for slide_id, where in standing if where in ("archived", "glass only"))
    missing = tuple((slide_id, where) for slide_id, where in standing if where not in ("archived", "glass only"))
    if released or (closed and expected and not missing):
        return Completeness(Images.READY, ready, missing)
    return Completeness(Images.INCOMPLETE if ready else Images.AWAITING, ready, missing)


def standing_of(slide: ExpectedSlide) -> SlideStanding:
    """Return where a slide stands: its best active scan decides."""
    active = [scan for scan in slide.scans if scan.outcome == Outcome.ACTIVE]
    if any(scan.storage == Storage.PROVEN and scan.quality != Quality.RESCAN for scan in active):
        return "archived"
    if slide.route == Route.GLASS_ONLY:
        return "glass only"
    if any(scan.quality != Quality.RESCAN for scan in active):
        return "moving"
    if active:
        return "waiting for a rescan"
    if any(scan.outcome == Outcome.SET_ASIDE for scan in slide.scans):
        return "set aside"
    return "waiting for a scan"
