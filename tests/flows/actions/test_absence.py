"""Somebody is away from now on: what they have not opened is read by others."""

import os
import signal
import subprocess
import sys
from datetime import date, timedelta
from pathlib import Path

import pytest
from sqlalchemy import select, update

from connectors.wiring import Lab
from flows.actions import Desk, absent_now, accept, ask_opinion, back_early, open_read, override, who_is_away
from flows.actions.peopling import import_people
from flows.case_assignment.rebalance.watching import see_to_looks
from flows.cases import lock_case
from flows.sweep import sweep
from models.database import Database, database_now, utc_now
from models.errors import RefusedError
from models.tables.reading import Assignment, Leave, Pathologist
from tests.flows.actions.life import told
from tests.flows.actions.reads_life import (
    MANAGER,
    OTHER,
    PERSONS,
    cases_assigned,
    done_by,
    notices,
    owners,
    raised,
    the_read,
)
from tests.flows.case_assignment.rebalance.desks import look
from tests.flows.test_allocation import allocated_by
from tests.lims_says import reported
from tests.small_lab import ON_BOTH, message_arrives, run_until_calm

ROOT = Path(__file__).resolve().parents[3]
SAYS_SO = """
import sys
from pathlib import Path
from flows.actions import Desk, absent_now
from tests.flows.actions.test_absence import FRIDAY, MANAGER
from tests.small_lab import small_lab

lab = small_lab(Path(sys.argv[1]), sys.argv[2])
print(absent_now(Desk(lab.database, lab.settings, lab.ids), "rosa", FRIDAY, MANAGER))
"""
KILLED_AT = [
    *(f"people.{verb}.{when}_commit" for verb in ("absent_now", "move_absent") for when in ("before", "after")),
    "people.move_absent.after_commit:2",
]
TODAY = utc_now().date()
FRIDAY = TODAY + timedelta(days=4)


def leaves(lab: Lab) -> list[tuple[str, date, date, str]]:
    with lab.database.read() as session:
        rows = session.scalars(select(Leave).order_by(Leave.id))
        return [(row.pathologist_id, row.first_day, row.last_day, row.kind) for row in rows]


def theirs(lab: Lab, who: str) -> int:
    return sum(one[0] == who and one[3] for one in owners(lab))


@ON_BOTH
def test_what_is_unopened_moves_at_once_and_what_is_open_goes_to_a_list(lab: Lab, desk: Desk) -> None:
    seen = cases_assigned(lab, 4)
    mine = [one for one in seen if one.pathologist_id == "rosa"]
    assert len(mine) == 2
    open_read(desk, mine[0], "rosa", PERSONS["rosa"])
    away = absent_now(desk, "rosa", FRIDAY, MANAGER)
    assert (away.moved, away.waiting, away.left_open, away.elsewhere) == (1, 0, 1, 0)
    assert theirs(lab, "rosa") == 1
    assert theirs(lab, "tom") == 3
    assert leaves(lab) == [("rosa", TODAY, FRIDAY, "sick")]
    assert raised(lab) == ["reader absent"]
    with lab.database.read() as session:
        (away_now,) = who_is_away(session, database_now(session))
    assert (away_now.pathologist, away_now.until, away_now.kind) == ("rosa", FRIDAY, "sick")
    assert [one.case_id for one in away_now.left_open] == [mine[0].case_id]
    assert notices(lab, "rosa")[-1] == "taken"
    assert told(lab).count("assigned") == 5
    run_until_calm(lab)
    assert raised(lab) == ["reader absent"]


def test_the_absence_and_every_move_have_the_name_of_who_said_so(lab: Lab, desk: Desk) -> None:
    (seen,) = cases_assigned(lab, 1)
    absent_now(desk, str(seen.pathologist_id), FRIDAY, MANAGER)
    changes = done_by(lab, "Ann Manager")
    assert ("away until", None, FRIDAY.isoformat()) in changes
    assert ("reader", seen.pathologist_id, None) in changes
    assert ("reader", None, OTHER[str(seen.pathologist_id)]) in changes


def test_the_most_urgent_moves_first(lab: Lab, desk: Desk) -> None:
    _works(lab, "tom", active=False)
    routine = cases_assigned(lab, 2)
    urgent = cases_assigned(lab, 2, first=2, priority="S")
    _works(lab, "tom", active=True)
    assert absent_now(desk, "rosa", FRIDAY, MANAGER).moved == 4
    with lab.database.read() as session:
        to_tom = select(Assignment.read_id).where(Assignment.pathologist_id == "tom").order_by(Assignment.id)
        moved = session.scalars(to_tom).all()
    assert set(moved[:2]) == {one.read_id for one in urgent}
    assert set(moved[2:]) == {one.read_id for one in routine}


def _works(lab: Lab, who: str, *, active: bool) -> None:
    with lab.database.write("test") as session:
        session.get_one(Pathologist, who).active = active


def test_what_nobody_else_may_have_waits_and_is_raised_until_they_are_back(lab: Lab, desk: Desk) -> None:
    (seen,) = cases_assigned(lab, 1)
    owner, other = str(seen.pathologist_id), OTHER[str(seen.pathologist_id)]
    absent_now(desk, other, FRIDAY, MANAGER)
    away = absent_now(desk, owner, FRIDAY, MANAGER)
    assert (away.moved, away.waiting) == (0, 1)
    run_until_calm(lab)
    assert raised(lab) == ["nobody eligible"]
    assert back_early(desk, other, MANAGER) == PERSONS[other].name
    run_until_calm(lab)
    assert raised(lab) == []
    assert owners(lab)[-1] == (other, "coverslip", False, True)


def test_what_was_accepted_or_given_by_hand_moves_too(lab: Lab, desk: Desk) -> None:
    (seen,) = cases_assigned(lab, 1)
    owner, other = str(seen.pathologist_id), OTHER[str(seen.pathologist_id)]
    override(desk, seen, owner, MANAGER)
    accept(desk, the_read(lab, seen.case_id), owner, PERSONS[owner])
    assert absent_now(desk, owner, FRIDAY, MANAGER).moved == 1
    assert owners(lab)[-1] == (other, "coverslip", False, True)


def test_said_again_it_changes_until_when_and_moves_nothing_twice(lab: Lab, desk: Desk) -> None:
    (seen,) = cases_assigned(lab, 1)
    owner = str(seen.pathologist_id)
    absent_now(desk, owner, FRIDAY, MANAGER)
    away = absent_now(desk, owner, TODAY, MANAGER)
    assert (away.moved, away.waiting, away.left_open) == (0, 0, 0)
    assert leaves(lab) == [(owner, TODAY, TODAY, "sick")]
    assert len(owners(lab)) == 2


def test_a_planned_leave_that_begins_today_becomes_an_absence(lab: Lab, desk: Desk) -> None:
    with lab.database.write("test") as session:
        session.add(Leave(pathologist_id="rosa", first_day=TODAY, last_day=TODAY, kind="leave"))
    absent_now(desk, "rosa", FRIDAY, MANAGER)
    assert leaves(lab) == [("rosa", TODAY, FRIDAY, "sick")]


def test_who_is_back_early_reads_again_and_keeps_what_was_open(lab: Lab, desk: Desk) -> None:
    (seen,) = cases_assigned(lab, 1)
    owner = str(seen.pathologist_id)
    open_read(desk, seen, owner, PERSONS[owner])
    absent_now(desk, owner, FRIDAY, MANAGER)
    assert raised(lab) == ["reader absent"]
    with lab.database.write("test") as session:
        session.execute(update(Leave).values(first_day=TODAY - timedelta(days=1)))
    back_early(desk, owner, MANAGER)
    assert raised(lab) == []
    yesterday = TODAY - timedelta(days=1)
    assert leaves(lab) == [(owner, yesterday, yesterday, "sick")]
    with lab.database.read() as session:
        assert who_is_away(session, database_now(session)) == []
    with pytest.raises(RefusedError, match="is not away: 'coverslip assign absent' lists who is"):
        back_early(desk, owner, MANAGER)
    assert theirs(lab, owner) == 1


def test_what_was_left_open_is_given_to_somebody_else_by_a_person(lab: Lab, desk: Desk) -> None:
    (seen,) = cases_assigned(lab, 1)
    owner, other = str(seen.pathologist_id), OTHER[str(seen.pathologist_id)]
    open_read(desk, seen, owner, PERSONS[owner])
    absent_now(desk, owner, FRIDAY, MANAGER)
    override(desk, the_read(lab, seen.case_id), other, MANAGER)
    assert raised(lab) == []
    with lab.database.read() as session:
        assert [one.left_open for one in who_is_away(session, database_now(session))] == [()]


@pytest.mark.postgres
@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_what_somebody_else_holds_for_too_long_holds_up_no_other(lab: Lab, database_url: str) -> None:
    seen = [one for one in cases_assigned(lab, 4) if one.pathologist_id == "rosa"]
    see_to_looks(lab)
    impatient = Database(database_url, lock_wait=timedelta(seconds=0.3))
    with lab.database.write("test") as session:
        lock_case(session, seen[0].case_id)
        away = absent_now(Desk(impatient, lab.settings, lab.ids), "rosa", FRIDAY, MANAGER)
    impatient.close()
    assert (away.moved, away.later) == (len(seen) - 1, 1)
    # The look at all open reads, which the absence asked for, does the rest.
    run_until_calm(lab)
    assert theirs(lab, "rosa") == 0


@ON_BOTH
def test_an_alert_about_what_was_left_open_ends_with_the_absence_or_the_report(lab: Lab, desk: Desk) -> None:
    first, second = cases_assigned(lab, 2)
    for seen in (first, second):
        owner = str(seen.pathologist_id)
        open_read(desk, seen, owner, PERSONS[owner])
        absent_now(desk, owner, FRIDAY, MANAGER)
    run_until_calm(lab)
    assert raised(lab) == ["reader absent"] * 2
    message_arrives(lab, reported("26C0000", "F", patient="P26C0000"))
    run_until_calm(lab)
    assert raised(lab) == ["reader absent"]
    with lab.database.write("test") as session:
        long_ago = TODAY - timedelta(days=9)
        session.execute(update(Leave).values(first_day=long_ago, last_day=long_ago + timedelta(days=1)))
    run_until_calm(lab)
    assert raised(lab) == []


def test_an_absence_that_is_over_or_longer_than_a_year_is_refused(lab: Lab, desk: Desk) -> None:
    for until, words in ((TODAY - timedelta(days=1), "is over"), (TODAY + timedelta(days=400), "more than a year")):
        with pytest.raises(RefusedError, match=words):
            absent_now(desk, "rosa", until, MANAGER)
    with pytest.raises(RefusedError, match="there is no such pathologist"):
        absent_now(desk, "nobody", FRIDAY, MANAGER)
    assert leaves(lab) == []


def test_what_the_lims_gave_stays_and_is_counted(lab: Lab) -> None:
    (seen,) = cases_assigned(lab, 1)
    owner = str(seen.pathologist_id)
    theirs_is = Desk(lab.database, allocated_by(lab, "lims").settings, lab.ids)
    away = absent_now(theirs_is, owner, FRIDAY, MANAGER)
    assert (away.moved, away.elsewhere) == (0, 1)
    assert theirs(lab, owner) == 1


@pytest.mark.faults
@pytest.mark.parametrize(
    ("database_url", "failpoint"),
    [
        *(("sqlite", failpoint) for failpoint in KILLED_AT),
        pytest.param("postgresql", KILLED_AT[-1], marks=pytest.mark.postgres),
    ],
    indirect=["database_url"],
)
def test_an_absence_that_was_killed_half_way_is_done_when_it_is_said_again(
    lab: Lab, database_url: str, tmp_path: Path, failpoint: str
) -> None:
    """The rest moves, and nothing moves twice; the audit of the fixture holds the books."""
    seen = [one for one in cases_assigned(lab, 6) if one.pathologist_id == "rosa"]
    assert len(seen) > 2
    for where, code in ((failpoint, -signal.SIGKILL), ("", 0)):
        environment = os.environ | {"COVERSLIP_FAILPOINT": where}
        command = [sys.executable, "-c", SAYS_SO, str(tmp_path), database_url]
        assert subprocess.run(command, cwd=ROOT, env=environment, timeout=60, check=False).returncode == code
    assert [one[0] for one in owners(lab) if one[3]] == ["tom"] * 6
    assert notices(lab, "rosa").count("taken") == len(seen)
    assert told(lab).count("assigned") == 6 + len(seen)
    assert leaves(lab) == [("rosa", TODAY, FRIDAY, "sick")]


def says_sick(tmp_path: Path, who: str) -> Path:
    folder = tmp_path / "rota"
    folder.mkdir()
    lines = f"pathologist,first_day,last_day,kind\n{who},{TODAY},{FRIDAY},sick\n"
    (folder / "leave.csv").write_text(lines, encoding="utf-8")
    return folder


def test_who_is_brought_in_as_off_sick_loses_what_is_unopened_of_every_role(
    lab: Lab, desk: Desk, tmp_path: Path
) -> None:
    mine, opened = cases_assigned(lab, 2)
    owner = str(mine.pathologist_id)
    other = OTHER[owner]
    override(desk, opened, other, MANAGER)
    open_read(desk, the_read(lab, opened.case_id), other, PERSONS[other])
    ask_opinion(desk, mine.case_id, MANAGER, of_pathologist=other)
    import_people(desk, says_sick(tmp_path, other), MANAGER)

    assert (theirs(lab, other), theirs(lab, owner)) == (1, 1)
    assert the_read(lab, mine.case_id, role="opinion").pathologist_id is None
    assert raised(lab) == ["reader absent"]
    run_until_calm(lab)
    sweep(lab)
    assert raised(lab) == ["nobody eligible", "reader absent"]


def test_a_sick_leave_that_begins_later_raises_what_no_look_moves(lab: Lab, desk: Desk) -> None:
    (seen,) = cases_assigned(lab, 1)
    owner = str(seen.pathologist_id)
    other = OTHER[owner]
    ask_opinion(desk, seen.case_id, PERSONS[owner], of_pathologist=other)
    with lab.database.write("test") as session:
        # Brought in some days ago, when it had not begun.
        session.add(Leave(pathologist_id=other, first_day=TODAY, last_day=FRIDAY, kind="sick"))
    look(lab)
    sweep(lab)
    assert raised(lab) == ["reader absent"]
    assert theirs(lab, other) == 1
    back_early(desk, other, MANAGER)
    assert raised(lab) == []
