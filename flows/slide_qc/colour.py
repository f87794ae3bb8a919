"""The colour of the light: what the scanner shows where nothing lies on the glass."""

import numpy as np
import numpy.typing as npt

_CLEAREST_PERCENT = 5  # of the slide; even a slide full of tissue has as much glass between


def glass_colour(overview: npt.NDArray[np.uint8]) -> tuple[int, int, int]:
    """Return the colour of the clearest glass, (red, green, blue): its median.

    Parameters
    ----------
    overview
        Shape (rows, columns, 3).
    """
    dimmest = overview.min(axis=2)
    clearest = overview[dimmest >= np.percentile(dimmest, 100 - _CLEAREST_PERCENT)]
    red, green, blue = np.median(clearest, axis=0)
    return int(red), int(green), int(blue)
