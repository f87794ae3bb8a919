"""The models that say what a read weighs, by name and version: a policy picks one, and every read keeps it."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from flows.case_assignment.points import WEIGHTS_VERSION, points
from flows.case_assignment.specimen_points import points_of_type
from models.statements import MOST_POINTS

SHARES: Final[Mapping[str, float]] = {"second": 0.5, "opinion": 0.5, "mdt": 0.5}
"""The part of the work's weight that a read of this role has; every other has all of it."""


@dataclass(frozen=True)
class SpecimenWork:
    """One specimen to be read: what it is (SPM-4), and what was made of it."""

    code: str = ""
    meaning: str = ""
    slides: int = 0
    blocks: int = 0


@dataclass(frozen=True)
class Work:
    """What is known of the work that a read is: all of it, and each specimen where they are registered.

    ``stated_points`` is what the LIMS says that it weighs.
    """

    slides: int
    blocks: int
    specimens: tuple[SpecimenWork, ...] = ()
    stated_points: float | None = None


@dataclass(frozen=True)
class Weighed:
    """What a read weighs, and which model said so."""

    points: float
    model: str


@dataclass(frozen=True)
class NotWeighed:
    """No weight came of it: the former one stands. The sentence is for people."""

    sentence: str


WeightModel = Callable[[Work, Mapping[str, float]], float]
"""Returns points for work, by a laboratory's own figures for types of specimen. The same work weighs the same."""


def weigh(
    model: str, work: Work, *, role: str = "primary", own: Mapping[str, float] | None = None
) -> Weighed | NotWeighed:
    """Return what a read of this role weighs by a model; whatever is no weight is refused."""
    weight_model = WEIGHT_MODELS.get(model)
    if weight_model is None:
        return NotWeighed(
            f"the policy names a weight model that is not known: choose one of {', '.join(WEIGHT_MODELS)}"
        )
    found = weight_model(work, own or {})
    if not math.isfinite(found) or not 0 <= found <= MOST_POINTS:
        return NotWeighed(
            f"the weight model {model} made {found:g} points, which is no weight from 0 to {MOST_POINTS}: "
            "look at the figures that it works with"
        )
    return Weighed(found * SHARES.get(role, 1.0), model)


def _by_slides(work: Work, _own: Mapping[str, float]) -> float:
    return points(slides=work.slides, blocks=work.blocks, specimens=len(work.specimens))


def _by_specimens(work: Work, own: Mapping[str, float]) -> float:
    if not work.specimens:
        return _by_slides(work, own)
    return math.fsum(_of_specimen(one, own) for one in work.specimens)


def _of_specimen(one: SpecimenWork, own: Mapping[str, float]) -> float:
    known = points_of_type(one.code, one.meaning, own)
    return points(slides=one.slides, blocks=one.blocks, specimens=1) if known is None else known


def _by_lims(work: Work, own: Mapping[str, float]) -> float:
    return _by_slides(work, own) if work.stated_points is None else work.stated_points


WEIGHT_MODELS: Final[Mapping[str, WeightModel]] = {
    WEIGHTS_VERSION: _by_slides,
    "specimen table/1": _by_specimens,
    "lims events/1": _by_lims,
}
"""Every model that a policy may name; one that weighs otherwise gets another name."""
