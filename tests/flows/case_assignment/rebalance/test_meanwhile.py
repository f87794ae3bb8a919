"""What people do between a plan and its moves: whoever acts wins, and what is planned for the others still happens."""

import threading
from datetime import timedelta

import pytest
from sqlalchemy import select, update

from connectors.wiring import Lab
from flows.actions import Desk as ActingDesk
from flows.actions import Person, open_read, override, read_named
from flows.books import Cause
from flows.case_assignment.rebalance import looks
from flows.case_assignment.rebalance.applying import make_move, make_moves
from flows.case_assignment.rebalance.looks import Look
from flows.case_assignment.rebalance.moves import Move, in_swaps
from flows.case_assignment.rebalance.step import preview
from flows.cases import lock_case
from models.database import database_now
from models.tables.case import Case
from models.tables.reading import Assignment, Read
from tests.flows.case_assignment.rebalance.desks import (
    Desk,
    Given,
    by_policy,
    falls_ill,
    last_look,
    lay,
    only,
    owners,
    told,
)
from tests.small_lab import ON_BOTH

ANN = Person("Dr Ann", "I begin with it")
MANAGER = Person("Mia Manager", "the surgeon asked for it")
CAUSE = Cause("a test of moves")
PEOPLE = {"ann": ANN, "bob": Person("Dr Bob", "I begin with it")}


def _planned(lab: Lab, *, points: float = 3) -> tuple[Look, dict[str, Move]]:
    """Have Ann ill with three reads; return the moves that a look would make."""
    only(lab, Desk("ann"), Desk("bob"), Desk("cleo"))
    lay(lab, *(Given("ann", points=points) for _ in range(3)))
    falls_ill(lab, "ann")
    with lab.database.write("looks") as session:
        look = looks.begin(session, database_now(session))
    with lab.database.read() as session:
        found = preview(session, lab.settings, lab.ids, "absence")
    assert len(found.proposal.moves) == 3
    return look, {move.read_id: move for move in found.proposal.moves}


def _made(lab: Lab, look: Look, move: Move) -> bool:
    with lab.database.write("looks") as session:
        return make_move(session, lab, look, move, CAUSE)


def _case_of(lab: Lab, read_id: str) -> str:
    with lab.database.read() as session:
        return session.scalars(select(Read.case_id).where(Read.id == read_id)).one()


def test_whoever_opened_a_read_after_the_plan_was_made_keeps_it(lab: Lab) -> None:
    look, moves = _planned(lab)
    opened, other, _ = moves
    with lab.database.read() as session:
        seen = read_named(session, _case_of(lab, opened))
    open_read(ActingDesk(lab.database, lab.settings, lab.ids), seen, "ann", ANN)

    assert not _made(lab, look, moves[opened])
    assert _made(lab, look, moves[other])

    assert (owners(lab)[opened], owners(lab)[other] != "ann") == ("ann", True)
    assert told(lab, opened) == []


@ON_BOTH
def test_of_an_exchange_both_halves_are_made_or_none(lab: Lab) -> None:
    by_policy(lab, most_moved_share=1.0, smallest_gain=0.0)
    only(lab, Desk("ann"), Desk("bob", site="site-b"))
    here, there = lay(lab, Given("bob", points=90), Given("ann", points=90, site="site-b"))
    with lab.database.write("looks") as session:
        look = looks.begin(session, database_now(session))
    with lab.database.read() as session:
        [exchange] = in_swaps(preview(session, lab.settings, lab.ids, "schedule").proposal.moves)
    assert {(move.read_id, move.to_id) for move in exchange} == {(here, "ann"), (there, "bob")}
    second = exchange[1]
    with lab.database.read() as session:
        seen = read_named(session, _case_of(lab, second.read_id))
    open_read(ActingDesk(lab.database, lab.settings, lab.ids), seen, str(second.from_id), PEOPLE[str(second.from_id)])

    with lab.database.write("looks") as session:
        assert not make_moves(session, lab, look, exchange, CAUSE)
    assert (owners(lab), last_look(lab).moved) == ({here: "bob", there: "ann"}, 0)
    assert told(lab, exchange[0].read_id) == []

    with lab.database.write("closed") as session:
        session.execute(update(Assignment).values(opened_at=None))
    with lab.database.write("looks") as session:
        assert make_moves(session, lab, look, exchange, CAUSE)
    assert (owners(lab), last_look(lab).moved) == ({here: "ann", there: "bob"}, 2)


def test_whom_a_person_gave_a_read_after_the_plan_was_made_keeps_it(lab: Lab) -> None:
    look, moves = _planned(lab)
    read = next(iter(moves))
    to = "bob" if moves[read].to_id == "cleo" else "cleo"
    with lab.database.read() as session:
        seen = read_named(session, _case_of(lab, read))
    override(ActingDesk(lab.database, lab.settings, lab.ids), seen, to, MANAGER)

    assert not _made(lab, look, moves[read])

    assert owners(lab)[read] == to


@pytest.mark.postgres
def test_a_move_waits_for_whoever_opens_the_read_at_that_moment_and_then_is_not_made(lab_on_postgres: Lab) -> None:
    lab = lab_on_postgres
    look, moves = _planned(lab)
    read, move = next(iter(moves.items()))
    made: list[bool] = []
    with lab.database.write("opening") as session:
        lock_case(session, move.case_id)
        mover = threading.Thread(target=lambda: made.append(_made(lab, look, move)))
        mover.start()
        mover.join(0.5)
        assert mover.is_alive()
        opened = update(Assignment).where(Assignment.read_id == read).values(opened_at=database_now(session))
        session.execute(opened)
    mover.join(30)

    assert (made, owners(lab)[read]) == ([False], "ann")


@ON_BOTH
def test_a_read_that_has_to_go_goes_to_somebody_else_when_the_planned_one_fell_ill_too(lab: Lab) -> None:
    look, moves = _planned(lab)
    read, move = next(iter(moves.items()))
    falls_ill(lab, move.to_id)

    assert _made(lab, look, move)

    assert owners(lab)[read] == ({"bob", "cleo"} - {move.to_id}).pop()


@ON_BOTH
def test_of_a_case_that_was_cancelled_or_given_by_the_lims_meanwhile_nothing_moves(lab: Lab) -> None:
    look, moves = _planned(lab)
    read, move = next(iter(moves.items()))
    with lab.database.write("cancelled") as session:
        session.execute(update(Case).where(Case.id == move.case_id).values(cancelled=True))

    assert not _made(lab, look, move)
    assert owners(lab)[read] == "ann"


@ON_BOTH
def test_the_explanation_of_a_move_says_which_look_it_was_and_what_it_saves(lab: Lab) -> None:
    look, moves = _planned(lab)
    read, move = next(iter(moves.items()))

    assert _made(lab, look, move)

    with lab.database.read() as session:
        given = session.scalars(
            select(Assignment).where(Assignment.read_id == read, Assignment.ended_at.is_(None))
        ).one()
        told_why = given.explanation
        ended = session.scalars(select(Assignment.ended_because).where(Assignment.ended_at.is_not(None))).one()
    assert (given.decided_by, told_why["rebalance"], told_why["winner"]) == ("batch", look.id, given.pathologist_id)
    assert told_why["sentence"].startswith("Dr Ann is away: of all open reads together, Dr ")
    assert ended is not None
    assert ended.endswith(" has it now, since you are away")


def test_what_a_plan_moves_is_decided_by_its_deadline_first(lab: Lab) -> None:
    only(lab, Desk("ann"), Desk("bob"))
    days = (6, 2, 4)
    reads = lay(lab, *(Given("ann", due_in=timedelta(days=day)) for day in days), Given(None), Given("ann", lane=1))
    falls_ill(lab, "ann")

    with lab.database.read() as session:
        moves = preview(session, lab.settings, lab.ids, "absence").proposal.moves

    assert [reads.index(move.read_id) for move in moves] == [3, 4, 1, 2, 0]
