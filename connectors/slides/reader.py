"""A slide as the scanner wrote it: what it says of itself, its label and macro images, an overview, tiles on a grid.

OpenSlide knows the formats; tifffile reads JPEG tiles six times faster where a slide has them. All of this is for
jobs in bounded children (``bounded.py``): a damaged or hostile file ends the child, not the caller.
"""

from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self, TypeAlias

import numpy as np
import numpy.typing as npt
import openslide
import tifffile
from PIL import Image

from connectors.slides import guards
from connectors.slides.scanner_notes import Metadata, metadata_from
from models.errors import RejectedError

Pixels: TypeAlias = npt.NDArray[np.uint8]

_LARGEST_PICTURE_PX = 64_000_000  # of one region, label or macro image that is decoded whole
_TILE_PX = 256  # side of the grid where the format has no such tiles of its own
_USEFUL_TILES = range(128, 1025)  # sides of native tiles that are worth sampling as they are
_JPEG = 7  # TIFF Compression (259)
_RGB, _YCBCR = 2, 6  # TIFF PhotometricInterpretation (262)
_WHITE = (255, 255, 255)


@dataclass(frozen=True)
class Grid:
    """Level 0 in squares; those at the right and lower edge may be cut short."""

    rows: int
    columns: int
    tile_width: int
    tile_height: int


@dataclass(frozen=True)
class Tile:
    """One square of the grid, shape (height, width, 3); no pixels when it is damaged."""

    row: int
    column: int
    pixels: Pixels | None


class SlideReader:
    """An open slide; use it as a context manager.

    Parameters
    ----------
    path
        The file, or the one that OpenSlide opens of a slide made of several.

    Raises
    ------
    RejectedError
        The file is empty, truncated, hostile, or no slide of a known format.
    TransientError
        The file cannot be opened now.
    """

    def __init__(self, path: Path) -> None:
        guards.check_before_decoding(path)
        self._path = path
        self._slide = _opened(path)
        guards.check_size(*self._slide.dimensions)
        self._open = ExitStack()
        self._open.callback(self._slide.close)
        self._page = self._level_of_jpeg_tiles() if guards.is_tiff(path) else None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()

    def metadata(self) -> Metadata:
        """Return what the slide says of itself."""
        return metadata_from(self._slide.dimensions, self._slide.level_dimensions, self._slide.properties)

    def label(self) -> Image.Image | None:
        """Return the photograph of the label, if the scanner kept one."""
        return self._picture("label")

    def macro(self) -> Image.Image | None:
        """Return the photograph of the whole glass, on which the label is often seen."""
        return self._picture("macro")

    def overview(self, longest_side: int) -> Image.Image | None:
        """Return the whole of level 0, smaller, without label: within this many pixels, and at least half of them.

        Nothing when the slide has no level that is small enough to be decoded whole.
        """
        sizes = self._slide.level_dimensions
        level = max((number for number, size in enumerate(sizes) if 2 * max(size) >= longest_side), default=0)
        size = sizes[level]
        if size[0] * size[1] > _LARGEST_PICTURE_PX:
            return None
        image = self._region((0, 0), level, size)
        image.thumbnail((longest_side, longest_side), Image.Resampling.BOX)
        return image

    def grid(self) -> Grid:
        """Return the grid that ``tiles`` takes its positions from: the file's own where its tiles are of use."""
        width, height = self._slide.dimensions
        tile_width, tile_height = (_TILE_PX, _TILE_PX)
        if self._page is not None:
            tile_width, tile_height = self._page.tilewidth, self._page.tilelength
        return Grid(-(-height // tile_height), -(-width // tile_width), tile_width, tile_height)

    def tiles(self, positions: Iterable[tuple[int, int]]) -> Iterator[Tile]:
        """Yield the tiles of level 0 at these (row, column), each decoded when it is asked for."""
        grid = self.grid()
        width, height = self._slide.dimensions
        for row, column in positions:
            wide = min(grid.tile_width, width - column * grid.tile_width)
            high = min(grid.tile_height, height - row * grid.tile_height)
            if self._page is None:
                pixels = self._tile_of_openslide((column * grid.tile_width, row * grid.tile_height), (wide, high))
            else:
                pixels = _jpeg_tile(self._page, row * grid.columns + column)
            yield Tile(row, column, None if pixels is None else pixels[:high, :wide])

    def _level_of_jpeg_tiles(self) -> tifffile.TiffPage | None:
        page = self._open.enter_context(tifffile.TiffFile(self._path)).pages.first
        is_whole = (page.imagewidth, page.imagelength) == self._slide.dimensions
        is_jpeg = page.is_tiled and page.compression == _JPEG and page.photometric in {_RGB, _YCBCR}
        is_useful = page.tilewidth in _USEFUL_TILES and page.tilelength in _USEFUL_TILES
        return page if is_whole and is_jpeg and is_useful and page.dtype == np.uint8 else None

    def _tile_of_openslide(self, corner: tuple[int, int], size: tuple[int, int]) -> Pixels | None:
        try:
            return np.asarray(_on_white(self._slide.read_region(corner, 0, size)))
        except openslide.OpenSlideError:
            self._slide = _opened(self._path)  # one damaged tile spoils the whole handle
            self._open.callback(self._slide.close)
            return None

    def _region(self, corner: tuple[int, int], level: int, size: tuple[int, int]) -> Image.Image:
        try:
            return _on_white(self._slide.read_region(corner, level, size))
        except openslide.OpenSlideError as error:
            raise RejectedError(
                f"level {level} of the slide is damaged and cannot be read; scan the slide again"
            ) from error

    def _picture(self, name: str) -> Image.Image | None:
        if name not in self._slide.associated_images:
            return None
        sides = [self._slide.properties.get(f"openslide.associated.{name}.{side}", "0") for side in ("width", "height")]
        if int(sides[0]) * int(sides[1]) > _LARGEST_PICTURE_PX:
            raise RejectedError(f"the slide declares a {name} image of {sides[0]} x {sides[1]} pixels; no scanner does")
        try:
            return _on_white(self._slide.associated_images[name])
        except openslide.OpenSlideError as error:
            raise RejectedError(f"the {name} image of the slide is damaged; scan the slide again") from error


def _opened(path: Path) -> openslide.OpenSlide:
    try:
        return openslide.OpenSlide(path)
    except openslide.OpenSlideError as error:
        size = path.stat().st_size
        raise RejectedError(
            f"the file of {size} bytes is no slide of a known format, or it is damaged; scan the slide again",
        ) from error


def _on_white(image: Image.Image) -> Image.Image:
    """Return the image without transparency, which stands for places that the scanner left out."""
    if image.mode != "RGBA":
        return image.convert("RGB")
    white = Image.new("RGB", image.size, _WHITE)
    white.paste(image, mask=image.getchannel("A"))
    return white


def _jpeg_tile(page: tifffile.TiffPage, index: int) -> Pixels | None:
    """Return one tile, shape (height, width, 3), or nothing when its bytes are no such JPEG."""
    if index >= len(page.dataoffsets) or page.databytecounts[index] == 0:
        return None
    file = page.parent.filehandle
    file.seek(page.dataoffsets[index])
    stored = file.read(page.databytecounts[index])
    try:
        decoded = page.decode(stored, index, jpegtables=page.jpegtables, jpegheader=page.jpegheader)[0]
    except (RuntimeError, ValueError):  # imagecodecs' JPEG errors are RuntimeErrors
        return None
    if decoded is None or decoded.ndim != 4 or decoded.shape[-1] != 3:  # noqa: PLR2004  # (1, rows, columns, RGB)
        return None
    return np.asarray(decoded[0], np.uint8)
