"""Urgent lanes are read as soon as the archive has stored their images, before it has proven them, and say so."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import select

from connectors.wiring import Lab
from flows.actions import release, rerun
from flows.standing import case_page
from flows.standing.whereabouts import slides_of_case
from models.facets import Images, Reading
from models.tables.books import History, OutboxMessage
from models.tables.scan import Scan
from tests.flows.completing import ANN, ProvesLater, archived, desk, heard, open_alert, under
from tests.flows.looking import LATER, A, B, alerts, books_balance, says, steps, the_case, time_passes, told
from tests.small_lab import ON_BOTH, order, run_until_calm, small_lab

PROVEN = "was read before the archive had proven its images: all that can be read of it are proven now"


@pytest.fixture
def lab(tmp_path: Path, database_url: str) -> Iterator[Lab]:
    """A small laboratory whose archive does not prove anything yet."""
    opened = small_lab(tmp_path, database_url)
    yield replace(opened, archive=ProvesLater(opened.archive))
    opened.database.close()


def proves(lab: Lab, *, lost: bool = False) -> None:
    """Let the archive answer again."""
    assert isinstance(lab.archive, ProvesLater)
    lab.archive.away, lab.archive.lost = False, lost
    time_passes(lab, "prove")
    run_until_calm(lab)
    lab.archive.lost = False


def said_to_lims(lab: Lab) -> list[tuple[bool, list[str]]]:
    """Return of each release of a case whether its images were complete, and in which words."""
    released = select(OutboxMessage).where(OutboxMessage.event_key.like("released:%"))
    with lab.database.read() as session:
        told = session.scalars(released.order_by(OutboxMessage.stated_at)).all()
        return [(one.announcement["images_complete"], one.announcement["reasons"]) for one in told]


def storage(lab: Lab) -> list[str]:
    with lab.database.read() as session:
        return list(session.scalars(select(Scan.storage)))


def words(lab: Lab) -> str:
    with lab.database.read() as session:
        page = case_page(session, the_case(lab).id)
    assert page is not None
    return page.line.completeness


def test_an_urgent_case_is_read_before_its_images_are_proven_and_says_so(lab: Lab) -> None:
    says(lab, order("26H1", A, priority="S"))
    archived(lab, A)

    case = the_case(lab)
    assert storage(lab) == ["stored"]
    assert (case.images, case.reading, case.released, case.released_how) == ("ready", "assigned", False, "lane")
    assert words(lab) == "1 of 1 slide can be read, 1 of them before the archive has proven them"
    assert heard(lab, "before proof") == [
        (heard(lab, "given")[0][0], f"is read before the archive has proven slides: {A}")
    ]
    with lab.database.read() as session:
        slides = slides_of_case(session, lab.settings, case.id)
        released = session.scalars(select(OutboxMessage).where(OutboxMessage.event_key.like("released:%"))).one()
    assert slides is not None
    assert [(one.standing, one.can_be_read, one.before_proof) for one in slides.slides] == [
        ("not proven yet", True, True)
    ]
    assert released.announcement["images_complete"] is False
    assert "archived" not in told(lab)
    proves(lab)
    books_balance(lab)


@ON_BOTH
def test_what_is_proven_later_is_recorded_and_the_lims_hears_that_all_is_in(lab: Lab) -> None:
    says(lab, order("26H1", A, priority="S"))
    archived(lab, A)
    version = the_case(lab).completeness_version
    proves(lab)

    assert (storage(lab), the_case(lab).released_how) == (["proven"], None)
    assert the_case(lab).completeness_version == version + 1
    assert words(lab) == "1 of 1 slide can be read"
    with lab.database.read() as session:
        keys = OutboxMessage.event_key.like("released:%")
        messages = session.scalars(select(OutboxMessage).where(keys).order_by(OutboxMessage.stated_at)).all()
        how = session.execute(select(History.before, History.after).where(History.what == "released_how")).all()
    assert [one.announcement["images_complete"] for one in messages] == [False, True]
    assert [tuple(one) for one in how] == [(None, "lane"), ("lane", None)]
    assert (alerts(lab), heard(lab, "late slide")) == ([], [])
    assert heard(lab, "proven") == [(heard(lab, "given")[0][0], PROVEN)]
    books_balance(lab)


def test_whoever_reads_a_released_case_before_its_proof_hears_once_that_all_is_proven(lab: Lab) -> None:
    says(lab, order("26H1", A, B, priority="S"))
    archived(lab, A)
    release(desk(lab), the_case(lab).id, ANN)
    run_until_calm(lab)
    reader = heard(lab, "given")[0][0]
    assert [who for who, _ in heard(lab, "before proof", "incomplete")] == [reader, reader]
    proves(lab)

    assert (heard(lab, "proven"), the_case(lab).released_how) == ([(reader, PROVEN)], "a person")
    assert [complete for complete, _ in said_to_lims(lab)] == [False, False]
    assert [reasons for _, reasons in said_to_lims(lab)][1] == ["1 of 2 slides can be read"]
    archived(lab, B)
    assert len(heard(lab, "proven")) == 1
    books_balance(lab)


def test_whoever_reads_a_released_case_before_its_proof_hears_that_it_failed_and_never_that_all_is_well(
    lab: Lab,
) -> None:
    says(lab, order("26H1", A, B, priority="S"))
    archived(lab, A)
    release(desk(lab), the_case(lab).id, ANN)
    run_until_calm(lab)
    proves(lab, lost=True)

    assert [who for who, _ in heard(lab, "proof failed")] == [heard(lab, "given")[0][0]]
    assert heard(lab, "proven") == []
    books_balance(lab)


def test_a_routine_case_waits_for_the_proof(lab: Lab) -> None:
    says(lab, order("26H1", A))
    archived(lab, A)
    assert (storage(lab), the_case(lab).images) == (["stored"], Images.AWAITING)
    proves(lab)
    assert (the_case(lab).images, the_case(lab).released_how) == (Images.READY, None)
    books_balance(lab)


def test_where_the_policy_does_not_let_it_an_urgent_case_waits_too(lab: Lab) -> None:
    under(lab, read_before_proof=[])
    says(lab, order("26H1", A, priority="S"))
    archived(lab, A)
    assert (storage(lab), the_case(lab).images) == (["stored"], Images.AWAITING)


def test_a_case_that_becomes_urgent_is_read_at_once_and_what_was_let_be_read_stays_so(lab: Lab) -> None:
    says(lab, order("26H1", A))
    archived(lab, A)
    says(lab, order("26H1", A, priority="S", sent_at=LATER, control_id="M2"))
    assert (the_case(lab).images, the_case(lab).released_how) == (Images.READY, "lane")

    under(lab, read_before_proof=[])
    says(lab, order("26H1", A, priority="R", sent_at="20250101140000+0000", control_id="M3"))
    assert (the_case(lab).images, the_case(lab).released_how) == (Images.READY, "lane")
    proves(lab)
    books_balance(lab)


def test_a_proof_that_fails_is_told_to_the_reader_and_ticked_off_by_name(lab: Lab) -> None:
    says(lab, order("26H1", A, priority="S"))
    archived(lab, A)
    reader = heard(lab, "given")[0][0]
    proves(lab, lost=True)

    assert (the_case(lab).images, the_case(lab).reading, the_case(lab).released_how) == (
        Images.AWAITING,
        Reading.ASSIGNED,
        None,
    )
    [(who, sentence)] = heard(lab, "proof failed")
    assert (who, sentence.startswith(f"slide {A} was read before the archive had proven its image")) == (reader, True)
    assert alerts(lab) == ["proof failed", "set aside"]
    books_balance(lab)


@ON_BOTH
def test_what_could_not_be_proven_once_is_read_again_only_when_it_is(lab: Lab) -> None:
    says(lab, order("26H1", A, priority="S"))
    archived(lab, A)
    proves(lab, lost=True)
    assert isinstance(lab.archive, ProvesLater)
    lab.archive.away = True
    with lab.database.read() as session:
        scan_id = session.scalars(select(Scan.id)).one()
    rerun(desk(lab), scan_id, ANN, start="store")
    run_until_calm(lab)
    assert (storage(lab), the_case(lab).images) == (["stored"], Images.AWAITING)

    proves(lab)
    assert (storage(lab), the_case(lab).images) == (["proven"], Images.READY)
    assert "can be read now" in open_alert(lab, "late slide").sentence
    books_balance(lab)


def test_an_urgent_case_waits_for_its_other_slides_as_any_other(lab: Lab) -> None:
    says(lab, order("26H1", A, B, priority="S"))
    archived(lab, A)
    assert (the_case(lab).images, steps(lab, "hold")) == (Images.INCOMPLETE, ["waiting for its missing slides"])
    archived(lab, B)
    assert (the_case(lab).images, the_case(lab).released_how) == (Images.READY, "lane")
    proves(lab)
    books_balance(lab)
