import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image, ImageFilter

from connectors.slides.drawn_tissue import draw_tissue
from connectors.slides.reader import Grid
from flows.slide_qc.colour import glass_colour
from flows.slide_qc.examine import positions_on_tissue
from flows.slide_qc.focus import reblur_ratio
from flows.slide_qc.tissue import find_tissue

Pixels = npt.NDArray[np.uint8]


@pytest.fixture(scope="module")
def section() -> Pixels:
    return draw_tissue(2048, 1536, seed=2, tissue="present", blur="none")


def _glass(noise: float = 1.5, *, seed: int = 0) -> Pixels:
    values = np.random.default_rng(seed).normal(240, noise, (300, 400, 3))
    return np.clip(values, 0, 255).astype(np.uint8)


def test_tissue_is_found_where_it_was_drawn(section: Pixels) -> None:
    overview = np.asarray(Image.fromarray(section).reduce(4))
    drawn = overview.min(axis=2) < 215

    found = find_tissue(overview)

    assert 0.1 < found.mean() < 0.6
    assert (found & drawn).sum() > 0.9 * drawn.sum()
    assert (found & ~drawn).sum() < 0.2 * found.sum()


@pytest.mark.parametrize("noise", [0.0, 0.5, 2.0, 5.0])
def test_an_empty_slide_holds_no_tissue_however_noisy_its_glass_is(noise: float) -> None:
    assert find_tissue(_glass(noise)).sum() == 0


def test_dust_is_no_tissue_but_a_tiny_biopsy_is() -> None:
    overview = _glass()
    overview[50:53, 50:53] = (120, 80, 120)
    assert find_tissue(overview).sum() == 0

    overview[100:112, 100:140] = (200, 120, 170)
    assert 400 < find_tissue(overview).sum() < 700


def test_a_black_pen_stroke_does_not_hide_pale_tissue() -> None:
    overview = _glass()
    overview[20:280, 10:40] = 15
    overview[100:200, 150:300] = (225, 165, 200)

    assert find_tissue(overview)[120:180, 170:280].all()


def test_the_glass_has_the_colour_that_shines_through_beside_the_tissue() -> None:
    overview = _glass()
    overview[:, :, 2] = 205
    overview[50:250, 50:350] = (190, 90, 140)

    assert glass_colour(overview)[2] == 205
    assert 238 <= glass_colour(overview)[0] <= 244


@pytest.mark.parametrize(("sigma", "is_blurred"), [(0.0, False), (0.4, False), (1.5, True), (2.0, True), (4.0, True)])
def test_the_reblur_ratio_parts_sharp_from_blurred_at_six_tenths(
    section: Pixels, sigma: float, *, is_blurred: bool
) -> None:
    blurred = np.asarray(Image.fromarray(section).filter(ImageFilter.GaussianBlur(sigma)))
    tissue = find_tissue(np.asarray(Image.fromarray(section).reduce(4)))
    positions = positions_on_tissue(tissue, Grid(6, 8, 256, 256), 20)

    ratios = [
        reblur_ratio(blurred[256 * row : 256 * row + 256, 256 * column : 256 * column + 256])
        for row, column in positions
    ]

    assert len(ratios) >= 5
    assert all(ratio is not None and (ratio > 0.60) == is_blurred for ratio in ratios)


def test_the_ratio_does_not_depend_on_contrast(section: Pixels) -> None:
    tile = section[700:956, 500:756]
    pale = (200 + tile.astype(np.float32) * 0.2).astype(np.uint8)

    sharp, faint = reblur_ratio(tile), reblur_ratio(pale)

    assert sharp is not None
    assert faint is not None
    assert abs(sharp - faint) < 0.06


def test_an_even_surface_has_no_focus_to_judge() -> None:
    assert reblur_ratio(np.full((256, 256, 3), 240, np.uint8)) is None
    assert reblur_ratio(_glass(0.3)[:256, :256]) is None


def test_tiles_are_taken_evenly_from_the_whole_tissue_and_from_nothing_else() -> None:
    tissue = np.zeros((100, 200), np.bool_)
    tissue[20:80, 40:160] = True
    grid = Grid(rows=200, columns=400, tile_width=256, tile_height=256)

    positions = positions_on_tissue(tissue, grid, 200)

    rows, columns = zip(*positions, strict=True)
    assert 100 <= len(positions) <= 200
    assert (min(rows), max(rows)) == pytest.approx((40, 158), abs=14)
    assert (min(columns), max(columns)) == pytest.approx((80, 318), abs=14)


def test_little_tissue_is_sampled_whole_and_none_not_at_all() -> None:
    tissue = np.zeros((100, 200), np.bool_)
    grid = Grid(rows=10, columns=20, tile_width=256, tile_height=256)
    assert positions_on_tissue(tissue, grid, 200) == ()

    tissue[20:50, 40:80] = True
    assert len(positions_on_tissue(tissue, grid, 200)) == 12
