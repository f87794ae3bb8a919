"""An archived scan whose case turns out to be another patient's: corrected once, and never converted again."""

import pytest
from sqlalchemy import func, select

from connectors.wiring import Lab
from flows.actions import Desk, Person, match, rerun, review, withdraw
from flows.actions.rerunning import preview_rerun
from flows.archive_upload.correcting import correct_archived
from flows.books import Cause
from flows.cases import lock_case
from models.errors import RefusedError
from models.facets import Outcome
from models.tables.books import History
from models.tables.step import Step
from tests.flows.archive_upload.correcting import (
    BEFORE_ARCHIVE,
    FIRST,
    MADE,
    OTHER,
    PROVEN,
    REJECTED,
    SHARP,
    THIRD,
    archived,
    becomes,
    corrections,
    done,
    editions,
    jobs,
    matched,
    the_end_is_right,
)
from tests.flows.looking import LATER, A, B, books_balance, scan_of, steps, the_case, the_scan, told
from tests.small_lab import ON_BOTH, SmallSlide, message_arrives, order, run_until_calm, scan_arrives

ROSA = Person("Rosa Example", "because")


def desk(lab: Lab) -> Desk:
    return Desk(lab.database, lab.settings, lab.ids)


def test_the_books_say_for_which_message_a_scan_is_corrected_and_which_edition_that_is(lab: Lab) -> None:
    scan_id = archived(lab)
    becomes(lab, OTHER, again=3)
    run_until_calm(lab)
    with lab.database.read() as session:
        rows = session.execute(
            select(History.what, History.before, History.after, History.cause)
            .where(History.subject_id == scan_id, History.what.in_(("correction", "edition")))
            .order_by(History.id)
        ).all()
    assert [tuple(row) for row in rows] == [
        ("correction", None, "to be made", "apply hl7"),
        ("edition", "1", "2", "correct 1.1"),
    ]


def test_duplicates_and_merges_in_a_row_are_one_correction(lab: Lab) -> None:
    archived(lab)
    becomes(lab, OTHER, again=3)
    becomes(lab, THIRD, OTHER, THIRD)
    run_until_calm(lab)

    assert corrections(lab) == ["done"]
    assert editions(lab) == {1: REJECTED, 2: PROVEN}
    the_end_is_right(lab, THIRD)
    books_balance(lab)


def test_a_second_merge_after_the_first_correction_is_corrected_from_it(lab: Lab) -> None:
    archived(lab)
    for patient in (OTHER, THIRD):
        becomes(lab, patient)
        run_until_calm(lab)

    assert jobs(lab) == ["convert", *["correct"] * 4]
    assert editions(lab) == {1: REJECTED, 2: REJECTED, 3: PROVEN}
    the_end_is_right(lab, THIRD)
    books_balance(lab)


def test_a_merge_that_is_taken_back_before_anything_left_sends_nothing(lab: Lab) -> None:
    archived(lab)
    before = told(lab)
    becomes(lab, OTHER)
    becomes(lab, FIRST)
    run_until_calm(lab)

    assert corrections(lab) == ["superseded"]
    assert editions(lab) == {1: PROVEN}
    assert steps(lab, "reject") == []
    assert told(lab) == before
    the_end_is_right(lab, FIRST)
    books_balance(lab)


@ON_BOTH
def test_a_scan_that_takes_no_part_any_more_is_not_corrected(lab: Lab) -> None:
    message_arrives(lab, order("26H1", A, B))
    withdrawn = scan_arrives(lab, SHARP)
    replaced = scan_arrives(lab, SmallSlide(codes=(B,)))
    run_until_calm(lab)
    withdraw(desk(lab), withdrawn, ROSA, close=True)
    review(desk(lab), replaced, "rescan", ROSA)
    replacement = scan_arrives(lab, SmallSlide(codes=(B,), made=2))
    run_until_calm(lab)
    becomes(lab, OTHER)
    run_until_calm(lab)

    with lab.database.read() as session:
        corrected = session.scalars(select(Step.subject_id).where(Step.kind == "correct")).all()
    assert corrected == [replacement]
    assert [scan_of(lab, one).edition for one in (withdrawn, replaced, replacement)] == [2, 1, 2]
    assert scan_of(lab, replaced).outcome == Outcome.SUPERSEDED
    books_balance(lab)


def test_a_withdrawn_match_ends_the_correction_and_the_next_slide_is_converted(lab: Lab) -> None:
    scan_id = archived(lab)
    becomes(lab, OTHER)
    withdraw(desk(lab), scan_id, ROSA)
    run_until_calm(lab)
    assert corrections(lab) == ["superseded"]
    match(desk(lab), scan_id, lab.ids.of("slide", "NET", A), ROSA)
    run_until_calm(lab)

    assert jobs(lab) == ["convert", "convert"]
    assert editions(lab) == {1: REJECTED, 2: PROVEN}
    the_end_is_right(lab, OTHER)
    books_balance(lab)


def test_a_picture_to_be_taken_again_is_hidden_while_it_names_another(lab: Lab) -> None:
    scan_id = archived(lab)
    review(desk(lab), scan_id, "rescan", ROSA)
    becomes(lab, OTHER)
    run_until_calm(lab)
    assert editions(lab) == {1: REJECTED, 2: MADE}

    review(desk(lab), scan_id, "pass", ROSA)
    run_until_calm(lab)
    assert editions(lab) == {1: REJECTED, 2: PROVEN}
    the_end_is_right(lab, OTHER)
    books_balance(lab)


@ON_BOTH
def test_a_correction_may_be_run_again_and_gives_the_same_objects(lab: Lab) -> None:
    scan_id = archived(lab)
    becomes(lab, OTHER)
    with pytest.raises(RefusedError, match="no step store now: choose one of slide_qc, barcode_matching, correct"):
        rerun(desk(lab), scan_id, ROSA, "store")
    assert "they are hidden in the archive" in preview_rerun(desk(lab), scan_id, "correct").outside[0]
    run_until_calm(lab)
    for start in ("correct", "slide_qc"):
        rerun(desk(lab), scan_id, ROSA, start)
        run_until_calm(lab)

    assert "convert" not in jobs(lab)[1:]
    assert editions(lab) == {1: REJECTED, 2: PROVEN}
    the_end_is_right(lab, OTHER)
    books_balance(lab)


def test_a_merge_while_a_conversion_is_run_again_is_corrected(lab: Lab) -> None:
    scan_id = archived(lab)
    rerun(desk(lab), scan_id, ROSA, "convert")
    becomes(lab, OTHER)
    run_until_calm(lab)

    assert jobs(lab) == ["convert", "correct", "correct"]
    assert editions(lab) == {1: REJECTED, 2: PROVEN}
    the_end_is_right(lab, OTHER)
    books_balance(lab)


def test_asking_for_a_correction_that_is_not_needed_changes_nothing(lab: Lab) -> None:
    archived(lab)
    case_id = the_case(lab).id
    with lab.database.read() as session:
        before = session.scalar(select(func.count()).select_from(Step))
    for _ in range(2):
        with lab.database.write("asked for nothing") as session:
            lock_case(session, case_id)
            correct_archived(session, case_id, Cause("test"))
    with lab.database.read() as session:
        assert session.scalar(select(func.count()).select_from(Step)) == before
    becomes(lab, OTHER)
    with lab.database.write("asked twice") as session:
        lock_case(session, case_id)
        correct_archived(session, case_id, Cause("test"))
    assert corrections(lab) == ["ready"]


def test_a_cancelled_slide_s_scan_is_corrected_when_it_is_ordered_again(lab: Lab) -> None:
    matched(lab)
    done(lab, "convert")
    message_arrives(lab, order("26H1", cancel=(A,), sent_at=LATER, control_id="CA1"))
    run_until_calm(lab, BEFORE_ARCHIVE)
    becomes(lab, OTHER)
    assert (the_scan(lab).outcome, corrections(lab)) == (Outcome.CANCELLED, [])
    message_arrives(lab, order("26H1", A, patient=OTHER, sent_at="20250104120000+0000", control_id="NW2"))
    run_until_calm(lab)

    assert (corrections(lab), jobs(lab).count("convert")) == (["done"], 1)
    the_end_is_right(lab, OTHER)
    books_balance(lab)
