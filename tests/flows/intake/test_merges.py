"""Merges of patients and moves of visits: the case follows whoever stays, however the messages come (F13)."""

import threading
import uuid
from functools import partial
from itertools import permutations

import pytest
from sqlalchemy import func, insert, select

from connectors.wiring import Lab
from flows.actions import Desk, Person, review
from flows.journey import ARCHIVE_UPLOAD, INTAKE, STAGES
from flows.people.pools import hold_pools
from flows.steps import STEPS
from models.facets import Storage
from models.tables.books import InboxMessage, OutboxMessage
from models.tables.case import Case, Identifier, Patient
from models.tables.reading import Assignment, Pathologist, Pool
from models.tables.step import Step
from tests.flows.actions.life import claim, finish
from tests.flows.looking import (
    LATER,
    LATEST,
    A,
    archived_names_the_patient,
    books_balance,
    inbox,
    says,
    steps,
    the_case,
    the_scan,
    wait_until_somebody_waits,
)
from tests.flows.test_allocation import allocated_by
from tests.lims_says import in_visit, merged, updated, visit_moved
from tests.small_lab import ON_BOTH, SmallDecoder, SmallSlide, message_arrives, order, run_until_calm, scan_arrives

GOES, STAYS, THIRD = "A100234", "B7", "C9"


def patient_id(lab: Lab, number: str) -> str:
    return lab.ids.of("patient", "NET", number)


def test_a_merge_gives_the_case_to_the_patient_that_stays_and_the_order_still_names_the_other(lab: Lab) -> None:
    says(lab, order("26H1", A, patient=GOES), merged(STAYS, GOES))

    case = the_case(lab)
    assert (case.patient_id, case.named_patient_id) == (patient_id(lab, STAYS), patient_id(lab, GOES))
    with lab.database.read() as session:
        assert session.scalars(select(func.count()).select_from(Patient)).one() == 2
    books_balance(lab)


def test_a_merge_that_comes_before_any_order_works_on_the_orders_to_come(lab: Lab) -> None:
    says(lab, merged(STAYS, GOES), order("26H1", A, patient=GOES))

    assert the_case(lab).patient_id == patient_id(lab, STAYS)
    books_balance(lab)


@pytest.mark.parametrize("arrival", list(permutations(range(3))))
def test_chains_of_merges_are_followed_to_their_end_in_whatever_order_they_come(
    lab: Lab, arrival: tuple[int, ...]
) -> None:
    told = (
        order("26H1", A, patient=GOES),
        merged(STAYS, GOES, sent_at=LATER),
        merged(THIRD, STAYS, sent_at=LATEST, control_id="A40b"),
    )
    says(lab, *(told[number] for number in arrival))

    assert the_case(lab).patient_id == patient_id(lab, THIRD)
    books_balance(lab)


@ON_BOTH
@pytest.mark.parametrize("arrival", list(permutations(range(3))))
def test_two_merged_into_each_other_are_whom_the_later_message_says(lab: Lab, arrival: tuple[int, ...]) -> None:
    told = (
        order("26H1", A, patient=GOES),
        merged(STAYS, GOES, sent_at=LATER),
        merged(GOES, STAYS, sent_at=LATEST, control_id="A40b"),
    )
    says(lab, *(told[number] for number in arrival))

    assert the_case(lab).patient_id == patient_id(lab, GOES)
    books_balance(lab)


def test_a_merge_of_somebody_merged_before_counts_when_it_was_said_later(lab: Lab) -> None:
    says(
        lab,
        order("26H1", A, patient=GOES),
        merged(THIRD, GOES, sent_at=LATEST, control_id="A40b"),
        merged(STAYS, GOES, sent_at=LATER),
    )

    assert the_case(lab).patient_id == patient_id(lab, THIRD)


def test_the_same_merge_again_changes_nothing(lab: Lab) -> None:
    says(lab, order("26H1", A, patient=GOES))
    scan_arrives(lab, SmallSlide(codes=(A,)))
    says(lab, merged(STAYS, GOES), merged(STAYS, GOES, control_id="A40b"))

    assert the_scan(lab).edition == 1
    assert inbox(lab) == ["applied"] * 4
    books_balance(lab)


def test_what_is_archived_names_the_patient_that_stays_and_is_not_converted_again(lab: Lab) -> None:
    says(lab, order("26H1", A, patient=GOES))
    scan_arrives(lab, SmallSlide(codes=(A,)))
    run_until_calm(lab)
    assert isinstance(lab.decoder, SmallDecoder)
    asked = [one for one in lab.decoder.asked if one.endswith(":convert")]
    says(lab, merged(STAYS, GOES))

    assert (the_scan(lab).storage, the_scan(lab).edition) == (Storage.PROVEN, 2)
    assert [one for one in lab.decoder.asked if one.endswith(":convert")] == asked
    archived_names_the_patient(lab)
    books_balance(lab)


@pytest.mark.parametrize("kind", ["convert", "store", "prove"])
@pytest.mark.parametrize("back", [False, True])
def test_a_merge_that_lands_while_a_step_runs_is_not_missed(lab: Lab, kind: str, back: bool) -> None:  # noqa: FBT001 - a parameter
    says(lab, order("26H1", A, patient=GOES))
    scan_arrives(lab, SmallSlide(codes=(A,)))
    run_until_calm(lab, [one for one in STAGES if one.name != ARCHIVE_UPLOAD])
    for before in ("convert", "store", "prove")[: ("convert", "store", "prove").index(kind)]:
        claimed = claim(lab, before)
        finish(lab, STEPS[before](lab, claimed))
    claimed = claim(lab, kind)
    end = STEPS[kind](lab, claimed)
    others = [one for one in STAGES if one.name != ARCHIVE_UPLOAD]
    message_arrives(lab, merged(STAYS, GOES, sent_at=LATER))
    run_until_calm(lab, others)
    if back:
        message_arrives(lab, merged(GOES, STAYS, sent_at=LATEST, control_id="A40b"))
        run_until_calm(lab, others)
    finish(lab, end)
    run_until_calm(lab)

    assert the_scan(lab).storage == Storage.PROVEN
    assert the_case(lab).patient_id == patient_id(lab, GOES if back else STAYS)
    archived_names_the_patient(lab)
    books_balance(lab)


def test_a_merge_that_lands_before_a_scan_is_judged_is_in_the_first_objects(lab: Lab) -> None:
    says(lab, order("26H1", A, patient=GOES))
    scan_id = scan_arrives(lab, SmallSlide(codes=(A,), quality="review"))
    says(lab, merged(STAYS, GOES))
    review(Desk(lab.database, lab.settings, lab.ids), scan_id, "pass", Person("Ann Example", "sharp enough"))
    run_until_calm(lab)

    assert (the_scan(lab).storage, the_scan(lab).edition) == (Storage.PROVEN, 1)
    archived_names_the_patient(lab)
    books_balance(lab)


@ON_BOTH
def test_the_lims_is_told_both_numbers_of_somebody_merged_and_the_one_that_stays_first(lab: Lab) -> None:
    says(lab, merged(STAYS, GOES), order("26H1", A, patient=GOES))
    scan_arrives(lab, SmallSlide(codes=(A,)))
    run_until_calm(lab)

    with lab.database.read() as session:
        told = session.scalars(select(OutboxMessage.announcement)).all()
    numbers = {tuple(one["value"] for one in said["case"]["patient"]["identifiers"]) for said in told}
    assert numbers == {(STAYS, GOES)}


@pytest.mark.parametrize("arrival", list(permutations(range(3))))
def test_a_visit_that_moves_takes_its_case_along_and_no_other(lab: Lab, arrival: tuple[int, ...]) -> None:
    told = (
        in_visit(order("26H1", A, patient=GOES), "V1"),
        order("26H2", "26H000002-A1-1", patient=GOES, control_id="M2"),
        visit_moved("V1", GOES, STAYS),
    )
    says(lab, *(told[number] for number in arrival))

    with lab.database.read() as session:
        found = dict(session.execute(select(Case.id, Case.patient_id)).all())
    assert found[lab.ids.of("case", "NET", "26H1")] == patient_id(lab, STAYS)
    assert found[lab.ids.of("case", "NET", "26H2")] == patient_id(lab, GOES)
    books_balance(lab)


@pytest.mark.parametrize("arrival", list(permutations(range(3))))
def test_a_visit_moves_from_whoever_its_patient_was_merged_into(lab: Lab, arrival: tuple[int, ...]) -> None:
    told = (
        in_visit(order("26H1", A, patient=GOES), "V1"),
        merged(STAYS, GOES),
        visit_moved("V1", STAYS, THIRD, sent_at=LATER),
    )
    says(lab, *(told[number] for number in arrival))

    assert the_case(lab).patient_id == patient_id(lab, THIRD)
    books_balance(lab)


def test_a_moved_visit_corrects_what_is_archived(lab: Lab) -> None:
    says(lab, in_visit(order("26H1", A, patient=GOES), "V1"))
    scan_arrives(lab, SmallSlide(codes=(A,)))
    run_until_calm(lab)
    says(lab, visit_moved("V1", GOES, STAYS))

    assert (the_scan(lab).storage, the_scan(lab).edition) == (Storage.PROVEN, 2)
    archived_names_the_patient(lab)
    books_balance(lab)


def test_a_merge_that_would_change_more_cases_than_anybody_has_goes_to_a_person_whole(lab: Lab) -> None:
    says(lab, order("26H1", A, patient=GOES))
    with lab.database.write("many") as session:
        like = {column.key: getattr(the_case(lab), column.key) for column in Case.__table__.columns}
        session.execute(insert(Case), [like | {"id": str(uuid.UUID(int=number))} for number in range(1, 502)])
    message_arrives(lab, merged(STAYS, GOES))
    run_until_calm(lab, [one for one in STAGES if one.name == INTAKE])

    assert inbox(lab) == ["applied", "set aside"]
    with lab.database.read() as session:
        assert set(session.scalars(select(Case.patient_id))) == {patient_id(lab, GOES)}
        problem = session.scalars(select(InboxMessage.problem).where(InboxMessage.state == "set aside")).one()
    assert "more than 500 cases at once" in str(problem)
    assert GOES not in str(problem)


@ON_BOTH
def test_a_merge_locks_its_cases_and_leaves_no_step_behind(lab: Lab) -> None:
    for number in range(1, 6):
        message_arrives(lab, order(f"26H{number}", f"26H00000{number}-A1-1", patient=GOES, control_id=f"M{number}"))
    run_until_calm(lab)
    says(lab, merged(STAYS, GOES))

    with lab.database.read() as session:
        assert set(session.scalars(select(Case.patient_id))) == {patient_id(lab, STAYS)}
        assert session.scalar(select(Step.id).where(Step.kind == "apply", Step.state != "done")) is None
    assert steps(lab, "case_assignment") == []
    books_balance(lab)


@pytest.mark.postgres
def test_orders_and_merges_that_are_applied_side_by_side_miss_nothing(lab_on_postgres: Lab) -> None:
    lab = lab_on_postgres
    for number in range(1, 31):
        name = f"26H{number:06}-A1-1"
        visit = in_visit(order(f"26H{number}", name, patient=GOES, control_id=f"M{number}"), "V1")
        message_arrives(lab, visit if number % 3 == 0 else order(f"26H{number}", name, patient=GOES))
        if number % 10 == 0:
            message_arrives(lab, merged(STAYS, GOES, sent_at=LATER, control_id=f"A{number}"))
            message_arrives(lab, merged(THIRD, STAYS, sent_at=LATEST, control_id=f"B{number}"))
            message_arrives(lab, visit_moved("V1", THIRD, "D4", control_id=f"C{number}"))
    run_until_calm(lab, [one for one in STAGES if one.name == INTAKE], threads=4)
    run_until_calm(lab)

    with lab.database.read() as session:
        found = dict(session.execute(select(Case.id, Case.patient_id)).all())
    expected = {
        lab.ids.of("case", "NET", f"26H{number}"): patient_id(lab, "D4" if number % 3 == 0 else THIRD)
        for number in range(1, 31)
    }
    assert found == expected
    assert set(inbox(lab)) == {"applied"}
    books_balance(lab)


@pytest.mark.postgres
@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_the_readers_of_all_cases_of_a_merge_are_locked_in_the_order_in_which_others_lock_them(lab: Lab) -> None:
    """Two cases whose readers turn out to be called otherwise, in pools of which somebody else wants both."""
    lab = allocated_by(lab, "lims")
    for accession in ("26C0001", "26C0002"):
        says(lab, order(accession, f"{accession}-A1-1", patient=GOES, control_id=accession))
        scan_arrives(lab, SmallSlide(codes=(f"{accession}-A1-1",)))
    with lab.database.write("test") as session:
        session.add(Pool(id="a pool before theirs"))
        numbers = select(Identifier.value).where(Identifier.kind == "accession", Identifier.subject_kind == "case")
        first, second = session.scalars(numbers.order_by(Identifier.subject_id))
    says(lab, updated(first, reader="tom"), updated(second, reader="rosa", control_id="L2"))
    with lab.database.write("test") as session:
        tom, rosa = session.get_one(Pathologist, "tom"), session.get_one(Pathologist, "rosa")
        tom.known_as, rosa.known_as = ["rosa"], ["tom"]
        tom.pool_id = "a pool before theirs"
    merging = threading.Thread(target=partial(says, lab, merged(STAYS, GOES)))
    with lab.database.write("decides") as session:
        hold_pools(session, ("a pool before theirs",))
        merging.start()
        wait_until_somebody_waits(lab)
        hold_pools(session, ("network",))
    merging.join(30)
    with lab.database.read() as session:
        given = session.scalars(select(Assignment.pathologist_id).order_by(Assignment.id)).all()
    assert given == ["tom", "rosa", "rosa", "tom"]
