"""Where the tissue is, on a small picture of the whole slide."""

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter

from flows.slide_qc.colour import glass_colour

_DARKEST = 0.05  # optical density that glass, dust and noise stay below
_LIGHTEST = 0.10  # and that stained tissue is above, whatever pen or folds do to the histogram
_MOST_DENSITY = 1.0  # of the histogram; denser is as dense
_BINS = 256
_SPECK_PX = 5  # side of the square that a piece of tissue must hold


def find_tissue(overview: npt.NDArray[np.uint8]) -> npt.NDArray[np.bool_]:
    """Return which places absorb light as stained tissue does, shape (rows, columns).

    Otsu's threshold of the optical density, kept between what glass never reaches and stain always does: on an
    empty slide Otsu would find tissue in the noise.

    Parameters
    ----------
    overview
        Shape (rows, columns, 3), of a brightfield scan.

    References
    ----------
    Otsu, IEEE Trans. Systems, Man, and Cybernetics 9 (1979) 62-66.
    """
    glass = np.asarray(glass_colour(overview), np.float32)
    smooth = np.asarray(Image.fromarray(overview).filter(ImageFilter.BoxBlur(1)), np.float32)
    density = np.log10((glass + 1) / (smooth + 1)).max(axis=2)
    threshold = min(max(_otsu(density), _DARKEST), _LIGHTEST)
    stained = Image.fromarray(density > threshold)
    grey = stained.convert("L").filter(ImageFilter.MinFilter(_SPECK_PX)).filter(ImageFilter.MaxFilter(_SPECK_PX))
    return np.asarray(grey) > 0


def _otsu(density: npt.NDArray[np.float32]) -> float:
    """Return the density that parts the histogram into the two most different halves."""
    counts, edges = np.histogram(np.clip(density, 0, _MOST_DENSITY), bins=_BINS, range=(0, _MOST_DENSITY))
    middles = (edges[:-1] + edges[1:]) / 2
    below = np.cumsum(counts)
    above = below[-1] - below
    sum_below = np.cumsum(counts * middles)
    mean_below = sum_below / np.maximum(below, 1)
    mean_above = (sum_below[-1] - sum_below) / np.maximum(above, 1)
    between = below * above * (mean_below - mean_above) ** 2
    return float(edges[int(np.argmax(between)) + 1])
