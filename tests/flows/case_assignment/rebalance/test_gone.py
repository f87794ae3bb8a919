"""Reads of whoever reads no longer for the laboratory: they move, or people are told; none lies there unseen."""

from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import delete, insert, select, update

from connectors.wiring import Lab
from flows.actions import Desk as ActingDesk
from flows.actions import Person, override, read_named
from flows.alerts import READER_ABSENT
from flows.deadlines.recounting import notice_policy
from flows.deadlines.watch import Watch
from flows.people.sync import sync_people
from flows.sweep import sweep
from models.database import database_now
from models.tables.books import Alert
from models.tables.case import Case
from models.tables.deadline import Deadline
from models.tables.reading import Leave, Pathologist, Read, Rebalance
from models.tables.step import Step
from tests.flows.case_assignment.rebalance.desks import Desk, Given, falls_ill, lay, look, only, owners
from tests.small_lab import ON_BOTH, run_until_calm

MANAGER = Person("Mia Manager", "she left us")


def leaves(lab: Lab, person: str) -> None:
    with lab.database.write("leaves") as session:
        session.execute(update(Pathologist).where(Pathologist.id == person).values(active=False))


def raised(lab: Lab) -> list[str]:
    """Return the reads of which people were told that their reader is gone."""
    with lab.database.read() as session:
        told = select(Alert.subject_id).where(Alert.kind == READER_ABSENT, Alert.cleared_at.is_(None))
        return sorted(session.scalars(told))


@ON_BOTH
@pytest.mark.parametrize(
    "given",
    [Given("ann", opened=True), Given("ann", accepted=True), Given("ann", manual=True), Given("ann", role="opinion")],
    ids=["opened", "accepted", "decided by a person", "an opinion"],
)
def test_what_no_machine_moves_of_somebody_who_left_is_raised_until_a_person_gives_it_on(
    lab: Lab, given: Given
) -> None:
    only(lab, Desk("ann"), Desk("bob"))
    (read,) = lay(lab, given)
    look(lab)
    assert raised(lab) == []

    leaves(lab, "ann")
    look(lab)
    sweep(lab)
    assert (raised(lab), owners(lab)[read]) == ([read], "ann")

    with lab.database.read() as session:
        seen = read_named(session, session.scalars(select(Read.case_id)).one())
    override(ActingDesk(lab.database, lab.settings, lab.ids), seen, "bob", MANAGER)
    sweep(lab)
    assert (raised(lab), owners(lab)[read]) == ([], "bob")


def test_what_nobody_else_may_have_of_somebody_who_left_is_raised_and_the_rest_moves(lab: Lab) -> None:
    only(lab, Desk("ann"), Desk("bob", subspecialties=("general",)))
    moves, stays = lay(lab, Given("ann"), Given("ann", subspecialty="skin"))
    leaves(lab, "ann")
    look(lab)
    sweep(lab)
    assert (owners(lab)[moves], owners(lab)[stays]) == ("bob", "ann")
    assert raised(lab) == [stays]


@ON_BOTH
@pytest.mark.parametrize("days", [3, 30])
@pytest.mark.parametrize(
    "given", [Given("ann", opened=True), Given("ann", accepted=True), Given("ann", role="opinion")]
)
def test_what_no_machine_moves_of_somebody_on_leave_is_raised_if_it_would_be_late(
    lab: Lab, given: Given, days: int
) -> None:
    only(lab, Desk("ann"), Desk("bob"))
    (read,) = lay(lab, given)
    with lab.database.write("leave") as session:
        today = database_now(session).date()
        session.add(Leave(pathologist_id="ann", first_day=today, last_day=today + timedelta(days=days)))
    look(lab)
    sweep(lab)
    assert (raised(lab), owners(lab)[read]) == ([read] if days == 30 else [], "ann")

    with lab.database.write("back") as session:
        session.execute(delete(Leave))
    sweep(lab)
    assert raised(lab) == []


def test_all_reads_are_looked_at_when_the_settings_name_somebody_no_more_who_has_some(lab: Lab) -> None:
    lay(lab, Given("rosa"))
    fewer = lab.settings.model_copy(update={"readers": lab.settings.readers[1:]})
    for _ in range(2):
        with lab.database.write("begin") as session:
            sync_people(session, fewer)
    with lab.database.read() as session:
        (asked,) = session.scalars(select(Rebalance))
    assert (asked.outcome["state"], asked.outcome["occasion"]) == ("asked", "absence")


@ON_BOTH
def test_a_site_that_is_set_no_more_holds_up_no_other_one(lab: Lab) -> None:
    only(lab, Desk("ann"), Desk("bob"))
    here, there = lay(lab, Given("ann"), Given("ann", site="site-b"))
    falls_ill(lab, "ann")
    with lab.database.write("due") as session:
        now = database_now(session)
        # What is due at the site that is gone comes first.
        for late, read in enumerate((here, there), start=1):
            case = session.get_one(Case, session.get_one(Read, read).case_id)
            case.due_at, case.due_kind = now - timedelta(days=late), "turnaround"
            row = {"id": read, "case_id": case.id, "round": 1, "kind": "turnaround", "source": "", "basis": "calendar"}
            session.execute(insert(Deadline), row | {"starts_at": now - timedelta(days=9), "due_at": case.due_at})
    fewer = replace(lab, settings=lab.settings.model_copy(update={"sites": lab.settings.sites[:1]}))

    look(fewer)
    Watch(fewer).look()
    assert (owners(lab)[here], owners(lab)[there]) == ("bob", "ann")
    with lab.database.read() as session:
        assert session.scalars(select(Deadline.id).where(Deadline.breached_at.is_not(None))).all() == [here]

    assert notice_policy(fewer)
    run_until_calm(fewer)
    with lab.database.read() as session:
        assert "set aside" not in session.scalars(select(Step.state)).all()
