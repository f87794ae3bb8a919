"""The command that says why a case is with whom, as people type it."""

import json
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import select, update

from models.tables.case import Case, Identifier
from models.tables.reading import Assignment, Read
from tests.dashboards.cli.conftest import Run, Said, lab_of

NAMES = {"rosa": "Dr Rosa Example", "tom": "Dr Tom Example"}
OTHER = {"rosa": "tom", "tom": "rosa"}


@pytest.fixture
def given(home: Path) -> Assignment:
    """The first assignment that is open."""
    with closing(lab_of(home).database) as database, database.read() as session:
        return session.scalars(select(Assignment).where(Assignment.ended_at.is_(None)).order_by(Assignment.id)).all()[0]


@pytest.fixture
def case(home: Path, given: Assignment) -> str:
    """The accession number of its case."""
    with closing(lab_of(home).database) as database, database.read() as session:
        number = (
            select(Identifier.value)
            .join(Read, Read.case_id == Identifier.subject_id)
            .where(Read.id == given.read_id, Identifier.kind == "accession")
        )
        return str(session.scalars(number).first())


def done(said: Said) -> str:
    assert (said.code, said.err) == (0, "")
    return said.out


def test_who_has_a_case_and_why_is_said_in_words(run: Run, case: str, given: Assignment) -> None:
    out = done(run("assign", "explain", case))
    winner, other = NAMES[given.pathologist_id], NAMES[OTHER[given.pathologist_id]]
    assert "Primary read, round 1: 2 points by weights/1" in out
    assert f"{winner} has it since" in out
    assert "not opened yet (decided by Coverslip)" in out
    assert f"Why: of 2 who could have it, rather than {other}: " in out
    assert f"What would have changed it: {other} would have got it" in out
    assert "By the policy that ships, weights weights/1, formula marginal cost/1." in out
    assert "Decided again from this record, the winner is the same." in out


def test_a_machine_gets_the_records_themselves(run: Run, case: str, given: Assignment) -> None:
    said = json.loads(done(run("assign", "explain", case, "--json")))
    ((owner,),) = [read["owners"] for read in said["reads"]]
    assert (owner["pathologist_id"], owner["replayed"]) == (given.pathologist_id, given.pathologist_id)
    assert owner["explanation"] == given.explanation


def test_everybody_who_has_had_it_is_told_with_the_reason(run: Run, case: str, given: Assignment) -> None:
    other = OTHER[given.pathologist_id]
    why = ("--by", "Ann Manager", "--reason", "the surgeon asked for it")
    done(run("assign", "override", case, other, *why))
    out = done(run("assign", "explain", case))
    assert f"{NAMES[other]} has it since" in out
    assert "(decided by Ann Manager, to stay)" in out
    assert "the surgeon asked for it" in out
    assert f"{NAMES[given.pathologist_id]} had it from" in out
    assert out.index(NAMES[other]) < out.index(f"{NAMES[given.pathologist_id]} had it")


def test_what_nobody_may_have_is_told_with_what_would_help(run: Run, home: Path, case: str, given: Assignment) -> None:
    with closing(lab_of(home).database) as database, database.write("test") as session:
        read = session.get_one(Read, given.read_id)
        session.execute(update(Case).where(Case.id == read.case_id).values(subspecialty="neuro"))
    done(run("assign", "decline", case, "--by", NAMES[given.pathologist_id], "--reason", "not mine to read"))
    lab = lab_of(home)
    with closing(lab.database):
        from tests.small_lab import run_until_calm  # noqa: PLC0415 - only this test works on

        run_until_calm(lab)
    out = done(run("assign", "explain", case))
    assert "Nobody has it: nobody may have this primary read of neuro now (competence 2): give somebody else the" in out
    assert "has no valid competence to read neuro digitally." in out


def test_a_record_of_the_first_formula_is_told_too(run: Run, home: Path, case: str, given: Assignment) -> None:
    reader = {"site_id": "site-a", "level": 1, "points_a_week": 100.0, "open_points": 2.0, "terms": []}
    reader["reads_from"] = "2026-11-22T10:00:00Z"
    other = OTHER[given.pathologist_id]
    record = {
        "site_id": "site-a",
        "lane": 2,
        "decided_at": "2026-11-22T10:00:00Z",
        "policy": {
            "version": "smallest relative load/1",
            "other_site": 5_000,
            "second_level": 10_000,
            "wait_a_day": [240_000, 24_000, 2_400],
        },
        "eligible": 2,
        "best": [reader | {"pathologist_id": given.pathologist_id}, reader | {"pathologist_id": other, "level": 2}],
        "ruled_out": [
            {"pathologist_id": "ann", "rule": "leave", "sentence": "is on leave up to and including 2026-11-27"}
        ],
        "runner_up": {"pathologist_id": other, "deciding_term": "second level", "would_flip": "they would, with less"},
    }
    with closing(lab_of(home).database) as database, database.write("test") as session:
        session.execute(update(Assignment).where(Assignment.id == given.id).values(explanation=record))
    out = done(run("assign", "explain", case))
    assert f"rather than {NAMES[other]}: leads in this subspecialty." in out
    assert "Not ann: is on leave up to and including 2026-11-27." in out
    said = json.loads(done(run("assign", "explain", case, "--json")))
    assert said["reads"][0]["owners"][0]["replayed"] == given.pathologist_id


def test_one_read_of_several_may_be_asked_for(run: Run, case: str) -> None:
    assert "Primary read" in done(run("assign", "explain", case, "--read", "primary"))
    said = run("assign", "explain", case, "--read", "mdt")
    assert (said.code, "has no mdt read yet" in said.err) == (1, True)


def test_what_is_no_case_is_refused(run: Run) -> None:
    assert run("assign", "explain", "no-such-case").code == 1
