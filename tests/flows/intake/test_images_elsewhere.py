"""What an image manager says of a slide's images (DPOW LAB-104): counts where we have no scan of our own."""

from itertools import permutations

import pytest
from sqlalchemy import select

from connectors.wiring import Lab
from flows.standing import list_rows
from models.facets import Images, Reading
from models.tables.case import Slide
from models.uid import series_uid
from tests.flows.looking import LATER, LATEST, A, B, alerts, books_balance, says, steps, the_case, the_scan
from tests.lims_says import imaged
from tests.small_lab import ON_BOTH, SmallSlide, order, run_until_calm, scan_arrives

# Our own scans are received now; an image manager that speaks of them does so later.


def elsewhere(lab: Lab) -> list[bool | None]:
    with lab.database.read() as session:
        return list(session.scalars(select(Slide.images_elsewhere).order_by(Slide.container_identifier)))


def states(lab: Lab) -> list[str]:
    with lab.database.read() as session:
        return sorted(row.state for row in list_rows(session, waiting=False))


def test_a_slide_that_is_imaged_elsewhere_lets_its_case_be_read(lab: Lab) -> None:
    says(lab, order("26H1", A), imaged("26H1", A))

    assert (the_case(lab).images, the_case(lab).reading) == (Images.READY, Reading.ASSIGNED)
    assert states(lab) == ["imaged elsewhere"]
    assert steps(lab, "expect_scan") == ["done"]
    books_balance(lab)


def test_images_that_are_gone_again_are_waited_for_again(lab: Lab) -> None:
    says(lab, order("26H1", A), imaged("26H1", A), imaged("26H1", A, available=False, sent_at=LATER, control_id="N"))

    assert the_case(lab).images == Images.AWAITING
    assert steps(lab, "expect_scan") == ["done", "waiting for the scanner"]
    assert alerts(lab) == ["late slide"]
    books_balance(lab)


@ON_BOTH
def test_one_of_two_is_not_all(lab: Lab) -> None:
    says(lab, order("26H1", A, B), imaged("26H1", A))

    assert the_case(lab).images == Images.INCOMPLETE
    books_balance(lab)


@ON_BOTH
@pytest.mark.parametrize("arrival", list(permutations(range(3))))
def test_the_later_word_counts_in_whatever_order_it_comes_and_before_the_order_too(
    lab: Lab, arrival: tuple[int, ...]
) -> None:
    told = (order("26H1", A), imaged("26H1", A, available=False), imaged("26H1", A, sent_at=LATER, control_id="Y"))
    says(lab, *(told[number] for number in arrival))

    assert elsewhere(lab) == [True]
    assert the_case(lab).images == Images.READY
    books_balance(lab)


def test_a_slide_whose_scan_we_have_is_read_when_that_is_proven_whatever_others_have(lab: Lab) -> None:
    says(lab, order("26H1", A))
    scan_arrives(lab, SmallSlide(codes=(A,), quality="review"))
    run_until_calm(lab)
    says(lab, imaged("26H1", A))

    assert the_case(lab).images == Images.AWAITING
    books_balance(lab)


def test_that_others_have_images_of_what_we_archived_changes_nothing(lab: Lab) -> None:
    says(lab, order("26H1", A))
    scan_arrives(lab, SmallSlide(codes=(A,)))
    run_until_calm(lab)
    version = the_case(lab).completeness_version
    says(lab, imaged("26H1", A))

    assert (the_case(lab).images, the_case(lab).completeness_version) == (Images.READY, version)
    assert states(lab) == ["assigned"]
    books_balance(lab)


@ON_BOTH
def test_that_none_are_left_of_what_we_archived_is_raised_and_the_case_is_not_ready(lab: Lab) -> None:
    says(lab, order("26H1", A))
    scan_arrives(lab, SmallSlide(codes=(A,)))
    run_until_calm(lab)
    ours = series_uid(the_scan(lab).id, 1)
    says(lab, imaged("26H1", A, available=False, series="1.2.3", sent_at=LATER))
    assert the_case(lab).images == Images.READY

    says(lab, imaged("26H1", A, available=False, series=ours, sent_at=LATEST, control_id="N2"))
    assert the_case(lab).images == Images.AWAITING
    assert alerts(lab) == ["images gone", "late slide"]
    assert steps(lab, "expect_scan")[-1] == "waiting for its images"
    books_balance(lab)

    says(lab, imaged("26H1", A, series=ours, sent_at="20250101150000+0000", control_id="Y3"))
    assert the_case(lab).images == Images.READY
    assert alerts(lab) == ["late slide"]
    books_balance(lab)


def test_what_was_said_before_a_scan_came_is_not_about_it(lab: Lab) -> None:
    says(lab, order("26H1", A), imaged("26H1", A, available=False))
    scan_arrives(lab, SmallSlide(codes=(A,)))
    run_until_calm(lab)

    assert the_case(lab).images == Images.READY
    books_balance(lab)
