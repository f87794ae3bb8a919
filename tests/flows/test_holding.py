"""A case is held back for its missing slides as long as the policy says, and no longer."""

from datetime import timedelta

import pytest
from sqlalchemy import func, select

from connectors.wiring import Lab
from flows.actions import release
from models.database import utc_now
from models.facets import Images, Reading
from models.tables.books import Fact, History, OutboxMessage
from models.tables.case import Case
from models.tables.step import Step
from tests.flows.completing import ANN, archived, days_pass, desk, heard, open_alert, under
from tests.flows.looking import LATER, A, B, C, alerts, books_balance, says, steps, the_case
from tests.lims_says import reported
from tests.small_lab import ON_BOTH, order, run_until_calm

PARTIAL = {"hold": "partial", "after_hours": 24.0}


def the_hold(lab: Lab) -> Step:
    with lab.database.read() as session:
        return session.scalars(select(Step).where(Step.kind == "hold", Step.state == "waiting")).one()


def half_there(lab: Lab) -> None:
    """Order two slides, of which one is archived."""
    says(lab, order("26H1", A, B))
    archived(lab, A)
    assert the_case(lab).images == Images.INCOMPLETE


def test_a_case_of_which_nothing_can_be_read_is_not_held(lab: Lab) -> None:
    says(lab, order("26H1", A, B))
    assert steps(lab, "hold") == []


@ON_BOTH
def test_a_whole_case_is_waited_for_and_people_are_told_when_it_takes_too_long(lab: Lab) -> None:
    half_there(lab)
    wait = the_hold(lab)
    with lab.database.read() as session:
        since = session.scalars(select(Case).join(Step, Step.subject_id == Case.id).where(Step.id == wait.id)).one()
    assert (wait.waiting_for, wait.waiting_then) == ("its missing slides", "people are told what is missing")
    assert wait.waiting_until is not None
    assert timedelta(hours=47) < wait.waiting_until - since.registered_at < timedelta(hours=49)
    assert alerts(lab) == []

    days_pass(lab)
    assert (the_case(lab).images, alerts(lab)) == (Images.INCOMPLETE, ["held too long"])
    assert "48 hours after its first could be read" in open_alert(lab, "held too long").sentence
    assert steps(lab, "hold") == ["waiting for its missing slides"]
    books_balance(lab)

    archived(lab, B)
    assert (the_case(lab).images, alerts(lab), steps(lab, "hold")) == (Images.READY, [], ["done"])
    books_balance(lab)


@ON_BOTH
def test_what_is_there_is_released_by_policy_and_its_reader_hears_what_is_missing(lab: Lab) -> None:
    version = under(lab, release=PARTIAL)
    half_there(lab)
    assert the_hold(lab).waiting_then == "released to be read without what is missing"
    days_pass(lab)

    case = the_case(lab)
    assert (case.images, case.reading, case.released, case.released_how) == ("ready", "assigned", True, "policy")
    assert (alerts(lab), steps(lab, "hold")) == ([], ["done"])
    [(_, sentence)] = heard(lab, "incomplete")
    assert sentence == f"is read without slides that are still missing: {B}"
    with lab.database.read() as session:
        fact = session.scalars(select(Fact).where(Fact.kind == "ReleasedByPolicy")).one()
        told = session.scalars(select(OutboxMessage).where(OutboxMessage.event_key.like("released:%"))).one()
        changes = select(History.actor, History.cause).where(History.what == "released")
        assert [(actor, cause.split(" ")[0]) for actor, cause in session.execute(changes)] == [(None, "hold")]
    assert (fact.actor, fact.body["version"], fact.body["after_hours"]) == (None, version, 24.0)
    assert len(fact.body["slide_ids"]) == 1
    assert (told.announcement["reasons"], told.announcement["images_complete"]) == (
        ["1 of 2 slides can be read"],
        False,
    )
    books_balance(lab)


def test_each_subspecialty_has_a_rule_of_its_own(lab: Lab) -> None:
    under(lab, subspecialties={"skin": {"release": PARTIAL}})
    half_there(lab)
    assert the_hold(lab).waiting_then == "people are told what is missing"

    under(lab, subspecialties={"general": {"release": PARTIAL}})
    days_pass(lab)
    assert the_case(lab).released_how == "policy"


def test_a_policy_that_changes_counts_from_the_next_look_at_the_case(lab: Lab) -> None:
    half_there(lab)
    under(lab, release=PARTIAL)
    assert the_hold(lab).waiting_then == "people are told what is missing"
    # Nothing has happened to the case, and its time has come by the new rule, not by the old one.
    days_pass(lab)
    assert the_case(lab).released_how == "policy"
    books_balance(lab)


def test_a_policy_that_changes_moves_the_deadline_at_the_next_change_of_the_case(lab: Lab) -> None:
    says(lab, order("26H1", A, B, C))
    archived(lab, A)
    before = the_hold(lab).waiting_until
    under(lab, release={"hold": "partial", "after_hours": 4.0})
    archived(lab, B)

    after = the_hold(lab)
    assert steps(lab, "hold") == ["superseded", "waiting for its missing slides"]
    assert before is not None
    assert after.waiting_until == before - timedelta(hours=44)
    assert after.waiting_then == "released to be read without what is missing"
    books_balance(lab)


def test_a_wait_that_ends_too_early_goes_on(lab: Lab) -> None:
    under(lab, release=PARTIAL)
    half_there(lab)
    until = the_hold(lab).waiting_until
    with lab.database.write("too early") as session:
        session.get_one(Step, the_hold(lab).id).waiting_until = the_case(lab).registered_at
    run_until_calm(lab)

    assert (the_hold(lab).waiting_until, the_case(lab).released) == (until, False)


@pytest.mark.parametrize("hold", ["partial", "whole case"])
def test_no_time_at_all_is_a_time_too(lab: Lab, hold: str) -> None:
    under(lab, release={"hold": hold, "after_hours": 0.0})
    says(lab, order("26H1", A, B))
    archived(lab, A)

    assert the_case(lab).released == (hold == "partial")
    assert alerts(lab) == ([] if hold == "partial" else ["held too long"])
    books_balance(lab)


def test_a_person_who_releases_a_case_ends_its_wait(lab: Lab) -> None:
    half_there(lab)
    acted = release(desk(lab), the_case(lab).id, ANN)
    assert acted.follows[0] == "it is read with 1 of its 2 slides"
    run_until_calm(lab)
    assert (the_case(lab).released_how, steps(lab, "hold")) == ("a person", ["done"])
    books_balance(lab)


def test_a_case_that_was_cancelled_is_not_held(lab: Lab) -> None:
    under(lab, release=PARTIAL)
    half_there(lab)
    says(lab, order("26H1", control="CA", sent_at=LATER, control_id="M2"))
    assert steps(lab, "hold") == ["done"]
    books_balance(lab)


def test_a_case_that_was_reported_is_not_held(lab: Lab) -> None:
    half_there(lab)
    says(lab, reported("26H1", "F"))
    assert steps(lab, "hold") == ["done"]
    books_balance(lab)


@ON_BOTH
def test_what_was_released_by_policy_stays_so_whatever_order_messages_come_in(lab: Lab) -> None:
    under(lab, release=PARTIAL)
    half_there(lab)
    days_pass(lab)
    says(lab, order("26H1", A, B, stain="HE", sent_at=LATER, control_id="M2"))
    assert (the_case(lab).released_how, the_case(lab).images) == ("policy", Images.READY)
    # The LIMS cancels the case, and orders it again: it is as it was left.
    says(lab, order("26H1", control="CA", sent_at="20250101140000+0000", control_id="M3"))
    assert (the_case(lab).released_how, the_case(lab).released) == (None, False)
    says(lab, order("26H1", A, B, sent_at="20250101150000+0000", control_id="M4"))
    assert (the_case(lab).released_how, the_case(lab).images) == ("policy", Images.READY)
    books_balance(lab)


@ON_BOTH
def test_a_released_case_whose_set_is_open_may_be_cancelled(lab: Lab) -> None:
    half_there(lab)
    release(desk(lab), the_case(lab).id, ANN)
    run_until_calm(lab)
    with lab.database.write("the set is open again") as session:
        session.scalars(select(Case)).one().expected_closed_at = None
    with lab.database.read() as session:
        said = session.scalars(select(Fact.effective_at).where(Fact.kind == "CaseReleased")).one()
    later = (said + timedelta(seconds=2)).strftime("%Y%m%d%H%M%S") + "+0000"
    says(lab, order("26H1", control="CA", sent_at=later, control_id="M2"))

    assert (the_case(lab).cancelled, the_case(lab).images, alerts(lab)[-1]) == (True, "awaiting", "case cancelled")


def test_an_owner_is_kept_while_a_late_slide_is_waited_for(lab: Lab) -> None:
    says(lab, order("26H1", A))
    archived(lab, A)
    assert the_case(lab).reading == Reading.ASSIGNED
    days_pass(lab)
    says(lab, order("26H1", B, sent_at=LATER, control_id="M2"))

    # It counts from when the case could no longer be read, not from its first slide long ago.
    until = the_hold(lab).waiting_until
    assert until is not None
    assert until > the_case(lab).registered_at
    assert (the_case(lab).reading, alerts(lab)) == (Reading.ASSIGNED, ["late slide"])
    books_balance(lab)


@pytest.mark.parametrize("by", ["policy", "a person"])
def test_a_release_counts_after_what_a_clock_that_is_ahead_said_before_it(lab: Lab, by: str) -> None:
    if by == "policy":
        under(lab, release={"hold": "partial", "after_hours": 0.0})
    says(lab, order("26H1", A))
    archived(lab, A)
    ahead = (utc_now() + timedelta(minutes=4)).strftime("%Y%m%d%H%M%S+0000")
    says(lab, reported("26H1", "F"), order("26H1", B, sent_at=ahead, control_id="M9"))
    if by == "a person":
        release(desk(lab), the_case(lab).id, ANN)
        run_until_calm(lab)

    case = the_case(lab)
    assert (case.round, case.images, case.released_how, steps(lab, "hold")) == (2, "ready", by, ["done"])
    with lab.database.read() as session:
        assert session.scalar(select(func.count()).where(Fact.kind.like("%Released%"))) == 1
    books_balance(lab)
