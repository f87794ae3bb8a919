import random
import struct
from pathlib import Path

import pytest
from pydicom.dataset import FileMetaDataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_file_meta_info
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian, generate_uid

from connectors.slides.guards import check_before_decoding
from models.errors import RejectedError, TransientError

WHOLE_SLIDE = UID("1.2.840.10008.5.1.4.1.1.77.1.6")
CT_IMAGE = UID("1.2.840.10008.5.1.4.1.1.2")


def test_an_ordinary_slide_passes(slide: Path) -> None:
    check_before_decoding(slide)


def test_real_slides_of_two_makers_pass(shared_data: Path) -> None:
    check_before_decoding(shared_data / "slides" / "CMU-1-Small-Region.svs")
    check_before_decoding(shared_data / "slides" / "hamamatsu-fluo-DAPI-387.ndpi")


def test_an_empty_file_is_named_as_empty(tmp_path: Path) -> None:
    empty = tmp_path / "empty.svs"
    empty.touch()

    with pytest.raises(RejectedError, match=r"the file is empty \(0 bytes\)"):
        check_before_decoding(empty)


def test_a_file_that_is_not_there_now_is_tried_again(tmp_path: Path) -> None:
    with pytest.raises(TransientError, match="cannot be opened"):
        check_before_decoding(tmp_path / "gone.svs")


def test_a_slide_cut_off_anywhere_is_truncated(slide: Path, tmp_path: Path) -> None:
    content = slide.read_bytes()
    cut = tmp_path / "cut.svs"
    places = random.Random(1).sample(range(4, len(content)), 40)
    for length in (*places, 4, 8, len(content) - 1):
        cut.write_bytes(content[:length])

        with pytest.raises(RejectedError, match="the file is truncated"):
            check_before_decoding(cut)


def test_a_real_slide_cut_off_anywhere_is_truncated(shared_data: Path, tmp_path: Path) -> None:
    content = (shared_data / "slides" / "CMU-1-Small-Region.svs").read_bytes()
    cut = tmp_path / "cut.svs"
    for length in (8, 100_000, 1_275_960, 1_900_000, len(content) - 200, len(content) - 1):
        cut.write_bytes(content[:length])

        with pytest.raises(RejectedError, match="the file is truncated"):
            check_before_decoding(cut)


def test_missing_tiles_are_counted_in_bytes(tmp_path: Path) -> None:
    path = tmp_path / "cut.svs"
    path.write_bytes(_tiff([_page(width=512, height=512, tile=512, offset=300, count=50_000)], padding=10_000))

    with pytest.raises(RejectedError, match=r"it declares 50000 bytes of tiles and holds \d+; scan the slide again"):
        check_before_decoding(path)


def test_directories_that_form_a_loop_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "loop.svs"
    path.write_bytes(_tiff([_page(), _page()], next_of_last=8))

    with pytest.raises(RejectedError, match="form a loop at byte 8"):
        check_before_decoding(path)


def test_thousands_of_images_in_one_file_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "many.svs"
    path.write_bytes(_tiff([_page()] * 1_001))

    with pytest.raises(RejectedError, match="more than 1000 images"):
        check_before_decoding(path)


@pytest.mark.parametrize(
    ("page", "sentence"),
    [
        ({"width": 60_000, "height": 60_000}, "declares 60000 x 60000 pixels but has"),
        ({"width": 2_000_000, "height": 16}, "2000000 x 16 pixels, larger than any slide"),
        ({"width": 500_000, "height": 500_000}, "500000 x 500000 pixels, larger than any slide"),
        ({"tile": 60_000, "width": 900, "height": 900}, "tiles of 60000 x 60000 pixels"),
    ],
)
def test_a_bomb_is_refused_by_what_it_declares(tmp_path: Path, page: dict[str, int], sentence: str) -> None:
    path = tmp_path / "bomb.svs"
    path.write_bytes(_tiff([_page(**page)], padding=1_000))

    with pytest.raises(RejectedError, match=sentence):
        check_before_decoding(path)


def test_images_that_share_the_same_bytes_again_and_again_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "bomb.svs"
    path.write_bytes(_tiff([_page(count=1_700)] * 6, padding=1_000))

    with pytest.raises(RejectedError, match="declares 10200 bytes of tiles but has"):
        check_before_decoding(path)


def test_a_directory_of_absurd_length_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "long.svs"
    path.write_bytes(struct.pack("<2sHIH", b"II", 42, 8, 60_000) + bytes(60_000 * 12 + 4))

    with pytest.raises(RejectedError, match="has 60000 entries"):
        check_before_decoding(path)


def test_big_tiff_is_walked_in_its_own_widths(tmp_path: Path) -> None:
    path = tmp_path / "big.svs"
    path.write_bytes(struct.pack("<2sHHHQ", b"II", 43, 8, 0, 16) + struct.pack("<QHHQQQ", 1, 256, 4, 1, 7, 16))

    with pytest.raises(RejectedError, match="form a loop at byte 16"):
        check_before_decoding(path)


@pytest.mark.parametrize(
    ("syntax", "kind", "sentence"),
    [
        (DeflatedExplicitVRLittleEndian, WHOLE_SLIDE, "deflated DICOM"),
        (ExplicitVRLittleEndian, CT_IMAGE, "not a VL Whole Slide Microscopy image"),
    ],
)
def test_dicom_that_inflates_or_is_no_slide_is_refused_from_its_meta_group(
    tmp_path: Path, syntax: UID, kind: UID, sentence: str
) -> None:
    path = tmp_path / "object.dcm"
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = syntax
    meta.MediaStorageSOPClassUID = kind
    meta.MediaStorageSOPInstanceUID = generate_uid()
    group = DicomBytesIO()
    write_file_meta_info(group, meta, enforce_standard=True)
    path.write_bytes(bytes(128) + b"DICM" + group.getvalue() + b"\xff" * 100)

    with pytest.raises(RejectedError, match=sentence):
        check_before_decoding(path)


def test_dicom_with_a_spoilt_meta_group_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "object.dcm"
    path.write_bytes(bytes(128) + b"DICM" + b"\xff" * 300)

    with pytest.raises(RejectedError, match="DICOM"):
        check_before_decoding(path)


def test_a_real_dicom_slide_passes(shared_data: Path) -> None:
    check_before_decoding(shared_data / "dicom" / "cmu-1-small-region" / "level-0-frames-0-30.dcm")


def _page(
    *,
    width: int = 16,
    height: int = 16,
    tile: int = 16,
    offset: int = 8,
    count: int = 16,
) -> list[tuple[int, int]]:
    """Return the entries (tag, value) of one directory of an RGB image with one JPEG tile."""
    return [
        (256, width),
        (257, height),
        (258, 8),
        (259, 7),
        (262, 6),
        (277, 3),
        (322, tile),
        (323, tile),
        (324, offset),
        (325, count),
    ]


def _tiff(pages: list[list[tuple[int, int]]], *, next_of_last: int = 0, padding: int = 0) -> bytes:
    """Return a little-endian TIFF of these directories, one after the other."""
    content = struct.pack("<2sHI", b"II", 42, 8)
    for number, page in enumerate(pages):
        entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in page)
        end = len(content) + 2 + len(entries) + 4
        following = next_of_last if number == len(pages) - 1 else end
        content += struct.pack("<H", len(page)) + entries + struct.pack("<I", following)
    return content + bytes(padding)
