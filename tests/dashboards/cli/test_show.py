import json
import re
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import select

from models.tables.case import Slide
from models.tables.scan import Scan
from tests.dashboards.cli.conftest import Run, lab_of
from tests.dashboards.cli.test_people import ANN
from tests.small_lab import SmallSlide, run_until_calm, scan_arrives


@pytest.fixture
def archived(home: Path) -> tuple[str, str]:
    """An archived scan that a person matched, and its case."""
    lab = lab_of(home)
    with closing(lab.database), lab.database.read() as session:
        slide = session.scalars(select(Slide).where(Slide.container_identifier == "26B0002-A1-2")).one()
        return session.scalars(select(Scan.id).where(Scan.slide_id == slide.id)).one(), slide.case_id


def test_a_scans_story_names_who_did_what_and_why(run: Run, archived: tuple[str, str]) -> None:
    said = run("show", archived[0])
    assert (said.code, said.err) == (0, "")
    lines = said.out.splitlines()
    matched = [line for line in lines if "matched to slide 26B0002-A1-2" in line]
    assert len(matched) == 1
    assert "– Ann Example: looked at the glass" in matched[0]
    assert any("lims-a answered AA" in line for line in lines)
    assert any(line.startswith("proof") and "done" in line for line in lines)


def test_a_scans_story_for_machines(run: Run, archived: tuple[str, str]) -> None:
    story = json.loads(run("show", archived[0][:8], "--json").out)
    assert (story["scan"], story["case"], story["state"]) == (*archived, "archived")
    assert {step["what"] for step in story["steps"]} >= {"storing", "proof"}
    assert [one["state"] for one in story["objects"]] == ["proven", "proven"]
    assert [one["state"] for one in story["files"]] == ["taken"]
    assert "relative_path" not in story["files"][0]


def test_a_case_is_shown_with_its_slides_and_its_reader(run: Run, archived: tuple[str, str]) -> None:
    said = run("show", archived[1])
    assert "2 of 3 slides can be read, 1 awaited" in said.out
    assert "Reader     nobody" in said.out
    assert "26B0002-A1-3@NET" in said.out
    page = json.loads(run("show", archived[1], "--json").out)
    assert (page["id"], page["reader"], page["released"]) == (archived[1], None, False)
    assert len(page["rows"]) == 4


def test_a_case_names_what_is_missing_where_it_was_seen_and_until_when_it_is_held_back(
    run: Run, archived: tuple[str, str]
) -> None:
    said = run("show", archived[1]).out
    assert "Held back  for its missing slides until " in said
    assert "then people are told what is missing" in " ".join(said.split())
    lines = said.splitlines()
    table = lines[next(at for at, line in enumerate(lines) if line.startswith("Slide  ")) + 1 :]
    assert table[0].startswith("26B0002-A1-3@NET  waiting for a scan")

    page = json.loads(run("show", archived[1], "--json").out)
    assert (page["slides_readable"], page["slides_expected"], page["released_how"]) == (2, 3, None)
    assert page["held_then"] == "people are told what is missing"
    missing = [one for one in page["slides"] if not one["can_be_read"]]
    assert [(one["slide"], one["standing"], one["waits_for"]) for one in missing] == [
        ("26B0002-A1-3@NET", "waiting for a scan", "the scanner")
    ]
    assert missing[0]["last_seen"] == {"where": "the laboratory: no scanner has seen it", "at": None}
    assert page["late_slides"] == []


def test_a_slide_that_came_late_is_shown_with_who_ticked_it_off(
    run: Run, home: Path, archived: tuple[str, str]
) -> None:
    run("release", archived[1], *ANN)
    number = json.loads(run("show", archived[1], "--json").out)["accession_number"]
    assert "a person let it be read without what is missing" in " ".join(run("show", number).out.split())
    lab = lab_of(home)
    with closing(lab.database):
        scan_arrives(lab, SmallSlide(codes=("26B0002-A1-3",)))
        run_until_calm(lab)
    said = run("show", archived[1]).out
    assert "1 not acknowledged" in said
    assert "by nobody yet" in said
    [listed] = json.loads(run("acknowledge", "--json").out)
    assert listed["slide"] == "26B0002-A1-3"
    run("acknowledge", str(listed["number"]), *ANN)
    [late] = json.loads(run("show", archived[1], "--json").out)["late_slides"]
    assert (late["slide"], late["acknowledged_by"]) == ("26B0002-A1-3@NET", "Ann Example")


def test_a_case_is_found_by_its_accession_number_and_by_each_of_its_slides(run: Run, archived: tuple[str, str]) -> None:
    number = json.loads(run("show", archived[1], "--json").out)["accession_number"]
    for name in (number, number.lower(), "26B0002-A1-3", "26b0002-a1-2@NET"):
        assert f"Case       {archived[1]}" in run("show", name).out, name
    said = run("show", "26B0002-A1-3@ELSEWHERE")
    assert (said.code, "there is no such scan, case or message" in said.err) == (1, True)


def test_a_cases_story_is_in_words_and_names_people(run: Run) -> None:
    assigned = next(one["case"] for one in json.loads(run("list", "--json").out) if one["state"] == "assigned")
    reader = json.loads(run("show", assigned, "--json").out)["reader"]
    assert run("assign", "open", assigned, "--by", reader["name"]).code == 0
    story = run("show", assigned).out.split("What happened")[1]
    for words in ("registered", "its images are ready: it can be read", f"opened by {reader['name']}"):
        assert words in story, words
    assert f"reader: {reader['name']}" in story
    for machine in ("_", "None", "nothing", "→", "released_how", "unassigned"):
        assert machine not in story, machine


def test_times_are_in_the_sites_zone_with_how_far_away_they_are(run: Run, archived: tuple[str, str]) -> None:
    for name in archived:
        story = run("show", name).out.split("What happened")[1].splitlines()
        moments = [line for line in story if re.match(r" ?\d", line)]
        assert moments
        assert all(re.match(r"\d+ \w{3} \d{4}, \d\d:\d\d:\d\d (GMT|BST) \(.* ago\)  ", line) for line in moments)
    for line in json.loads(run("list", "--json").out):
        assert datetime.fromisoformat(line["since"]).utcoffset() == timedelta(0)


@pytest.mark.parametrize("columns", ["80", "120"])
def test_a_story_fits_a_terminal(
    run: Run, archived: tuple[str, str], monkeypatch: pytest.MonkeyPatch, columns: str
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    for name in archived:
        assert all(len(line) <= int(columns) for line in run("show", name).out.splitlines())
