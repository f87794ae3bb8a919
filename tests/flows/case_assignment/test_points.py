from hypothesis import given
from hypothesis import strategies as st

from flows.case_assignment.points import points

few = st.integers(0, 100)


def test_a_small_biopsy_weighs_one_and_a_big_resection_ten_to_twenty() -> None:
    assert points(slides=1, blocks=1, specimens=1) == 1
    assert points(slides=3, blocks=2, specimens=1) == 2
    assert points(slides=20, blocks=18, specimens=2) == 11
    assert points(slides=60, blocks=50, specimens=1) == 20


def test_a_case_released_without_anything_registered_still_weighs_one() -> None:
    assert points(slides=0, blocks=0, specimens=0) == 1


@given(few, few, few, few, few, few)
def test_more_of_anything_never_weighs_less(s: int, b: int, n: int, ds: int, db: int, dn: int) -> None:
    assert points(slides=s, blocks=b, specimens=n) <= points(slides=s + ds, blocks=b + db, specimens=n + dn)
