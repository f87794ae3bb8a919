"""What a case weighs, in points: a small biopsy is one or two, a big resection ten to twenty."""

from typing import Final

WEIGHTS_VERSION: Final = "weights/1"
"""Raised with every change of the table below, so that a record says what it was weighed by."""

#   up to so many slides or blocks: so many points
_BANDS: Final = ((1, 1), (3, 2), (6, 4), (12, 6), (24, 10), (48, 16))
_BEYOND: Final = 20
_EACH_FURTHER_SPECIMEN: Final = 1


def points(*, slides: int, blocks: int, specimens: int) -> float:
    """Return the weight of a case, whole points, at least one.

    Slides or blocks decide, whichever are more: what is read as glass only is cut from blocks too.
    """
    most = max(slides, blocks)
    band = next((weight for up_to, weight in _BANDS if most <= up_to), _BEYOND)
    return float(band + _EACH_FURTHER_SPECIMEN * max(0, specimens - 1))
