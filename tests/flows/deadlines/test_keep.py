"""The deadlines of a case as its orders, its reports, its policy and its people make them."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import permutations
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import select

from connectors.wiring import Lab
from flows.actions import Desk, Person
from flows.actions.deadlines import pause_deadlines, resume_deadlines
from flows.deadlines.calendar import Calendar, after_working_days
from flows.deadlines.telling import at_in_words
from models.database import database_now, utc_now
from models.policy import Target
from models.tables.books import History
from models.tables.case import Case
from models.tables.deadline import Deadline
from models.tables.step import Step
from tests.flows.deadlines.kept import due, ended, hl7, holidays, kept, policy_begins, raised
from tests.flows.looking import LATER, LATEST, A, B, books_balance, says, the_case
from tests.lims_says import reported
from tests.small_lab import ON_BOTH, SmallSlide, message_arrives, order, run_until_calm, scan_arrives, small_lab

ANN = Person("Ann Example", "waits for the clinic")


def test_an_order_has_ten_days_by_the_usual_policy(lab: Lab) -> None:
    says(lab, order("26H1", A))

    case, deadlines = the_case(lab), due(lab)
    assert list(deadlines) == ["turnaround"]
    assert deadlines["turnaround"].source == "10 calendar days since registered"
    assert case.due_at == deadlines["turnaround"].due_at == case.registered_at + timedelta(days=10)
    assert case.due_kind == "turnaround"
    books_balance(lab)


@ON_BOTH
def test_the_earliest_rules_and_the_lims_may_want_it_sooner(lab: Lab) -> None:
    soon = utc_now() + timedelta(days=2)
    says(lab, order("26H1", A, due=hl7(soon)))

    case = the_case(lab)
    assert (case.due_kind, case.due_at) == ("ordered", soon.replace(microsecond=0))
    with lab.database.read() as session:
        message = session.scalars(select(Deadline).where(Deadline.kind == "ordered")).one()
    assert message.source.startswith("message ")
    assert (message.basis, set(due(lab))) == ("moment", {"ordered", "turnaround"})
    # A later word is the one that counts.
    says(lab, order("26H1", control="XO", due=hl7(soon + timedelta(days=20)), sent_at=LATER, control_id="M2"))
    assert the_case(lab).due_kind == "turnaround"
    with lab.database.read() as session:
        assert session.scalars(select(History.after).where(History.what == "deadline")).all() == ["turnaround"]
    books_balance(lab)


@ON_BOTH
def test_an_intra_operative_case_has_twenty_minutes_since_it_can_be_read(lab: Lab) -> None:
    says(lab, order("26H1", A, B, priority="FS"))
    policy_begins(lab, frozen=Target(minutes=20, since="ready", lanes=("intra-operative",)))
    kept(lab)
    assert due(lab) == {}
    for code in (A, B):
        scan_arrives(lab, SmallSlide(codes=(code,)))
    run_until_calm(lab)

    frozen = due(lab)["frozen"]
    assert frozen.due_at - frozen.starts_at == timedelta(minutes=20)
    with lab.database.read() as session:
        ready = session.scalars(select(History.at).where(History.what == "images", History.after == "ready")).one()
    assert frozen.starts_at == ready
    assert the_case(lab).due_kind == "frozen"


def test_a_final_report_ends_the_deadlines_and_a_late_slide_begins_new_ones(lab: Lab) -> None:
    says(lab, order("26H1", A), reported("26H1", "F"))
    case = the_case(lab)
    assert (case.due_at, case.due_kind, due(lab)) == (None, None, {})
    assert ended(lab) == [(1, "turnaround", False)]

    says(lab, order("26H1", B, sent_at=LATER, control_id="M2"))
    case = the_case(lab)
    assert case.round == 2
    assert case.round_opened_at is not None
    assert case.due_at == case.round_opened_at + timedelta(days=10)
    assert ended(lab) == [(1, "turnaround", False)]
    says(lab, reported("26H1", "F", sent_at=LATEST, control_id="R2"))
    assert ended(lab) == [(1, "turnaround", False), (2, "turnaround", False)]
    books_balance(lab)


def test_what_was_asked_for_of_one_round_is_not_wanted_of_the_next(lab: Lab) -> None:
    past = hl7(datetime(2025, 1, 10, tzinfo=UTC))
    says(lab, order("26H1", A, due=past), reported("26H1", "F"))
    assert (1, "ordered", False) in ended(lab)

    # A laboratory that repeats what it said wants nothing new.
    says(lab, order("26H1", B, due=past, sent_at=LATER, control_id="M2"))
    assert set(due(lab)) == {"turnaround"}
    says(lab, order("26H1", B, control="XO", due=hl7(utc_now()), sent_at=LATEST, control_id="M3"))
    assert set(due(lab)) == {"turnaround", "ordered"}


def test_a_cancelled_case_is_due_no_more_and_is_again_when_it_is_ordered_again(lab: Lab) -> None:
    says(lab, order("26H1", A), order("26H1", control="CA", sent_at=LATER, control_id="M2"))
    assert (due(lab), the_case(lab).due_at) == ({}, None)

    says(lab, order("26H1", A, sent_at=LATEST, control_id="M3"))
    assert the_case(lab).due_kind == "turnaround"
    books_balance(lab)


@ON_BOTH
def test_a_report_that_came_too_late_is_kept_as_that(lab: Lab) -> None:
    policy_begins(lab, soon=Target(minutes=0.001))
    now = utc_now() + timedelta(seconds=30)
    says(lab, order("26H1", A), reported("26H1", "F", sent_at=hl7(now)))

    assert ended(lab) == [(1, "soon", True)]


MESSAGES = (
    order("26H1", A, priority="S", due="20270110120000+0000"),
    reported("26H1", "F", sent_at="20250101123000+0000"),
    order("26H1", B, due="20270120120000+0000", sent_at=LATER, control_id="M2"),
    order("26H1", control="XO", priority="R", due="20270115120000+0000", sent_at=LATEST, control_id="M3"),
)


@pytest.mark.parametrize("way", list(permutations(range(len(MESSAGES))))[::5])
def test_whatever_order_messages_come_in_the_same_deadlines_live(tmp_path: Path, way: Sequence[int]) -> None:
    lab = small_lab(tmp_path, f"sqlite:///{tmp_path / 'coverslip.db'}")
    for number in way:
        message_arrives(lab, MESSAGES[number])
    run_until_calm(lab)

    case, deadlines = the_case(lab), due(lab)
    assert {kind: (one.round, one.basis) for kind, one in deadlines.items()} == {
        "ordered": (2, "moment"),
        "turnaround": (2, "calendar"),
    }
    assert deadlines["ordered"].due_at == datetime(2027, 1, 15, 12, tzinfo=UTC)
    assert deadlines["turnaround"].due_at == (case.round_opened_at or case.registered_at) + timedelta(days=10)
    assert case.due_kind == "turnaround"
    books_balance(lab)
    lab.database.close()


def test_working_days_are_those_of_the_site_without_its_holidays(lab: Lab) -> None:
    policy_begins(lab, cancer=Target(days=7, basis="working"))
    says(lab, order("26H1", A))
    case = the_case(lab)
    calendar = Calendar(ZoneInfo("UTC"))
    assert case.due_at == after_working_days(case.registered_at, 7, calendar)

    off = [case.registered_at + timedelta(days=number) for number in range(1, 4)]
    holidays(lab, *off)
    kept(lab)
    with_holidays = Calendar(ZoneInfo("UTC"), frozenset(day.date() for day in off))
    assert the_case(lab).due_at == after_working_days(case.registered_at, 7, with_holidays)


def test_working_hours_are_those_of_the_clock_where_the_site_is(lab: Lab) -> None:
    there = ZoneInfo("Pacific/Auckland")
    sites = tuple(site.model_copy(update={"zone": there.key}) for site in lab.settings.sites)
    far = replace(lab, settings=lab.settings.model_copy(update={"sites": sites}))
    policy_begins(far, cancer=Target(days=7, basis="working"))
    says(far, order("26H1", A))
    case = the_case(far)
    assert case.due_at == after_working_days(case.registered_at, 7, Calendar(there))


def test_a_target_is_of_a_lane_or_a_subspecialty_and_another_policy_counts_open_cases_anew(lab: Lab) -> None:
    urgent = Target(days=2, lanes=("urgent",))
    breast = Target(days=5, subspecialties=("breast",))
    policy_begins(lab, urgent=urgent, breast=breast)
    says(lab, order("26H1", A))
    assert (due(lab), the_case(lab).due_at) == ({}, None)

    says(lab, order("26H1", control="XO", priority="S", sent_at=LATER, control_id="M2"))
    assert set(due(lab)) == {"urgent"}
    policy_begins(lab, 2, urgent=Target(days=1), general=Target(days=9, subspecialties=("general",)))
    kept(lab)
    assert set(due(lab)) == {"urgent", "general"}
    assert due(lab)["urgent"].source == "1 calendar day since registered"


@ON_BOTH
def test_a_pause_stops_the_clock_and_steps_follow_their_case(lab: Lab) -> None:
    desk = Desk(lab.database, lab.settings, lab.ids)
    says(lab, order("26H1", A))
    case = the_case(lab)
    assert case.due_at is not None
    pause_deadlines(desk, case.id, ANN)
    assert the_case(lab).due_kind == "turnaround"
    acted = resume_deadlines(desk, case.id, ANN)

    moved = the_case(lab)
    assert moved.due_at is not None
    assert moved.due_at > case.due_at
    assert acted.follows == (f"it is due {at_in_words(moved.due_at, 'UTC', utc_now())} (turnaround)",)
    with lab.database.read() as session:
        rows = session.scalars(select(History).where(History.what == "clock").order_by(History.id)).all()
    assert [(row.after, row.actor, row.reason) for row in rows] == [
        ("stands still", "Ann Example", "waits for the clinic"),
        ("runs", "Ann Example", "waits for the clinic"),
    ]
    books_balance(lab)


def test_while_the_clock_stands_still_what_can_not_be_paused_rules(lab: Lab) -> None:
    policy_begins(lab, turnaround=Target(days=1), safety=Target(days=30, pausable=False))
    says(lab, order("26H1", A))
    assert the_case(lab).due_kind == "turnaround"
    pause_deadlines(Desk(lab.database, lab.settings, lab.ids), the_case(lab).id, ANN)

    assert the_case(lab).due_kind == "safety"
    assert set(due(lab)) == {"turnaround", "safety"}
    says(lab, reported("26H1", "F"))
    with lab.database.read() as session:
        assert session.scalars(select(Case.due_at)).one() is None
    says(lab, order("26H1", B, sent_at=LATER, control_id="M2"))
    # Whoever waited for the clinic has been answered: the next round's clock runs.
    assert the_case(lab).due_kind == "turnaround"


def test_a_step_in_the_queue_takes_the_rank_of_a_deadline_that_came_later(lab: Lab) -> None:
    says(lab, order("26H1", A))
    scan_id = scan_arrives(lab, SmallSlide(codes=(A,), quality="review"))
    run_until_calm(lab)
    policy_begins(lab, turnaround=Target(days=1))
    kept(lab)

    with lab.database.read() as session:
        ranks = session.scalars(select(Step.rank_at).where(Step.subject_id == scan_id, Step.state == "waiting")).all()
        assert database_now(session) < max(ranks)
    assert set(ranks) == {the_case(lab).due_at}
    assert raised(lab) == {}
