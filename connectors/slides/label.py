"""The codes on a slide's label, read with zxing-cpp as it is and then with ever more help.

The order of the attempts is by what each found first on deliberately hard labels for its time; none of them ever
read a code wrongly there. Whether a code identifies a slide is not decided here.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import zxingcpp
from PIL import Image, ImageFilter

_LONGEST_SIDE_PX = 1600  # a label camera's picture is smaller; more pixels cost time and read no better
_LONGEST_TEXT = 255
_ALWAYS = 2  # attempts that are made even when a code was found: a second code may be harder to read
_RETAIL = frozenset({"EAN-13", "EAN-8", "UPC-A", "UPC-E"})  # the glass maker's; not a reason to stop looking
# Not ITF and Codabar: they have no check digit, so stripes can pretend to be one.
_FORMATS = "DataMatrix|QRCode|MicroQRCode|RMQRCode|Aztec|PDF417|Code128|Code39|Code93|EAN13|EAN8|UPCA|UPCE"


@dataclass(frozen=True)
class Code:
    """One code that was read, and which attempt first read it."""

    symbology: str
    text: str
    attempt: str


def read_codes(image: Image.Image) -> tuple[Code, ...]:
    """Return all distinct codes of a label, in the order in which they were found."""
    grey = image.convert("L")
    grey.thumbnail((_LONGEST_SIDE_PX, _LONGEST_SIDE_PX), Image.Resampling.LANCZOS)
    formats = zxingcpp.barcode_formats_from_str(_FORMATS)
    found: dict[str, Code] = {}
    for number, (attempt, prepared) in enumerate(_ATTEMPTS):
        for barcode in zxingcpp.read_barcodes(prepared(grey), formats=formats, text_mode=zxingcpp.TextMode.Plain):
            if barcode.valid and len(barcode.text) <= _LONGEST_TEXT:
                found.setdefault(barcode.text, Code(str(barcode.format), barcode.text, attempt))
        if number + 1 >= _ALWAYS and any(code.symbology not in _RETAIL for code in found.values()):
            break
    return tuple(found.values())


def _as_it_is(grey: Image.Image) -> Image.Image:
    return grey


def _evened(grey: Image.Image) -> Image.Image:
    """Return the label evenly lit, from black to white: divided by its background and stretched."""
    reach = max(8, min(grey.size) // 8)
    background = np.asarray(grey.filter(ImageFilter.BoxBlur(reach)), np.float32) + 1
    ratio = np.asarray(grey, np.float32) / background
    darkest, lightest = np.percentile(ratio, (1, 99))
    stretched = (ratio - darkest) / max(float(lightest - darkest), 1e-3) * 255
    return Image.fromarray(np.clip(stretched, 0, 255).astype(np.uint8))


def _doubled(grey: Image.Image) -> Image.Image:
    return grey.resize((2 * grey.width, 2 * grey.height), Image.Resampling.BICUBIC)


def _evened_and_doubled(grey: Image.Image) -> Image.Image:
    return _doubled(_evened(grey))


def _softened(grey: Image.Image) -> Image.Image:
    return _evened_and_doubled(grey).filter(ImageFilter.GaussianBlur(1.5))


def _sharpened(grey: Image.Image) -> Image.Image:
    return _evened_and_doubled(grey).filter(ImageFilter.UnsharpMask(radius=3, percent=200, threshold=2))


def _without_specks(grey: Image.Image) -> Image.Image:
    return _doubled(_evened(grey).filter(ImageFilter.MedianFilter(3)))


def _turned(degrees: int) -> Callable[[Image.Image], Image.Image]:
    """Return an attempt at a code of bars that stands askew; zxing itself tries right angles and inversion."""

    def turn(grey: Image.Image) -> Image.Image:
        return _evened_and_doubled(grey).rotate(degrees, Image.Resampling.BICUBIC, expand=True, fillcolor=255)

    return turn


_ATTEMPTS: tuple[tuple[str, Callable[[Image.Image], Image.Image]], ...] = (
    ("as it is", _as_it_is),
    ("evened", _evened),
    ("doubled", _doubled),
    ("evened and doubled", _evened_and_doubled),
    ("softened", _softened),
    ("without specks", _without_specks),
    ("sharpened", _sharpened),
    *((f"turned by {degrees} degrees", _turned(degrees)) for degrees in (-20, -10, 10, 20)),
)
