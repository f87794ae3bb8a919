import json
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import update

from flows.audit.oracle import CHECKS
from models.tables.scan import Scan
from tests.dashboards.cli.conftest import Run, lab_of


def test_books_that_agree_end_with_nought(run: Run) -> None:
    said = run("audit", "books", "--full")
    assert (said.code, said.err) == (0, "")
    lines = said.out.splitlines()
    assert lines[0].split()[:3] == ["Site", "Received", "Moving"]
    assert lines[1].split() == ["site-a", "12", "3", "5", "1", "1", "1", "1"]
    assert sum(line.endswith("holds") for line in map(str.rstrip, lines)) == len(CHECKS)
    assert lines[-1] == "The books agree."


def test_books_for_machines(run: Run) -> None:
    told = json.loads(run("audit", "books", "--json").out)
    assert told["agrees"] is True
    assert [check["name"] for check in told["checks"]] == [check.name for check in CHECKS]
    assert told["sites"][0]["site"] == "site-a"


def test_books_that_do_not_agree_end_with_one_and_a_sentence_each(run: Run, home: Path) -> None:
    lab = lab_of(home)
    with closing(lab.database), lab.database.write("test") as session:
        session.execute(update(Scan).where(Scan.outcome == "set aside").values(outcome="cancelled"))
    said = run("audit", "books")
    assert said.code == 1
    assert "is not what its facts say: outcome" in said.out
    assert said.out.endswith("The books do not agree.\n")
    assert "26B" not in said.out
    told = json.loads(run("audit", "books", "--json").out)
    assert told["agrees"] is False
    assert [check["name"] for check in told["checks"] if check["breaches"]] == ["scan facts"]


def test_an_archive_that_is_away_is_said_in_a_sentence(run: Run, home: Path) -> None:
    (home / "archive").rename(home / "unmounted")
    said = run("audit", "books")
    assert (said.code, said.out) == (1, "")
    assert (
        said.err
        == "coverslip: The archive folder is not there: mount it, or set it up; nothing was changed, so try again\n"
    )


@pytest.mark.parametrize("columns", ["80", "120"])
def test_the_audit_fits_a_terminal(run: Run, monkeypatch: pytest.MonkeyPatch, columns: str) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    assert all(len(line) <= int(columns) for line in run("audit", "books").out.splitlines())
