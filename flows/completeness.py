"""Whether a case's images can be read: a rule over its expected slides."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal

from models.facets import Images, Outcome, Quality, Route, Storage

SlideStanding = Literal[
    "archived",
    "not proven yet",
    "glass only",
    "imaged elsewhere",
    "waiting for a scan",
    "waiting for a rescan",
    "moving",
    "set aside",
    "images gone",
    "being made",
]
"""Where one expected slide stands; one that is being made is a work order still, which the laboratory has accepted."""

READABLE: Final[tuple[SlideStanding, ...]] = ("archived", "not proven yet", "glass only", "imaged elsewhere")
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
    """A slide that the order names and nobody cancelled, with its scans; or one that is being made.

    ``imaged_elsewhere`` says that an image manager has images of it, ``images_gone`` that it has none of our scan any
    more, which we archived. ``readable_at`` is since when it can be read, as far as was noted. ``before_proof`` says
    that it may be read as soon as its objects are stored; what was let be read so stays so. ``being_made`` is the
    laboratory's work that will bring it: the slide has no id of its own yet.
    """

    slide_id: str
    route: str
    scans: tuple[ScanOfSlide, ...] = ()
    imaged_elsewhere: bool = False
    images_gone: bool = False
    readable_at: datetime | None = None
    before_proof: bool = False
    being_made: str | None = None


@dataclass(frozen=True)
class Completeness:
    """What can be said about a case's images.

    ``missing`` has what is being made too, which holds up no case whose set is closed. ``unproven`` are slides that are
    ready before the archive has proven them.
    """

    images: Images
    ready: tuple[str, ...]
    missing: tuple[tuple[str, SlideStanding], ...]
    unproven: tuple[str, ...] = ()


def judge(expected: Sequence[ExpectedSlide], *, closed: bool, released: bool) -> Completeness:
    """Return a case's images facet with the slides that are ready and those that are missing.

    An open set is never shown as complete, unless a person or the policy released it.
    """
    standing = [(slide.slide_id, standing_of(slide)) for slide in expected]
    ready = tuple(slide_id for slide_id, where in standing if where in READABLE)
    missing = tuple((slide_id, where) for slide_id, where in standing if where not in READABLE)
    unproven = tuple(slide_id for slide_id, where in standing if where == "not proven yet")
    registered = [where for _, where in standing if where != "being made"]
    if released or (closed and registered and all(where in READABLE for where in registered)):
        return Completeness(Images.READY, ready, missing, unproven)
    return Completeness(Images.INCOMPLETE if ready else Images.AWAITING, ready, missing, unproven)


def standing_of(slide: ExpectedSlide) -> SlideStanding:
    """Return where a slide stands: its best active scan decides."""
    if slide.being_made is not None:
        return "being made"
    active = [scan for scan in slide.scans if scan.outcome == Outcome.ACTIVE]
    readable = _readable_scan(slide, active)
    if readable is not None:
        return readable
    if slide.imaged_elsewhere and not active:
        # A scan of ours counts when it is proven, whatever others have of it by then.
        return "imaged elsewhere"
    if slide.route == Route.GLASS_ONLY:
        return "glass only"
    if active:
        return "moving" if any(scan.quality != Quality.RESCAN for scan in active) else "waiting for a rescan"
    return "set aside" if any(scan.outcome == Outcome.SET_ASIDE for scan in slide.scans) else "waiting for a scan"


def _readable_scan(slide: ExpectedSlide, active: Sequence[ScanOfSlide]) -> SlideStanding | None:
    """Return what a scan that lies in the archive makes of its slide, if there is one that is good enough."""
    in_archive = {scan.storage for scan in active if scan.quality != Quality.RESCAN}
    if in_archive & {Storage.PROVEN, Storage.PURGED}:
        return "images gone" if slide.images_gone else "archived"
    return "not proven yet" if slide.before_proof and Storage.STORED in in_archive else None
