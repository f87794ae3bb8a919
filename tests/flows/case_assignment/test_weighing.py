"""What a read weighs is said by a model with a version, and what is no weight is refused."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.case_assignment.weighing import WEIGHT_MODELS, NotWeighed, SpecimenWork, Weighed, Work, weigh

SMALL = Work(slides=1, blocks=1, specimens=(SpecimenWork("309226005", "Polyp", 1, 1),))
BIG = Work(
    slides=42,
    blocks=30,
    specimens=(SpecimenWork("M1", "Specimen from breast obtained by mastectomy", 40, 29), SpecimenWork("X", "", 2, 1)),
)


def points(model: str, work: Work, **said: object) -> float:
    found = weigh(model, work, **said)  # type: ignore[arg-type] # each test says what it has
    assert isinstance(found, Weighed)
    return found.points


def test_slides_and_blocks_weigh_as_ever() -> None:
    assert (points("weights/1", SMALL), points("weights/1", BIG)) == (1, 17)


def test_a_table_weighs_each_specimen_by_what_it_is_and_what_it_does_not_know_by_its_slides() -> None:
    assert points("specimen table/1", SMALL) == 1
    assert points("specimen table/1", BIG) == 12 + 2


def test_a_gallbladder_is_no_bladder() -> None:
    gallbladder = Work(1, 1, (SpecimenWork("", "Gallbladder from laparoscopic cholecystectomy", 1, 1),))
    assert points("specimen table/1", gallbladder) == 1


def test_a_laboratory_lays_its_own_figures_over_the_table() -> None:
    assert points("specimen table/1", BIG, own={"M1": 9.5}) == 9.5 + 2


def test_what_the_lims_says_counts_once_it_says_it() -> None:
    assert points("lims events/1", BIG) == points("weights/1", BIG)
    assert points("lims events/1", Work(42, 30, BIG.specimens, stated_points=3.5)) == 3.5


@pytest.mark.parametrize("role", ["second", "opinion", "mdt"])
def test_a_second_read_and_an_opinion_weigh_half(role: str) -> None:
    assert points("weights/1", BIG, role=role) == points("weights/1", BIG) / 2


@pytest.mark.parametrize("stated", [math.nan, math.inf, -math.inf, -1.0, -1e-9, 1e6])
def test_what_is_no_weight_is_refused_with_a_sentence(stated: float) -> None:
    found = weigh("lims events/1", Work(1, 1, stated_points=stated))
    assert isinstance(found, NotWeighed)
    assert "no weight from 0 to 1000" in found.sentence


def test_a_model_that_nobody_knows_is_refused_with_those_there_are() -> None:
    found = weigh("weights/9", SMALL)
    assert isinstance(found, NotWeighed)
    assert all(name in found.sentence for name in WEIGHT_MODELS)


few = st.integers(0, 200)
specimens = st.lists(st.builds(SpecimenWork, meaning=st.text(max_size=20), slides=few, blocks=few), max_size=5)


@given(st.sampled_from(sorted(WEIGHT_MODELS)), few, few, specimens)
def test_every_model_gives_every_work_a_weight_and_the_same_again(
    model: str, slides: int, blocks: int, them: list[SpecimenWork]
) -> None:
    work = Work(slides, blocks, tuple(them))
    assert 0 < points(model, work) <= 1000
    assert points(model, work) == points(model, Work(slides, blocks, tuple(reversed(them))))
