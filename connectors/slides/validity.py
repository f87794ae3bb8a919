"""Whether a slide arrived whole, and whether what was made of it can be read."""

import io
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

import numpy as np
from imagecodecs import jpeg2k_decode
from PIL import Image
from pydicom.dataset import Dataset
from pydicom.filereader import read_partial
from pydicom.uid import JPEG2000, ExplicitVRLittleEndian, JPEG2000Lossless, JPEGBaseline8Bit
from tifffile import TIFF, TiffFile, TiffFileError, TiffPage

from models.errors import RejectedError

_MOST_PAGES: Final = 1_000
"""A slide has tens: levels, focal planes, label and macro."""

_MOST_FRAME_PIXELS: Final = 64_000_000
"""One tile, label or macro that is decoded whole; a larger one is taken for a trap."""

_PREAMBLE_BYTES: Final = 128
_DICOM: Final = b"DICM"
"""PS3.10 7.1: it follows the preamble."""

_TIFF: Final = frozenset({b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"})
"""TIFF 6.0 section 2 and BigTIFF, in both byte orders."""

_PIXEL_DATA: Final = 0x7FE00010
_ITEM: Final = b"\xfe\xff\x00\xe0"
_SEQUENCE_END: Final = b"\xfe\xff\xdd\xe0"

_JPEG_FRAME: Final = (b"\xff\xd8", b"\xff\xd9")
_JPEG_2000_FRAME: Final = (b"\xff\x4f", b"\xff\xd9")
_FRAME_LIMITS: Final = {
    JPEGBaseline8Bit: _JPEG_FRAME,
    JPEG2000: _JPEG_2000_FRAME,
    JPEG2000Lossless: _JPEG_2000_FRAME,
}
"""How a frame begins and ends by transfer syntax: SOI or SOC, and EOI or EOC."""


@dataclass(frozen=True)
class Inspected:
    """What a DICOM object holds, as read back from its file; rows and columns are of the whole image, in pixels."""

    sop_instance_uid: str
    rows: int
    columns: int
    frames: int
    transfer_syntax: str


def check_arrived_whole(path: Path) -> None:
    """Refuse a file that is no slide of a known scanner, or of which a part is missing.

    Only directories of the file are read, no pixel is decoded.

    Raises
    ------
    RejectedError
        With a sentence that says which of these it is.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(_PREAMBLE_BYTES + len(_DICOM))
    if head[_PREAMBLE_BYTES:] == _DICOM:
        raise RejectedError(
            "The slide is DICOM already, and converting takes only a scanner's own format; store it as it is."
        )
    if head[:4] not in _TIFF:
        raise RejectedError(f"The file of {size} bytes is no TIFF slide; scan the glass again.")
    try:
        with TiffFile(path) as tiff:
            _check_directories(tiff, size)
    except TiffFileError as error:
        raise RejectedError(
            f"The slide was cut off at {size} bytes, or its directory is damaged; copy or scan it again."
        ) from error


def inspect(path: Path) -> Inspected:
    """Read a converted object back: every frame is framed as its transfer syntax asks, the first and last decode.

    Raises
    ------
    RejectedError
        When a frame is missing, damaged or of the wrong size.
    """
    with path.open("rb") as file:
        dataset = read_partial(file, stop_when=lambda tag, _vr, _length: tag == _PIXEL_DATA)
        frames = _native_frames(file, dataset) if _is_native(dataset) else _encapsulated_frames(file)
        first, last, count = _walked(frames, dataset)
    if count != int(dataset.NumberOfFrames):
        raise RejectedError(
            f"A converted object holds {count} of {dataset.NumberOfFrames} tiles; scan the glass again."
        )
    for frame in (first, last):
        _check_decodes(frame, dataset)
    return Inspected(
        sop_instance_uid=str(dataset.SOPInstanceUID),
        rows=int(dataset.TotalPixelMatrixRows),
        columns=int(dataset.TotalPixelMatrixColumns),
        frames=count,
        transfer_syntax=str(dataset.file_meta.TransferSyntaxUID),
    )


def _check_directories(tiff: TiffFile, size: int) -> None:
    if len(tiff.pages) > _MOST_PAGES:
        raise RejectedError(f"The slide has more than {_MOST_PAGES} images in it; no scanner writes that.")
    pages = [page for page in tiff.pages if isinstance(page, TiffPage)]
    if not pages:
        raise RejectedError(f"The slide was cut off at {size} bytes: no image is whole; copy or scan it again.")
    for page in [*pages, *_further_pages(tiff)]:
        _check_page(page, size)
    if not tiff.is_ndpi and any(_has_cut_values(tiff, page, size) for page in pages):
        raise RejectedError(f"The slide was cut off at {size} bytes, inside a directory; copy or scan it again.")
    if _next_directory(tiff, pages[-1]) != 0:
        raise RejectedError(
            f"The slide was cut off at {size} bytes: images are missing at its end; copy or scan it again."
        )


def _further_pages(tiff: TiffFile) -> Iterator[TiffPage]:
    """Yield the levels that lie in sub-directories (OME-TIFF), which the chain of pages does not reach."""
    for series in tiff.series:
        for level in series.levels[1:]:
            yield from (page for page in level.pages if isinstance(page, TiffPage))


def _check_page(page: TiffPage, size: int) -> None:
    ends = [offset + count for offset, count in zip(page.dataoffsets, page.databytecounts, strict=False)]
    if not ends or max(ends) > size:
        raise RejectedError(f"The slide was cut off at {size} bytes: pixels are missing; copy or scan it again.")
    decoded_whole = (page.tilelength * page.tilewidth) if page.is_tiled else (page.imagelength * page.imagewidth)
    if decoded_whole > _MOST_FRAME_PIXELS:
        raise RejectedError(f"The slide has a tile or picture of {decoded_whole} pixels; no scanner writes that.")


def _has_cut_values(tiff: TiffFile, page: TiffPage, size: int) -> bool:
    """Tell whether a value of this directory lies beyond the end of the file."""
    form = tiff.tiff
    entries = _directory(tiff, page)
    for start in range(0, len(entries) - form.offsetsize, form.tagsize):
        entry = entries[start : start + form.tagsize]
        _, kind = struct.unpack(form.tagformat1, entry[:4])
        count, value = struct.unpack(form.tagformat2, entry[4:])
        length = count * struct.calcsize(TIFF.DATA_FORMATS.get(kind, "1B"))
        at = struct.unpack(form.offsetformat, value)[0]
        if length > form.offsetsize and at + length > size:
            return True
    return False


def _next_directory(tiff: TiffFile, page: TiffPage) -> int:
    """Return the offset of the directory after this one, 0 when it is the last."""
    form = tiff.tiff
    end = _directory(tiff, page)[-form.offsetsize :]
    return int(struct.unpack(form.offsetformat, end)[0])


def _directory(tiff: TiffFile, page: TiffPage) -> bytes:
    """Return the entries of a directory and the offset that follows them, as they lie in the file."""
    form = tiff.tiff
    file = tiff.filehandle
    file.seek(page.offset)
    count = struct.unpack(form.tagnoformat, file.read(form.tagnosize))[0]
    return file.read(count * form.tagsize + form.offsetsize)


def _is_native(dataset: Dataset) -> bool:
    return dataset.file_meta.TransferSyntaxUID == ExplicitVRLittleEndian


def _native_frames(file: BinaryIO, dataset: Dataset) -> Iterator[bytes]:
    # Tag, VR and two reserved bytes, then the length in four (PS3.5 7.1.2).
    length = struct.unpack("<I", file.read(12)[8:])[0]
    size = _frame_shape(dataset)
    frame_length = int(np.prod(size)) * int(dataset.BitsAllocated) // 8
    for _ in range(length // frame_length):
        frame = file.read(frame_length)
        if len(frame) < frame_length:
            raise RejectedError("A converted object is shorter than it says; scan the glass again.")
        yield frame


def _encapsulated_frames(file: BinaryIO) -> Iterator[bytes]:
    """Yield each item after the offset table (PS3.5 A.4); the converter writes one fragment a frame."""
    file.seek(12, os.SEEK_CUR)  # tag, OB, reserved, undefined length
    is_offset_table = True
    while (tag := file.read(4)) == _ITEM:
        item = file.read(struct.unpack("<I", file.read(4))[0])
        if not is_offset_table:
            yield item
        is_offset_table = False
    if tag != _SEQUENCE_END:
        raise RejectedError("A converted object has no end; scan the glass again.")


def _walked(frames: Iterator[bytes], dataset: Dataset) -> tuple[bytes, bytes, int]:
    """Return the first frame, the last and their number."""
    begin, end = _FRAME_LIMITS.get(dataset.file_meta.TransferSyntaxUID, (b"", b""))
    first = last = b""
    count = 0
    for frame in frames:
        # PS3.5 A.4: a frame of odd length is padded with one byte.
        if not frame.startswith(begin) or not (frame.endswith(end) or frame[:-1].endswith(end)):
            role = str(dataset.ImageType[2])
            raise RejectedError(f"Tile {count} of a {role} image is damaged in the slide; scan the glass again.")
        first = first or frame
        last = frame
        count += 1
    return first, last, count


def _frame_shape(dataset: Dataset) -> tuple[int, ...]:
    samples = int(dataset.SamplesPerPixel)
    flat = (int(dataset.Rows), int(dataset.Columns))
    return flat if samples == 1 else (*flat, samples)


def _check_decodes(frame: bytes, dataset: Dataset) -> None:
    shape = _frame_shape(dataset)
    try:
        decoded = _decoded_shape(frame, dataset)
    except (OSError, SyntaxError, ValueError, RuntimeError) as error:
        raise RejectedError("A tile of the slide can't be decoded; scan the glass again.") from error
    if decoded != shape:
        raise RejectedError(f"A tile of the slide is {decoded} and should be {shape}; scan the glass again.")


def _decoded_shape(frame: bytes, dataset: Dataset) -> tuple[int, ...]:
    syntax = dataset.file_meta.TransferSyntaxUID
    if syntax == ExplicitVRLittleEndian:
        return _frame_shape(dataset)
    if syntax == JPEGBaseline8Bit:
        with Image.open(io.BytesIO(frame), formats=["JPEG"]) as image:
            return tuple(np.asarray(image).shape)
    return tuple(jpeg2k_decode(frame).shape)
