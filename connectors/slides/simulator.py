"""A scanner that needs no glass: it writes real pyramidal slides as an Aperio scanner lays them out.

Each is one TIFF: level 0 in JPEG tiles, a thumbnail, smaller levels, then label and macro (OpenSlide's page
"Aperio format" gives this order and the ``ImageDescription`` that names each).
"""

import io
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path

import numpy as np
import tifffile
from PIL import Image

from connectors.slides.drawn_label import Label, draw_label, draw_macro
from connectors.slides.drawn_tissue import Blur, Pixels, Tissue, draw_tissue

_TILE = 256
_QUALITY = 80
_LEVEL_STEP = 4
_LEVELS = 3
_SMALLEST_SIDE_PX = 64
_KEPT_WHEN_TRUNCATED = 0.6
_SOFTWARE = "Aperio Image Library v12.0.15 \r\n"


@dataclass(frozen=True)
class SlideScript:
    """One slide to write: what is on the glass, what its label says, and what goes wrong with the scan."""

    container_identifier: str
    seed: int = 0
    width: int = 6000
    height: int = 4000
    tissue: Tissue = "present"
    blur: Blur = "none"
    label: Label = "printed"
    label_lines: tuple[str, ...] = ("H&E",)
    truncated: bool = False
    microns_per_pixel: float = 0.5
    magnification: int = 20
    scanner_serial: str = "SS0001"
    scanner_barcode: str | None = None
    scanned_at: datetime = datetime(2026, 11, 22, 9, 30, tzinfo=UTC)


def write_slide(path: Path, script: SlideScript) -> None:
    """Write the slide whole; the same script gives the same bytes."""
    path.write_bytes(_slide_bytes(script))


def write_as_scanner(path: Path, script: SlideScript, chunk: int, pause: timedelta) -> None:
    """Write the slide under its final name piece by piece, so that it grows before a watcher's eyes.

    Parameters
    ----------
    path
        The final name; the file exists from the first piece.
    script
        The slide.
    chunk
        Bytes of one piece.
    pause
        Between two pieces.
    """
    content = _slide_bytes(script)
    with path.open("wb", buffering=0) as file:
        for start in range(0, len(content), chunk):
            if start > 0:
                time.sleep(pause.total_seconds())
            file.write(content[start : start + chunk])


def _slide_bytes(script: SlideScript) -> bytes:
    slide = draw_tissue(script.width, script.height, script.seed, script.tissue, script.blur)
    levels = _levels(slide)
    thumbnail = Image.fromarray(levels[-1])
    thumbnail.thumbnail((1024, 768))
    label = None
    if script.label != "absent":
        label = draw_label(script.container_identifier, script.label_lines, script.label, script.seed)
    file = io.BytesIO()
    with tifffile.TiffWriter(file) as writer:
        _write_tiled(writer, slide, _description(script), script)
        _write_whole(writer, thumbnail, _size_line(script, thumbnail), subfile_type=0)
        for level in levels[1:]:
            _write_tiled(writer, level, _level_description(script, level), script)
        if label is not None:
            _write_label(writer, label)
        macro = draw_macro(label, thumbnail)
        _write_whole(writer, macro, f"{_SOFTWARE}macro {macro.width}x{macro.height}", subfile_type=9)
    content = file.getvalue()
    return content[: int(len(content) * _KEPT_WHEN_TRUNCATED)] if script.truncated else content


def _levels(slide: Pixels) -> list[Pixels]:
    levels = [slide]
    while len(levels) < _LEVELS and min(levels[-1].shape[:2]) >= _LEVEL_STEP * _SMALLEST_SIDE_PX:
        height, width = (side // _LEVEL_STEP for side in levels[-1].shape[:2])
        whole = levels[-1][: height * _LEVEL_STEP, : width * _LEVEL_STEP]
        levels.append(np.asarray(Image.fromarray(whole).reduce(_LEVEL_STEP)))
    return levels


def _description(script: SlideScript) -> str:
    said = {
        "AppMag": str(script.magnification),
        "ScanScope ID": script.scanner_serial,
        "Date": script.scanned_at.strftime("%m/%d/%y"),
        "Time": script.scanned_at.strftime("%H:%M:%S"),
        "Time Zone": script.scanned_at.strftime("GMT%z"),
        "MPP": f"{script.microns_per_pixel:.4f}",
        "OriginalWidth": str(script.width),
        "OriginalHeight": str(script.height),
    }
    if script.scanner_barcode is not None:
        said["Barcode"] = script.scanner_barcode
    size = f"{script.width}x{script.height}"
    head = f"{_SOFTWARE}{size} [0,0 {size}] ({_TILE}x{_TILE}) JPEG/RGB Q={_QUALITY}"
    return "|".join((head, *(f"{key} = {value}" for key, value in said.items())))


def _level_description(script: SlideScript, level: Pixels) -> str:
    height, width = level.shape[:2]
    head, _, rest = _description(script).partition(" (")
    return f"{head} -> {width}x{height} ({rest}"


def _size_line(script: SlideScript, smaller: Image.Image) -> str:
    rest = _description(script).partition("|")[2]
    size = f"{script.width}x{script.height} -> {smaller.width}x{smaller.height}"
    return f"{_SOFTWARE}{size} - |{rest}"


def _write_tiled(writer: tifffile.TiffWriter, level: Pixels, description: str, script: SlideScript) -> None:
    pixels_per_cm = 10_000 / script.microns_per_pixel * level.shape[1] / script.width
    writer.write(
        _tiles(level),
        shape=level.shape,
        dtype=np.uint8,
        tile=(_TILE, _TILE),
        photometric="ycbcr",
        subsampling=(2, 2),
        compression="jpeg",
        description=description,
        resolution=(pixels_per_cm, pixels_per_cm),
        resolutionunit="centimeter",
        metadata=None,
        software=False,
    )


def _tiles(level: Pixels) -> Iterator[bytes]:
    height, width = level.shape[:2]
    for top in range(0, height, _TILE):
        for left in range(0, width, _TILE):
            tile = level[top : top + _TILE, left : left + _TILE]
            missing = ((0, _TILE - tile.shape[0]), (0, _TILE - tile.shape[1]), (0, 0))
            whole = np.pad(tile, missing, mode="edge") if any(map(any, missing)) else tile
            yield _jpeg(whole.tobytes(), _TILE, _TILE)


@lru_cache(maxsize=64)  # glass and the periodic texture repeat: three tiles in four were encoded before
def _jpeg(rgb: bytes, width: int, height: int) -> bytes:
    stream = io.BytesIO()
    Image.frombytes("RGB", (width, height), rgb).save(stream, "JPEG", quality=_QUALITY, subsampling="4:2:0")
    return stream.getvalue()


def _write_whole(writer: tifffile.TiffWriter, image: Image.Image, description: str, subfile_type: int) -> None:
    writer.write(
        iter([_jpeg(image.tobytes(), image.width, image.height)]),
        shape=(image.height, image.width, 3),
        dtype=np.uint8,
        rowsperstrip=image.height,
        photometric="ycbcr",
        subsampling=(2, 2),
        compression="jpeg",
        description=description,
        subfiletype=subfile_type,
        metadata=None,
        software=False,
    )


def _write_label(writer: tifffile.TiffWriter, label: Image.Image) -> None:
    writer.write(
        np.asarray(label),
        photometric="rgb",
        compression="lzw",
        predictor=True,
        description=f"{_SOFTWARE}label {label.width}x{label.height}",
        subfiletype=1,
        metadata=None,
        software=False,
    )
