import json
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import insert, select

from dashboards.cli.assign_fairness import bar
from models.tables.reading import Competence, Credit, Read
from tests.dashboards.cli.conftest import Run, lab_of


@pytest.fixture
def reported(home: Path) -> None:
    """Rosa and Tom have reported what was theirs to read."""
    with closing(lab_of(home).database) as database, database.write("test") as session:
        for row in session.scalars(select(Competence)):
            row.valid_from -= timedelta(days=400)
        reads = session.scalars(select(Read).order_by(Read.id)).all()
        for number, (read, who) in enumerate(zip(reads, ("rosa", "tom", "rosa"), strict=False)):
            case: dict[str, object] = {"site_id": "site-a", "subspecialty": "general", "lane": 2}
            case |= {"forecast": 12.0, "points": 12.0, "weights": "weights/1", "read_id": read.id}
            at = datetime.now(UTC) - timedelta(days=1 + number)
            session.execute(insert(Credit).values(pathologist_id=who, credited_at=at, **case))


@pytest.mark.usefixtures("reported")
def test_a_manager_sees_everybody_a_bar_each_and_how_even_that_is(run: Run) -> None:
    said = run("assign", "fairness")
    assert (said.code, said.err) == (0, "")
    assert "Dr Rosa Example" in said.out
    assert "Dr Tom Example" in said.out
    assert "█" in said.out
    assert "The loads of 2 people are" in said.out
    assert "three published groups had 0.05, 0.16 and 0.23" in " ".join(said.out.split())
    assert "subspecialty skin" in said.out
    assert "\N{REPLACEMENT CHARACTER}" not in said.out


@pytest.mark.usefixtures("reported")
def test_a_pathologist_is_told_nothing_of_a_peer(run: Run) -> None:
    said = run("assign", "fairness", "--as", "rosa")
    assert said.code == 0
    assert "Dr Rosa Example" in said.out
    assert "Tom" not in said.out
    assert "Of so small a group nothing more can be said" in said.out
    machine = json.loads(run("assign", "fairness", "--as", "rosa", "--json").out)
    assert [one["pathologist_id"] for one in machine["evenness"]["people"]] == ["rosa"]
    assert (machine["hidden"], machine["evenness"]["gini"], machine["groups"]) == (1, None, [])
    assert "tom" not in json.dumps(machine).lower()


@pytest.mark.usefixtures("reported")
def test_a_window_may_be_longer_and_a_series_finer(run: Run) -> None:
    machine = json.loads(run("assign", "fairness", "--weeks", "2", "--days", "--json").out)
    assert (machine["window_days"], len(machine["evenness"]["series"])) == (14, 14)


def test_a_group_of_nobody_is_refused_with_those_that_there_are(run: Run) -> None:
    for words, there_are in (
        (("--site", "nowhere"), "site nowhere: there are the sites site-a"),
        (("--subspecialty", "skim"), "subspecialty skim: there are the subspecialties "),
        (("--network", "north"), "network north: there are no networks"),
    ):
        said = run("assign", "fairness", *words)
        assert (said.code, said.out) == (1, "")
        assert f"nobody who reads belongs to {there_are}" in said.err


def test_a_bar_is_as_long_as_its_share_of_the_longest() -> None:
    assert (bar(0, 10), bar(5, 10), bar(10, 10), bar(3, 0)) == ("", "█" * 8, "█" * 16, "")
    assert bar(10 / 128, 10) == "▏"
