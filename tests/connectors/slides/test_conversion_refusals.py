"""Slides that can't become DICOM are refused with a sentence, and nothing half made stays behind."""

import io
import itertools
import json
import logging
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from signal import SIGKILL
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tifffile import TiffFile, TiffPage, imwrite

from connectors.slides.bounded import Decoder, Limits
from connectors.slides.conversion import convert
from connectors.slides.header import SlideHeader
from connectors.slides.simulator import SlideScript, write_slide
from models.errors import RejectedError, TransientError
from models.uid import derive_uid

_CHECKOUT = Path(__file__).resolve().parents[3]
_JOB = "connectors.slides.conversion:convert"
_IN_A_PROCESS = "import json, sys; from connectors.slides.conversion import convert; convert(json.load(sys.stdin))"
_HEADER = SlideHeader(
    study_instance_uid=derive_uid("study", "case", "north"),
    container_identifier="S26-SECRET-1",
    received_at=datetime(2026, 11, 22, tzinfo=UTC),
)


def _arguments(path: Path, folder: Path) -> dict[str, Any]:
    header = _HEADER.model_dump(mode="json")
    return {"path": str(path), "folder": str(folder), "header": header, "scan_id": "scan", "edition": 1}


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The bytes of a slide with three levels, thumbnail, label and macro."""
    path = tmp_path_factory.mktemp("whole") / "whole.svs"
    write_slide(path, SlideScript("S26-SECRET-1", width=5000, height=3000))
    return path.read_bytes()


def _refused(path: Path, folder: Path) -> str:
    """Return the sentence of the refusal, which names no file and leaves nothing."""
    folder.mkdir(exist_ok=True)
    with pytest.raises(RejectedError) as refusal:
        convert(_arguments(path, folder))
    assert list(folder.iterdir()) == []
    sentence = str(refusal.value)
    assert "SECRET" not in sentence
    assert str(path) not in sentence
    return sentence


def test_a_slide_cut_off_anywhere_is_refused(whole: bytes, tmp_path: Path) -> None:
    path = tmp_path / "S26-SECRET-1.svs"
    lengths = {8, 9, 200, len(whole) - 1, len(whole) - 10, *range(1000, len(whole), len(whole) // 25)}
    for length in sorted(lengths):
        path.write_bytes(whole[:length])
        assert "cut off" in _refused(path, tmp_path / "made"), length


def test_a_real_slide_cut_off_anywhere_is_refused(shared_data: Path, tmp_path: Path) -> None:
    content = (shared_data / "slides" / "CMU-1-Small-Region.svs").read_bytes()
    path = tmp_path / "S26-SECRET-1.svs"
    for length in (1_000, 1_400_000, 1_476_000, 1_850_200, 1_938_300, len(content) - 10, len(content) - 1):
        path.write_bytes(content[:length])
        assert "cut off" in _refused(path, tmp_path / "made"), length


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "no TIFF slide"),
        (b"this is a letter\n" * 60, "no TIFF slide"),
        (bytes(128) + b"DICM" + bytes(1000), "DICOM already"),
        (b"II*\0\x08\0\0\0" + bytes(200), "cut off|no TIFF|can't be converted"),
        (b"II*\0\x08\0\0\0" + b"\xff" * 2000, "cut off|no TIFF|can't be converted"),
    ],
)
def test_what_is_no_scanner_s_slide_is_refused(tmp_path: Path, content: bytes, sentence: str) -> None:
    path = tmp_path / "S26-SECRET-1.svs"
    path.write_bytes(content)
    assert re.search(sentence, _refused(path, tmp_path / "made"))


def test_a_picture_of_another_kind_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "S26-SECRET-1.tiff"
    imwrite(path, np.zeros((600, 600, 3), np.uint8), tile=(256, 256), photometric="rgb")
    assert "unknown format" in _refused(path, tmp_path / "made")


def _page_bytes(path: Path, tile: int) -> tuple[int, int]:
    with TiffFile(path) as tiff:
        page = tiff.pages[0]
        assert isinstance(page, TiffPage)
        return page.dataoffsets[tile], page.databytecounts[tile]


@pytest.mark.parametrize("damage", ["zeroed", "beheaded", "cut"])
@pytest.mark.parametrize("tile", [0, 7, -1])
def test_a_damaged_tile_is_found_wherever_it_lies(whole: bytes, tmp_path: Path, damage: str, tile: int) -> None:
    path = tmp_path / "S26-SECRET-1.svs"
    path.write_bytes(whole)
    offset, count = _page_bytes(path, tile)
    spoilt = bytearray(whole)
    where = {"zeroed": slice(0, count), "beheaded": slice(0, 2), "cut": slice(count - 2, count)}[damage]
    spoilt[offset + where.start : offset + where.stop] = bytes(where.stop - where.start)
    path.write_bytes(spoilt)
    assert "damaged" in _refused(path, tmp_path / "made")


def test_garbage_inside_the_first_tile_is_found_by_decoding_it(whole: bytes, tmp_path: Path) -> None:
    path = tmp_path / "S26-SECRET-1.svs"
    path.write_bytes(whole)
    offset, count = _page_bytes(path, 0)
    spoilt = bytearray(whole)
    spoilt[offset + 2 : offset + count - 2] = b"\x55" * (count - 4)
    path.write_bytes(spoilt)
    assert "decoded" in _refused(path, tmp_path / "made")


@pytest.mark.parametrize(("compression", "named"), [("lzw", "LZW"), ("deflate", "DEFLATE"), (None, "NONE")])
def test_tiles_that_dicom_can_not_carry_are_refused_and_never_compressed_again(
    tmp_path: Path, compression: str | None, named: str
) -> None:
    path = tmp_path / "S26-SECRET-1.svs"
    _aperio(path, "MPP = 0.5", compression)
    sentence = _refused(path, tmp_path / "made")
    assert "can't carry unchanged" in sentence
    assert named in sentence


def test_a_slide_without_a_scale_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "S26-SECRET-1.svs"
    _aperio(path, "AppMag = 20", "jpeg")
    assert "MPP" in _refused(path, tmp_path / "made")


def _aperio(path: Path, said: str, compression: str | None) -> None:
    imwrite(
        path,
        np.asarray(Image.effect_noise((512, 512), 60).convert("RGB")),
        tile=(256, 256),
        photometric="rgb",
        compression=compression,
        description=f"Aperio Image Library v12.0.15 \r\n512x512 [0,0 512x512] (256x256)|{said}",
        metadata=None,
        software=False,
    )


def test_a_tile_that_declares_gigapixels_is_not_decoded(tmp_path: Path) -> None:
    path = tmp_path / "S26-SECRET-1.svs"
    imwrite(
        path,
        shape=(30_000, 30_000, 3),
        dtype=np.uint8,
        photometric="rgb",
        compression="jpeg",
        rowsperstrip=30_000,
        data=iter([b"\xff\xd8\xff\xd9"]),
        metadata=None,
    )
    assert "no scanner writes that" in _refused(path, tmp_path / "made")


@pytest.mark.parametrize(
    ("spoil", "named"),
    [
        ({"container_identifier": "S26\\SECRET"}, "container_identifier"),
        ({"accession_number": "SECRET-NUMBER-LONGER-THAN-16"}, "accession_number"),
        ({"patient": {"name": {"family": "SECRET^X"}}}, "patient.name.family"),
        ({"patient": {"birth_date": "SECRET"}}, "patient.birth_date"),
        ({"study_instance_uid": "SECRET"}, "study_instance_uid"),
        ({"surprise": "SECRET"}, "surprise"),
    ],
)
def test_a_header_that_dicom_can_not_hold_is_refused_by_field_never_by_value(
    whole: bytes, tmp_path: Path, spoil: dict[str, Any], named: str
) -> None:
    path = tmp_path / "S26-SECRET-1.svs"
    path.write_bytes(whole)
    arguments = _arguments(path, tmp_path)
    arguments["header"] |= spoil
    with pytest.raises(RejectedError) as refusal:
        convert(arguments)
    assert named in str(refusal.value)
    assert "SECRET" not in f"{refusal.value} {refusal.value.__cause__!r}"


def test_a_job_that_says_too_little_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RejectedError, match="header"):
        convert({"path": "x", "folder": str(tmp_path), "scan_id": "s", "edition": 1})
    with pytest.raises(RejectedError, match="edition"):
        convert({**_arguments(tmp_path / "x", tmp_path), "edition": 0})


def test_a_slide_that_is_not_there_may_come_back(tmp_path: Path) -> None:
    with pytest.raises(TransientError, match="ENOENT"):
        convert(_arguments(tmp_path / "gone.svs", tmp_path / "made"))


def test_a_full_disk_is_no_fault_of_the_slide_s(whole: bytes, small_disk: Path, tmp_path: Path) -> None:
    path = tmp_path / "slide.svs"
    path.write_bytes(whole)
    with pytest.raises(TransientError, match=r"disk is full: \d+ bytes are free, and converting takes about \d+"):
        convert(_arguments(path, small_disk / "made"))
    assert list((small_disk / "made").iterdir()) == []


def test_nothing_about_the_slide_is_logged(whole: bytes, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "S26-SECRET-1.svs"
    with caplog.at_level(logging.INFO):
        path.write_bytes(whole)
        convert(_arguments(path, tmp_path / "made"))
        path.write_bytes(whole[:-5000])
        _refused(path, tmp_path / "refused")
    assert "SECRET" not in caplog.text


@pytest.mark.parametrize("failpoint", ["conversion.before_rename", "conversion.after_rename"])
def test_a_conversion_that_was_killed_is_done_again_with_the_same_bytes(
    whole: bytes, tmp_path: Path, failpoint: str
) -> None:
    path, folder = tmp_path / "slide.svs", tmp_path / "made"
    path.write_bytes(whole)
    expected = convert(_arguments(path, tmp_path / "unharmed"))
    killed = subprocess.run(
        [sys.executable, "-c", _IN_A_PROCESS],
        input=json.dumps(_arguments(path, folder)),
        env={**os.environ, "COVERSLIP_FAILPOINT": failpoint},
        cwd=_CHECKOUT,
        check=False,
        text=True,
    )
    assert killed.returncode == -SIGKILL
    assert [found.name for found in folder.iterdir()] == [
        ".unfinished" if failpoint == "conversion.before_rename" else "dicom"
    ]
    assert convert(_arguments(path, folder)) == expected
    assert [found.name for found in folder.iterdir()] == ["dicom"]


@pytest.fixture(scope="module")
def decoder() -> Iterator[Decoder]:
    """The bounded children in which conversion runs."""
    with Decoder((_JOB,)) as decoder:
        yield decoder


def test_a_bounded_child_converts_and_refuses_as_it_does_here(decoder: Decoder, whole: bytes, tmp_path: Path) -> None:
    path = tmp_path / "slide.svs"
    path.write_bytes(whole)
    folder = tmp_path / "made"
    folder.mkdir(mode=0o700)
    answer = decoder.run(_JOB, _arguments(path, folder))
    assert answer == convert(_arguments(path, tmp_path / "here"))
    path.write_bytes(whole[:-1])
    with pytest.raises(RejectedError, match="cut off"):
        decoder.run(_JOB, _arguments(path, folder))


def test_memory_does_not_grow_with_the_slide(decoder: Decoder, tmp_path: Path) -> None:
    path = tmp_path / "large.svs"
    _write_noise(path, tiles_across=80, tiles_down=60)
    assert path.stat().st_size > 150_000_000
    folder = tmp_path / "made"
    folder.mkdir(mode=0o700)
    limits = Limits(memory_bytes=64 * 1024 * 1024, cpu_seconds=60, wall=timedelta(minutes=1))
    answer = decoder.run(_JOB, _arguments(path, folder), limits)
    assert len(str(answer)) < 1000
    assert (folder / "dicom" / "level-0.dcm").stat().st_size > 150_000_000


def _write_noise(path: Path, tiles_across: int, tiles_down: int) -> None:
    """Write a slide whose tiles hardly compress: the same one again and again."""
    stream = io.BytesIO()
    Image.effect_noise((256, 256), 90).convert("RGB").save(stream, "JPEG", quality=95)
    imwrite(
        path,
        data=itertools.repeat(stream.getvalue(), tiles_across * tiles_down),
        shape=(tiles_down * 256, tiles_across * 256, 3),
        dtype=np.uint8,
        tile=(256, 256),
        photometric="ycbcr",
        subsampling=(2, 2),
        compression="jpeg",
        description="Aperio Image Library v12.0.15 \r\n20480x15360 [0,0 20480x15360] (256x256)|MPP = 0.5",
        metadata=None,
        software=False,
    )
