"""A read goes to whom a person names."""

from functools import partial

import pytest
from sqlalchemy import select, update

from connectors.wiring import Lab
from flows.actions import Desk, accept, decline, hand_over, let_move, open_read, override
from flows.people.pools import keep_pools, lock_pools
from models.errors import RefusedError
from models.policy import Policy, Subspecialty
from models.tables.place import Site
from models.tables.reading import Assignment, Competence, Network, Pathologist
from tests.flows.actions.life import ONE, ordered, scanned, told
from tests.flows.actions.reads_life import (
    MANAGER,
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
from tests.flows.reads.life import policy_is
from tests.flows.test_allocation import allocated_by
from tests.small_lab import ON_BOTH, run_until_calm


def may_not_read(lab: Lab, who: str) -> None:
    with lab.database.write("test") as session:
        for one in session.scalars(select(Competence).where(Competence.pathologist_id == who)):
            session.delete(one)


def reads_no_longer(lab: Lab, who: str) -> None:
    with lab.database.write("test") as session:
        session.execute(update(Pathologist).where(Pathologist.id == who).values(active=False))


@ON_BOTH
def test_a_colleague_who_is_handed_a_read_has_it_and_both_are_told(lab: Lab, desk: Desk) -> None:
    seen, owner, other = assigned(lab)
    acted = hand_over(desk, seen, owner, other, PERSONS[owner])
    assert acted.what == f"given to {PERSONS[other].name}"
    assert owners(lab) == [(owner, "coverslip", False, False), (other, PERSONS[owner].name, True, True)]
    assert notices(lab, owner) == ["given", "taken"]
    assert notices(lab, other) == ["given"]
    assert told(lab).count("assigned") == 2
    assert ("reader", owner, other) in done_by(lab, PERSONS[owner].name)
    why = assignment(lab, seen).explanation
    assert why["sentence"] == f"{PERSONS[owner].name} handed it over: my own reason"
    assert why["objection"] is None


def test_a_read_that_is_open_can_be_handed_over_too(lab: Lab, desk: Desk) -> None:
    seen, owner, other = assigned(lab)
    open_read(desk, seen, owner, PERSONS[owner])
    hand_over(desk, the_read(lab), owner, other, PERSONS[owner])
    assert assignment(lab, seen).opened_at is None


def test_a_colleague_who_may_not_have_it_is_handed_it_only_when_somebody_insists(lab: Lab, desk: Desk) -> None:
    seen, owner, other = assigned(lab)
    may_not_read(lab, other)
    with pytest.raises(RefusedError, match=f"{PERSONS[other].name} has no valid competence .* --insist"):
        hand_over(desk, seen, owner, other, PERSONS[owner])
    acted = hand_over(desk, seen, owner, other, PERSONS[owner], insist=True)
    assert "the rules object" in acted.follows[0]
    assert "has no valid competence" in str(assignment(lab, seen).explanation["objection"])


def test_nobody_hands_over_to_themselves_to_somebody_who_left_or_what_is_not_theirs(lab: Lab, desk: Desk) -> None:
    seen, owner, other = assigned(lab)
    with pytest.raises(RefusedError, match="to somebody else"):
        hand_over(desk, seen, owner, owner, PERSONS[owner])
    with pytest.raises(
        RefusedError,
        match=f"{PERSONS[other].name} never had the primary read of case .*: it went to {PERSONS[owner].name}",
    ):
        hand_over(desk, seen, other, owner, PERSONS[other])
    reads_no_longer(lab, other)
    with pytest.raises(RefusedError, match="reads no longer for this laboratory"):
        hand_over(desk, seen, owner, other, PERSONS[owner], insist=True)
    assert owners(lab) == [(owner, "coverslip", False, True)]


@ON_BOTH
def test_an_override_is_obeyed_although_the_rules_object_and_both_are_kept(lab: Lab, desk: Desk) -> None:
    seen, _, other = assigned(lab)
    may_not_read(lab, other)
    acted = override(desk, seen, other, MANAGER)
    assert acted.follows[0].startswith(f"the rules object: {PERSONS[other].name} has no valid competence")
    given = assignment(lab, seen)
    assert (given.pathologist_id, given.decided_by, given.manual) == (other, "Ann Manager", True)
    assert given.explanation["sentence"].startswith("Ann Manager decided it: the surgeon asked for it; by the rules")
    run_until_calm(lab)
    assert owners(lab)[-1][0] == other


def test_an_override_to_somebody_who_left_is_refused(lab: Lab, desk: Desk) -> None:
    seen, _, other = assigned(lab)
    reads_no_longer(lab, other)
    with pytest.raises(RefusedError, match=f"{PERSONS[other].name} reads no longer for this laboratory"):
        override(desk, seen, other, MANAGER)


def test_who_has_it_is_made_to_keep_it_once(lab: Lab, desk: Desk) -> None:
    seen, owner, _ = assigned(lab)
    acted = override(desk, seen, owner, MANAGER)
    assert acted.what == f"{PERSONS[owner].name} has it and keeps it"
    assert assignment(lab, seen).manual
    assert done_by(lab, "Ann Manager") == [("primary reader", "may be moved", "stays")]
    with pytest.raises(RefusedError, match=f"{PERSONS[owner].name} has it by a person's decision already"):
        override(desk, the_read(lab), owner, MANAGER)
    assert told(lab).count("assigned") == 1


def test_a_manager_may_give_a_read_to_themselves(lab: Lab, desk: Desk) -> None:
    seen, _, other = assigned(lab)
    override(desk, seen, other, PERSONS[other])
    assert owners(lab)[-1] == (other, PERSONS[other].name, True, True)


def test_a_read_may_be_moved_again_when_a_person_says_so(lab: Lab, desk: Desk) -> None:
    seen, owner, other = assigned(lab)
    with pytest.raises(RefusedError, match="no person decided who has this read"):
        let_move(desk, seen, MANAGER)
    override(desk, seen, other, MANAGER)
    let_move(desk, the_read(lab), MANAGER)
    assert not assignment(lab, seen).manual
    assert done_by(lab, "Ann Manager")[-1] == ("primary reader", "stays", "may be moved")
    assert owners(lab)[0][0] == owner


def test_no_machine_undoes_what_a_person_decided_until_a_person_lets_it(lab: Lab, desk: Desk) -> None:
    seen, owner, other = assigned(lab)
    override(desk, seen, other, MANAGER)
    assert not the_batch_moves(lab, the_read(lab), owner)
    let_move(desk, the_read(lab), MANAGER)
    assert the_batch_moves(lab, the_read(lab), owner)
    assert owners(lab)[-1] == (owner, "batch", False, True)


def test_somebody_of_another_network_is_objected_to_and_keeps_what_they_have(lab: Lab, desk: Desk) -> None:
    seen, owner, other = assigned(lab)
    with lab.database.write("test") as session:
        session.add_all(Network(id=name, name=name, region="r") for name in ("north", "south"))
        session.flush()
        for site, network in (("site-a", "north"), ("site-b", "south")):
            session.get_one(Site, site).network_id = network
        session.get_one(Pathologist, owner).site_id = "site-b"
        session.flush()
        lock_pools(session)
        keep_pools(session)
    run_until_calm(lab)
    assert owners(lab) == [(owner, "coverslip", False, True)]
    accept(desk, seen, owner, PERSONS[owner])
    hand_over(desk, the_read(lab), owner, other, PERSONS[owner])
    with pytest.raises(RefusedError, match=f"{PERSONS[owner].name} works for another network"):
        hand_over(desk, the_read(lab), other, owner, PERSONS[other])
    acted = override(desk, the_read(lab), owner, MANAGER)
    assert acted.follows[0].startswith(f"the rules object: {PERSONS[owner].name} works for another network")


def test_one_person_has_both_reads_of_a_case_only_when_somebody_insists(lab: Lab, desk: Desk) -> None:
    policy_is(lab, Policy(subspecialties={"general": Subspecialty(double=True)}))
    ordered(lab)
    scanned(lab, ONE)
    first, second = (the_read(lab, role=role) for role in ("primary", "second"))
    assert {first.pathologist_id, second.pathologist_id} == {"rosa", "tom"}
    one, two = str(first.pathologist_id), str(second.pathologist_id)
    with pytest.raises(RefusedError, match=f"{PERSONS[one].name} has another read of this case"):
        hand_over(desk, second, two, one, PERSONS[two])
    acted = override(desk, second, one, MANAGER)
    assert acted.follows[1] == f"{PERSONS[one].name} and {PERSONS[two].name} are told"


def test_what_nobody_may_read_is_given_to_somebody_by_a_person(lab: Lab, desk: Desk) -> None:
    seen, owner, other = assigned(lab)
    for who in (owner, other):
        may_not_read(lab, who)
    decline(desk, seen, owner, PERSONS[owner])
    run_until_calm(lab)
    assert raised(lab) == ["nobody eligible"]
    override(desk, the_read(lab), other, MANAGER)
    run_until_calm(lab)
    assert raised(lab) == []
    assert [one for one in owners(lab) if one[3]] == [(other, "Ann Manager", True, True)]


def test_whoever_acts_on_what_they_no_longer_see_learns_who_was_first(lab: Lab, desk: Desk) -> None:
    seen, owner, other = assigned(lab)
    accept(desk, seen, owner, PERSONS[owner])
    with pytest.raises(RefusedError, match=f"{PERSONS[owner].name} accepted it at .* look at it again"):
        override(desk, seen, other, MANAGER)
    accepted = the_read(lab)
    open_read(desk, accepted, owner, PERSONS[owner])
    with pytest.raises(RefusedError, match=f"{PERSONS[owner].name} opened it at "):
        override(desk, accepted, other, MANAGER)
    override(desk, the_read(lab), other, MANAGER)
    with pytest.raises(RefusedError, match=f"Ann Manager gave it to {PERSONS[other].name} at "):
        decline(desk, seen, owner, PERSONS[owner])


def test_where_the_lims_says_who_reads_a_case_nobody_here_does(lab: Lab) -> None:
    seen, owner, other = assigned(lab)
    theirs = Desk(lab.database, allocated_by(lab, "lims").settings, lab.ids)
    for act in (
        partial(hand_over, theirs, seen, owner, other, PERSONS[owner]),
        partial(override, theirs, seen, other, MANAGER),
        partial(decline, theirs, seen, owner, PERSONS[owner]),
    ):
        with pytest.raises(RefusedError, match="the LIMS says who reads this case: have it changed there"):
            act()
    open_read(theirs, seen, owner, PERSONS[owner])
    with lab.database.read() as session:
        assert len(session.scalars(select(Assignment)).all()) == 1
