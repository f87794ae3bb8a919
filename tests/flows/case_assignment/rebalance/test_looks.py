"""What a look at all open reads moves, in real databases."""

from collections import Counter
from datetime import timedelta

import pytest
from sqlalchemy import select

from connectors.wiring import Lab
from flows.case_assignment.rebalance.looks import request_rebalance
from flows.case_assignment.replaying import replay
from models.database import database_now
from models.tables.reading import Assignment, Read
from tests.flows.case_assignment.rebalance.desks import (
    Desk,
    Given,
    busy,
    by_policy,
    falls_ill,
    last_look,
    lay,
    look,
    only,
    owners,
    step_state,
    told,
)
from tests.small_lab import ON_BOTH


def test_a_crowded_desk_is_shared_and_both_readers_are_told(lab: Lab) -> None:
    only(lab, Desk("ann"), Desk("bob"))
    reads = lay(lab, *(Given("ann", points=3) for _ in range(40)), *(Given("bob", points=3) for _ in range(4)))

    done = look(lab)

    moved = [read for read in reads[:40] if owners(lab)[read] == "bob"]
    assert done.moved == len(moved) == 3
    assert told(lab, moved[0]) == [("ann", "taken"), ("bob", "given")]
    assert done.outcome["after"]["total"] < done.outcome["before"]["total"]


@ON_BOTH
def test_in_a_small_laboratory_one_read_may_move_at_a_time(lab: Lab) -> None:
    only(lab, Desk("ann"), Desk("bob"))
    lay(lab, *(Given("ann", points=20) for _ in range(5)))

    assert look(lab).moved == 1
    assert look(lab).moved == 0


def test_a_look_right_after_another_moves_nothing(lab: Lab) -> None:
    busy(lab)
    first = look(lab)
    before = owners(lab)

    again = look(lab)

    assert (again.id != first.id, again.moved) == (True, 0)
    assert owners(lab) == before
    assert step_state(lab) == "waiting"


@ON_BOTH
def test_an_absence_moves_that_persons_unopened_reads_and_at_most_two_in_a_hundred_more(lab: Lab) -> None:
    reads = busy(lab)
    look(lab)
    before = owners(lab)
    ill = Counter(before.values()).most_common(1)[0][0]
    falls_ill(lab, ill)
    with lab.database.write("asked") as session:
        request_rebalance(session, f"{ill} is away", database_now(session))

    done = look(lab)

    after = owners(lab)
    theirs = [read for read in reads if before[read] == ill]
    assert all(after[read] != ill for read in theirs)
    others = [read for read in reads if after[read] != before[read] and before[read] != ill]
    assert len(others) <= 0.02 * len(reads)
    assert (done.why, done.moved) == (f"{ill} is away", len(theirs) + len(others))


def test_after_an_absence_a_crowded_desk_is_not_shared_at_once(lab: Lab) -> None:
    only(lab, *(Desk(name, 1000.0) for name in ("ann", "bob", "cid")))
    theirs = lay(lab, *[Given("ann")] * 3)
    crowded = lay(lab, *[Given("bob")] * 97)
    falls_ill(lab, "ann")
    with lab.database.write("asked") as session:
        request_rebalance(session, "ann is away", database_now(session))

    done = look(lab)

    after = owners(lab)
    assert [after[read] for read in theirs] == ["cid"] * 3
    assert (Counter(after[read] for read in crowded)["cid"], done.held_back > 0) == (2, True)


@pytest.mark.parametrize("kept", [{"opened": True}, {"manual": True}, {"accepted": True}, {"role": "mdt"}])
def test_what_a_person_has_begun_or_decided_stays_even_when_its_reader_is_away(lab: Lab, kept: dict[str, bool]) -> None:
    only(lab, Desk("ann"), Desk("bob"))
    [read] = lay(lab, Given("ann", **kept))  # type: ignore[arg-type]
    falls_ill(lab, "ann")

    done = look(lab)

    assert (owners(lab)[read], done.moved) == ("ann", 0)


def test_what_came_lately_stays_unless_it_would_be_late(lab: Lab) -> None:
    only(lab, Desk("ann"), Desk("bob"))
    now = timedelta(0)
    lay(lab, *(Given("ann", points=3, since=now) for _ in range(40)))
    assert (look(lab).moved, last_look(lab).outcome["quiet"]) == (0, 40)

    lay(lab, *(Given("ann", points=10, since=now, due_in=timedelta(hours=3)) for _ in range(4)))

    assert look(lab).moved > 0


def test_what_nobody_has_is_given_to_somebody_and_nothing_looks_for_a_reader_any_more(lab: Lab) -> None:
    only(lab, Desk("ann"), Desk("bob"))
    [read] = lay(lab, Given(None))

    done = look(lab)

    assert (done.moved, read in owners(lab)) == (1, True)


def test_reads_whose_weight_is_no_number_stay_and_hinder_nobody(lab: Lab) -> None:
    only(lab, Desk("ann"), Desk("bob"))
    [odd, less] = lay(lab, Given("ann", points=-3), Given("ann", points=-1))
    lay(lab, *(Given("ann", points=10) for _ in range(40)))

    assert look(lab).moved > 0
    assert (owners(lab)[odd], owners(lab)[less]) == ("ann", "ann")


def test_nobody_passes_their_maximum_by_a_look(lab: Lab) -> None:
    only(lab, Desk("ann"), Desk("bob", max_points=12))
    lay(lab, *(Given("ann", points=10) for _ in range(40)), Given("bob", points=2))
    falls_ill(lab, "ann")

    look(lab)

    assert Counter(owners(lab).values())["bob"] == 2


@ON_BOTH
def test_the_two_reads_of_a_case_that_is_read_twice_stay_with_two_people(lab: Lab) -> None:
    only(lab, Desk("ann"), Desk("bob"), Desk("cleo"))
    [first] = lay(lab, Given("ann", case="00000000-0000-4000-8000-000000000001"))
    [second] = lay(lab, Given("bob", role="second", points=2, case="00000000-0000-4000-8000-000000000001"))
    falls_ill(lab, "ann")

    look(lab)

    assert (owners(lab)[first], owners(lab)[second]) == ("cleo", "bob")


@ON_BOTH
def test_a_look_that_is_asked_for_says_why_and_several_reasons_are_one_look(lab: Lab) -> None:
    only(lab, Desk("ann"), Desk("bob"))
    lay(lab, Given("ann"))
    with lab.database.write("asked") as session:
        request_rebalance(session, "ann is away", database_now(session))
        request_rebalance(session, "200 reads came", database_now(session), "flood")

    look(lab)

    done = last_look(lab)
    assert (done.why, done.outcome["occasion"]) == ("ann is away; 200 reads came", "flood")


@ON_BOTH
def test_the_record_of_every_move_names_the_best_and_who_may_not_and_decides_the_same_again(lab: Lab) -> None:
    busy(lab)
    falls_ill(lab, Counter(owners(lab).values()).most_common(1)[0][0])

    moved = look(lab).moved

    with lab.database.read() as session:
        given = session.scalars(select(Assignment).where(Assignment.decided_by == "batch")).all()
    assert len(given) == moved > 0
    for one in given:
        assert replay(one.explanation) == one.explanation["winner"] == one.pathologist_id
        told = one.explanation["best"], one.explanation["ruled_out"]
        people = {each["pathologist_id"] for each in told[0]} | {who for each in told[1] for who in each["people"]}
        assert one.explanation["from"] in people
        assert one.explanation["runner_up"]["pathologist_id"] == told[0][1]["pathologist_id"]


def test_the_only_possible_second_reader_is_kept_from_the_first_read(lab: Lab) -> None:
    only(lab, Desk("ann"), Desk("bob", level=2))
    case = "00000000-0000-4000-8000-000000000001"
    first, second = lay(lab, Given(None, case=case), Given(None, role="second", points=2, case=case))

    look(lab)

    assert (owners(lab)[first], owners(lab)[second]) == ("bob", "ann")


def test_a_laboratory_without_reads_or_without_anybody_who_reads_is_looked_at_in_peace(lab: Lab) -> None:
    only(lab)
    assert (look(lab).reads, last_look(lab).moved) == (0, 0)

    [read] = lay(lab, Given(None))

    assert (look(lab).reads, last_look(lab).moved) == (1, 0)
    assert read not in owners(lab)


@ON_BOTH
def test_when_everybody_is_ill_each_read_stays_where_it_is(lab: Lab) -> None:
    only(lab, Desk("ann"), Desk("bob"))
    reads = lay(lab, *(Given("ann") for _ in range(3)), Given("bob"))
    falls_ill(lab, "ann")
    falls_ill(lab, "bob")

    assert look(lab).moved == 0
    assert [owners(lab)[read] for read in reads] == ["ann", "ann", "ann", "bob"]


@ON_BOTH
@pytest.mark.parametrize("batch", [{"most_moved_share": 0.0}, {"smallest_gain": 1000.0}])
def test_a_policy_may_let_only_what_has_to_go_move(lab: Lab, batch: dict[str, float]) -> None:
    by_policy(lab, **batch)
    only(lab, Desk("ann"), Desk("bob"), Desk("cleo"))
    lay(lab, *(Given("ann", points=3) for _ in range(40)))
    [ill] = lay(lab, Given("cleo"))
    falls_ill(lab, "cleo")

    done = look(lab)

    assert (done.moved, done.policy_version, owners(lab)[ill]) == (1, 1, "bob")


def test_reads_that_their_reader_may_not_have_any_more_go_to_somebody_else_who_is_told_why(lab: Lab) -> None:
    only(lab, Desk("ann", subspecialties=("skin",)), Desk("bob"))
    [read] = lay(lab, Given("ann"))

    assert look(lab).moved == 1

    with lab.database.read() as session:
        ended = session.scalars(select(Assignment.ended_because).where(Assignment.ended_at.is_not(None))).one()
    assert (owners(lab)[read], ended) == ("bob", "Dr Bob has it now, since by the rules you may not have it any more")


@ON_BOTH
def test_who_has_a_case_in_its_next_round_keeps_it_though_others_have_less_to_do(lab: Lab) -> None:
    only(lab, Desk("ann"), Desk("bob"))
    again = lay(lab, *(Given("ann", points=3) for _ in range(40)))
    with lab.database.write("rounds") as session:
        for read in session.scalars(select(Read).where(Read.id.in_(again))).all():
            earlier = {"role": "primary", "round": 0, "points": 1.0, "created_at": read.created_at}
            session.add(Read(id=read.id[::-1], case_id=read.case_id, closed_at=read.created_at, **earlier))
            session.flush()
            had = {"started_at": read.created_at, "ended_at": read.created_at, "decided_by": "coverslip"}
            session.add(Assignment(read_id=read.id[::-1], pathologist_id="ann", explanation={}, **had))

    assert look(lab).moved == 0
