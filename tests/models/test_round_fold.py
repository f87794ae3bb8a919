"""When a round of reading ends, and what opens the next."""

from datetime import UTC, datetime

import pytest

from models.round_fold import Round, came_late, ended, reported, settled
from models.statements import ReportPart, ReportStatus

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
BOTH = frozenset({"A", "B"})


def part(status: ReportStatus, *specimens: str) -> ReportPart:
    return ReportPart(status=status, specimens=specimens)


def after(*parts: ReportPart, specimens: frozenset[str] = BOTH, before: Round | None = None) -> Round:
    return settled(reported(before or Round(), parts), specimens, NOON)


FINAL = after(part("final"))


@pytest.mark.parametrize(
    ("parts", "closed"),
    [
        ((part("final"),), True),
        ((part("final", "A", "B"),), True),
        ((part("final", "A"), part("final", "B")), True),
        ((part("final", "A"),), False),
        ((part("final", "A"), part("preliminary", "B")), False),
        ((part("preliminary"),), False),
        ((part("corrected"),), False),
        ((part("supplementary"),), False),
        ((part("cancelled"),), False),
        ((), False),
    ],
)
def test_a_round_ends_when_final_results_cover_every_specimen(parts: tuple[ReportPart, ...], closed: bool) -> None:  # noqa: FBT001 - a parameter
    assert after(*parts).is_closed == closed


def test_where_no_specimen_is_known_only_what_covers_the_whole_case_ends_it() -> None:
    assert not after(part("final", "C"), specimens=frozenset()).is_closed
    assert after(part("final"), specimens=frozenset()).is_closed


def test_what_is_final_in_part_is_preliminary_as_a_whole() -> None:
    assert after(part("final", "A")).report == "preliminary"
    assert after(part("final", "B"), before=after(part("final", "A"))).report == "final"


def test_a_named_specimen_that_nobody_registered_does_not_stand_in_for_those_that_are() -> None:
    assert not after(part("final", "C")).is_closed


@pytest.mark.parametrize("status", ["corrected", "supplementary", "cancelled"])
def test_what_changes_a_final_report_opens_the_next_round(status: ReportStatus) -> None:
    reopened = after(part(status), before=FINAL)

    assert (reopened.number, reopened.report, reopened.is_closed) == (2, status, False)
    assert after(part("final"), before=reopened).is_closed


def test_in_one_message_what_opens_a_round_goes_before_what_closes_it() -> None:
    again = after(part("final"), part("corrected", "A"), before=FINAL)

    assert (again.number, again.is_closed) == (2, True)


def test_a_final_report_said_again_or_an_older_draft_changes_nothing() -> None:
    assert after(part("final"), before=FINAL) == FINAL
    assert after(part("preliminary"), before=FINAL) == FINAL


def test_a_result_that_is_cancelled_covers_its_specimen_no_more() -> None:
    half = after(part("final", "A"))

    assert not after(part("final", "B"), before=after(part("cancelled", "A"), before=half)).is_closed


def test_more_material_after_the_end_opens_the_next_round_and_before_it_only_is_to_be_covered() -> None:
    assert (came_late(FINAL).number, came_late(FINAL).is_closed) == (2, False)
    assert came_late(after(part("final", "A"))).number == 1


def test_a_case_that_nobody_works_on_is_over_with_the_report_it_has() -> None:
    over = settled(ended(after(part("preliminary"))), BOTH, NOON)

    assert (over.is_closed, over.report) == (True, "preliminary")
    assert settled(ended(FINAL), BOTH, NOON) == FINAL


def test_what_was_reported_before_the_first_order_covers_nothing_of_it() -> None:
    early = came_late(reported(Round(), [part("final")]))

    assert (early.report, settled(early, BOTH, NOON).is_closed, settled(early, frozenset(), NOON).is_closed) == (
        "final",
        False,
        False,
    )


def test_a_round_that_a_slide_of_one_specimen_opens_is_about_that_one() -> None:
    later = came_late(FINAL, frozenset({"A"}))

    assert not settled(later, BOTH, NOON).is_closed
    assert after(part("final", "A"), before=later).is_closed
    assert not after(part("final", "B"), before=later).is_closed
    assert after(part("final"), before=later).is_closed


def test_a_round_that_nobody_can_tell_the_specimen_of_is_about_all_of_them() -> None:
    assert not after(part("final", "A"), before=came_late(FINAL)).is_closed


def test_what_a_correction_names_is_to_be_reported_again_and_nothing_else() -> None:
    one = after(part("corrected", "A"), before=FINAL)
    both = after(part("corrected", "A"), part("corrected", "B"), before=FINAL)

    assert (one.number, after(part("final", "A"), before=one).is_closed) == (2, True)
    assert (both.number, after(part("final", "A"), before=both).is_closed) == (2, False)
    assert after(part("final", "A"), part("final", "B"), before=both).is_closed


def test_a_slide_of_a_specimen_that_is_reported_takes_it_out_of_what_is_covered() -> None:
    half = after(part("final", "A"))

    assert not after(part("final", "B"), before=came_late(half, frozenset({"A"}))).is_closed
    assert after(part("final", "B"), before=came_late(half, frozenset({"B"}))).is_closed


def test_a_round_remembers_what_ended_those_before_it() -> None:
    over = settled(ended(came_late(FINAL)), BOTH, NOON)

    assert (FINAL.past, came_late(FINAL).past, came_late(over).past) == ((), ("final",), ("final", "ended"))
