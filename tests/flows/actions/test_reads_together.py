"""People, and machines, who want the same read at the same moment: one is first, the other hears who and when."""

import threading
from collections.abc import Callable
from datetime import timedelta
from functools import partial

import pytest

from connectors.wiring import Lab
from flows.actions import Desk, Seen, absent_now, accept, ask_opinion, decline, hand_over, open_read, override
from flows.alerts import READER_ABSENT
from flows.books import Subject, clear_alert, raise_alert
from flows.people.pools import hold_pools, hold_pools_of, lock_pools
from models.database import database_now, utc_now
from models.tables.reading import Pool
from tests.flows.actions.reads_life import MANAGER, OTHER, PERSONS, cases_assigned, owners, the_batch_moves, the_read
from tests.flows.actions.test_together import together
from tests.flows.looking import wait_until_somebody_waits
from tests.small_lab import ON_BOTH

ROUNDS = 6
FRIDAY = utc_now().date() + timedelta(days=4)


def with_whom(lab: Lab, seen: Seen) -> str:
    """Return who has a read; it is one person, and the history of all its owners is whole."""
    open_ones = [one[0] for one in owners(lab, seen.read_id) if one[3]]
    assert len(open_ones) == 1
    return open_ones[0]


@ON_BOTH
def test_one_of_two_who_hand_it_over_or_decide_it_is_first(lab: Lab, desk: Desk) -> None:
    """The words tell of either order; the books of the fixture tell that nothing was lost."""
    firsts = set()
    for seen in cases_assigned(lab, ROUNDS):
        owner = str(seen.pathologist_id)
        other = OTHER[owner]
        refused = together(
            partial(hand_over, desk, seen, owner, other, PERSONS[owner]),
            partial(override, desk, seen, other, MANAGER),
        )
        assert len(refused) == 1
        first = owners(lab, seen.read_id)[-1][1]
        assert refused[0].startswith(f"{first} gave it to {PERSONS[other].name} at ")
        assert with_whom(lab, seen) == other
        firsts.add(first)
    assert firsts <= {"Ann Manager", PERSONS["rosa"].name, PERSONS["tom"].name}


@ON_BOTH
def test_what_two_people_hand_over_in_the_same_name_goes_once(lab: Lab, desk: Desk) -> None:
    for seen in cases_assigned(lab, ROUNDS):
        owner = str(seen.pathologist_id)
        hand = [partial(hand_over, desk, seen, owner, OTHER[owner], PERSONS[owner]) for _ in range(3)]
        refused = together(*hand)
        assert len(refused) == 2
        assert all(
            one.startswith(f"{PERSONS[owner].name} gave it to {PERSONS[OTHER[owner]].name} at ") for one in refused
        )
        assert len(owners(lab, seen.read_id)) == 2


@ON_BOTH
def test_of_accepting_and_handing_over_one_is_first(lab: Lab, desk: Desk) -> None:
    for seen in cases_assigned(lab, ROUNDS):
        owner = str(seen.pathologist_id)
        other = OTHER[owner]
        refused = together(
            partial(accept, desk, seen, owner, PERSONS[owner]),
            partial(hand_over, desk, seen, owner, other, PERSONS[owner]),
        )
        assert len(refused) == 1
        if with_whom(lab, seen) == owner:
            assert refused[0].startswith(f"{PERSONS[owner].name} accepted it at ")
        else:
            assert refused[0].startswith(f"{PERSONS[owner].name} gave it to {PERSONS[other].name} at ")


@ON_BOTH
def test_of_deciding_and_giving_back_one_is_first(lab: Lab, desk: Desk) -> None:
    for seen in cases_assigned(lab, ROUNDS):
        owner = str(seen.pathologist_id)
        other = OTHER[owner]
        refused = together(
            partial(decline, desk, seen, owner, PERSONS[owner]),
            partial(override, desk, seen, other, MANAGER),
        )
        assert len(refused) == 1
        assert with_whom(lab, seen) == other
        assert PERSONS[other].name in refused[0]


@ON_BOTH
def test_who_opens_a_case_while_a_machine_moves_it_has_it_in_either_order(lab: Lab, desk: Desk) -> None:
    for seen in cases_assigned(lab, ROUNDS):
        owner = str(seen.pathologist_id)
        refused = together(
            partial(open_read, desk, seen, owner, PERSONS[owner]),
            partial(the_batch_moves, lab, seen, OTHER[owner]),
        )
        assert refused == []
        assert with_whom(lab, seen) == owner


@ON_BOTH
def test_of_accepting_and_an_absence_the_absence_moves_it_in_either_order(lab: Lab, desk: Desk) -> None:
    seen = [one for one in cases_assigned(lab, ROUNDS) if one.pathologist_id == "rosa"]
    accepting: list[Callable[[], object]] = [partial(accept, desk, one, "rosa", PERSONS["rosa"]) for one in seen]
    refused = together(partial(absent_now, desk, "rosa", FRIDAY, MANAGER), *accepting)
    assert {with_whom(lab, one) for one in seen} == {"tom"}
    assert all(one.startswith(f"it went to {PERSONS['tom'].name} at ") for one in refused)


@ON_BOTH
def test_who_opens_a_case_while_they_are_said_to_be_away_keeps_it(lab: Lab, desk: Desk) -> None:
    seen = [one for one in cases_assigned(lab, ROUNDS) if one.pathologist_id == "rosa"]
    opening: list[Callable[[], object]] = [partial(open_read, desk, one, "rosa", PERSONS["rosa"]) for one in seen]
    assert together(partial(absent_now, desk, "rosa", FRIDAY, MANAGER), *opening) == []
    assert {with_whom(lab, one) for one in seen} == {"rosa"}


@ON_BOTH
def test_two_who_accept_what_nobody_has_are_told_apart(lab: Lab, desk: Desk) -> None:
    for seen in cases_assigned(lab, 2):
        owner = str(seen.pathologist_id)
        decline(desk, seen, owner, PERSONS[owner])
        decline(desk, the_read(lab, seen.case_id), OTHER[owner], PERSONS[OTHER[owner]])
        free = the_read(lab, seen.case_id)
        refused = together(*(partial(accept, desk, free, who, PERSONS[who], insist=True) for who in OTHER))
        assert len(refused) == 1
        assert refused[0].startswith(f"{PERSONS[with_whom(lab, seen)].name} accepted it at ")


@pytest.mark.postgres
@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_two_absences_at_once_leave_nothing_with_either(lab: Lab, desk: Desk) -> None:
    seen = cases_assigned(lab, ROUNDS)
    refused = together(
        partial(absent_now, desk, "rosa", FRIDAY, MANAGER), partial(absent_now, desk, "tom", FRIDAY, MANAGER)
    )
    assert refused == []
    absent_now(desk, "rosa", FRIDAY, MANAGER)
    absent_now(desk, "tom", FRIDAY, MANAGER)
    assert [one for one in owners(lab) if one[3]] == []
    assert len(seen) == ROUNDS


@pytest.mark.parametrize("database_url", [pytest.param("postgresql", marks=pytest.mark.postgres)], indirect=True)
def test_who_gives_back_what_they_had_open_waits_for_whoever_says_that_they_are_back(lab: Lab, desk: Desk) -> None:
    (seen,) = cases_assigned(lab, 1)
    owner = str(seen.pathologist_id)
    open_read(desk, seen, owner, PERSONS[owner])
    with lab.database.write("test") as session:
        raise_alert(session, Subject("read", seen.read_id), READER_ABSENT, "away", database_now(session))
    refused: list[list[str]] = []
    now_seen = the_read(lab)
    with lab.database.write("back_early") as session:
        lock_pools(session)
        gives_back = threading.Thread(
            target=lambda: refused.append(together(partial(decline, desk, now_seen, owner, PERSONS[owner])))
        )
        gives_back.start()
        gives_back.join(1.0)
        assert gives_back.is_alive()
        clear_alert(session, seen.read_id, READER_ABSENT, database_now(session))
    gives_back.join(30)
    assert refused == [[]]
    assert with_whom(lab, seen) == OTHER[owner]


@pytest.mark.parametrize("database_url", [pytest.param("postgresql", marks=pytest.mark.postgres)], indirect=True)
def test_who_takes_back_what_was_just_moved_waits_for_whoever_looks_at_their_desk(lab: Lab, desk: Desk) -> None:
    (seen,) = cases_assigned(lab, 1)
    owner = str(seen.pathologist_id)
    the_batch_moves(lab, seen, OTHER[owner])
    opens = threading.Thread(target=partial(together, partial(open_read, desk, seen, owner, PERSONS[owner])))
    with lab.database.write("decides") as session:
        hold_pools_of(session, (owner,))
        opens.start()
        opens.join(1.0)
        assert opens.is_alive()
    opens.join(30)
    assert with_whom(lab, seen) == owner


@pytest.mark.parametrize("database_url", [pytest.param("postgresql", marks=pytest.mark.postgres)], indirect=True)
def test_who_asks_a_colleague_takes_all_pools_in_their_order_before_anything_is_given(lab: Lab, desk: Desk) -> None:
    (seen,) = cases_assigned(lab, 1)
    owner = str(seen.pathologist_id)
    other = OTHER[owner]
    with lab.database.write("first") as session:
        session.add(Pool(id="a pool before theirs"))
    ask = partial(ask_opinion, desk, seen.case_id, PERSONS[owner], of_pathologist=other)
    asks = threading.Thread(target=partial(together, ask))
    with lab.database.write("decides") as session:
        hold_pools(session, ("a pool before theirs",))
        asks.start()
        wait_until_somebody_waits(lab)
        hold_pools_of(session, (other,))
    asks.join(30)
    assert the_read(lab, role="opinion").pathologist_id == other
