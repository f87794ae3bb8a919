import json
from pathlib import Path

import pytest

from models.policy import Policy
from tests.dashboards.cli.conftest import Run

ANN = ("--by", "Ann Example", "--because", "the audit of March")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    written = tmp_path / "policy.toml"
    written.write_text("[weights]\nlate = 50\n")
    return written


def test_a_policy_with_faults_ends_with_one_and_each_is_named_by_its_place(run: Run, file: Path) -> None:
    file.write_text("[weights]\nlate = -1\n[fairness]\npeers = true\n")
    for command in (("check", str(file)), ("set", str(file), *ANN)):
        said = run("policy", *command)
        assert (said.code, said.err) == (1, "")
        assert "weights.late    must be at least 0" in said.out
        assert "fairness.peers  is no rule of the policy: did you mean 'peers_see'?" in said.out
    assert "No policy was set" in run("policy", "history").out


def test_a_dry_run_shows_what_differs_and_sets_nothing(run: Run, file: Path) -> None:
    said = run("policy", "set", str(file), *ANN, "--dry-run")
    assert said.code == 0
    assert "weights.late  40.0    50.0" in said.out
    assert "No policy was set" in run("policy", "history").out


def test_what_is_set_is_shown_and_stands_in_the_history(run: Run, file: Path) -> None:
    said = run("policy", "set", str(file), *ANN)
    assert (said.code, said.err) == (0, "")
    assert "Version 1 is set, from " in said.out
    assert "there is nothing to set" in run("policy", "set", str(file), *ANN).out
    [version] = json.loads(run("policy", "history", "--json").out)
    assert (version["version"], version["by"], version["in_force"]) == (1, "Ann Example", True)
    assert version["differs"] == [{"place": "weights.late", "before": "40.0", "after": "50.0"}]
    shown = json.loads(run("policy", "show", "--json").out)
    assert (shown["version"], shown["policy"]["weights"]["late"]) == (1, 50.0)
    shipped = json.loads(run("policy", "show", "--version", "0", "--json").out)
    assert shipped["policy"] == Policy().model_dump(mode="json")
    assert "there is no version 7" in run("policy", "show", "--version", "7").err


def test_what_is_shown_as_toml_can_be_edited_and_set_again(run: Run, file: Path) -> None:
    run("policy", "set", str(file), *ANN)
    file.write_text(run("policy", "show", "--toml").out)
    assert "Version 1 says the same" in run("policy", "set", str(file), *ANN).out
    file.write_text(file.read_text().replace("peers_see = false", "peers_see = true"))
    said = run("policy", "set", str(file), *ANN, "--from", "2099-01-01T06:00+00:00")
    assert "Version 2 is set, from 1 Jan 2099, 06:00 GMT (in " in said.out
    assert run("policy", "show").out.startswith("Version 1,")


def test_a_moment_that_is_none_or_past_is_refused(run: Run, file: Path) -> None:
    for wrong in ("7", "2026-13-01"):
        assert "--from takes a time as in " in run("policy", "set", str(file), *ANN, "--from", wrong).err
    assert "can't begin before now" in run("policy", "set", str(file), *ANN, "--from", "2020-01-01T00:00Z").err


def test_a_file_that_is_not_there_is_said_so(run: Run, tmp_path: Path) -> None:
    said = run("policy", "check", str(tmp_path / "nothing.toml"))
    assert (said.code, "can't be read" in said.err) == (1, True)
