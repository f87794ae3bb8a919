"""A policy that begins, and holidays that are brought in, count for the cases that are open."""

import os
import signal
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import delete, select, update

from connectors.wiring import Lab
from flows.actions import Desk, Person
from flows.actions.deadlines import pause_deadlines
from flows.actions.peopling import import_people
from flows.deadlines.recounting import COUNT_DEADLINES, count_anew, notice_policy
from models.database import database_now
from models.policy import Target
from models.tables.case import Case
from models.tables.deadline import Deadline, DeadlinePause
from models.tables.step import Step
from tests.flows.deadlines.kept import due, looked, moved, policy_begins, raised
from tests.flows.looking import A, B, alerts, books_balance, says, steps, the_case
from tests.lims_says import reported
from tests.small_lab import ON_BOTH, order, run_until_calm

ROOT = Path(__file__).resolve().parents[3]
BEGUN = (
    "import sys; from pathlib import Path; from tests.small_lab import small_lab; "
    "lab = small_lab(Path(sys.argv[1]), sys.argv[2]); "
)
NOTICING = BEGUN + "from flows.deadlines.recounting import notice_policy; notice_policy(lab)"
LOOKING = BEGUN + "from flows.deadlines.watch import Watch; Watch(lab).look()"
COUNTING = BEGUN + "from tests.small_lab import run_until_calm; run_until_calm(lab)"


def is_killed(code: str, lab: Lab, url: str, failpoint: str) -> bool:
    command = [sys.executable, "-c", code, str(lab.settings.home), url]
    environment = os.environ | {"COVERSLIP_FAILPOINT": failpoint}
    return subprocess.run(command, cwd=ROOT, env=environment, timeout=60, check=False).returncode == -signal.SIGKILL


@ON_BOTH
def test_a_policy_that_begins_is_noticed_once_and_counts_open_cases_only(lab: Lab) -> None:
    says(lab, order("26H1", A), reported("26H1", "F"), order("26H2", B, control_id="M2"))
    assert [notice_policy(lab), notice_policy(lab)] == [True, False]
    run_until_calm(lab)
    assert set(due(lab)) == {"turnaround"}

    policy_begins(lab, week=Target(days=7))
    assert [notice_policy(lab), notice_policy(lab)] == [True, False]
    run_until_calm(lab)
    assert set(due(lab)) == {"week"}
    with lab.database.read() as session:
        assert set(session.scalars(select(Case.due_kind))) == {None, "week"}
        over = session.scalars(select(Deadline.kind).where(Deadline.ended_at.is_not(None))).all()
    assert over == ["turnaround"]
    assert steps(lab, COUNT_DEADLINES) == ["done", "done"]
    books_balance(lab)


@ON_BOTH
def test_cases_that_are_older_than_deadlines_get_theirs(lab: Lab) -> None:
    says(lab, order("26H1", A))
    with lab.database.write("as it was") as session:
        session.execute(delete(Deadline))
        session.execute(update(Case).values(due_at=None, due_kind=None))
    notice_policy(lab)
    run_until_calm(lab)

    assert the_case(lab).due_at == the_case(lab).registered_at + timedelta(days=10)
    books_balance(lab)


def test_other_holidays_count_again_what_was_counted(lab: Lab) -> None:
    notice_policy(lab)
    run_until_calm(lab)
    with lab.database.write("holidays") as session:
        count_anew(session)
    run_until_calm(lab)

    with lab.database.read() as session:
        found = session.execute(select(Step.generation, Step.state).where(Step.kind == COUNT_DEADLINES)).all()
    assert [tuple(row) for row in found] == [(1, "done"), (2, "done")]


def test_holidays_that_people_bring_in_count_for_open_cases(lab: Lab, tmp_path: Path) -> None:
    policy_begins(lab, cancer=Target(days=30, basis="working"))
    says(lab, order("26H1", A))
    before = the_case(lab).due_at
    assert before is not None
    days = [before.date() - timedelta(days=number) for number in range(2, 9)]
    folder = tmp_path / "people"
    folder.mkdir()
    rows = [f"england,{day},a day off" for day in days]
    (folder / "holidays.csv").write_text("\n".join(["calendar,day,name", *rows, ""]))
    (folder / "sites.csv").write_text("site,network,calendar\nsite-a,,england\n")
    import_people(Desk(lab.database, lab.settings, lab.ids), folder, Person("Ann Example", "the year's holidays"))
    run_until_calm(lab)

    after = the_case(lab).due_at
    assert after is not None
    # Five of the seven are working days.
    assert after >= before + timedelta(days=5)
    books_balance(lab)


@pytest.mark.faults
@ON_BOTH
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_kill_while_cases_are_counted_leaves_the_rest_to_the_next(lab: Lab, database_url: str, when: str) -> None:
    says(lab, order("26H1", A), order("26H2", B, control_id="M2"))
    policy_begins(lab, week=Target(days=7))
    assert is_killed(NOTICING, lab, database_url, f"deadlines.policy_begins.{when}_commit")
    assert notice_policy(lab) == (when == "before")
    assert is_killed(COUNTING, lab, database_url, f"deadlines.count.{when}_commit")
    with lab.database.write("a dead worker is found") as session:
        session.execute(update(Step).where(Step.state == "running").values(state="ready", worker_id=None))
    run_until_calm(lab)

    with lab.database.read() as session:
        assert session.scalars(select(Case.due_kind)).all() == ["week", "week"]
    books_balance(lab)


@pytest.mark.faults
@ON_BOTH
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_kill_while_people_are_told_leaves_it_to_the_next_and_it_is_told_once(
    lab: Lab, database_url: str, when: str
) -> None:
    says(lab, order("26H1", A))
    moved(lab, "turnaround", timedelta(hours=1))
    assert is_killed(LOOKING, lab, database_url, f"deadlines.watch.{when}_commit")
    assert len(raised(lab)) == (when == "after")

    assert looked(lab) == (when == "before")
    assert set(raised(lab)) == {"deadline at risk"}


@pytest.mark.faults
@ON_BOTH
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_kill_while_a_forgotten_clock_is_told_leaves_it_to_the_next(lab: Lab, database_url: str, when: str) -> None:
    says(lab, order("26H1", A))
    pause_deadlines(Desk(lab.database, lab.settings, lab.ids), the_case(lab).id, Person("Ann Example", "no block yet"))
    with lab.database.write("a week passes") as session:
        session.execute(update(DeadlinePause).values(began_at=database_now(session) - timedelta(days=7)))
    assert is_killed(LOOKING, lab, database_url, f"deadlines.forgotten.{when}_commit")
    assert alerts(lab) == ["clock stands still"] * (when == "after")

    looked(lab)
    assert alerts(lab) == ["clock stands still"]


@ON_BOTH
def test_a_later_round_that_is_older_than_when_it_began_is_known_learns_that_from_its_facts(lab: Lab) -> None:
    says(lab, order("26H1", A), reported("26H1", "F"), order("26H1", B, sent_at="20250301120000+0000", control_id="M2"))
    began = the_case(lab).round_opened_at
    assert (the_case(lab).round, began is not None) == (2, True)
    with lab.database.write("older") as session:
        session.execute(update(Case).values(round_opened_at=None))
        session.execute(delete(Deadline))

    assert notice_policy(lab)
    run_until_calm(lab)

    assert the_case(lab).round_opened_at == began
    assert set(due(lab)) == {"turnaround"}
    books_balance(lab)
