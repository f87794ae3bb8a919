"""How sharp a tile is: what is already blurred hardly changes when it is blurred once more."""

import numpy as np
import numpy.typing as npt

_SIGMA_PX = 1.5
_REACH_PX = 4  # the Gaussian is cut off here, where it has 0.8 % of its height
_LEAST_GRADIENT = 1.0  # grey levels a pixel; less is an even surface that has no edge to judge

_LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601


def reblur_ratio(tile: npt.NDArray[np.uint8]) -> float | None:
    """Return the mean gradient after a Gaussian of 1.5 pixels over that before; nothing for an even surface.

    Unlike the variance of the Laplacian it needs no threshold per scanner: it compares a tile with itself.

    Parameters
    ----------
    tile
        Shape (rows, columns, 3), at least 16 by 16.

    Returns
    -------
    float
        From 0 to about 1; sharp tissue is near 0.4, above 0.6 it is blurred.

    References
    ----------
    Crete et al., The blur effect: perception and estimation with a new no-reference perceptual blur metric,
    Proc. SPIE 6492 (2007).
    """
    grey = tile.astype(np.float32) @ _LUMA
    before = _mean_gradient(grey[_REACH_PX:-_REACH_PX, _REACH_PX:-_REACH_PX])
    if before < _LEAST_GRADIENT:
        return None
    return _mean_gradient(_blurred(grey)) / before


def _mean_gradient(grey: npt.NDArray[np.float32]) -> float:
    down = np.abs(np.diff(grey, axis=0)).mean()
    across = np.abs(np.diff(grey, axis=1)).mean()
    return float(down + across) / 2


def _blurred(grey: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Return the tile after the Gaussian, without the margin that it would need pixels from outside for."""
    rows, columns = (side - 2 * _REACH_PX for side in grey.shape)
    down = np.zeros((rows, grey.shape[1]), np.float32)
    for start, weight in enumerate(_WEIGHTS):
        down += weight * grey[start : start + rows]
    both = np.zeros((rows, columns), np.float32)
    for start, weight in enumerate(_WEIGHTS):
        both += weight * down[:, start : start + columns]
    return both


def _gaussian() -> tuple[np.float32, ...]:
    offsets = np.arange(-_REACH_PX, _REACH_PX + 1)
    weights = np.exp(-(offsets**2) / (2 * _SIGMA_PX**2))
    return tuple(np.float32(weight) for weight in weights / weights.sum())


_WEIGHTS = _gaussian()
