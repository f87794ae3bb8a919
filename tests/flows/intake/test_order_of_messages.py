"""The order in which messages of real interfaces come: again, too late, before what they speak of, with gaps."""

import pytest
from sqlalchemy import func, select

from connectors.wiring import Lab
from models.tables.books import Fact, InboxMessage
from models.tables.case import Patient, Slide
from models.tables.reading import Read
from tests.flows.looking import LATER, LATEST, A, B, alerts, books_balance, inbox, says, slides, the_case, the_scan
from tests.lims_says import merged, reported
from tests.small_lab import ON_BOTH, SmallSlide, message_arrives, order, run_until_calm, scan_arrives

MIDNIGHT = "20250102000500+0000"


def problems(lab: Lab) -> list[str]:
    with lab.database.read() as session:
        return [str(one) for one in session.scalars(select(InboxMessage.problem)) if one]


def facts(lab: Lab, kind: str) -> int:
    with lab.database.read() as session:
        return session.scalars(select(func.count()).select_from(Fact).where(Fact.kind == kind)).one()


def test_a_duplicate_of_a_message_is_one_message_and_gets_the_first_answer(lab: Lab) -> None:
    first, again = (message_arrives(lab, reported("26H1", "F")) for _ in range(2))
    run_until_calm(lab)

    assert (first.is_new, again.is_new, again.answer) == (True, False, first.answer)
    assert facts(lab, "ReportFact") == 1


@ON_BOTH
def test_a_control_id_used_for_other_content_at_the_same_moment_is_flagged_and_both_count(lab: Lab) -> None:
    says(lab, order("26H1", A), order("26H1", B))

    assert slides(lab) == {A: True, B: True}
    assert ["same MSH-10 and MSH-7" in one for one in problems(lab)] == [True]
    books_balance(lab)


def test_control_ids_that_begin_anew_each_day_are_not_flagged(lab: Lab) -> None:
    says(lab, order("26H1", A), order("26H1", B, sent_at=MIDNIGHT))

    assert slides(lab) == {A: True, B: True}
    assert problems(lab) == []


def test_a_message_sent_again_after_a_lost_answer_under_new_numbers_says_nothing_new(lab: Lab) -> None:
    says(lab, order("26H1", A))
    scan_arrives(lab, SmallSlide(codes=(A,)))
    run_until_calm(lab)
    says(lab, reported("26H1", "F"))
    says(lab, order("26H1", A, control_id="M2", sent_at=LATER), reported("26H1", "F", control_id="R2", sent_at=LATER))

    case = the_case(lab)
    assert (case.report, case.round, case.round_closed_at is not None) == ("final", 1, True)
    with lab.database.read() as session:
        assert len(session.scalars(select(Read)).all()) == 1
    assert alerts(lab) == []
    books_balance(lab)


def test_a_cancel_before_its_order_cancels_it(lab: Lab) -> None:
    says(lab, order("26H1", cancel=(A,), sent_at=LATER, control_id="M2"), order("26H1", A))

    assert slides(lab) == {A: False}
    books_balance(lab)


@ON_BOTH
@pytest.mark.parametrize("event", ["A01", "A08"])
def test_a_merge_before_the_admission_of_whom_it_merges_is_kept_for_them(lab: Lab, event: str) -> None:
    admitted = order("", A).split(b"\rORC")[0].replace(b"OML^O21^OML_O21", f"ADT^{event}^ADT_A01".encode()) + b"\r"
    says(lab, merged("B7", "A100234", sent_at=LATER))
    message_arrives(lab, admitted)
    run_until_calm(lab)
    says(lab, order("26H1", A, control_id="M3"))

    assert the_case(lab).patient_id == lab.ids.of("patient", "NET", "B7")
    with lab.database.read() as session:
        gone = session.get_one(Patient, lab.ids.of("patient", "NET", "A100234"))
        assert (gone.family_name, gone.merged_into_id) == ("Example", the_case(lab).patient_id)
    books_balance(lab)


def test_a_result_before_its_order_counts_when_the_order_is_there(lab: Lab) -> None:
    says(lab, reported("26H1", "P"))
    assert problems(lab) == ["No order has named this case yet: what the message says of it counts once one does."]
    says(lab, order("26H1", A))

    assert the_case(lab).report == "preliminary"
    books_balance(lab)


def test_a_gap_in_the_sequence_holds_nothing_up_and_what_fills_it_takes_its_place(lab: Lab) -> None:
    says(lab, order("26H1", A, sequence="1", stain="HE"))
    says(lab, order("26H1", A, control="XO", sequence="3", stain="KI67", control_id="M3"))
    assert inbox(lab) == ["applied", "applied"]
    says(lab, order("26H1", A, control="XO", sequence="2", stain="PAS", control_id="M2"))

    with lab.database.read() as session:
        assert [one["code"] for one in session.scalars(select(Slide.stains)).one()] == ["KI67"]
    books_balance(lab)


@ON_BOTH
def test_a_sequence_number_made_of_the_time_is_a_number_too(lab: Lab) -> None:
    says(lab, order("26H1", A, sequence="20250101123001", stain="HE"))
    says(lab, order("26H1", A, control="XO", sequence="20250101123000", stain="PAS", control_id="M2"))

    assert inbox(lab) == ["applied", "applied"]
    with lab.database.read() as session:
        assert [one["code"] for one in session.scalars(select(Slide.stains)).one()] == ["HE"]
    books_balance(lab)


def test_an_order_after_the_archive_is_asked_for_and_a_cancel_after_it_hides_nothing(lab: Lab) -> None:
    scan_arrives(lab, SmallSlide(codes=(A,)))
    says(lab, order("26H1", A))
    assert the_scan(lab).storage == "proven"
    says(lab, order("26H1", cancel=(A,), sent_at=LATEST, control_id="M2"))

    assert the_scan(lab).storage == "proven"
    assert "cancelled after archive" in alerts(lab)
    books_balance(lab)
