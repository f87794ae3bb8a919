"""Measures one slide, in a bounded child: an overview for tissue and colour, a grid of tiles for focus."""

import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from connectors.slides.bounded import JSON
from connectors.slides.reader import Grid, SlideReader
from flows.slide_qc.colour import glass_colour
from flows.slide_qc.focus import reblur_ratio
from flows.slide_qc.rules import Measurements, QualityPolicy
from flows.slide_qc.tissue import find_tissue

# As flows.pictures calls it, which needs the settings: a decoding child has none.
_THUMBNAIL = "thumbnail.jpg"

_OVERVIEW_PX = 1024
_THUMBNAIL_PX = 512
_TILES = 200  # a grid of so many finds a blurred region of 1 % of the tissue, which random tiles miss
_TISSUE_IN_TILE = 0.5  # a tile at the edge is mostly glass, and glass has no focus
_DARKEST_GLASS = QualityPolicy().darkest_glass


def examine(arguments: Mapping[str, JSON]) -> dict[str, JSON]:
    """Measure a slide and leave its thumbnail.

    Parameters
    ----------
    arguments
        ``path`` of the slide; ``folder``, private, for ``thumbnail.jpg``: level 0 within 512 pixels, so without
        the label. A slide of which no overview can be made has no thumbnail.

    Returns
    -------
    dict
        The fields of ``Measurements``.
    """
    with SlideReader(Path(str(arguments["path"]))) as slide:
        overview = slide.overview(_OVERVIEW_PX)
        if overview is None:
            return _as_json(_nothing_seen(None))
        thumbnail = overview.copy()
        thumbnail.thumbnail((_THUMBNAIL_PX, _THUMBNAIL_PX), Image.Resampling.LANCZOS)
        thumbnail.save(Path(str(arguments["folder"])) / _THUMBNAIL, quality=85)
        return _as_json(_measured(slide, np.asarray(overview)))


def positions_on_tissue(tissue: npt.NDArray[np.bool_], grid: Grid, wanted: int) -> tuple[tuple[int, int], ...]:
    """Return at most about this many (row, column) of tiles that hold tissue, evenly spread over all of it.

    Parameters
    ----------
    tissue
        Where tissue is on a small picture of the same area, shape (rows, columns).
    grid
        The tiles of the full size.
    wanted
        One or more.
    """
    picture = Image.fromarray(tissue.astype(np.uint8) * 255)
    area = (0.0, 0.0, picture.width, picture.height)
    share = np.asarray(picture.resize((grid.columns, grid.rows), Image.Resampling.BOX, area)) / 255
    rows, columns = np.nonzero(share >= _TISSUE_IN_TILE)
    step = max(1, math.isqrt(max(0, len(rows) - 1) // wanted) + (len(rows) > wanted))
    chosen = (rows % step == 0) & (columns % step == 0)
    return tuple((int(row), int(column)) for row, column in zip(rows[chosen], columns[chosen], strict=True))


def _measured(slide: SlideReader, overview: npt.NDArray[np.uint8]) -> Measurements:
    glass = glass_colour(overview)
    if min(glass) < _DARKEST_GLASS:
        return _nothing_seen(glass)
    tissue = find_tissue(overview)
    tiles = damaged = 0
    ratios: list[float] = []
    for tile in slide.tiles(positions_on_tissue(tissue, slide.grid(), _TILES)):
        tiles += 1
        if tile.pixels is None:
            damaged += 1
            continue
        ratio = reblur_ratio(tile.pixels)
        if ratio is not None:
            ratios.append(round(ratio, 3))
    return Measurements(
        glass=glass,
        tissue_share=round(float(tissue.mean()), 5),
        tissue_tiles=tiles,
        damaged_tiles=damaged,
        reblur_ratios=tuple(ratios),
    )


def _nothing_seen(glass: tuple[int, int, int] | None) -> Measurements:
    return Measurements(glass=glass, tissue_share=None, tissue_tiles=0, damaged_tiles=0, reblur_ratios=())


def _as_json(measurements: Measurements) -> dict[str, JSON]:
    fields: dict[str, JSON] = measurements.model_dump(mode="json")
    return fields
