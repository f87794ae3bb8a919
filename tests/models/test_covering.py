"""Which specimens a report's part covers, by its own words or by the order that it answers."""

from datetime import UTC, datetime, timedelta

import pytest

from models.case_fold import OrderFact, ReportFact, Told, fold
from models.statements import (
    BlockStated,
    CaseMeant,
    OrderStated,
    ReportPart,
    ReportStated,
    ReportStatus,
    SlideStated,
    SpecimenStated,
)

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
MEANT = CaseMeant(accession_number="26H1", issuer="NET", site="site-a")


def specimen(name: str, *numbers: str) -> SpecimenStated:
    return SpecimenStated(container_identifier=name, issuer="NET", order_numbers=numbers)


def block(name: str, *parents: str, numbers: tuple[str, ...] = ()) -> BlockStated:
    return BlockStated(container_identifier=name, issuer="NET", parents=parents, order_numbers=numbers)


def slide(name: str, *parents: str, numbers: tuple[str, ...] = ()) -> SlideStated:
    return SlideStated(container_identifier=name, issuer="NET", parents=parents, order_numbers=numbers)


TWO = (
    specimen("A", "P1", "26H1"),
    specimen("B", "P5", "26H1"),
    block("A1", "A", numbers=("P2", "26H1")),
    slide("A1-1", "A1", numbers=("P3", "26H1")),
    slide("B-1", "B", numbers=("P6", "26H1")),
)


def told(at: int, *named: SpecimenStated | BlockStated | SlideStated, cancelled: tuple[str, ...] = ()) -> Told:
    said = OrderStated(
        control="register",
        accession_number="26H1",
        issuer="NET",
        site="site-a",
        specimens=tuple(one for one in named if isinstance(one, SpecimenStated)),
        blocks=tuple(one for one in named if isinstance(one, BlockStated)),
        slides=tuple(one for one in named if isinstance(one, SlideStated)),
        cancelled=cancelled,
    )
    return Told(OrderFact(order=said), NOON + timedelta(minutes=at), received_at=NOON, digest=f"order {at}")


def of_order(*numbers: str, status: ReportStatus = "final") -> ReportPart:
    return ReportPart(status=status, order_numbers=numbers)


def of_specimens(*names: str) -> ReportPart:
    return ReportPart(status="final", specimens=names)


def report(at: int, *parts: ReportPart) -> Told:
    fact = ReportFact(report=ReportStated(case=MEANT, parts=parts))
    return Told(fact, NOON + timedelta(minutes=at), received_at=NOON, digest=f"report {at}")


def is_closed(*story: Told) -> bool:
    return fold(story).round.is_closed


@pytest.mark.parametrize("number", ["P1", "P2", "P3"])
def test_a_final_result_of_one_specimen_s_order_covers_that_specimen_alone(number: str) -> None:
    half = (told(0, *TWO), report(1, of_order(number, "26H1")))
    assert (is_closed(*half), fold(half).round.report) == (False, "preliminary")
    assert is_closed(*half, report(2, of_order("P6", "26H1")))


@pytest.mark.parametrize("numbers", [(), ("26H1",), ("P9",), ("P9", "26H1")])
def test_a_final_result_of_no_specimen_s_own_order_covers_the_case(numbers: tuple[str, ...]) -> None:
    assert is_closed(told(0, *TWO), report(1, of_order(*numbers)))


def test_an_order_of_every_specimen_covers_the_case_and_one_of_some_covers_those() -> None:
    three = told(0, specimen("A", "P1"), specimen("B", "P1"), specimen("C", "P2"))
    assert is_closed(told(0, specimen("A", "P1"), specimen("B", "P1")), report(1, of_order("P1")))
    assert not is_closed(three, report(1, of_order("P1")))
    assert is_closed(three, report(1, of_order("P1"), of_order("P2")))


def test_a_filler_s_number_of_its_own_says_which_where_the_placer_s_is_shared() -> None:
    two = told(0, specimen("A", "P1", "F1"), specimen("B", "P1", "F2"))
    assert not is_closed(two, report(1, of_order("P1", "F1")))


def test_the_accession_number_is_the_case_s_even_where_one_container_alone_carries_it() -> None:
    assert is_closed(told(0, specimen("A", "26H1"), specimen("B")), report(1, of_order("26H1")))


def test_in_a_case_of_one_specimen_any_final_result_covers_it() -> None:
    one = told(0, specimen("A", "P1"), block("A1", "A", numbers=("P2",)))
    assert all(is_closed(one, report(1, of_order(number))) for number in ("P1", "P2", "P9"))


def test_an_order_of_a_slide_that_nobody_says_the_specimen_of_ends_only_what_has_no_other() -> None:
    loose = slide("S1", numbers=("P2",))
    assert is_closed(told(0, specimen("A", "P1"), loose), report(1, of_order("P2")))
    assert not is_closed(told(0, specimen("A", "P1"), specimen("B", "P5"), loose), report(1, of_order("P2")))


def test_an_order_of_a_specimen_that_is_cancelled_does_not_end_the_other_s() -> None:
    two = (told(0, *TWO), told(1, cancelled=("B",)))
    assert not is_closed(*two, report(2, of_order("P6")))
    assert is_closed(*two, report(2, of_order("P1")))


def test_an_order_covers_what_it_named_when_the_report_was_told() -> None:
    later = told(2, specimen("C", "P1"))
    assert not is_closed(told(0, *TWO), report(1, of_order("P1")), later, report(3, of_order("P5")))


def test_a_result_that_is_cancelled_by_its_order_uncovers_that_specimen_alone() -> None:
    half = (told(0, *TWO), report(1, of_order("P1")), report(2, of_order("P1", status="cancelled")))
    assert not is_closed(*half, report(3, of_order("P5")))
    assert is_closed(*half, report(3, of_order("P5")), report(4, of_order("P1")))


def test_orders_recorded_before_containers_carried_numbers_are_covered_as_they_were() -> None:
    recorded = SpecimenStated.model_validate({"container_identifier": "A", "issuer": "NET"})
    part = ReportPart.model_validate({"status": "final", "specimens": []})
    assert "order_numbers" not in {**recorded.model_dump(), **part.model_dump()}
    assert is_closed(told(0, recorded, specimen("B")), report(1, of_order("P1")))


def test_a_part_that_names_specimens_ends_no_case_that_has_only_slides() -> None:
    slides = told(0, slide("S1"), slide("S2"))
    assert not is_closed(slides, report(1, of_specimens("A")))
    assert is_closed(slides, report(1, of_specimens("A")), report(2, of_order()))


def test_where_no_specimen_is_registered_what_slides_were_cut_from_is_to_be_covered() -> None:
    stubs = told(0, slide("S1", "A"), slide("S2", "B", numbers=("P2",)))
    assert not is_closed(stubs, report(1, of_specimens("A")))
    assert not is_closed(stubs, report(1, of_order("P2")))
    assert is_closed(stubs, report(1, of_specimens("A")), report(2, of_order("P2")))


def test_a_specimen_that_only_its_block_names_is_to_be_covered_while_the_block_stands() -> None:
    named = (told(0, specimen("A"), block("B1", "B")), report(1, of_specimens("A")))
    assert not is_closed(*named)
    assert is_closed(*named, told(2, cancelled=("B1",)))


def test_a_block_that_is_its_own_ancestor_ends_no_search() -> None:
    ring = told(0, specimen("A"), specimen("B"), block("X", "Y"), block("Y", "X", numbers=("P1",)))
    assert is_closed(ring, report(1, of_specimens("A", "B", "X", "Y")))
    assert fold((ring, report(1, of_order("P1")))).is_ordered
