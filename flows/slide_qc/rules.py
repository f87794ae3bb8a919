"""Whether a scan is good enough to read: the measurements, the thresholds, and one small rule per reason.

To add a rule, write a function of measurements and policy that returns what it found or nothing, and name it
in ``_RULES``. The worst finding decides; all of the same weight are told.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field

Quality: TypeAlias = Literal["pass", "review", "rescan", "cannot judge"]
Grey: TypeAlias = Annotated[int, Field(ge=0, le=255)]
Share: TypeAlias = Annotated[float, Field(ge=0, le=1)]
Count: TypeAlias = Annotated[int, Field(ge=0)]

_WEIGHT: dict[Quality, int] = {"pass": 0, "review": 1, "cannot judge": 2, "rescan": 3}


class Measurements(BaseModel):
    """What was measured of one scan; judging it again with another policy needs no pixel."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    glass: tuple[Grey, Grey, Grey] | None  # colour where the slide is clearest; nothing without an overview
    tissue_share: Share | None  # of the scanned area; nothing when the scan is not brightfield
    tissue_tiles: Count  # sampled on a regular grid over the tissue
    damaged_tiles: Count  # of these, could not be decoded
    reblur_ratios: tuple[Annotated[float, Field(ge=0, le=10)], ...]  # of the others that have structure to judge


class QualityPolicy(BaseModel):
    """Where the lines are drawn; the defaults hold for H&E and immunostains on brightfield scanners."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    darkest_glass: Grey = 80  # darker, and the scan is fluorescence or not lit
    dim_glass: Grey = 180
    most_colour_cast: Grey = 25  # between the strongest and the weakest colour of the glass
    least_tissue: Share = 0.0005
    least_judged_tiles: Count = 5
    blurred_above: float = 0.60  # re-blur ratio; parts blur from sigma 1.5 pixels upwards from sharp on every scanner
    some_blurred: Share = 0.10
    mostly_blurred: Share = 0.50


@dataclass(frozen=True)
class Verdict:
    """What becomes of the scan, and why, in sentences for people."""

    quality: Quality
    reasons: tuple[str, ...]


_Finding: TypeAlias = tuple[Quality, str] | None


def judge(measurements: Measurements, policy: QualityPolicy) -> Verdict:
    """Return the worst that any rule found, with every reason of that weight; a pass says what was seen."""
    found = [finding for rule in _RULES if (finding := rule(measurements, policy)) is not None]
    if not found:
        return Verdict("cannot judge", ("Nothing that was measured says how good the scan is.",))
    worst = max((quality for quality, _ in found), key=_WEIGHT.__getitem__)
    return Verdict(worst, tuple(reason for quality, reason in found if quality == worst))


def _damage(seen: Measurements, _policy: QualityPolicy) -> _Finding:
    if seen.damaged_tiles == 0:
        return None
    return "rescan", f"{seen.damaged_tiles} of {seen.tissue_tiles} sampled tiles are damaged and show no picture."


def _overview(seen: Measurements, _policy: QualityPolicy) -> _Finding:
    if seen.glass is not None:
        return None
    return "cannot judge", "The slide has no smaller levels, so there is no overview to find tissue on."


def _darkness(seen: Measurements, policy: QualityPolicy) -> _Finding:
    if seen.glass is None or min(seen.glass) >= policy.darkest_glass:
        return None
    return "cannot judge", f"The clearest part has a brightness of {min(seen.glass)} of 255: no brightfield scan."


def _light(seen: Measurements, policy: QualityPolicy) -> _Finding:
    if seen.glass is None or not policy.darkest_glass <= min(seen.glass) < policy.dim_glass:
        return None
    return "review", f"The glass is dim: {min(seen.glass)} of 255, less than {policy.dim_glass}."


def _colour_cast(seen: Measurements, policy: QualityPolicy) -> _Finding:
    if seen.glass is None or min(seen.glass) < policy.darkest_glass:
        return None
    red, green, blue = seen.glass
    if max(seen.glass) - min(seen.glass) <= policy.most_colour_cast:
        return None
    return "review", f"The white is off: red {red}, green {green}, blue {blue} where the glass is clear."


def _tissue(seen: Measurements, policy: QualityPolicy) -> _Finding:
    if seen.tissue_share is None or seen.tissue_share >= policy.least_tissue:
        return None
    covered, least = f"{seen.tissue_share:.2%}", f"{policy.least_tissue:.2%}"
    return "review", f"No tissue was found (stain on {covered}, less than {least}): it is faint, or the glass is empty."


def _enough_tiles(seen: Measurements, policy: QualityPolicy) -> _Finding:
    judged = len(seen.reblur_ratios)
    if not _has_tissue(seen, policy) or judged >= policy.least_judged_tiles:
        return None
    return "cannot judge", f"Focus could be judged on {judged} tiles of tissue, fewer than {policy.least_judged_tiles}."


def _focus(seen: Measurements, policy: QualityPolicy) -> _Finding:
    judged = len(seen.reblur_ratios)
    if not _has_tissue(seen, policy) or judged < policy.least_judged_tiles:
        return None
    blurred = sum(ratio > policy.blurred_above for ratio in seen.reblur_ratios)
    share = blurred / judged
    sentence = f"{blurred} of {judged} tissue tiles ({share:.0%}) are blurred."
    if share >= policy.mostly_blurred:
        return "rescan", sentence
    return ("review" if share >= policy.some_blurred else "pass"), sentence


def _has_tissue(seen: Measurements, policy: QualityPolicy) -> bool:
    return seen.tissue_share is not None and seen.tissue_share >= policy.least_tissue


_RULES: tuple[Callable[[Measurements, QualityPolicy], _Finding], ...] = (
    _damage,
    _overview,
    _darkness,
    _light,
    _colour_cast,
    _tissue,
    _enough_tiles,
    _focus,
)
