"""What people see of the looks at all open reads, and how they ask for one."""

import json
import re
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import delete

from flows.case_assignment.rebalance.watching import see_to_looks
from models.tables.reading import Assignment, ReadingSession
from tests.dashboards.cli.conftest import Run, lab_of
from tests.flows.case_assignment.rebalance.desks import ONLY_LOOKS, Desk, Given, lay, only, owners
from tests.small_lab import run_until_calm

ASKED = ("--by", "Mia Manager", "--because", "Ann called me")


@pytest.fixture
def crowded(home: Path) -> Path:
    """Ann's desk is crowded, Bob's is empty."""
    lab = lab_of(home)
    with closing(lab.database):
        only(lab, Desk("ann"), Desk("bob"))
        lay(lab, *(Given("ann", points=3) for _ in range(40)))
        see_to_looks(lab)
    return home


def _works(home: Path) -> None:
    lab = lab_of(home)
    with closing(lab.database):
        run_until_calm(lab, ONLY_LOOKS)


def test_a_dry_run_shows_what_would_move_and_why_and_changes_nothing(crowded: Path, run: Run) -> None:
    said = run("assign", "rebalance", "--dry-run")

    assert (said.code, said.err) == (0, "")
    assert re.search(r"primary +Dr Ann +Dr Bob +it is better so +\d+\.\d points", said.out)
    assert "unopened reads would move now" in said.out
    assert run("assign", "rebalances").out.startswith("Nobody has looked at all open reads yet")
    assert json.loads(run("assign", "rebalance", "--dry-run", "--json").out)["asked_for"] is False
    assert crowded.is_dir()


def test_whoever_asks_for_a_look_gives_a_name_and_a_reason(crowded: Path, run: Run) -> None:
    assert run("assign", "rebalance").code == 1
    said = run("assign", "rebalance", *ASKED)
    assert "Asked for: a worker looks within seconds." in said.out

    _works(crowded)

    [look] = json.loads(run("assign", "rebalances", "--json").out)
    assert (look["why"], look["state"]) == ("Mia Manager: Ann called me", "over")
    assert look["moved"] > 0
    assert look["after"] < look["before"]
    assert "Mia Manager: Ann called me" in run("assign", "rebalances").out


def test_explain_says_why_a_look_moved_a_read_and_that_its_record_decides_the_same_again(
    crowded: Path, run: Run
) -> None:
    [case, *_] = [
        move["case"]
        for move in json.loads(run("assign", "rebalance", *ASKED, "--json").out)["moves"]
        if move["from"] == "Dr Ann"
    ]
    _works(crowded)

    said = run("assign", "explain", case)

    assert re.search(r"left with Dr Ann it would cost \d+\.\d points more, of all open reads together, than", said.out)
    assert "decided by Coverslip, of all reads" in said.out
    assert "Decided again from this record, the winner is the same." in said.out


def test_somebody_says_that_a_site_is_cut_off_and_its_readers_get_and_keep_only_what_is_open(
    home: Path, run: Run
) -> None:
    lab = lab_of(home)
    with closing(lab.database):
        only(lab, Desk("ann"), Desk("bob", site="site-b"))
        unopened, opened = lay(lab, Given("bob"), Given("bob", opened=True))
        see_to_looks(lab)
    word = ("--by", "Mia Manager", "--because", "the link is down")

    assert "Site site-b is cut off" in run("assign", "cut-off", "site-b", *word).out
    assert "site site-b is cut off already" in run("assign", "cut-off", "site-b", *word).err
    assert "there is no such site: the settings have site-a, site-b" in run("assign", "cut-off", "elsewhere", *word).err
    _works(home)

    lab = lab_of(home)
    with closing(lab.database):
        assert (owners(lab)[unopened], owners(lab)[opened]) == ("ann", "bob")
    [look] = json.loads(run("assign", "rebalances", "--json").out)
    assert look["why"] == "site site-b is cut off"
    said = run("assign", "cut-off", "site-b", "--over", *word, "--json")
    assert json.loads(said.out) == {"site": "site-b", "cut_off": False}
    assert "nobody said that site site-b is cut off" in run("assign", "cut-off", "site-b", "--over", *word).err


def test_a_read_that_only_one_person_may_have_is_not_shown_as_a_move(home: Path, run: Run) -> None:
    lab = lab_of(home)
    with closing(lab.database), lab.database.write("alone") as session:
        session.execute(delete(ReadingSession))
        session.execute(delete(Assignment))

    assert json.loads(run("assign", "rebalance", "--dry-run", "--json").out)["moves"] == []
