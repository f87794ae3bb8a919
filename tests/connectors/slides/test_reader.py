import shutil
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import openslide
import pytest
import tifffile
from PIL import Image

from connectors.slides.reader import Grid, SlideReader
from connectors.slides.scanner_notes import metadata_from
from connectors.slides.simulator import SlideScript, write_slide
from models.errors import RejectedError


def test_a_slide_says_its_size_scale_scanner_and_time(slide: Path) -> None:
    with SlideReader(slide) as reader:
        said = reader.metadata()

    assert (said.width, said.height) == (3000, 2000)
    assert said.levels == ((3000, 2000), (750, 500), (187, 125))
    assert said.microns_per_pixel == (0.5, 0.5)
    assert (said.vendor, said.scanner_serial, said.objective) == ("aperio", "SS0001", 20.0)
    assert said.scanned_at == datetime(2026, 11, 22, 9, 30, tzinfo=UTC)
    assert said.scanner_barcode == "26H004821-A1-1"


def test_a_time_without_a_zone_stays_without_one(shared_data: Path) -> None:
    with SlideReader(shared_data / "slides" / "CMU-1-Small-Region.svs") as reader:
        scanned_at = reader.metadata().scanned_at
    assert scanned_at is not None
    assert scanned_at.isoformat() == "2009-12-29T09:59:15"


@pytest.mark.parametrize(
    "properties",
    [
        {},
        {"openslide.mpp-x": "0", "openslide.mpp-y": "0"},
        {"openslide.mpp-x": "nan", "openslide.mpp-y": "inf"},
        {"openslide.mpp-x": "twenty", "openslide.objective-power": "-20"},
        {"aperio.Date": "13/45/09", "aperio.Time": "noon", "aperio.Barcode": "  "},
    ],
)
def test_what_cannot_be_true_is_not_repeated(properties: dict[str, str]) -> None:
    said = metadata_from((10, 10), [(10, 10)], properties)

    assert said.microns_per_pixel is None
    assert said.objective is None
    assert said.scanned_at is None
    assert said.scanner_barcode is None


def test_tiles_are_the_same_pixels_that_openslide_reads(slide: Path) -> None:
    with SlideReader(slide) as reader, openslide.OpenSlide(slide) as other:
        assert reader.grid() == Grid(rows=8, columns=12, tile_width=256, tile_height=256)
        for tile in reader.tiles([(0, 0), (3, 2), (7, 11)]):
            assert tile.pixels is not None
            height, width = tile.pixels.shape[:2]
            region = other.read_region((tile.column * 256, tile.row * 256), 0, (width, height))
            assert np.array_equal(tile.pixels, np.asarray(region.convert("RGB")))
        assert (height, width) == (2000 - 7 * 256, 3000 - 11 * 256)


def test_tiles_of_a_real_slide_with_shared_tables_keep_their_colours(shared_data: Path) -> None:
    path = shared_data / "slides" / "CMU-1-Small-Region.svs"
    with SlideReader(path) as reader, openslide.OpenSlide(path) as other:
        (tile,) = reader.tiles([(5, 4)])
        region = other.read_region((4 * 240, 5 * 240), 0, (240, 240))
    assert tile.pixels is not None
    assert np.array_equal(tile.pixels, np.asarray(region.convert("RGB")))


def test_a_format_without_square_tiles_is_read_on_a_grid_of_our_own(shared_data: Path) -> None:
    with SlideReader(shared_data / "slides" / "hamamatsu-fluo-DAPI-387.ndpi") as reader:
        assert reader.grid() == Grid(rows=19, columns=16, tile_width=256, tile_height=256)
        tiles = list(reader.tiles([(9, 8), (18, 15)]))

    assert [tile.pixels.shape for tile in tiles if tile.pixels is not None] == [(256, 256, 3), (256, 128, 3)]


def test_a_damaged_tile_is_reported_and_the_next_one_is_read(slide: Path, tmp_path: Path) -> None:
    damaged = tmp_path / "damaged.svs"
    shutil.copy(slide, damaged)
    with tifffile.TiffFile(slide) as file:
        offset = file.pages.first.dataoffsets[3 * 12 + 2]
        count = file.pages.first.databytecounts[3 * 12 + 2]
    with damaged.open("r+b") as content:
        content.seek(offset)
        content.write(bytes(count))

    with SlideReader(damaged) as reader:
        first, second = reader.tiles([(3, 2), (3, 3)])

    assert first.pixels is None
    assert second.pixels is not None


def test_a_damaged_part_of_another_format_does_not_spoil_the_rest(shared_data: Path, tmp_path: Path) -> None:
    damaged = tmp_path / "damaged.ndpi"
    whole = shared_data / "slides" / "hamamatsu-fluo-DAPI-387.ndpi"
    content = bytearray(whole.read_bytes())
    with tifffile.TiffFile(whole) as file:
        strips = file.pages.first.dataoffsets
    middle = slice(strips[len(strips) // 2], strips[len(strips) // 2 + 40])
    content[middle] = bytes(middle.stop - middle.start)
    damaged.write_bytes(content)

    with SlideReader(damaged) as reader:
        tiles = [tile.pixels is not None for tile in reader.tiles([(row, 8) for row in range(19)])]

    assert tiles[0]
    assert not all(tiles)
    assert tiles[18]


def test_the_overview_shows_the_section_and_never_the_label(slide: Path) -> None:
    with SlideReader(slide) as reader:
        overview = reader.overview(512)
        nearly = reader.overview(1024)
        label = reader.label()
        macro = reader.macro()

    assert overview is not None
    assert overview.size == (512, 341)
    assert nearly is not None
    assert nearly.size == (750, 500)
    assert label is not None
    assert label.size == (480, 480)
    assert macro is not None


def test_a_slide_without_label_has_none(tmp_path: Path) -> None:
    path = tmp_path / "unlabelled.svs"
    write_slide(path, SlideScript("26H004821-A1-1", width=800, height=600, label="absent"))

    with SlideReader(path) as reader:
        assert reader.label() is None
        assert reader.macro() is not None


def test_a_truncated_slide_is_refused_before_any_pixel(tmp_path: Path) -> None:
    path = tmp_path / "cut.svs"
    write_slide(path, SlideScript("26H004821-A1-1", width=800, height=600, truncated=True))

    with pytest.raises(RejectedError, match="the file is truncated"):
        SlideReader(path)


@pytest.mark.parametrize("content", [b"\x17\x99" * 500, b"II", b"<html>404</html>", b"PK\x03\x04" + bytes(500)])
def test_a_file_that_is_no_slide_is_one_clear_sentence(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "Example_Ada.svs"
    path.write_bytes(content)

    with pytest.raises(RejectedError, match="is no slide of a known format") as caught:
        SlideReader(path)
    assert "Ada" not in str(caught.value)


def test_an_ordinary_tiff_picture_is_read_or_refused_but_never_crashes(tmp_path: Path) -> None:
    path = tmp_path / "holiday.tif"
    Image.new("RGB", (300, 200)).save(path)

    with pytest.raises(RejectedError, match="is no slide of a known format"):
        SlideReader(path)


def test_noise_from_the_shared_folder_is_refused(shared_data: Path) -> None:
    with pytest.raises(RejectedError, match="1001 bytes is no slide"):
        SlideReader(shared_data / "slides" / "not-a-slide.svs")
