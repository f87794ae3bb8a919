"""The commands about deadlines."""

import json
from pathlib import Path

import pytest
from sqlalchemy import select

from models.tables.case import Case
from tests.dashboards.cli.conftest import Run, lab_of

BY = ("--by", "Ann Example", "--because", "waits for the clinic")


@pytest.fixture
def case(home: Path) -> str:
    """A case that is still to be reported."""
    lab = lab_of(home)
    with lab.database.read() as session:
        still_open = (Case.cancelled.is_(False), Case.round_closed_at.is_(None))
        found = session.scalars(select(Case.id).where(*still_open).order_by(Case.id)).first()
    lab.database.close()
    assert found is not None
    return found


def test_what_is_due_is_listed_and_shown_with_its_case(run: Run, case: str) -> None:
    listed = json.loads(run("deadline", "list", "--json").out)
    assert {one["kind"] for one in listed} == {"turnaround"}
    assert case in {one["case"] for one in listed}
    table = run("deadline", "list").out
    assert "turnaround, 10 calendar days since registered" in " ".join(table.split())

    assert "(turnaround, 10 calendar days since registered)" in run("show", case).out
    assert run("deadline", "list", "--late").out.startswith("Nothing is late: ")
    assert run("deadline", "list", "--soon", "--json").out == "[]\n"
    elsewhere = {one["site"] for one in json.loads(run("deadline", "list", "--site", "site-a", "--json").out)}
    assert elsewhere == {"site-a"}


def test_a_clock_that_stands_still_says_so_everywhere(run: Run, case: str) -> None:
    said = run("deadline", "pause", case, *BY)
    assert said.code == 0
    assert said.out.endswith("its clock stands still; 'coverslip deadline resume' lets it run again.\n")
    assert "the clock stands still since" in " ".join(run("show", case).out.split())
    [line] = [one for one in json.loads(run("deadline", "list", "--json").out) if one["case"] == case]
    assert line["paused_since"] is not None
    assert "there" not in run("deadline", "pause", case, *BY).out

    assert "its clock runs again; it is due " in run("deadline", "resume", case, *BY).out
    assert "stands still" not in run("show", case).out.split("What happened")[0]


def test_a_meeting_s_moment_is_the_site_s_own_time(run: Run, case: str) -> None:
    assert run("deadline", "mdt", case, "2036-12-05T14:00", *BY).code == 0
    assert "MDT 5 Dec 2036, 14:00" in " ".join(run("show", case).out.split())
    assert run("deadline", "mdt", case, "none", *BY).code == 0
    assert "MDT" not in run("show", case).out.split("What happened")[0]


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("mdt", "CASE", "on Friday"), "WHEN takes a time as in"),
        (("mdt", "CASE", "2020-01-01T12:00"), "that moment is over"),
        (("resume", "CASE"), "there is nothing to resume"),
        (("pause", "nothing-so"), "there is no such case"),
    ],
)
def test_what_can_t_be_done_is_one_sentence(run: Run, case: str, words: tuple[str, ...], why: str) -> None:
    said = run("deadline", *(case if word == "CASE" else word for word in words), *BY)

    assert said.code == 1
    assert why in said.err


@pytest.mark.parametrize("columns", ["80", "120"])
def test_the_list_is_one_line_a_case(run: Run, case: str, monkeypatch: pytest.MonkeyPatch, columns: str) -> None:
    run("deadline", "mdt", case, "2036-12-05T14:00", *BY)
    cases = json.loads(run("deadline", "list", "--json").out)
    monkeypatch.setenv("COLUMNS", columns)
    assert len(run("deadline", "list", "--soon").out.splitlines()) == 1
    lines = run("deadline", "list").out.splitlines()
    assert max(map(len, lines)) <= int(columns)
    assert all(any(one["accession_number"] in line for line in lines) for one in cases)
