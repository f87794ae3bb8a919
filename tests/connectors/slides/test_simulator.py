import threading
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import openslide
import pytest
import tifffile
from wsidicom import WsiDicom
from wsidicomizer import WsiDicomizer

from connectors.slides.simulator import SlideScript, write_as_scanner, write_slide

SMALL = SlideScript("26H004821-A1-1", width=1500, height=1000, seed=3)


def test_the_same_script_writes_the_same_bytes_and_another_seed_does_not(tmp_path: Path) -> None:
    for name, script in (("first", SMALL), ("again", SMALL), ("other", replace(SMALL, seed=4))):
        write_slide(tmp_path / name, script)

    assert (tmp_path / "first").read_bytes() == (tmp_path / "again").read_bytes()
    assert (tmp_path / "first").read_bytes() != (tmp_path / "other").read_bytes()


def test_openslide_reads_a_pyramid_with_scale_scanner_label_and_macro(tmp_path: Path) -> None:
    path = tmp_path / "slide.svs"
    write_slide(path, SlideScript("26H004821-A1-1", scanner_barcode="26H004821-A1-1"))

    with openslide.OpenSlide(path) as slide:
        properties = slide.properties
        assert slide.level_dimensions == ((6000, 4000), (1500, 1000), (375, 250))
        assert set(slide.associated_images) == {"label", "macro", "thumbnail"}
        assert properties["openslide.vendor"] == "aperio"
        assert float(properties["openslide.mpp-x"]) == 0.5
        assert properties["openslide.objective-power"] == "20"
        assert properties["aperio.ScanScope ID"] == "SS0001"
        assert properties["aperio.Barcode"] == "26H004821-A1-1"
    assert 1_000_000 < path.stat().st_size < 4_500_000


def test_tifffile_sees_the_series_that_an_aperio_scanner_writes(tmp_path: Path) -> None:
    path = tmp_path / "slide.svs"
    write_slide(path, SMALL)

    with tifffile.TiffFile(path) as file:
        assert file.is_svs
        assert [series.name for series in file.series] == ["Baseline", "Thumbnail", "Label", "Macro"]


def test_wsidicomizer_takes_its_tiles_over_unchanged(tmp_path: Path) -> None:
    path, dicom = tmp_path / "slide.svs", tmp_path / "dicom"
    write_slide(path, SMALL)

    WsiDicomizer.convert(path, dicom)

    with WsiDicom.open(dicom) as converted, tifffile.TiffFile(path) as written:
        level = written.pages.first
        written.filehandle.seek(level.dataoffsets[8])  # row 1, column 2 of six columns
        assert converted.read_encoded_tile(0, (2, 1)) == written.filehandle.read(level.databytecounts[8])
        assert converted.read_label().size == (480, 480)


def test_a_truncated_slide_is_one_that_openslide_refuses(tmp_path: Path) -> None:
    path = tmp_path / "slide.svs"
    write_slide(path, replace(SMALL, truncated=True))

    with pytest.raises(openslide.OpenSlideError):
        openslide.OpenSlide(path)


def test_a_scanner_writes_under_the_final_name_while_the_file_grows(tmp_path: Path) -> None:
    whole, growing = tmp_path / "whole.svs", tmp_path / "growing.svs"
    write_slide(whole, SMALL)
    pieces = 5
    chunk = whole.stat().st_size // pieces + 1

    scanner = threading.Thread(target=write_as_scanner, args=(growing, SMALL, chunk, timedelta(milliseconds=60)))
    scanner.start()
    sizes = set()
    while scanner.is_alive():
        if growing.exists():
            sizes.add(growing.stat().st_size)
        scanner.join(0.01)

    assert len(sizes & {chunk * count for count in range(1, pieces)}) >= 2
    assert growing.read_bytes() == whole.read_bytes()
