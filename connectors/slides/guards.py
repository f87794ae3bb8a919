"""What is asked of a file before any of its pixels is decoded: a slide declares what it will cost.

Only directories are read here. A decoder believes what a file declares, so each declaration is compared with what
the file really holds and with what scanners really write.
"""

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import pydicom
import tifffile
from pydicom.errors import InvalidDicomError
from pydicom.uid import DeflatedExplicitVRLittleEndian, VLWholeSlideMicroscopyImageStorage

from models.errors import RejectedError, TransientError

_LONGEST_SIDE_PX = 1_000_000  # at 0.1 microns a pixel, twice the length of a glass
_MOST_PIXELS = 100_000_000_000
_MOST_PIXELS_PER_BYTE = 2_000  # an empty JPEG tile has about 100; ten thousand means a bomb
_MOST_DIRECTORIES = 1_000  # levels times focal planes times channels of the largest known stacks
_MOST_ENTRIES = 1_000  # of one directory; scanners write some tens
_LARGEST_TILE_PX = 64_000_000
_MOST_TIMES_DECLARED = 4  # how often the file's bytes may be declared; equal empty tiles may share theirs
_FOUR_GIBIBYTES = 1 << 32
_DICOM_PREAMBLE_BYTES = 128

_PARSER_ERRORS = (ValueError, KeyError, IndexError, TypeError, OverflowError, ZeroDivisionError, struct.error)
_BIG_TIFF = 43
_VALUE_BYTES = {3: 2, 4: 4, 5: 8, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}  # by type; others 1
_TIFF_STARTS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def is_tiff(path: Path) -> bool:
    """Return whether the file begins as a TIFF, which most scanners' formats are."""
    return _start(path)[:4] in _TIFF_STARTS


def check_before_decoding(path: Path) -> None:
    """Return when the file may be decoded.

    Raises
    ------
    RejectedError
        It is empty, truncated, or declares what no scanner writes.
    TransientError
        It cannot be read now.
    """
    start = _start(path)
    if not start:
        raise RejectedError("the file is empty (0 bytes): the scanner wrote nothing into it; scan the slide again")
    if start[:4] in _TIFF_STARTS:
        _check_chain(path)
        _check_pages(path)
    elif start[_DICOM_PREAMBLE_BYTES:] == b"DICM":
        _check_dicom(path)


def check_size(width: int, height: int) -> None:
    """Return when an image of this many pixels may be a slide."""
    if max(width, height) > _LONGEST_SIDE_PX or width * height > _MOST_PIXELS:
        raise RejectedError(f"the file declares an image of {width} x {height} pixels, larger than any slide")


def _start(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(_DICOM_PREAMBLE_BYTES + 4)
    except OSError as error:
        raise TransientError("the slide's file cannot be opened in the spool; try again") from error


def _check_chain(path: Path) -> None:
    """Walk from directory to directory: each within the file, none twice, and not too many."""
    size = path.stat().st_size
    if size >= _FOUR_GIBIBYTES and _start(path)[:4] in _TIFF_STARTS[:2]:
        return  # Hamamatsu's own 64-bit offsets in a 32-bit TIFF; tifffile knows where their upper halves lie
    seen: set[int] = set()
    with path.open("rb") as file:
        for offset in _directories(file, size):
            if offset in seen:
                raise RejectedError(f"the file's directories form a loop at byte {offset}; no scanner writes that")
            seen.add(offset)
            if len(seen) > _MOST_DIRECTORIES:
                raise RejectedError(f"the file has more than {_MOST_DIRECTORIES} images in it; no scanner writes that")


def _directories(file: BinaryIO, size: int) -> Iterator[int]:
    order = {b"II": "<", b"MM": ">"}[file.read(2)]
    is_big = struct.unpack(f"{order}H", file.read(2))[0] == _BIG_TIFF
    # TIFF 6.0, section 2: a count of 2 bytes, entries of 12, an offset of 4; in BigTIFF they have 8, 20 and 8.
    count_format, next_format, entry_bytes = (
        (f"{order}Q", f"{order}Q", 20) if is_big else (f"{order}H", f"{order}I", 12)
    )
    file.seek(8 if is_big else 4)
    offset = _number(file, next_format, size)
    while offset != 0:
        yield offset
        file.seek(offset)
        entries = _number(file, count_format, size)
        if not 0 < entries <= _MOST_ENTRIES:
            raise RejectedError(f"the directory at byte {offset} has {entries} entries; the file is damaged")
        _check_values(file.read(entries * entry_bytes), order, is_big=is_big, size=size)
        offset = _number(file, next_format, size)


def _check_values(entries: bytes, order: str, *, is_big: bool, size: int) -> None:
    """Refuse a directory of which a value lies beyond the end of the file (TIFF 6.0, section 2, IFD entry)."""
    form = struct.Struct(f"{order}HHQQ" if is_big else f"{order}HHII")
    fitting = form.size - 4 - (8 if is_big else 4)
    whole = entries[: len(entries) // form.size * form.size]
    for _tag, kind, count, offset in form.iter_unpack(whole):
        length = count * _VALUE_BYTES.get(kind, 1)
        if length > fitting and offset + length > size:
            raise RejectedError(
                f"the file is truncated: it ends at byte {size}, inside a directory; scan the slide again"
            )


def _number(file: BinaryIO, form: str, size: int) -> int:
    stored = file.read(struct.calcsize(form))
    if len(stored) < struct.calcsize(form):
        raise RejectedError(f"the file is truncated: it ends at byte {size}, before a directory; scan the slide again")
    return int(struct.unpack(form, stored)[0])


def _check_pages(path: Path) -> None:
    size = path.stat().st_size
    declared = held = 0
    try:
        with tifffile.TiffFile(path) as file:
            for page in file.pages:
                if isinstance(page, tifffile.TiffPage):
                    check_size(page.imagewidth, page.imagelength)
                    _check_density(page, size)
                    page_declared, page_held = _tile_bytes(page, size)
                    declared, held = declared + page_declared, held + page_held
    except _PARSER_ERRORS as error:
        raise RejectedError(
            "the file begins as a TIFF, but its directories are damaged; scan the slide again"
        ) from error
    if held < declared:
        raise RejectedError(
            f"the file is truncated: it declares {declared} bytes of tiles and holds {held}; scan the slide again",
        )
    if declared > size * _MOST_TIMES_DECLARED:
        raise RejectedError(f"the file declares {declared} bytes of tiles but has {size}; no scanner writes that")


def _check_density(page: tifffile.TiffPage, size: int) -> None:
    """Refuse a page, or one tile of it, that would unpack to far more than it takes in the file."""
    width, height = page.imagewidth, page.imagelength
    if width * height > size * _MOST_PIXELS_PER_BYTE:
        raise RejectedError(f"the file declares {width} x {height} pixels but has {size} bytes; no scanner writes that")
    if page.is_tiled and page.tilewidth * page.tilelength > _LARGEST_TILE_PX:
        raise RejectedError(f"the file declares tiles of {page.tilewidth} x {page.tilelength} pixels; no scanner does")


def _tile_bytes(page: tifffile.TiffPage, size: int) -> tuple[int, int]:
    """Return how many bytes the tiles of a page should have, and how many of those lie within the file."""
    declared = held = 0
    for offset, count in zip(page.dataoffsets, page.databytecounts, strict=False):
        declared += count
        held += min(count, max(0, size - offset))
    return declared, held


def _check_dicom(path: Path) -> None:
    """Read the file meta group only: it says what the rest costs (PS3.10 7.1)."""
    try:
        meta = pydicom.filereader.read_file_meta_info(path)
    except (InvalidDicomError, EOFError, NotImplementedError, *_PARSER_ERRORS) as error:
        raise RejectedError("the file begins as DICOM, but its meta group cannot be read") from error
    if meta.get("TransferSyntaxUID") == DeflatedExplicitVRLittleEndian:
        raise RejectedError("the file is deflated DICOM, which may inflate a thousandfold; store it uncompressed")
    if meta.get("MediaStorageSOPClassUID") != VLWholeSlideMicroscopyImageStorage:
        raise RejectedError("the file is DICOM, but not a VL Whole Slide Microscopy image")
