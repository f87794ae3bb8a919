from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import zxingcpp
from PIL import Image, ImageFilter, ImageOps

from connectors.slides.bounded import Decoder
from connectors.slides.drawn_label import draw_label
from connectors.slides.jobs import read_label
from connectors.slides.label import Code, read_codes
from connectors.slides.simulator import SlideScript, write_slide
from models.errors import RejectedError

READ_LABEL = "connectors.slides.jobs:read_label"
SCRIPT = SlideScript("26H004821-A1-1", width=800, height=600)


@pytest.fixture(scope="module")
def decoder() -> Iterator[Decoder]:
    with Decoder((READ_LABEL,)) as started:
        yield started


@pytest.mark.parametrize("seed", range(8))
def test_what_the_simulator_prints_is_read_again(seed: int) -> None:
    identifier = f"26H{seed:06d}-B{seed}-{seed + 1}"

    codes = read_codes(draw_label(identifier, ("Ki-67", "SITEA"), "printed", seed))

    assert codes == (Code("Data Matrix", identifier, "as it is"),)


@pytest.mark.parametrize("label", ["smudged", "no code"])
@pytest.mark.parametrize("seed", range(8))
def test_a_smudged_or_missing_code_is_not_read_at_all(label: str, seed: int) -> None:
    image = draw_label("26H004821-A1-1", ("H&E",), "smudged" if label == "smudged" else "no code", seed)

    assert read_codes(image) == ()


@pytest.mark.parametrize("degrees", [0, 8, 90, 135, 180, 270])
@pytest.mark.parametrize("is_inverted", [False, True])
def test_a_label_may_lie_any_way_round_and_be_white_on_black(degrees: int, *, is_inverted: bool) -> None:
    image = draw_label("26H004821-A1-1", (), "printed", 1).rotate(degrees, expand=True, fillcolor="white")

    codes = read_codes(ImageOps.invert(image) if is_inverted else image)

    assert [code.text for code in codes] == ["26H004821-A1-1"]


def test_a_small_dark_blurred_label_is_read_by_a_later_attempt() -> None:
    image = draw_label("26H004821-A1-1", (), "printed", 2).resize((150, 150)).filter(ImageFilter.GaussianBlur(1.4))
    dark = image.point(lambda value: 60 + value // 8)

    (code,) = read_codes(dark)

    assert code.text == "26H004821-A1-1"
    assert code.attempt != "as it is"


def test_every_code_of_a_label_is_returned_the_foreign_one_too() -> None:
    image = draw_label("26H004821-A1-1", (), "printed", 3)
    foreign = zxingcpp.create_barcode("4210201129820", zxingcpp.BarcodeFormat.EAN13)
    bars = Image.fromarray(np.asarray(zxingcpp.write_barcode_to_image(foreign, scale=3, add_quiet_zones=True)))
    image.paste(bars.crop((0, 0, bars.width, 120)), (40, 350))

    codes = read_codes(image)

    assert {(code.symbology, code.text) for code in codes} == {
        ("Data Matrix", "26H004821-A1-1"),
        ("EAN-13", "4210201129820"),
    }


@pytest.mark.parametrize("seed", range(6))
def test_noise_holds_no_code(seed: int) -> None:
    noise = np.random.default_rng(seed).integers(0, 255, (300, 300), np.uint8)

    assert read_codes(Image.fromarray(noise)) == ()


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("barcode_datamatrix.jpeg", ("123455b45GR4",)),
        ("barcode_datamatrix_cropped.jpg", ("123455b45GR4",)),
        ("barcode_cant_read.jpg", ("4210201129820",)),
        ("ndpi_macro.jpg", ()),
    ],
)
def test_real_pictures_are_read_as_measured(shared_data: Path, name: str, text: tuple[str, ...]) -> None:
    with Image.open(shared_data / "labels" / name) as image:
        assert tuple(code.text for code in read_codes(image)) == text


def test_the_job_returns_codes_and_leaves_the_picture_for_a_person(
    decoder: Decoder, slide: Path, tmp_path: Path
) -> None:
    answer = decoder.run(READ_LABEL, {"path": str(slide), "folder": str(tmp_path)})

    assert answer == {
        "codes": [{"symbology": "Data Matrix", "text": "26H004821-A1-1", "attempt": "as it is"}],
        "label": "label.png",
        "scanner_barcode": "26H004821-A1-1",
    }
    assert [file.name for file in tmp_path.iterdir()] == ["label.png"]
    with Image.open(tmp_path / "label.png") as picture:
        assert picture.size == (480, 480)


def test_without_a_label_picture_the_end_of_the_macro_is_shown(tmp_path: Path) -> None:
    path = tmp_path / "slide.svs"
    write_slide(path, replace(SCRIPT, label="absent"))

    answer = read_label({"path": str(path), "folder": str(tmp_path)})

    assert answer == {"codes": [], "label": "label.png", "scanner_barcode": None}
    with Image.open(tmp_path / "label.png") as picture:
        assert picture.size == (384, 431)


def test_a_handwritten_label_gives_no_code_but_a_picture(decoder: Decoder, shared_data: Path, tmp_path: Path) -> None:
    path = shared_data / "slides" / "CMU-1-Small-Region.svs"

    answer = decoder.run(READ_LABEL, {"path": str(path), "folder": str(tmp_path)})

    assert answer == {"codes": [], "label": "label.png", "scanner_barcode": None}
    assert (tmp_path / "label.png").stat().st_size > 10_000


def test_a_label_photographed_within_the_macro_only_is_shown(
    decoder: Decoder, shared_data: Path, tmp_path: Path
) -> None:
    path = shared_data / "slides" / "hamamatsu-fluo-DAPI-387.ndpi"

    answer = decoder.run(READ_LABEL, {"path": str(path), "folder": str(tmp_path)})

    assert answer["codes"] == []
    assert answer["label"] == "label.png"


def test_a_truncated_slide_comes_back_from_the_child_with_its_sentence(decoder: Decoder, tmp_path: Path) -> None:
    path = tmp_path / "cut.svs"
    write_slide(path, replace(SCRIPT, truncated=True))

    with pytest.raises(RejectedError, match=r"^the file is truncated: "):
        decoder.run(READ_LABEL, {"path": str(path), "folder": str(tmp_path)})
    assert not (tmp_path / "label.png").exists()
