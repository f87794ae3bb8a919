import json
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from flows.people.roster.sheets import FILES
from models.tables.books import History
from tests.dashboards.cli.conftest import Run, lab_of

ANN = ("--by", "Ann Example", "--because", "the rota of March")
PEOPLE = "id,name,site,points_a_week\nrosa,Dr Rosa New,site-a,80\nlind,Dr Jonas Lind,site-b,50\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "files"
    made.mkdir()
    (made / "pathologists.csv").write_text(PEOPLE)
    return made


def people(run: Run) -> dict[str, dict[str, Any]]:
    said = run("people", "list", "--json")
    assert (said.code, said.err) == (0, "")
    return {one["id"]: one for one in json.loads(said.out)}


def test_files_without_a_fault_end_the_check_with_zero_and_what_they_would_change(run: Run, folder: Path) -> None:
    said = run("people", "check", str(folder))
    assert (said.code, said.err) == (0, "")
    assert "pathologists (1 ended, 1 changed, 1 added)" in " ".join(said.out.split())


def test_faults_end_the_check_with_one_and_are_listed_by_row_and_column(run: Run, folder: Path) -> None:
    (folder / "pathologists.csv").write_text(PEOPLE + "kim,Dr Kim,site-z,NaN\n")
    said = run("people", "check", str(folder))
    assert (said.code, said.err) == (1, "")
    assert "pathologists.csv  4    site" in said.out
    assert "2 faults. Row 1 is the header." in said.out
    machine = run("people", "check", str(folder), "--json")
    assert machine.code == 1
    assert [(one["file"], one["row"], one["column"]) for one in json.loads(machine.out)["faults"]] == [
        ("pathologists.csv", 4, "points_a_week"),
        ("pathologists.csv", 4, "site"),
    ]


def test_a_subspecialty_that_is_nearly_one_that_others_read_is_noted(run: Run, folder: Path) -> None:
    (folder / "pathologists.csv").unlink()
    assert run("people", "export", str(folder)).code == 0
    file = folder / "competences.csv"
    file.write_text(file.read_text() + "rosa,skim_and_hair,may read,,,2026-03-02,\nrosa,skins,may read,,,2026-03-02,\n")
    said = run("people", "check", str(folder))
    assert said.code == 0
    assert "the subspecialty 'skins' is new, and nearly 'skin'" in said.out
    assert "hair" not in said.out
    assert len(json.loads(run("people", "check", str(folder), "--json").out)["notes"]) == 1


def test_nothing_with_a_fault_is_brought_in(run: Run, folder: Path) -> None:
    before = people(run)
    (folder / "pathologists.csv").write_text(PEOPLE + "kim,Dr Kim,site-z,NaN\n")
    said = run("people", "import", str(folder), *ANN)
    assert said.code == 1
    assert "Nothing was changed." in said.out
    assert people(run) == before


def test_a_dry_run_shows_what_would_change_and_changes_nothing(run: Run, folder: Path) -> None:
    before = people(run)
    said = run("people", "import", str(folder), *ANN, "--dry-run")
    assert said.code == 0
    assert "Dr Rosa New" in said.out
    assert "this was a dry run" in said.out
    assert people(run) == before


def test_of_many_new_people_a_summary_and_what_ends_are_shown_unless_all_is_asked_for(run: Run, folder: Path) -> None:
    new = "".join(f"new-{number},Dr New {number},site-b,50\n" for number in range(30))
    (folder / "pathologists.csv").write_text(PEOPLE + new)
    said = run("people", "import", str(folder), *ANN, "--dry-run").out
    assert "This changes pathologists (1 ended, 1 changed, 31 added)" in " ".join(said.split())
    assert "tom" in said
    assert "new-7" not in said
    assert "31 more are not listed, most of them new: --verbose lists them." in said
    assert "new-7" in run("people", "import", str(folder), *ANN, "--dry-run", "--verbose").out


def test_that_settings_are_not_asked_any_more_is_said_once_for_all(run: Run, home: Path, folder: Path) -> None:
    file = home / "coverslip.toml"
    readers = [
        f'[[readers]]\nid = "{one}"\nname = "{one.title()}"\nsite = "site-a"\nknown_as = ["{one}"]\n'
        for one in ("rosa", "tom")
    ]
    file.write_text(file.read_text().replace("readers = []\n", "") + "".join(readers))
    assert run("migrate").code == 0
    out = folder / "out"
    assert run("people", "export", str(out)).code == 0
    said = run("people", "import", str(out), *ANN).out
    assert "kept by" not in said
    assert said.splitlines()[0].startswith("2 people are kept as data from now on: ")


def test_what_is_brought_in_is_listed_and_bears_the_name_of_who_did_it(run: Run, home: Path, folder: Path) -> None:
    said = run("people", "import", str(folder), *ANN)
    assert (said.code, said.err) == (0, "")
    assert said.out.endswith("Brought in.\n")
    found = people(run)
    assert {one: (each["active"], each["site_id"]) for one, each in found.items()} == {
        "rosa": (True, "site-a"),
        "lind": (True, "site-b"),
        "tom": (False, "site-a"),
    }
    with closing(lab_of(home).database) as database, database.read() as session:
        rows = session.scalars(select(History).where(History.subject_id == "tom", History.what == "active")).all()
    assert [(one.before, one.after, one.actor, one.reason) for one in rows] == [
        ("yes", "no", "Ann Example", "the rota of March")
    ]


def test_whoever_reads_no_longer_is_listed_when_asked_for(run: Run, folder: Path) -> None:
    run("people", "import", str(folder), *ANN)
    said = run("people", "list")
    assert "tom" not in said.out
    assert "1 read no longer: --all shows them too." in said.out
    assert "inactive" in run("people", "list", "--all").out
    assert "lind" not in run("people", "list", "--site", "site-a").out
    assert "no site is called so" in run("people", "list", "--site", "site-z").err


def test_what_is_written_out_is_brought_in_again_without_a_change(run: Run, folder: Path, tmp_path: Path) -> None:
    run("people", "import", str(folder), *ANN)
    out = str(tmp_path / "out")
    assert run("people", "export", out).code == 0
    assert sorted(path.name for path in Path(out).iterdir()) == sorted(FILES)
    said = run("people", "import", out, *ANN)
    assert "Nothing changes: the files say what stands." in said.out
    again = run("people", "export", out)
    assert (again.code, "--overwrite" in again.err) == (1, True)
    assert run("people", "export", out, "--overwrite").code == 0


def test_who_imports_says_who_they_are_and_why(run: Run, folder: Path) -> None:
    assert run("people", "import", str(folder)).code == 2
    assert "say who you are" in run("people", "import", str(folder), "--by", " ", "--because", "x").err


def test_the_settings_say_when_they_are_not_asked_about_somebody_any_more(run: Run, home: Path, folder: Path) -> None:
    file = home / "coverslip.toml"
    reader = '[[readers]]\nid = "rosa"\nname = "Rosa"\nsite = "site-a"\n'
    file.write_text(file.read_text().replace("readers = []\n", "") + reader)
    assert "Kept as data" not in run("config", "check").out
    run("people", "import", str(folder), *ANN)
    assert "# Kept as data, whatever is said of them above: rosa" in run("config", "check").out
    assert "1 of the settings' readers are kept as data" in run("doctor").out
