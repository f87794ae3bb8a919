"""A slide that comes or goes after its case could be read: its reader is told, and a person ticks it off by name."""

import pytest
from sqlalchemy import select

from connectors.wiring import Lab
from flows.actions import (
    Person,
    acknowledge,
    acknowledgeable_alerts,
    match,
    override,
    read_named,
    release,
    review,
    slide_named,
    withdraw,
)
from flows.standing.whereabouts import slides_of_case
from models.errors import RefusedError
from models.facets import Images, Reading
from models.tables.reading import Notice, Read
from models.tables.scan import Scan
from tests.flows.completing import ANN, archived, days_pass, desk, heard, open_alert, under
from tests.flows.looking import LATER, LATEST, A, B, C, alerts, books_balance, says, the_case
from tests.lims_says import merged, reported
from tests.small_lab import ON_BOTH, SmallSlide, order, run_until_calm, scan_arrives


def reader_of(lab: Lab) -> str:
    """Return who was told that the case is theirs, last."""
    return heard(lab, "given")[-1][0]


def read_without(lab: Lab, missing: str = B) -> str:
    """Release a case of two slides by policy with one of them; return who has it."""
    under(lab, release={"hold": "partial", "after_hours": 1.0})
    says(lab, order("26H1", A, missing))
    archived(lab, A)
    days_pass(lab)
    assert (the_case(lab).reading, alerts(lab)) == (Reading.ASSIGNED, [])
    return reader_of(lab)


@ON_BOTH
def test_a_slide_that_comes_after_a_partial_release_is_told_and_stays_until_somebody_ticks_it_off(lab: Lab) -> None:
    reader, version = read_without(lab), the_case(lab).completeness_version
    archived(lab, B)

    assert heard(lab, "late slide") == [(reader, f"slide {B} was missing, and can be read now: look at it")]
    assert (alerts(lab), the_case(lab).completeness_version) == (["late slide"], version + 1)
    run_until_calm(lab)
    assert alerts(lab) == ["late slide"]
    with lab.database.read() as session:
        [listed] = acknowledgeable_alerts(session)
    assert (listed.kind, listed.slide) == ("late slide", B)

    acknowledge(desk(lab), listed.number, ANN)
    with lab.database.read() as session:
        slides = slides_of_case(session, lab.settings, the_case(lab).id)
    assert slides is not None
    [late] = slides.late
    assert (late.slide, late.acknowledged_by, late.reason) == (f"{B}@NET", ANN.name, ANN.reason)
    assert alerts(lab) == []
    with pytest.raises(RefusedError, match="is over since"):
        acknowledge(desk(lab), listed.number, ANN)
    books_balance(lab)


def test_each_news_of_a_slide_takes_the_place_of_the_one_before(lab: Lab) -> None:
    says(lab, order("26H1", A))
    archived(lab, A)
    reader = reader_of(lab)
    says(lab, order("26H1", B, sent_at=LATER, control_id="M2"))
    first = open_alert(lab, "late slide")
    assert "was ordered after its case could be read" in first.sentence
    archived(lab, B)

    second = open_alert(lab, "late slide")
    assert (second.id > first.id, second.subject_id) == (True, first.subject_id)
    assert "can be read now" in second.sentence
    with pytest.raises(RefusedError, match="is over since"):
        acknowledge(desk(lab), first.id, ANN)
    assert [who for who, _ in heard(lab, "late slide")] == [reader, reader]
    books_balance(lab)


def test_who_is_given_a_case_that_waits_for_a_late_slide_hears_of_it(lab: Lab) -> None:
    says(lab, order("26H1", A))
    archived(lab, A)
    other = {"rosa": "tom", "tom": "rosa"}[reader_of(lab)]
    says(lab, order("26H1", B, sent_at=LATER, control_id="M2"))
    with lab.database.read() as session:
        seen = read_named(session, the_case(lab).id)
    override(desk(lab), seen, other, ANN)

    assert heard(lab, "incomplete") == [(other, f"waits for slides that are still missing: {B}")]
    books_balance(lab)


def test_two_slides_that_come_late_are_ticked_off_one_by_one(lab: Lab) -> None:
    says(lab, order("26H1", A))
    archived(lab, A)
    says(lab, order("26H1", B, C, sent_at=LATER, control_id="M2"))
    archived(lab, B, C)
    with lab.database.read() as session:
        listed = acknowledgeable_alerts(session)
    assert sorted(str(one.slide) for one in listed) == [B, C]

    acknowledge(desk(lab), listed[0].number, ANN)
    assert alerts(lab) == ["late slide"]


def test_a_reader_who_ticks_a_late_slide_off_has_seen_what_they_were_told_of_it_and_nobody_else_has(
    lab: Lab,
) -> None:
    says(lab, order("26H1", A))
    archived(lab, A)
    reader = reader_of(lab)
    says(lab, order("26H1", B, C, sent_at=LATER, control_id="M2"))
    with lab.database.read() as session:
        of_b, of_c = sorted(acknowledgeable_alerts(session), key=lambda one: str(one.slide))
    acknowledge(desk(lab), of_b.number, Person(f"Dr {reader.title()} Example", "I wait for it"))
    acknowledge(desk(lab), of_c.number, ANN)

    with lab.database.read() as session:
        rows = session.execute(select(Notice.sentence, Notice.seen_at).where(Notice.kind == "late slide"))
        seen = {sentence.split()[1]: seen_at is not None for sentence, seen_at in rows}
    assert seen == {B: True, C: False}


def test_a_slide_on_glass_that_is_added_late_is_told_once(lab: Lab) -> None:
    says(lab, order("26H1", A))
    archived(lab, A)
    says(lab, order("26H1", B, route="OTH", sent_at=LATER, control_id="M2"))

    [(_, sentence)] = heard(lab, "late slide")
    assert sentence == f"slide {B} was added after its case could be read: look at it"
    books_balance(lab)


def test_whoever_reported_the_case_is_told_of_a_slide_that_comes_after_that_and_no_round_opens(lab: Lab) -> None:
    reader = read_without(lab)
    says(lab, reported("26H1", "F"))
    assert the_case(lab).round_closed_at is not None
    archived(lab, B)

    assert heard(lab, "late slide") == [(reader, f"slide {B} was missing, and can be read now: look at it")]
    assert (alerts(lab), the_case(lab).round, the_case(lab).round_closed_at is None) == (["late slide"], 1, False)
    books_balance(lab)


def test_a_slide_that_is_ordered_after_the_report_opens_a_round_and_its_last_reader_is_told(lab: Lab) -> None:
    says(lab, order("26H1", A))
    archived(lab, A)
    reader = reader_of(lab)
    says(lab, reported("26H1", "F"))
    says(lab, order("26H1", B, sent_at=LATEST, control_id="M2"))

    assert [who for who, _ in heard(lab, "late slide")] == [reader]
    assert (the_case(lab).round, the_case(lab).images) == (2, Images.INCOMPLETE)
    archived(lab, B)
    assert (the_case(lab).images, the_case(lab).reading, reader_of(lab)) == ("ready", "assigned", reader)
    books_balance(lab)


def test_a_slide_that_is_withdrawn_is_told_and_so_is_its_return(lab: Lab) -> None:
    says(lab, order("26H1", A))
    archived(lab, A)
    reader = reader_of(lab)
    with lab.database.read() as session:
        scan_id, slide_id = session.scalars(select(Scan.id)).one(), slide_named(session, A)
    withdraw(desk(lab), scan_id, ANN)
    run_until_calm(lab)
    [(who, sentence)] = heard(lab, "withdrawn")
    assert (who, "can't be read any more as it was" in sentence) == (reader, True)

    match(desk(lab), scan_id, slide_id, ANN)
    run_until_calm(lab)
    assert [who for who, _ in heard(lab, "late slide")] == [reader]
    assert alerts(lab) == ["late slide"]
    books_balance(lab)


def test_a_slide_that_is_to_be_scanned_again_is_told(lab: Lab) -> None:
    says(lab, order("26H1", A))
    archived(lab, A)
    with lab.database.read() as session:
        scan_id = session.scalars(select(Scan.id)).one()
    review(desk(lab), scan_id, "rescan", ANN)
    assert len(heard(lab, "withdrawn")) == 1
    scan_arrives(lab, SmallSlide(codes=(A,), made=2))
    run_until_calm(lab)
    assert "can be read now" in open_alert(lab, "late slide").sentence
    books_balance(lab)


@ON_BOTH
def test_images_that_are_only_made_to_name_another_patient_are_no_news(lab: Lab) -> None:
    says(lab, order("26H1", A))
    archived(lab, A)
    says(lab, merged("B200", "A100234"))
    with lab.database.read() as session:
        assert session.scalars(select(Scan.edition)).one() == 2

    assert (the_case(lab).images, alerts(lab)) == (Images.READY, [])
    assert heard(lab, "late slide", "withdrawn") == []
    books_balance(lab)


def test_nothing_is_late_for_a_case_that_nobody_could_read(lab: Lab) -> None:
    says(lab, order("26H1", A, B))
    archived(lab, A)
    says(lab, order("26H1", C, sent_at=LATER, control_id="M2"))
    archived(lab, B, C)

    assert (alerts(lab), heard(lab, "late slide")) == ([], [])
    books_balance(lab)


def test_a_person_s_release_is_followed_as_the_policy_s_is(lab: Lab) -> None:
    says(lab, order("26H1", A, B))
    archived(lab, A)
    release(desk(lab), the_case(lab).id, ANN)
    run_until_calm(lab)
    archived(lab, B)

    assert [who for who, _ in heard(lab, "late slide")] == [reader_of(lab)]
    with lab.database.read() as session:
        assert session.scalars(select(Read.round)).all() == [1]
    books_balance(lab)
