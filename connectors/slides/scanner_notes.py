"""What a scanner notes in a slide about itself and the scan, in the words of each maker."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

_SERIAL_NUMBER = (
    "aperio.ScanScope ID",
    "hamamatsu.NDP.S/N",
    "philips.DICOM_DEVICE_SERIAL_NUMBER",
    "dicom.DeviceSerialNumber",
)
_BARCODE = ("aperio.Barcode", "leica.barcode", "dicom.BarcodeValue")
_LONGEST_NOTE = 255
_MICRONS_PER_PIXEL = (0.01, 100.0)  # what light can resolve, and coarser than any macro camera
_TIMES = (
    (("aperio.Date", "aperio.Time", "aperio.Time Zone"), "%m/%d/%y %H:%M:%S GMT%z"),
    (("aperio.Date", "aperio.Time"), "%m/%d/%y %H:%M:%S"),
    (("tiff.DateTime",), "%Y:%m:%d %H:%M:%S"),  # TIFF 6.0, section 8
)


@dataclass(frozen=True)
class Metadata:
    """What the slide says of itself; nothing where it says nothing, or nothing that can be true."""

    width: int
    height: int
    levels: tuple[tuple[int, int], ...]  # (width, height) of each, largest first
    microns_per_pixel: tuple[float, float] | None  # (x, y)
    vendor: str | None
    scanner_serial: str | None
    objective: float | None  # nominal magnification
    scanned_at: datetime | None  # without a zone when the scanner states none: then it is the site's
    scanner_barcode: str | None  # what the scanner read on the label


def metadata_from(
    dimensions: tuple[int, int],
    levels: Sequence[tuple[int, int]],
    properties: Mapping[str, str],
) -> Metadata:
    """Return what OpenSlide's properties of a slide say, in one set of words."""
    across, down = _number(properties, "openslide.mpp-x"), _number(properties, "openslide.mpp-y")
    least, most = _MICRONS_PER_PIXEL
    has_scale = across is not None and down is not None and least < across < most and least < down < most
    return Metadata(
        width=dimensions[0],
        height=dimensions[1],
        levels=tuple(levels),
        microns_per_pixel=(across, down) if has_scale and across and down else None,
        vendor=_first(properties, ("openslide.vendor",)),
        scanner_serial=_first(properties, _SERIAL_NUMBER),
        objective=_number(properties, "openslide.objective-power"),
        scanned_at=_time(properties),
        scanner_barcode=_first(properties, _BARCODE),
    )


def _first(properties: Mapping[str, str], names: Sequence[str]) -> str | None:
    said = (properties.get(name, "").strip() for name in names)
    return next((note[:_LONGEST_NOTE] for note in said if note), None)


def _number(properties: Mapping[str, str], name: str) -> float | None:
    try:
        number = float(properties.get(name, ""))
    except ValueError:
        return None
    return number if math.isfinite(number) and number > 0 else None


def _time(properties: Mapping[str, str]) -> datetime | None:
    for names, form in _TIMES:
        if all(name in properties for name in names):
            try:
                return datetime.strptime(" ".join(properties[name] for name in names), form)  # noqa: DTZ007
            except ValueError:
                continue
    return None
