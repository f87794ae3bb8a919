"""Invented tissue: colours and texture near enough to H&E that quality rules judge it as they judge a scan.

It is drawn in optical density, as stain absorbs light (Ruifrok and Johnston, Anal Quant Cytol Histol 23
(2001) 291-299), on a periodic texture that is laid over the slide and cut out by a smooth outline.
"""

from functools import cache
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter

Pixels: TypeAlias = npt.NDArray[np.uint8]
Plane: TypeAlias = npt.NDArray[np.float32]
Tissue: TypeAlias = Literal["present", "faint", "none"]
Blur: TypeAlias = Literal["none", "part", "whole"]

_HAEMATOXYLIN = np.array([0.650, 0.704, 0.286], np.float32)
_EOSIN = np.array([0.180, 0.850, 0.310], np.float32)
_GLASS = 243  # what a scanner makes of light that meets no tissue
_TEXTURE = 1024  # side of the periodic texture, a multiple of the tile
_TEXTURES = 4  # drawn once in a process, then shared by all slides that it writes
_PATCH = 256  # side of the squares that the slide is composed of
_OUTLINE_SCALE = 16  # the outline is drawn this much smaller
_STAMP = 9  # half the side of the square around a nucleus
_CROWDING = 0.5  # how dense the stroma must be, in standard deviations, to hold a nucleus
_BLUR_SIGMA_PX = 3.0
_BLURRED_PART = 0.3  # of the tissue, when a part is out of focus
_FAINT = 0.06  # of the usual stain: a washed-out section, hard to see


def draw_tissue(width: int, height: int, seed: int, tissue: Tissue, blur: Blur) -> Pixels:
    """Return the slide's level 0, shape (height, width, 3); the same seed draws the same pixels."""
    rng = np.random.default_rng(seed)
    glass = _glass(rng)
    outline = _outline(rng, width, height) * (tissue != "none")
    sharp = _stained(seed % _TEXTURES, tissue)
    blurred = sharp if blur == "none" else _out_of_focus(sharp)
    first_blurred = _first_blurred_column(outline, blur)
    slide = np.empty((height, width, 3), np.uint8)
    for top in range(0, height, _PATCH):
        for left in range(0, width, _PATCH):
            stained = blurred if left >= first_blurred else sharp
            patch = slide[top : top + _PATCH, left : left + _PATCH]
            patch[:] = _patch(top, left, outline, stained, glass)[: patch.shape[0], : patch.shape[1]]
    return slide


def _glass(rng: np.random.Generator) -> Pixels:
    noise = rng.normal(_GLASS, 0.5, (_PATCH, _PATCH, 1)) + np.array([0.0, -0.6, 0.4])
    return np.asarray(np.clip(noise, 0, 255), np.uint8)


def _outline(rng: np.random.Generator, width: int, height: int) -> Plane:
    """Return how much tissue covers each place, from 0 to 1, at a sixteenth of the slide's scale."""
    rows, columns = (side // _OUTLINE_SCALE + _OUTLINE_SCALE + 1 for side in (height, width))
    side = 1 << (max(rows, columns) - 1).bit_length()
    ragged = 0.18 * _noise(rng, side, side / 8)[:rows, :columns]
    y, x = np.mgrid[:rows, :columns].astype(np.float32)
    field = np.full((rows, columns), -9.0, np.float32)
    pieces = int(rng.integers(2, 4))
    for piece in range(pieces):
        centre_x = columns * (piece + rng.uniform(0.4, 0.6)) / pieces
        centre_y = rows * rng.uniform(0.42, 0.58)
        lean = rng.uniform(-0.5, 0.5)
        along, across = (y - centre_y) + lean * (x - centre_x), (x - centre_x) - lean * (y - centre_y)
        reach = np.hypot(along / (rows * 0.33), across / (columns * 0.38 / pieces))
        np.maximum(field, 1.0 - reach, out=field)
    return np.asarray(np.clip((field + ragged) * 12, 0, 1), np.float32)


def _first_blurred_column(outline: Plane, blur: Blur) -> float:
    if blur == "none":
        return np.inf
    if blur == "whole":
        return 0.0
    share = np.cumsum(outline.sum(axis=0)) / max(float(outline.sum()), 1.0)
    return float(np.searchsorted(share, 1 - _BLURRED_PART) * _OUTLINE_SCALE)


def _patch(top: int, left: int, outline: Plane, stained: Pixels, glass: Pixels) -> Pixels:
    """Return one square of the slide: glass, tissue, or the one fading into the other."""
    small = slice(top // _OUTLINE_SCALE, (top + _PATCH) // _OUTLINE_SCALE + 1)
    covered = outline[small, left // _OUTLINE_SCALE : (left + _PATCH) // _OUTLINE_SCALE + 1]
    if not covered.any():
        return glass
    row, column = top % _TEXTURE, left % _TEXTURE
    texture = stained[row : row + _PATCH, column : column + _PATCH]
    if covered.min() == 1.0:
        return texture
    size = (_PATCH, _PATCH)
    cover = Image.fromarray((covered * 255).astype(np.uint8)).resize(size, Image.Resampling.BILINEAR)
    mixed = Image.composite(Image.fromarray(texture), Image.fromarray(glass), cover)
    return np.asarray(mixed)


def _stained(variant: int, tissue: Tissue) -> Pixels:
    density = _texture(variant) * (_FAINT if tissue == "faint" else 1.0)
    return np.asarray(np.clip(_GLASS * np.power(10.0, -density), 0, 255), np.uint8)


def _out_of_focus(sharp: Pixels) -> Pixels:
    return np.asarray(Image.fromarray(sharp).filter(ImageFilter.GaussianBlur(_BLUR_SIGMA_PX)))


@cache
def _texture(variant: int) -> Plane:
    """Return the optical density of a field of cells, shape (side, side, 3), which continues over its edges."""
    rng = np.random.default_rng(variant)
    stroma = _noise(rng, _TEXTURE, 90)
    fibre = _noise(rng, _TEXTURE, 14)
    grain = _noise(rng, _TEXTURE, 3.5)
    clefts = np.clip((np.abs(fibre + 0.7 * _noise(rng, _TEXTURE, 30)) - 0.02) / 0.10, 0.05, 1)
    eosin = np.clip(0.30 + 0.10 * fibre + 0.04 * grain + 0.06 * stroma, 0.02, None) * clefts
    haematoxylin = _nuclei(rng, stroma) * (1 + 0.25 * grain) + 0.03 * np.clip(stroma, 0, None)
    density = eosin[..., None] * _EOSIN + np.clip(haematoxylin, 0, None)[..., None] * _HAEMATOXYLIN
    return np.asarray(density, np.float32)


def _noise(rng: np.random.Generator, side: int, wavelength_px: float) -> Plane:
    """Return smooth periodic noise of unit variance, shape (side, side)."""
    white = rng.standard_normal((side, side), np.float32)
    frequency = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side)[None, :])
    kept = np.fft.rfft2(white) * np.exp(-2 * (frequency * wavelength_px) ** 2)
    smooth = np.fft.irfft2(kept, s=(side, side))
    return np.asarray(smooth / smooth.std(), np.float32)


def _nuclei(rng: np.random.Generator, stroma: Plane) -> Plane:
    """Return nuclei, denser where the stroma is; one crossing the edge goes on at the other side."""
    tried = _TEXTURE * _TEXTURE // 170
    rows, columns = rng.integers(0, _TEXTURE, (2, tried))
    crowded = stroma[rows, columns] + rng.normal(0, 0.5, tried) > _CROWDING
    margin = 2 * _STAMP
    field = np.zeros((_TEXTURE + margin + 1, _TEXTURE + margin + 1), np.float32)
    stamps = _stamps()
    for count, (row, column) in enumerate(zip(rows[crowded], columns[crowded], strict=True)):
        square = field[row : row + margin + 1, column : column + margin + 1]
        np.maximum(square, stamps[count % len(stamps)], out=square)
    np.maximum(field[:margin], field[_TEXTURE : _TEXTURE + margin], out=field[:margin])
    np.maximum(field[:, :margin], field[:, _TEXTURE : _TEXTURE + margin], out=field[:, :margin])
    return field[:_TEXTURE, :_TEXTURE]


def _stamps() -> list[Plane]:
    """Return soft-edged ellipses of three sizes at twelve angles, at the density of a nucleus."""
    y, x = np.mgrid[-_STAMP : _STAMP + 1, -_STAMP : _STAMP + 1].astype(np.float32)
    stamps: list[Plane] = []
    for angle in np.linspace(0, np.pi, 12, endpoint=False):
        for radius_px in (4.5, 5.5, 7.0):
            long = (x * np.cos(angle) + y * np.sin(angle)) / radius_px
            short = (y * np.cos(angle) - x * np.sin(angle)) / (0.7 * radius_px)
            inside = (1.08 - np.hypot(long, short)) * radius_px / 1.5
            stamps.append((0.75 * np.clip(inside, 0, 1)).astype(np.float32))
    return stamps
