"""DICOM Part 10 files with one fragment a frame, whose bytes depend on nothing but what is in them."""

import struct
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filebase import DicomFileLike
from pydicom.filewriter import write_dataset, write_file_meta_info
from pydicom.uid import UID, VLWholeSlideMicroscopyImageStorage

from models.uid import derive_uid

_IMPLEMENTATION: Final = UID(derive_uid("implementation", "coverslip"))
_IMPLEMENTATION_NAME: Final = "COVERSLIP"

_PIXEL_DATA: Final = b"\xe0\x7f\x10\x00"
_EXTENDED_OFFSETS: Final = b"\xe0\x7f\x01\x00"
_EXTENDED_LENGTHS: Final = b"\xe0\x7f\x02\x00"
_ITEM: Final = b"\xfe\xff\x00\xe0"
_SEQUENCE_END: Final = b"\xfe\xff\xdd\xe0" + bytes(4)
_UNDEFINED: Final = 0xFFFFFFFF


@dataclass(frozen=True)
class Pixels:
    """The frames of one object, in order; ``large`` asks for the offset table that reaches beyond 4 GiB."""

    frames: Iterable[bytes]
    count: int
    transfer_syntax: UID
    large: bool


def write_object(path: Path, dataset: Dataset, pixels: Pixels) -> None:
    """Write a whole slide image; frames are taken one at a time, so memory does not grow with the slide.

    Parameters
    ----------
    path
        Must not exist.
    dataset
        All attributes before the pixels.
    pixels
        With as many frames as the data set says.
    """
    with path.open("xb") as file:
        write_header(file, dataset, pixels.transfer_syntax)
        if pixels.transfer_syntax.is_encapsulated:
            _write_encapsulated(file, pixels)
        else:
            _write_native(file, pixels)


def write_header(file: BinaryIO, dataset: Dataset, transfer_syntax: UID) -> None:
    """Write the preamble, the file meta information and every attribute of a data set that has no pixels."""
    file.write(bytes(128) + b"DICM")
    like = DicomFileLike(file)
    like.is_little_endian, like.is_implicit_VR = True, False
    write_file_meta_info(like, _file_meta(dataset, transfer_syntax))
    write_dataset(like, dataset)


def _file_meta(dataset: Dataset, transfer_syntax: UID) -> FileMetaDataset:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = VLWholeSlideMicroscopyImageStorage
    meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    meta.TransferSyntaxUID = transfer_syntax
    # Ours, not the library's: its version must not change our bytes.
    meta.ImplementationClassUID = _IMPLEMENTATION
    meta.ImplementationVersionName = _IMPLEMENTATION_NAME
    return meta


def _write_encapsulated(file: BinaryIO, pixels: Pixels) -> None:
    """Write the offset table last, into the room kept for it (PS3.5 A.4, PS3.3 C.7.6.3.1.8)."""
    width, code = (8, "Q") if pixels.large else (4, "I")
    table_length = width * pixels.count
    if pixels.large:
        offsets_at = _write_room(file, _EXTENDED_OFFSETS, table_length)
        lengths_at = _write_room(file, _EXTENDED_LENGTHS, table_length)
    file.write(_PIXEL_DATA + b"OB" + bytes(2) + struct.pack("<I", _UNDEFINED))
    file.write(_ITEM + struct.pack("<I", 0 if pixels.large else table_length))
    if not pixels.large:
        offsets_at = file.tell()
        file.write(bytes(table_length))
    offsets, lengths = _write_fragments(file, pixels.frames)
    file.write(_SEQUENCE_END)
    file.seek(offsets_at)
    file.write(struct.pack(f"<{len(offsets)}{code}", *offsets))
    if pixels.large:
        file.seek(lengths_at)
        file.write(struct.pack(f"<{len(lengths)}{code}", *lengths))


def _write_room(file: BinaryIO, tag: bytes, length: int) -> int:
    """Write an element of VR OV with nothing in it yet, and return where its value lies."""
    file.write(tag + b"OV" + bytes(2) + struct.pack("<I", length))
    at = file.tell()
    file.write(bytes(length))
    return at


def _write_fragments(file: BinaryIO, frames: Iterable[bytes]) -> tuple[list[int], list[int]]:
    """Write each frame as one item, padded to even length, and return where each item begins and its bytes."""
    offsets, lengths = [], []
    start = file.tell()
    for frame in frames:
        padding = bytes(len(frame) % 2)
        offsets.append(file.tell() - start)
        lengths.append(len(frame))
        file.write(_ITEM + struct.pack("<I", len(frame) + len(padding)) + frame + padding)
    return offsets, lengths


def _write_native(file: BinaryIO, pixels: Pixels) -> None:
    file.write(_PIXEL_DATA + b"OB" + bytes(2))
    length_at = file.tell()
    file.write(bytes(4))
    file.writelines(pixels.frames)
    length = file.tell() - length_at - 4
    file.write(bytes(length % 2))
    file.seek(length_at)
    file.write(struct.pack("<I", length + length % 2))
