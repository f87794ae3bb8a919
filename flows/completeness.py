"""Whether a case's images can be read: a rule over its expected slides."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from models.facets import Images, Outcome, Quality, Route, Storage

SlideStanding = Literal[
    "archived",
    "glass only",
    "imaged elsewhere",
    "waiting for a scan",
    "waiting for a rescan",
    "moving",
    "set aside",
    "images gone",
]
"""Where one expected slide stands."""

READABLE: Final[tuple[SlideStanding, ...]] = ("archived", "glass only", "imaged elsewhere")
"""Where a slide stands that lets its case be read."""


@dataclass(frozen=True)
class ScanOfSlide:
    """What counts of one scan of a slide."""

    scan_id: str
    quality: str
    storage: str
    outcome: str


@dataclass(frozen=True)
class ExpectedSlide:
    """A slide that the order names and nobody cancelled, with its scans.

    ``imaged_elsewhere`` says that an image manager has images of it, ``images_gone`` that it has none of our scan any
    more, which we archived.
    """

    slide_id: str
    route: str
    scans: tuple[ScanOfSlide, ...] = ()
    imaged_elsewhere: bool = False
    images_gone: bool = False


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
    ready = tuple(slide_id for slide_id, where in standing if where in READABLE)
    missing = tuple((slide_id, where) for slide_id, where in standing if where not in READABLE)
    if released or (closed and expected and not missing):
        return Completeness(Images.READY, ready, missing)
    return Completeness(Images.INCOMPLETE if ready else Images.AWAITING, ready, missing)


def standing_of(slide: ExpectedSlide) -> SlideStanding:
    """Return where a slide stands: its best active scan decides."""
    active = [scan for scan in slide.scans if scan.outcome == Outcome.ACTIVE]
    if any(scan.storage == Storage.PROVEN and scan.quality != Quality.RESCAN for scan in active):
        return "images gone" if slide.images_gone else "archived"
    if slide.imaged_elsewhere and not active:
        # A scan of ours counts when it is proven, whatever others have of it by then.
        return "imaged elsewhere"
    if slide.route == Route.GLASS_ONLY:
        return "glass only"
    if active:
        return "moving" if any(scan.quality != Quality.RESCAN for scan in active) else "waiting for a rescan"
    if any(scan.outcome == Outcome.SET_ASIDE for scan in slide.scans):
        return "set aside"
    return "waiting for a scan"
