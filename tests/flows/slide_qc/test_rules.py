import pytest
from pydantic import ValidationError

from flows.slide_qc.rules import Measurements, Quality, QualityPolicy, Verdict, judge

POLICY = QualityPolicy()
SHARP, BLURRED = 0.42, 0.75


def _measured(
    *,
    sharp: int = 100,
    blurred: int = 0,
    damaged: int = 0,
    tissue: float | None = 0.31,
    glass: tuple[int, int, int] | None = (242, 241, 243),
) -> Measurements:
    return Measurements(
        glass=glass,
        tissue_share=tissue,
        tissue_tiles=sharp + blurred + damaged,
        damaged_tiles=damaged,
        reblur_ratios=(SHARP,) * sharp + (BLURRED,) * blurred,
    )


@pytest.mark.parametrize(
    ("sharp", "blurred", "quality", "reason"),
    [
        (100, 0, "pass", "0 of 100 tissue tiles (0%) are blurred."),
        (91, 9, "pass", "9 of 100 tissue tiles (9%) are blurred."),
        (90, 10, "review", "10 of 100 tissue tiles (10%) are blurred."),
        (51, 49, "review", "49 of 100 tissue tiles (49%) are blurred."),
        (50, 50, "rescan", "50 of 100 tissue tiles (50%) are blurred."),
        (0, 100, "rescan", "100 of 100 tissue tiles (100%) are blurred."),
        (5, 0, "pass", "0 of 5 tissue tiles (0%) are blurred."),
        (4, 0, "cannot judge", "Focus could be judged on 4 tiles of tissue, fewer than 5."),
        (0, 4, "cannot judge", "Focus could be judged on 4 tiles of tissue, fewer than 5."),
    ],
)
def test_focus_is_judged_by_the_share_of_blurred_tiles(sharp: int, blurred: int, quality: Quality, reason: str) -> None:
    assert judge(_measured(sharp=sharp, blurred=blurred), POLICY) == Verdict(quality, (reason,))


def test_a_slide_without_tissue_is_looked_at_and_not_scanned_again_at_once() -> None:
    verdict = judge(_measured(sharp=0, tissue=0.0001), POLICY)

    assert verdict.quality == "review"
    assert verdict.reasons == (
        "No tissue was found (stain on 0.01%, less than 0.05%): it is faint, or the glass is empty.",
    )


def test_a_fluorescence_scan_is_not_judged_by_rules_for_brightfield() -> None:
    verdict = judge(_measured(sharp=0, tissue=None, glass=(2, 1, 40)), POLICY)

    assert verdict.quality == "cannot judge"
    assert verdict.reasons == ("The clearest part has a brightness of 1 of 255: no brightfield scan.",)


def test_a_slide_without_an_overview_is_not_judged() -> None:
    verdict = judge(_measured(sharp=0, tissue=None, glass=None), POLICY)

    assert verdict.quality == "cannot judge"
    assert "no smaller levels" in verdict.reasons[0]


def test_measurements_that_say_nothing_are_not_a_pass() -> None:
    assert judge(_measured(sharp=0, tissue=None), POLICY).quality == "cannot judge"


def test_a_wrong_white_and_a_dim_lamp_are_told_together() -> None:
    verdict = judge(_measured(glass=(225, 190, 170)), POLICY)

    assert verdict == Verdict(
        "review",
        (
            "The glass is dim: 170 of 255, less than 180.",
            "The white is off: red 225, green 190, blue 170 where the glass is clear.",
        ),
    )


def test_one_damaged_tile_asks_for_another_scan_whatever_else_is_wrong() -> None:
    verdict = judge(_measured(sharp=70, blurred=30, damaged=1, glass=(225, 190, 170)), POLICY)

    assert verdict == Verdict("rescan", ("1 of 101 sampled tiles are damaged and show no picture.",))


def test_another_policy_judges_the_same_measurements_anew() -> None:
    measured = _measured(sharp=90, blurred=10)

    assert judge(measured, POLICY.model_copy(update={"blurred_above": 0.8})).quality == "pass"
    assert judge(measured, POLICY.model_copy(update={"mostly_blurred": 0.05})).quality == "rescan"


def test_measurements_survive_json_and_refuse_what_no_child_may_say() -> None:
    measured = _measured(blurred=3)

    assert Measurements.model_validate_json(measured.model_dump_json()) == measured
    for wrong in ({"tissue_share": 1.5}, {"glass": [256, 0, 0]}, {"damaged_tiles": -1}, {"comment": "Ada Example"}):
        with pytest.raises(ValidationError):
            Measurements.model_validate({**measured.model_dump(), **wrong})
