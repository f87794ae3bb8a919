import random
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
import tifffile
from PIL import Image

from connectors.slides.bounded import Decoder, Limits
from connectors.slides.simulator import SlideScript, write_slide
from flows.barcode_matching.step import READ_LABEL
from flows.slide_qc.examine import examine
from flows.slide_qc.rules import Measurements, QualityPolicy, Verdict, judge
from flows.slide_qc.step import EXAMINE
from models.errors import RejectedError

_SHARED = Path(__file__).parents[4] / "shared" / "data"


@pytest.fixture
def shared_slides() -> Path:
    """The folder of real slides that lies beside a checkout, where it does."""
    if not _SHARED.is_dir():
        pytest.skip("the folder of real slides is not there")
    return _SHARED / "slides"


@pytest.fixture(scope="module")
def decoder() -> Iterator[Decoder]:
    with Decoder((EXAMINE, READ_LABEL)) as started:
        yield started


def _verdict(decoder: Decoder, path: Path, folder: Path) -> Verdict:
    answer = decoder.run(EXAMINE, {"path": str(path), "folder": str(folder)})
    return judge(Measurements.model_validate(answer), QualityPolicy())


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(
    ("script", "quality"),
    [
        (SlideScript("26H004821-A1-1"), "pass"),
        (SlideScript("26H004821-A1-1", blur="part"), "review"),
        (SlideScript("26H004821-A1-1", blur="whole"), "rescan"),
        (SlideScript("26H004821-A1-1", tissue="none"), "review"),
        (SlideScript("26H004821-A1-1", tissue="faint"), "review"),
        (SlideScript("26H004821-A1-1", label="smudged"), "pass"),
    ],
)
def test_every_kind_of_simulated_slide_gets_the_verdict_it_was_made_for(
    decoder: Decoder, tmp_path: Path, script: SlideScript, quality: str, seed: int
) -> None:
    path = tmp_path / "slide.svs"
    fields = {name: getattr(script, name) for name in ("tissue", "blur", "label")}
    write_slide(path, SlideScript(script.container_identifier, seed=seed, width=3600, height=2400, **fields))

    assert _verdict(decoder, path, tmp_path).quality == quality


def test_the_thumbnail_shows_the_section_without_the_label(decoder: Decoder, tmp_path: Path) -> None:
    path, folder = tmp_path / "slide.svs", tmp_path / "private"
    folder.mkdir(mode=0o700)
    write_slide(path, SlideScript("26H004821-A1-1", width=3000, height=2000))

    _verdict(decoder, path, folder)

    assert [file.name for file in folder.iterdir()] == ["thumbnail.jpg"]
    with Image.open(folder / "thumbnail.jpg") as thumbnail:
        assert thumbnail.size == (512, 341)
        red, green, _ = thumbnail.convert("RGB").getpixel((2, 2))  # type: ignore[misc]
        assert min(red, green) > 235


def test_a_damaged_tile_asks_for_another_scan(decoder: Decoder, tmp_path: Path) -> None:
    path = tmp_path / "slide.svs"
    write_slide(path, SlideScript("26H004821-A1-1", seed=1, width=3000, height=2000))
    with tifffile.TiffFile(path) as file:
        page = file.pages.first
        tiles = list(zip(page.dataoffsets, page.databytecounts, strict=True))
    with path.open("r+b") as content:
        for offset, count in tiles[4 * 12 : 5 * 12]:
            content.seek(offset)
            content.write(bytes(count))

    verdict = _verdict(decoder, path, tmp_path)

    assert verdict.quality == "rescan"
    assert "are damaged" in verdict.reasons[0]


def test_a_real_sharp_slide_passes(decoder: Decoder, shared_slides: Path, tmp_path: Path) -> None:
    verdict = _verdict(decoder, shared_slides / "CMU-1-Small-Region.svs", tmp_path)

    assert verdict.quality == "pass"
    assert verdict.reasons[0].startswith("0 of 4")
    assert (tmp_path / "thumbnail.jpg").exists()


def test_a_real_fluorescence_slide_is_not_judged(decoder: Decoder, shared_slides: Path, tmp_path: Path) -> None:
    verdict = _verdict(decoder, shared_slides / "hamamatsu-fluo-DAPI-387.ndpi", tmp_path)

    assert verdict.quality == "cannot judge"
    assert "no brightfield scan" in verdict.reasons[0]


def test_noise_with_the_name_of_a_slide_is_set_aside(decoder: Decoder, shared_slides: Path, tmp_path: Path) -> None:
    with pytest.raises(RejectedError, match="is no slide of a known format"):
        _verdict(decoder, shared_slides / "not-a-slide.svs", tmp_path)


def test_a_slide_without_smaller_levels_is_judged_when_it_is_small_enough(tmp_path: Path) -> None:
    path = tmp_path / "flat.svs"
    write_slide(path, SlideScript("26H004821-A1-1", width=900, height=250))

    assert examine({"path": str(path), "folder": str(tmp_path)})["glass"] == [242, 242, 242]


def test_examining_costs_less_than_a_second_of_processor_time(tmp_path: Path) -> None:
    path = tmp_path / "slide.svs"
    write_slide(path, SlideScript("26H004821-A1-1", seed=1))
    began = time.process_time()

    examine({"path": str(path), "folder": str(tmp_path)})

    assert time.process_time() - began < 1.0


@pytest.mark.parametrize("seed", range(2))
def test_whatever_is_changed_in_a_file_ends_as_measurements_or_as_a_refusal(
    decoder: Decoder, tmp_path: Path, seed: int
) -> None:
    chance = random.Random(seed)
    path = tmp_path / "slide.svs"
    write_slide(path, SlideScript("26H004821-A1-1", width=1100, height=700))
    whole = path.read_bytes()
    limits = Limits(memory_bytes=512 * 1024 * 1024, cpu_seconds=10, wall=timedelta(seconds=20))
    outcomes: list[str] = []
    for _ in range(12):
        content = bytearray(whole)
        for _ in range(chance.choice((1, 5, 40))):
            near_a_directory = chance.choice((0, len(whole) - 1500)) + chance.randrange(1500)
            content[chance.choice((near_a_directory, chance.randrange(len(whole))))] = chance.randrange(256)
        path.write_bytes(content)
        for job in (EXAMINE, READ_LABEL):
            try:
                answer = decoder.run(job, {"path": str(path), "folder": str(tmp_path)}, limits)
            except RejectedError as error:
                outcomes.append(str(error))
            else:
                outcomes.append("measured" if "glass" in answer else "read")
    assert {"measured", "read"} < set(outcomes)
    assert "26H004821" not in "".join(outcomes)
