"""What pathologists do with what they were given."""

from datetime import UTC, datetime

import pytest
from sqlalchemy import insert, select, update

from connectors.wiring import Lab
from flows.actions import Desk, accept, decline, hand_over, open_read, override, read_named
from flows.actions.reads_held import when
from flows.books import Cause
from flows.case_assignment import giving
from flows.cases import lock_case
from models.database import database_now
from models.errors import RefusedError
from models.tables.reading import Assignment, Declined, Pathologist, Read, ReadingConflict
from tests.flows.actions.life import ONE, case_of, ordered, told
from tests.flows.actions.reads_life import (
    MANAGER,
    OTHER,
    PERSONS,
    assigned,
    assignment,
    done_by,
    notices,
    owners,
    raised,
    the_batch_moves,
    the_read,
)
from tests.lims_says import reported
from tests.small_lab import ON_BOTH, message_arrives, order, run_until_calm


@ON_BOTH
def test_what_is_opened_and_accepted_has_a_name_on_it(lab: Lab, desk: Desk) -> None:
    seen, owner, _ = assigned(lab)
    assert accept(desk, seen, owner, PERSONS[owner]).what == "accepted"
    assert open_read(desk, seen, owner, PERSONS[owner]).what == "opened"
    given = assignment(lab, seen)
    assert given.accepted_at is not None
    assert given.opened_at is not None
    assert done_by(lab, PERSONS[owner].name) == [("accepted by", None, owner), ("opened by", None, owner)]


def test_doing_it_again_changes_nothing_and_says_since_when(lab: Lab, desk: Desk) -> None:
    seen, owner, _ = assigned(lab)
    for _ in range(2):
        accepted, opened = (act(desk, seen, owner, PERSONS[owner]) for act in (accept, open_read))
    assert accepted.what.startswith("accepted already at ")
    assert opened.what.startswith("open since ")
    assert len(done_by(lab, PERSONS[owner].name)) == 2


def test_what_somebody_else_has_is_neither_accepted_nor_opened_nor_given_back(lab: Lab, desk: Desk) -> None:
    seen, owner, other = assigned(lab)
    said = f"{PERSONS[other].name} never had the primary read of case .*: it went to {PERSONS[owner].name} at .*UTC$"
    for act in (accept, open_read, decline):
        with pytest.raises(RefusedError, match=said):
            act(desk, seen, other, PERSONS[other])


def test_what_is_reported_or_cancelled_or_not_there_is_not_read(lab: Lab, desk: Desk) -> None:
    seen, owner, _ = assigned(lab)
    message_arrives(lab, reported("26B0001", "F", sent_at="20250101140000+0000"))
    run_until_calm(lab)
    with pytest.raises(RefusedError, match="is over"):
        open_read(desk, seen, owner, PERSONS[owner])
    with lab.database.read() as session, pytest.raises(RefusedError, match="has no open read"):
        read_named(session, seen.case_id)
    message_arrives(lab, order("26B0001", cancel=(ONE,), sent_at="20250101150000+0000", control_id="CA"))
    run_until_calm(lab)


@ON_BOTH
def test_what_is_given_back_goes_to_somebody_else_at_once_and_the_lims_hears_of_it(lab: Lab, desk: Desk) -> None:
    seen, owner, other = assigned(lab)
    acted = decline(desk, seen, owner, PERSONS[owner])
    assert acted.follows == (f"{PERSONS[other].name} has it now; {PERSONS[other].name} and the LIMS are told",)
    assert owners(lab) == [(owner, "coverslip", False, False), (other, "coverslip", False, True)]
    with lab.database.read() as session:
        (why,) = session.scalars(select(Declined))
    assert (why.pathologist_id, why.because) == (owner, "my own reason")
    assert notices(lab, owner) == ["given", "taken"]
    assert notices(lab, other) == ["given"]
    assert told(lab).count("assigned") == 2
    assert case_of(lab).reading == "assigned"


def test_what_everybody_gave_back_is_raised_and_comes_to_neither_again(lab: Lab, desk: Desk) -> None:
    seen, owner, other = assigned(lab)
    decline(desk, seen, owner, PERSONS[owner])
    acted = decline(desk, the_read(lab), other, PERSONS[other])
    assert "nobody else may read it" in acted.follows[0]
    run_until_calm(lab)
    assert case_of(lab).reading == "unassigned"
    assert raised(lab) == ["nobody eligible"]
    with pytest.raises(RefusedError, match="nobody has it: it was taken from"):
        decline(desk, the_read(lab), other, PERSONS[other])
    # A person can still decide.
    override(desk, the_read(lab), owner, MANAGER)
    run_until_calm(lab)
    assert raised(lab) == []
    assert owners(lab)[-1] == (owner, "Ann Manager", True, True)


def test_what_was_given_back_by_hand_twice_keeps_the_last_reason(lab: Lab, desk: Desk) -> None:
    seen, owner, _ = assigned(lab)
    decline(desk, seen, owner, PERSONS[owner])
    override(desk, the_read(lab), owner, MANAGER)
    decline(desk, the_read(lab), owner, PERSONS[OTHER[owner]])
    assert owners(lab)[-1][0] == OTHER[owner]


def test_what_is_given_back_while_a_slide_is_waited_for_is_assigned_when_it_can_be_read(lab: Lab, desk: Desk) -> None:
    seen, owner, other = assigned(lab)
    message_arrives(lab, order("26B0001", "26B0001-A1-2", control_id="M2", sent_at="20250101130000+0000"))
    run_until_calm(lab)
    assert case_of(lab).images == "incomplete"
    acted = decline(desk, seen, owner, PERSONS[owner])
    assert acted.follows == ("it goes to somebody else as soon as the case can be read",)
    message_arrives(lab, order("26B0001", cancel=("26B0001-A1-2",), control_id="M3", sent_at="20250101140000+0000"))
    run_until_calm(lab)
    assert owners(lab)[-1] == (other, "coverslip", False, True)


@ON_BOTH
def test_what_nobody_has_becomes_that_of_whoever_accepts_it(lab: Lab, desk: Desk) -> None:
    seen, owner, other = assigned(lab)
    decline(desk, seen, owner, PERSONS[owner])
    decline(desk, the_read(lab), other, PERSONS[other])
    run_until_calm(lab)
    unowned = the_read(lab)
    with pytest.raises(RefusedError, match="--insist"):
        accept(desk, unowned, owner, PERSONS[owner])
    accept(desk, unowned, owner, PERSONS[owner], insist=True)
    run_until_calm(lab)
    assert owners(lab)[-1] == (owner, PERSONS[owner].name, True, True)
    with pytest.raises(RefusedError, match=f"{PERSONS[owner].name} accepted it at .*: nothing was changed"):
        accept(desk, unowned, other, PERSONS[other], insist=True)


@ON_BOTH
def test_who_had_it_open_when_a_machine_moved_it_keeps_it(lab: Lab, desk: Desk) -> None:
    seen, owner, other = assigned(lab)
    assert the_batch_moves(lab, seen, other)
    acted = open_read(desk, seen, owner, PERSONS[owner])
    assert "it had been moved a moment before, and came back" in acted.follows
    assert owners(lab)[-1] == (owner, PERSONS[owner].name, False, True)
    assert notices(lab, other) == ["given", "taken"]
    assert assignment(lab, seen).opened_at is not None


@pytest.mark.parametrize("touched", ["accepted_at", "opened_at", "manual"])
def test_it_does_not_come_back_from_somebody_who_has_touched_it(lab: Lab, desk: Desk, touched: str) -> None:
    seen, owner, other = assigned(lab)
    assert the_batch_moves(lab, seen, other)
    with lab.database.write("test") as session:
        value = True if touched == "manual" else database_now(session)
        session.execute(update(Assignment).where(Assignment.ended_at.is_(None)).values({touched: value}))
    with pytest.raises(RefusedError, match=PERSONS[other].name):
        open_read(desk, seen, owner, PERSONS[owner])


def test_what_was_given_back_does_not_come_back_by_being_opened(lab: Lab, desk: Desk) -> None:
    seen, owner, other = assigned(lab)
    decline(desk, seen, owner, PERSONS[owner])
    with pytest.raises(RefusedError, match=f"it went to {PERSONS[other].name}"):
        open_read(desk, seen, owner, PERSONS[owner])


def test_who_moves_to_another_site_keeps_what_they_have_and_acts_on_it(lab: Lab, desk: Desk) -> None:
    seen, owner, other = assigned(lab)
    with lab.database.write("test") as session:
        session.execute(update(Pathologist).where(Pathologist.id == owner).values(site_id="site-b"))
    accept(desk, seen, owner, PERSONS[owner])
    open_read(desk, seen, owner, PERSONS[owner])
    hand_over(desk, the_read(lab), owner, other, PERSONS[owner])
    assert owners(lab)[-1] == (other, PERSONS[owner].name, True, True)


def test_a_case_without_anything_to_read_says_so(lab: Lab) -> None:
    ordered(lab)
    with lab.database.read() as session, pytest.raises(RefusedError, match="has no open read: 'coverslip show"):
        read_named(session, case_of(lab).id)


def test_times_are_said_as_people_at_the_site_say_them() -> None:
    now = datetime(2026, 7, 2, 9, 30, tzinfo=UTC)
    assert when(datetime(2026, 7, 2, 9, 5, tzinfo=UTC), now, "Europe/London") == "at 10:05 BST"
    assert when(datetime(2026, 7, 1, 22, 59, tzinfo=UTC), now, "Europe/London") == "on 1 Jul at 23:59 BST"
    assert when(datetime(2026, 7, 2, 9, 5, tzinfo=UTC), now, "America/Sao_Paulo") == "at 06:05 UTC-03"


def test_what_was_moved_does_not_come_back_to_somebody_with_another_read_of_the_case(lab: Lab, desk: Desk) -> None:
    seen, owner, other = assigned(lab)
    assert the_batch_moves(lab, seen, other)
    with lab.database.write("test") as session:
        now = database_now(session)
        second = {"case_id": seen.case_id, "round": 1, "scope": "whole", "role": "second", "points": 1.0}
        session.execute(insert(Read).values(id="second", **second, created_at=now))
        case, read = lock_case(session, seen.case_id), session.get_one(Read, "second")
        assert case is not None
        why = {"sentence": "a test"}
        giving.give(
            *(session, lab.settings, case, read, owner),
            decided_by="coverslip",
            explanation=why,
            cause=Cause("test"),
            now=now,
        )
    with pytest.raises(RefusedError, match="it is not with"):
        open_read(desk, seen, owner, PERSONS[owner])
    assert assignment(lab, seen).pathologist_id == other


def test_what_was_moved_for_a_conflict_does_not_come_back_by_being_opened(lab: Lab, desk: Desk) -> None:
    seen, owner, other = assigned(lab)
    with lab.database.write("test") as session:
        of_case = {"subject_kind": "case", "subject_id": seen.case_id, "because": "a relative"}
        session.execute(insert(ReadingConflict).values(pathologist_id=owner, **of_case))
    assert the_batch_moves(lab, seen, other)
    with pytest.raises(RefusedError, match="it is not with"):
        open_read(desk, seen, owner, PERSONS[owner])
