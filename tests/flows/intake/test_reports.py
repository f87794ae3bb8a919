"""Reports and rounds: a final report ends the reading of a case, and what comes later opens it again."""

from dataclasses import replace
from datetime import timedelta
from itertools import permutations

import pytest
from sqlalchemy import select

from connectors.settings import Settings
from connectors.wiring import Lab
from models.facets import Images, Reading
from models.tables.case import Case
from models.tables.reading import Assignment, Pathologist, Read
from tests.flows.looking import LATER, LATEST, A, B, C, alerts, books_balance, inbox, says, steps, the_case, told
from tests.lims_says import registered, reported, updated
from tests.small_lab import ON_BOTH, SmallSlide, message_arrives, order, run_until_calm, scan_arrives

SPECIMENS = ("26H000001-A", "26H000001-B")
LAST = "20250101150000+0000"


def read_by_somebody(lab: Lab) -> None:
    says(lab, order("26H1", A))
    scan_arrives(lab, SmallSlide(codes=(A,)))
    run_until_calm(lab)
    assert the_case(lab).reading == Reading.ASSIGNED


def round_of(lab: Lab) -> tuple[str, int, bool]:
    case = the_case(lab)
    return case.report, case.round, case.round_closed_at is not None


def readers(lab: Lab) -> list[tuple[int, str, bool]]:
    """Return who has or had each round's read, and whether they have it still."""
    with lab.database.read() as session:
        rows = session.execute(
            select(Read.round, Assignment.pathologist_id, Assignment.ended_at)
            .join(Assignment, Assignment.read_id == Read.id)
            .order_by(Assignment.id)
        )
        return [(number, reader, ended_at is None) for number, reader, ended_at in rows]


def test_a_final_report_ends_the_round_and_takes_the_case_off_its_reader_s_desk(lab: Lab) -> None:
    read_by_somebody(lab)
    says(lab, reported("26H1", "F"))

    assert round_of(lab) == ("final", 1, True)
    assert [still for _, _, still in readers(lab)] == [False]
    assert the_case(lab).reading == Reading.NONE
    with lab.database.read() as session:
        assert session.scalars(select(Read)).one().closed_at is not None
    books_balance(lab)


def test_a_preliminary_report_ends_nothing(lab: Lab) -> None:
    read_by_somebody(lab)
    says(lab, reported("26H1", "P"))

    assert round_of(lab) == ("preliminary", 1, False)
    assert [still for _, _, still in readers(lab)] == [True]
    books_balance(lab)


@ON_BOTH
def test_a_final_report_of_one_of_two_specimens_ends_nothing_until_the_other_s_comes(lab: Lab) -> None:
    says(lab, registered("26H1", SPECIMENS))
    read_by_somebody(lab)
    says(lab, reported("26H1", "F", SPECIMENS[0]))
    assert round_of(lab) == ("preliminary", 1, False)
    says(lab, reported("26H1", "F", SPECIMENS[1], sent_at=LATER, control_id="R02"))

    assert round_of(lab) == ("final", 1, True)
    books_balance(lab)


def own_orders(*each: tuple[str, str, str, str]) -> bytes:
    """Return OML^O33 of containers: identifier, what it is from, SPM-27, and the number of its own order."""
    lines = [
        "MSH|^~\\&|LIMS|NET|COVERSLIP|NET|20250101120000+0000||OML^O33^OML_O33|OWN|P|2.5.1",
        "PID|1||A100234^^^NET^MR||Example^Ada^^^^^L||19640229|F",
    ]
    for number, (identifier, parent, kind, placer) in enumerate(each, start=1):
        lines.append(f"SPM|{number}|{identifier}|{parent}" + "|" * 24 + kind)
        lines += [f"ORC|NW|{placer}^LIMS|26H1^LIMS", f"OBR|1|{placer}^LIMS|26H1^LIMS|X"]
    return "".join(f"{line}\r" for line in lines).encode()


def of_order(placer: str, sent_at: str, control_id: str) -> bytes:
    """Return a final report that names no specimen, only the order that it answers."""
    return reported("26H1", "F", sent_at=sent_at, control_id=control_id).replace(b"|P1|", f"|{placer}^LIMS|".encode())


TWO_SPECIMENS = own_orders(
    ("26H000001-A", "", "CONTAINER", "P1"),
    ("26H000001-A1", "26H000001-A", "CASSETTE", "P2"),
    (A, "26H000001-A1", "GLASS", "P3"),
    ("26H000001-B", "", "CONTAINER", "P4"),
)


@pytest.mark.parametrize("arrival", list(permutations(range(3))))
def test_a_final_report_of_one_specimen_s_order_ends_nothing_until_the_other_s_comes(
    lab: Lab, arrival: tuple[int, ...]
) -> None:
    story = (TWO_SPECIMENS, of_order("P2", LATER, "R1"), of_order("P3", LATEST, "R2"))
    says(lab, *(story[number] for number in arrival))
    scan_arrives(lab, SmallSlide(codes=(A,)))
    run_until_calm(lab)

    assert round_of(lab) == ("preliminary", 1, False)
    assert [still for _, _, still in readers(lab)] == [True]
    books_balance(lab)

    says(lab, of_order("P4", LAST, "R3"))
    assert round_of(lab) == ("final", 1, True)
    books_balance(lab)


def test_a_specimen_that_is_cancelled_need_not_be_reported(lab: Lab) -> None:
    says(lab, registered("26H1", SPECIMENS))
    read_by_somebody(lab)
    says(lab, reported("26H1", "F", SPECIMENS[0]))
    says(lab, order("26H1", cancel=(SPECIMENS[1],), sent_at=LATER, control_id="M9"))

    assert round_of(lab) == ("final", 1, True)
    books_balance(lab)


@pytest.mark.parametrize(("status", "word"), [("C", "corrected"), ("A", "preliminary"), ("X", "cancelled")])
def test_what_a_report_is_before_it_is_final_ends_nothing(lab: Lab, status: str, word: str) -> None:
    read_by_somebody(lab)
    says(lab, reported("26H1", status))

    assert round_of(lab)[1:] == (1, False)
    assert round_of(lab)[0] == word
    books_balance(lab)


def test_a_corrected_report_has_the_case_read_again_by_the_same_reader_and_the_next_final_ends_that(lab: Lab) -> None:
    read_by_somebody(lab)
    says(lab, reported("26H1", "F"), reported("26H1", "C", sent_at=LATER, control_id="R02"))
    assert round_of(lab) == ("corrected", 2, False)
    (first, who, _), (second, again, still) = readers(lab)
    assert (first, second, who == again, still) == (1, 2, True, True)

    says(lab, reported("26H1", "F", sent_at=LATEST, control_id="R03"))
    assert round_of(lab) == ("final", 2, True)
    assert [still for _, _, still in readers(lab)] == [False, False]
    books_balance(lab)


@ON_BOTH
def test_a_reader_who_is_not_there_any_more_does_not_get_the_next_round(lab: Lab) -> None:
    read_by_somebody(lab)
    says(lab, reported("26H1", "F"))
    ((_, who, _),) = readers(lab)
    with lab.database.write("gone") as session:
        session.get_one(Pathologist, who).active = False
    says(lab, reported("26H1", "C", sent_at=LATER, control_id="R02"))

    assert readers(lab)[1][1] != who
    books_balance(lab)


def test_a_slide_ordered_after_the_final_report_opens_a_round_that_is_read_when_it_is_scanned(lab: Lab) -> None:
    read_by_somebody(lab)
    says(lab, reported("26H1", "F"), order("26H1", A, B, sent_at=LATER, control_id="M2"))
    assert round_of(lab) == ("final", 2, False)
    assert the_case(lab).images == Images.INCOMPLETE

    scan_arrives(lab, SmallSlide(codes=(B,)))
    run_until_calm(lab)
    assert [(number, still) for number, _, still in readers(lab)] == [(1, False), (2, True)]
    books_balance(lab)


def test_the_same_order_sent_again_after_the_final_report_opens_nothing(lab: Lab) -> None:
    read_by_somebody(lab)
    says(lab, reported("26H1", "F"), order("26H1", A, sent_at=LATER, control_id="M2"))

    assert round_of(lab) == ("final", 1, True)
    books_balance(lab)


def test_a_report_that_comes_before_its_order_waits_for_it(lab: Lab) -> None:
    says(lab, reported("26H1", "F", sent_at=LATER))
    with lab.database.read() as session:
        assert session.scalars(select(Case)).all() == []
    books_balance(lab)
    says(lab, order("26H1", A))
    scan_arrives(lab, SmallSlide(codes=(A,)))
    run_until_calm(lab)

    assert round_of(lab) == ("final", 1, True)
    assert inbox(lab) == ["applied", "applied", "applied"]
    assert readers(lab) == []
    books_balance(lab)


def test_a_report_older_than_the_first_order_says_nothing_of_its_slides(lab: Lab) -> None:
    says(lab, reported("26H1", "F", sent_at="20250101080000+0000"))
    read_by_somebody(lab)

    assert round_of(lab) == ("final", 1, False)
    books_balance(lab)


def test_a_case_that_is_final_before_its_slides_are_scanned_is_given_to_nobody(lab: Lab) -> None:
    says(lab, order("26H1", A), reported("26H1", "F"))
    scan_arrives(lab, SmallSlide(codes=(A,)))
    run_until_calm(lab)

    assert the_case(lab).images == Images.READY
    assert readers(lab) == []
    assert steps(lab, "case_assignment") == []
    books_balance(lab)


def test_a_case_that_nobody_works_on_any_more_is_closed_without_a_report(lab: Lab) -> None:
    read_by_somebody(lab)
    says(lab, updated("26H1", says="Ended"))

    assert round_of(lab) == ("none", 1, True)
    assert [still for _, _, still in readers(lab)] == [False]
    books_balance(lab)


def test_the_laboratory_s_word_closes_the_set_at_once(lab: Lab) -> None:
    slow = lab.settings.model_copy(
        update={
            "sites": tuple(site.model_copy(update={"settle_after": timedelta(hours=1)}) for site in lab.settings.sites)
        }
    )
    lab = replace(lab, settings=slow)
    says(lab, order("26H1", A))
    scan_arrives(lab, SmallSlide(codes=(A,)))
    run_until_calm(lab)
    assert the_case(lab).expected_closed_at is None
    says(lab, updated("26H1", says="SetClosed"))

    assert the_case(lab).images == Images.READY
    assert steps(lab, "settle")[-1] == "done"
    says(lab, order("26H1", A, B, sent_at=LATER, control_id="M2"))
    assert the_case(lab).expected_closed_at is None
    books_balance(lab)


def test_dissection_done_closes_no_set_that_names_no_slide(lab: Lab) -> None:
    says(lab, registered("26H1", SPECIMENS), updated("26H1", says="Grossed"))

    assert the_case(lab).expected_closed_at is None
    books_balance(lab)


STORY = (
    order("26H1", A),
    reported("26H1", "F"),
    reported("26H1", "C", sent_at=LATER, control_id="R02"),
    order("26H1", A, B, sent_at=LATEST, control_id="M2"),
    reported("26H1", "F", sent_at=LAST, control_id="R03"),
)


@ON_BOTH
@pytest.mark.parametrize(
    "arrival", [(0, 1, 2, 3, 4), (4, 3, 2, 1, 0), (1, 4, 0, 3, 2), (0, 4, 2, 1, 3), (3, 0, 4, 1, 2)]
)
def test_however_the_messages_of_a_case_come_its_round_ends_the_same(lab: Lab, arrival: tuple[int, ...]) -> None:
    scan_arrives(lab, SmallSlide(codes=(A,)))
    says(lab, *(STORY[number] for number in arrival))

    assert round_of(lab) == ("final", 2, True)
    assert not any(still for _, _, still in readers(lab))
    books_balance(lab)


def test_a_round_that_turns_out_not_to_be_over_goes_back_to_its_reader(lab: Lab) -> None:
    says(lab, registered("26H1", SPECIMENS[:1]))
    read_by_somebody(lab)
    says(lab, reported("26H1", "F", SPECIMENS[0]))
    assert round_of(lab) == ("final", 1, True)
    says(lab, registered("26H1", SPECIMENS).replace(b"|SPM|", b"|BOTH|"))

    assert round_of(lab)[1:] == (1, False)
    (_, who, ended), (_, again, still) = readers(lab)
    assert (who == again, ended, still) == (True, False, True)
    books_balance(lab)


def hearing_reports(lab: Lab) -> Lab:
    """Return the same laboratory, whose LIMS want to hear of reports."""
    rules = lab.settings.model_dump()
    for peer in rules["lims"]:
        peer["hears_reports"] = True
    return replace(lab, settings=Settings(**rules))


def test_a_lims_that_wants_to_hears_of_a_report_that_another_stated_before_the_order_came(lab: Lab) -> None:
    lab = hearing_reports(lab)
    message_arrives(lab, reported("26H1", "F"), peer="lims-b")
    run_until_calm(lab)
    says(lab, order("26H1", A))
    assert told(lab) == ["reported"]
    says(lab, reported("26H2", "F", control_id="R2"), order("26H2", B, control_id="M2"))
    message_arrives(lab, updated("26H3", reader="tom"), peer="lims-b")
    says(lab, order("26H3", C, control_id="M3"))

    assert told(lab) == ["reported"]
    books_balance(lab)


def test_a_lims_that_wants_to_hears_of_reports_that_others_state_and_not_of_its_own(lab: Lab) -> None:
    lab = hearing_reports(lab)
    says(lab, order("26H1", A), reported("26H1", "P"))
    assert told(lab) == []
    message_arrives(lab, reported("26H1", "F", sent_at=LATER, control_id="R02"), peer="lims-b")
    run_until_calm(lab)

    assert told(lab) == ["reported"]
    books_balance(lab)


def test_a_report_that_names_another_patient_is_raised(lab: Lab) -> None:
    read_by_somebody(lab)
    says(lab, reported("26H1", "P", patient="SOMEBODY"))
    assert alerts(lab) == ["another patient named"]
    says(lab, reported("26H1", "P", sent_at=LATER, control_id="R02"))

    assert alerts(lab) == []


@pytest.mark.parametrize("arrival", list(permutations(range(3))))
def test_cancel_before_order_and_report_before_both(lab: Lab, arrival: tuple[int, ...]) -> None:
    story = (
        order("26H1", A),
        order("26H1", control="CA", sent_at=LATER, control_id="M2"),
        reported("26H1", "F", sent_at=LATEST),
    )
    says(lab, *(story[number] for number in arrival))

    case = the_case(lab)
    assert (case.cancelled, *round_of(lab)) == (True, "final", 1, True)
    books_balance(lab)
