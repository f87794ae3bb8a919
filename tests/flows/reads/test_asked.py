"""Opinions, and what is prepared for a meeting: reads of their own, beside those that a report closes."""

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from connectors.wiring import Lab
from flows import cases, reads
from flows.books import Cause
from models.database import database_now
from models.errors import RefusedError
from models.facets import Reading
from models.tables.case import Case
from models.tables.reading import Assignment, Read
from tests.flows.looking import LATER, LATEST, books_balance, says, the_case
from tests.flows.reads.life import LabOf, credits_of, divided, reads_of
from tests.lims_says import reported
from tests.small_lab import ON_BOTH, order, run_until_calm

CAUSE = Cause("ask opinion", "Ann Example", "is it?")


def locked(session: Session) -> Case:
    case = cases.lock_case(session, session.scalars(select(Case.id)).one())
    assert case is not None
    return case


def asked(lab: Lab, question: str = "is it?", **of_whom: Any) -> str:  # noqa: ANN401 - of whom it is asked
    with lab.database.write("ask") as session:
        now = database_now(session)
        read = reads.ask_opinion(
            session, lab.settings, locked(session), "rosa", question, cause=CAUSE, now=now, **of_whom
        )
        read_id = read.id
    run_until_calm(lab)
    return read_id


def closed(lab: Lab, read_id: str) -> None:
    with lab.database.write("close") as session:
        case, now = locked(session), database_now(session)
        reads.close_asked(session, case, session.get_one(Read, read_id), cause=CAUSE, now=now)


def prepared(lab: Lab) -> str:
    with lab.database.write("mdt") as session:
        case, now = locked(session), database_now(session)
        at = now + timedelta(days=3)
        return reads.add_mdt_read(session, lab.settings, case, "Ann", "breast meeting", at=at, cause=CAUSE, now=now).id


def test_an_opinion_goes_to_somebody_else_and_the_case_stays_assigned(lab_of: LabOf) -> None:
    lab = lab_of()
    says(lab, divided(("A", "SKIN"), slides=12))
    asked(lab)

    opinion, primary = reads_of(lab)
    assert (opinion[0], opinion[1], opinion[4]) == ("opinion", "opinion 1", True)
    assert {opinion[3], primary[3]} == {"rosa", "tom"}
    assert the_case(lab).reading == Reading.ASSIGNED
    with lab.database.read() as session:
        row = session.scalars(select(Read).where(Read.role == "opinion")).one()
        assert (row.points, row.asked_by, row.because) == (3.0, "rosa", "is it?")
    books_balance(lab)


def test_an_opinion_of_another_subspecialty_goes_to_who_reads_that(lab_of: LabOf) -> None:
    lab = lab_of()
    says(lab, divided(("A", "SKIN")))
    asked(lab, of_subspecialty="neuro")

    assert reads_of(lab)[0] == ("opinion", "opinion 1", "", "nia", True)
    books_balance(lab)


def test_whoever_is_named_has_it_and_no_machine_moves_it(lab_of: LabOf) -> None:
    lab = lab_of()
    says(lab, divided(("A", "SKIN")))
    read_id = asked(lab, of_pathologist="bea")

    with lab.database.read() as session:
        given = session.scalars(select(Assignment).where(Assignment.read_id == read_id)).one()
        assert (given.pathologist_id, given.manual, given.decided_by) == ("bea", True, "rosa")
    books_balance(lab)


def test_what_can_not_be_asked_is_refused(lab_of: LabOf) -> None:
    lab = lab_of(skin={"second_opinion": True})
    says(lab, divided(("A", "SKIN")))
    ((_, _, _, who, _),) = reads_of(lab)
    with pytest.raises(RefusedError, match="has the primary read"):
        asked(lab, of_pathologist=who)
    with pytest.raises(RefusedError, match="reads no longer"):
        asked(lab, of_pathologist="nobody")
    asked(lab)
    with pytest.raises(RefusedError, match="asked already"):
        asked(lab)
    asked(lab, "and this?", of_subspecialty="neuro")
    assert [read[1] for read in reads_of(lab)] == ["opinion 1", "opinion 2", "whole"]
    says(lab, reported("26H1", "F", sent_at=LATER))
    with pytest.raises(RefusedError, match="is reported"):
        asked(lab, "and now?")
    books_balance(lab)


@pytest.mark.parametrize("who", ["lims", "pacs"])
def test_where_others_allocate_they_are_asked(lab_of: LabOf, who: str) -> None:
    lab = lab_of(site={"allocation": who})
    says(lab, divided(("A", "SKIN")))
    with pytest.raises(RefusedError, match="says who reads this case"):
        asked(lab)
    with pytest.raises(RefusedError, match="says who reads this case"):
        prepared(lab)


def test_a_policy_may_have_no_opinions(lab_of: LabOf) -> None:
    lab = lab_of(skin={"second_opinion": False})
    says(lab, divided(("A", "SKIN")))
    with pytest.raises(RefusedError, match="no opinions in skin"):
        asked(lab)


def test_an_opinion_that_was_given_is_credited_and_one_that_waits_ends_with_the_report(lab_of: LabOf) -> None:
    lab = lab_of()
    says(lab, divided(("A", "SKIN")))
    first = asked(lab, of_pathologist="bea")
    asked(lab, "and this?", of_pathologist="nia")
    closed(lab, first)
    assert credits_of(lab) == [(1, "opinion", "opinion 1", "bea", 0.5)]
    with pytest.raises(RefusedError, match="is over"):
        closed(lab, first)
    says(lab, reported("26H1", "F", sent_at=LATER))

    assert [read[4] for read in reads_of(lab)] == [False, False, False]
    assert [credit[2:4] for credit in credits_of(lab)][:2] == [("opinion 1", "bea"), ("opinion 2", "nia")]
    books_balance(lab)


def test_what_is_prepared_for_a_meeting_outlasts_the_report_and_goes_to_the_reporter(lab_of: LabOf) -> None:
    lab = lab_of()
    says(lab, divided(("A", "SKIN")))
    ((_, _, _, who, _),) = reads_of(lab)
    read_id = prepared(lab)
    with pytest.raises(RefusedError, match="asked already"):
        prepared(lab)
    run_until_calm(lab)
    says(lab, reported("26H1", "F", sent_at=LATER))

    assert reads_of(lab)[0] == ("mdt", "mdt 1", "", who, True)
    assert the_case(lab).reading == Reading.NONE
    books_balance(lab)
    closed(lab, read_id)
    assert [credit[1] for credit in credits_of(lab)] == ["mdt", "primary"]
    books_balance(lab)


@ON_BOTH
def test_what_was_asked_of_a_cancelled_case_is_asked_again_when_it_is_ordered_again(lab_of: LabOf) -> None:
    lab = lab_of()
    says(lab, divided(("A", "SKIN")))
    closed(lab, asked(lab, "was answered"))
    asked(lab)
    prepared(lab)
    run_until_calm(lab)
    before = reads_of(lab)
    assert [(read[1], read[4]) for read in before] == [
        ("mdt 1", True),
        ("opinion 1", False),
        ("opinion 2", True),
        ("whole", True),
    ]
    cancel = order("26H1", control="CA", sent_at=LATER, control_id="CA")
    says(lab, cancel, divided(("A", "SKIN"), sent_at=LATEST, control_id="O2"))

    assert reads_of(lab) == before
    books_balance(lab)


def test_a_meeting_that_wants_a_case_before_it_can_be_read_has_nobody_read_it_yet(lab_of: LabOf) -> None:
    lab = lab_of()
    says(lab, order("26H1", "26H1-A-1"))
    prepared(lab)
    says(lab, order("26H1", "26H1-A-2", sent_at=LATER, control_id="M2"))

    assert [read[:4] for read in reads_of(lab)] == [("mdt", "mdt 1", "", None)]
    assert the_case(lab).reading == Reading.NONE
    books_balance(lab)


def test_a_report_alone_ends_a_primary_read(lab_of: LabOf) -> None:
    lab = lab_of()
    says(lab, divided(("A", "SKIN")))
    with lab.database.read() as session:
        read_id = session.scalars(select(Read.id)).one()
    with pytest.raises(RefusedError, match="its report closes it"):
        closed(lab, read_id)
