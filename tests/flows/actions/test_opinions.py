"""Another pathologist's opinion of a case."""

from functools import partial

import pytest
from sqlalchemy import select

from connectors.wiring import Lab
from flows.actions import Desk, answer, ask_opinion, call_off, decline, open_read, read_named
from models.errors import RefusedError
from models.tables.reading import Credit, Leave, Pathologist, Read
from tests.flows.actions.life import NOBODY, ONE, TWO, case_of, ordered, scanned
from tests.flows.actions.reads_life import (
    MANAGER,
    PERSONS,
    assigned,
    assignment,
    done_by,
    notices,
    owners,
    raised,
    the_read,
)
from tests.flows.actions.test_absence import FRIDAY, TODAY
from tests.flows.actions.test_together import together
from tests.small_lab import ON_BOTH, run_until_calm


@ON_BOTH
def test_a_colleague_is_asked_answers_and_the_reader_is_told(lab: Lab, desk: Desk) -> None:
    seen, owner, other = assigned(lab)
    asked = ask_opinion(desk, seen.case_id, PERSONS[owner], of_pathologist=other)
    assert asked.what == "asked for an opinion (opinion 1)"
    opinion = the_read(lab, role="opinion")
    assert (opinion.pathologist_id, opinion.role) == (other, "opinion")
    open_read(desk, opinion, other, PERSONS[other])
    given = answer(desk, opinion, other, PERSONS[other])
    assert given.follows == (f"{PERSONS[owner].name} is told",)
    assert notices(lab, owner) == ["given", "asked"]
    with lab.database.read() as session:
        assert session.scalars(select(Credit.pathologist_id)).all() == [other]
    assert case_of(lab).reading == "assigned"
    run_until_calm(lab)
    with pytest.raises(RefusedError, match="is over"):
        answer(desk, opinion, other, PERSONS[other])


def test_nobody_is_asked_their_own_opinion(lab: Lab, desk: Desk) -> None:
    seen, _, other = assigned(lab)
    with pytest.raises(RefusedError, match="asks this: ask somebody else"):
        ask_opinion(desk, seen.case_id, PERSONS[other], of_pathologist=other)
    assert ask_opinion(desk, seen.case_id, MANAGER, of_pathologist=other).what.startswith("asked")


def test_somebody_else_is_found_when_nobody_is_named(lab: Lab, desk: Desk) -> None:
    seen, owner, other = assigned(lab)
    assert ask_opinion(desk, seen.case_id, PERSONS[owner]).follows == ("somebody who may give it is looked for",)
    run_until_calm(lab)
    assert the_read(lab, role="opinion").pathologist_id == other


def test_an_opinion_that_its_reader_gives_back_looks_for_another(lab: Lab, desk: Desk) -> None:
    seen, owner, other = assigned(lab)
    ask_opinion(desk, seen.case_id, PERSONS[owner], of_pathologist=other)
    decline(desk, the_read(lab, role="opinion"), other, PERSONS[other])
    run_until_calm(lab)
    assert the_read(lab, role="opinion").pathologist_id is None
    assert raised(lab) == ["nobody eligible"]
    call_off(desk, the_read(lab, role="opinion"), MANAGER)
    assert the_read(lab).role == "primary"


def test_who_may_not_have_it_is_asked_only_when_somebody_insists(lab: Lab, desk: Desk) -> None:
    seen, owner, other = assigned(lab)
    with lab.database.write("test") as session:
        session.add(Leave(pathologist_id=other, first_day=TODAY, last_day=FRIDAY))
    with pytest.raises(RefusedError, match=r"is on leave .* --insist"):
        ask_opinion(desk, seen.case_id, PERSONS[owner], of_pathologist=other)
    with lab.database.read() as session:
        assert session.scalars(select(Read.role)).all() == ["primary"]
    acted = ask_opinion(desk, seen.case_id, PERSONS[owner], of_pathologist=other, insist=True)
    assert acted.follows[0].startswith("the rules object: ")


def test_a_full_desk_counts_an_opinion_once(lab: Lab, desk: Desk) -> None:
    seen, owner, other = assigned(lab)
    with lab.database.write("test") as session:
        session.get_one(Pathologist, other).max_points = 0.5
    ask_opinion(desk, seen.case_id, PERSONS[owner], of_pathologist=other)
    assert owners(lab)[-1][0] == other


def test_an_opinion_is_called_off_and_whoever_has_it_is_told(lab: Lab, desk: Desk) -> None:
    seen, owner, other = assigned(lab)
    ask_opinion(desk, seen.case_id, PERSONS[owner], of_pathologist=other)
    acted = call_off(desk, the_read(lab, role="opinion"), PERSONS[owner])
    assert acted.follows == (f"{PERSONS[other].name} is told",)
    assert notices(lab, other) == ["given", "taken"]
    assert ("opinion 1", None, f"asked for by {PERSONS[owner].name}") in done_by(lab, PERSONS[owner].name)
    with lab.database.read() as session:
        assert session.scalars(select(Credit)).all() == []


def test_what_nobody_asked_for_is_neither_answered_nor_called_off(lab: Lab, desk: Desk) -> None:
    seen, owner, _ = assigned(lab)
    with pytest.raises(RefusedError, match="its report closes it"):
        answer(desk, seen, owner, PERSONS[owner])
    with pytest.raises(RefusedError, match="the case's report ends it"):
        call_off(desk, seen, MANAGER)
    with pytest.raises(RefusedError, match="there is no case"):
        ask_opinion(desk, NOBODY, MANAGER)


def test_who_was_not_asked_hears_so_whatever_reads_the_case_has(lab: Lab, desk: Desk) -> None:
    seen, owner, other = assigned(lab)
    with pytest.raises(RefusedError, match=f"nobody asked {PERSONS[other].name} about case"):
        answer(desk, seen, other, PERSONS[other])
    ask_opinion(desk, seen.case_id, MANAGER, of_pathologist=other)
    never = f"{PERSONS[owner].name} never had the opinion read of case .*: Ann Manager gave it to {PERSONS[other].name}"
    with pytest.raises(RefusedError, match=never):
        answer(desk, the_read(lab, role="opinion"), owner, PERSONS[owner])
    with lab.database.write("test") as session:
        third = {"name": "Dr Third Example", "site_id": "site-a", "pool_id": "network", "points_a_week": 100.0}
        session.add(Pathologist(id="third", **third))
    with lab.database.read() as session, pytest.raises(RefusedError, match="none of them with Dr Third Example: say"):
        read_named(session, seen.case_id, reader="third")


def test_an_opinion_of_what_nobody_can_see_yet_is_refused_and_of_a_part_of_it_waits(lab: Lab, desk: Desk) -> None:
    ordered(lab, ONE, TWO)
    with pytest.raises(RefusedError, match=r"nothing of case .* can be read yet: ask once its first images are there"):
        ask_opinion(desk, case_of(lab).id, MANAGER, of_pathologist="tom")
    scanned(lab, ONE)
    asked = ask_opinion(desk, case_of(lab).id, MANAGER)
    assert asked.follows == ("somebody who may give it is looked for as soon as the case can be read",)
    scanned(lab, TWO)
    assert {the_read(lab, role=role).pathologist_id for role in ("primary", "opinion")} == {"rosa", "tom"}


@ON_BOTH
def test_the_same_question_asked_twice_at_once_is_asked_once(lab: Lab, desk: Desk) -> None:
    seen, owner, other = assigned(lab)
    refused = together(*[partial(ask_opinion, desk, seen.case_id, PERSONS[owner], of_pathologist=other)] * 3)
    assert len(refused) == 2
    assert assignment(lab, the_read(lab, role="opinion")).manual


@ON_BOTH
def test_of_answering_and_calling_off_one_is_first(lab: Lab, desk: Desk) -> None:
    seen, owner, other = assigned(lab)
    ask_opinion(desk, seen.case_id, PERSONS[owner], of_pathologist=other)
    opinion = the_read(lab, role="opinion")
    refused = together(
        partial(answer, desk, opinion, other, PERSONS[other]), partial(call_off, desk, opinion, PERSONS[owner])
    )
    assert len(refused) == 1
    assert "is over" in refused[0]
