"""DICOM files written frame by frame, read back by another library."""

from pathlib import Path

import pytest
from pydicom import Dataset, dcmread
from pydicom.encaps import generate_frames, get_frame, parse_basic_offsets
from pydicom.uid import ExplicitVRLittleEndian, JPEGBaseline8Bit

from connectors.slides.writing import Pixels, write_object
from models.uid import instance_uid

_FRAMES = [b"\xff\xd8" + bytes([number]) * (number * 7) + b"\xff\xd9" for number in range(1, 30)]


def _dataset() -> Dataset:
    dataset = Dataset()
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.SOPInstanceUID = instance_uid("scan", 1, "level-0")
    dataset.PatientName = "Müller^Zoë"
    dataset.NumberOfFrames = len(_FRAMES)
    return dataset


def _written(path: Path, *, large: bool) -> Dataset:
    write_object(path, _dataset(), Pixels(iter(_FRAMES), len(_FRAMES), JPEGBaseline8Bit, large))
    return dcmread(path)


def test_every_frame_is_found_through_the_basic_offset_table(tmp_path: Path) -> None:
    dataset = _written(tmp_path / "small.dcm", large=False)
    assert len(parse_basic_offsets(dataset.PixelData)) == len(_FRAMES)
    for index, frame in enumerate(_FRAMES):
        found = get_frame(dataset.PixelData, index, number_of_frames=len(_FRAMES))
        assert found == frame + bytes(len(frame) % 2)


def test_every_frame_is_found_through_the_extended_offset_table(tmp_path: Path) -> None:
    dataset = _written(tmp_path / "large.dcm", large=True)
    assert parse_basic_offsets(dataset.PixelData) == []
    tables = (dataset.ExtendedOffsetTable, dataset.ExtendedOffsetTableLengths)
    for index, frame in enumerate(_FRAMES):
        assert get_frame(dataset.PixelData, index, extended_offsets=tables) == frame
    assert len(list(generate_frames(dataset.PixelData, extended_offsets=tables))) == len(_FRAMES)


def test_names_outside_ascii_survive(tmp_path: Path) -> None:
    assert str(_written(tmp_path / "named.dcm", large=False).PatientName) == "Müller^Zoë"


def test_uncompressed_pixels_of_odd_length_are_padded(tmp_path: Path) -> None:
    path = tmp_path / "native.dcm"
    write_object(path, _dataset(), Pixels(iter([b"abc"]), 1, ExplicitVRLittleEndian, large=False))
    assert dcmread(path).PixelData == b"abc\0"


def test_the_library_s_version_is_not_in_the_file(tmp_path: Path) -> None:
    meta = _written(tmp_path / "meta.dcm", large=False).file_meta
    assert meta.ImplementationVersionName == "COVERSLIP"
    assert b"PYDICOM" not in (tmp_path / "meta.dcm").read_bytes()


def test_an_object_is_never_written_over_another(tmp_path: Path) -> None:
    _written(tmp_path / "once.dcm", large=False)
    with pytest.raises(FileExistsError):
        _written(tmp_path / "once.dcm", large=False)
