"""An invented slide label, with a printed code, and the macro image that a scanner takes of the whole glass."""

from collections.abc import Sequence
from typing import Literal, TypeAlias

import numpy as np
import zxingcpp
from PIL import Image, ImageDraw, ImageFilter, ImageFont

Label: TypeAlias = Literal["printed", "smudged", "no code", "absent"]

_LABEL_SIZE = (480, 480)
_MACRO_SIZE = (1280, 431)  # as Aperio's macro camera takes it
_CODE_SIDE = 200
_PAPER = (236, 232, 222)
_INK = (28, 27, 30)
_GLASS = (232, 234, 233)


def draw_label(container_identifier: str, lines: Sequence[str], label: Label, seed: int) -> Image.Image:
    """Return the label as the scanner photographs it: a DataMatrix, the identifier and up to four more lines."""
    image = Image.new("RGB", _LABEL_SIZE, _PAPER)
    draw = ImageDraw.Draw(image)
    if label != "no code":
        code = _code(container_identifier)
        image.paste(code, ((image.width - code.width) // 2, 28))
    top = 250
    for number, line in enumerate((container_identifier, *lines[:4])):
        draw.text((24, top), line[:32], fill=_INK, font=ImageFont.load_default(34 if number == 0 else 26))
        top += 48 if number == 0 else 38
    if label == "smudged":
        image = _smudged(image, seed)
    return _photographed(image, seed)


def draw_macro(label: Image.Image | None, section: Image.Image) -> Image.Image:
    """Return the whole glass: the label at its left end, the section where the scanner found it."""
    macro = Image.new("RGB", _MACRO_SIZE, _GLASS)
    width, height = _MACRO_SIZE
    draw = ImageDraw.Draw(macro)
    draw.rectangle((0, 0, 370, height), fill=(20, 20, 24))
    if label is not None:
        macro.paste(label.resize((344, 344), Image.Resampling.LANCZOS), (14, 44))
    small = section.copy()
    small.thumbnail((width - 560, height - 120))
    macro.paste(small, (470, (height - small.height) // 2))
    return macro


def _code(text: str) -> Image.Image:
    barcode = zxingcpp.create_barcode(text, zxingcpp.BarcodeFormat.DataMatrix, force_square=True)
    modules = np.asarray(zxingcpp.write_barcode_to_image(barcode, scale=1, add_quiet_zones=True))
    scale = max(1, _CODE_SIDE // max(modules.shape))
    size = (modules.shape[1] * scale, modules.shape[0] * scale)
    dark = Image.fromarray(255 - modules).resize(size, Image.Resampling.NEAREST)
    return Image.composite(Image.new("RGB", size, _INK), Image.new("RGB", size, _PAPER), dark)


def _smudged(image: Image.Image, seed: int) -> Image.Image:
    """Return the label after solvent ran over it: the code and the first line are gone, the rest is legible."""
    rng = np.random.default_rng(seed)
    spoiled = image.crop((0, 0, 480, 300)).filter(ImageFilter.GaussianBlur(16))
    image.paste(spoiled, (0, 0))
    draw = ImageDraw.Draw(image)
    for _ in range(14):
        x, y, r = rng.integers(130, 350), rng.integers(20, 240), rng.integers(10, 38)
        shade = int(rng.integers(90, 200))
        draw.ellipse((int(x - r), int(y - r), int(x + r), int(y + r)), fill=(shade, shade, shade - 8))
    image.paste(image.crop((0, 0, 480, 300)).filter(ImageFilter.GaussianBlur(5)), (0, 0))
    return image


def _photographed(image: Image.Image, seed: int) -> Image.Image:
    """Return the label a little unevenly lit and not quite sharp, turned by less than two degrees."""
    rng = np.random.default_rng(seed)
    turned = image.rotate(float(rng.uniform(-2, 2)), Image.Resampling.BICUBIC, fillcolor=_PAPER)
    pixels = np.asarray(turned.filter(ImageFilter.GaussianBlur(0.6)), np.float32)
    light = np.linspace(1.0, float(rng.uniform(0.80, 0.95)), pixels.shape[1], dtype=np.float32)
    grain = rng.normal(0, 2.0, pixels.shape).astype(np.float32)
    return Image.fromarray(np.clip(pixels * light[None, :, None] + grain, 0, 255).astype(np.uint8))
