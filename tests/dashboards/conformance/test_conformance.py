"""``coverslip hl7 conformance``, as a person runs it: Coverslip's doors and worker and both neighbours as processes."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

# Ten seconds on an idle machine.
pytestmark = pytest.mark.timeout(300)

COMMAND = (sys.executable, "-m", "dashboards.cli.main", "hl7", "conformance")


def run(*words: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run((*COMMAND, *words), capture_output=True, text=True, timeout=280, check=False)


@pytest.mark.faults
def test_coverslip_is_the_workflow_manager_of_dpow_by_its_test_list_and_bad_input(tmp_path: Path) -> None:
    home, file = tmp_path / "home", tmp_path / "report.json"
    done = run("--json", "--report", str(file), "--keep", str(home))
    report = json.loads(done.stdout)
    failed = {test["id"]: [one for one in test["checks"] if not one["passed"]] for test in report["tests"]}
    assert not {name: checks for name, checks in failed.items() if checks}, done.stderr
    assert (done.returncode, report["passed"], len(report["tests"])) == (0, True, 30)
    assert json.loads(file.read_text(encoding="utf-8")) == report
    assert all(check["clause"] for test in report["tests"] for check in test["checks"])
    # What the two saw was written down by processes of their own.
    for role, least in (("pawm", 40), ("ima", 10)):
        ways = [json.loads(line)["way"] for line in (home / f"{role}.jsonl").read_text(encoding="utf-8").splitlines()]
        assert ways.count("sent") == ways.count("was answered") > least, role
    assert '"way": "heard"' in (home / "pawm.jsonl").read_text(encoding="utf-8")


def test_against_a_coverslip_with_a_fault_the_run_fails_and_says_what_was_seen_instead() -> None:
    done = run("T02", "--against", "no-parent")
    assert done.returncode == 1
    assert "T02  LAB-100    FAIL" in done.stdout
    assert "expected  the block's parent: 26T02-A" in done.stdout
    assert "0 of 1 tests passed" in done.stdout


def test_a_fault_or_a_test_that_there_is_not_and_a_folder_in_use_are_refused_in_a_sentence(tmp_path: Path) -> None:
    for words, said in (
        (("--against", "coffee"), "yes-man"),
        (("T77",), "there is no test T77"),
        (("--keep", str(tmp_path)), "is there already"),
    ):
        done = run(*words)
        assert done.returncode == 1
        assert said in done.stderr


@pytest.mark.faults
def test_ended_in_the_middle_it_ends_all_that_it_started(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with subprocess.Popen((*COMMAND, "--keep", str(home)), stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout is not None
        assert run.stdout.readline().startswith("T01")
        pids = [int(line.split()[1]) for line in (home / "pids").read_text(encoding="ascii").splitlines()]
        assert len(pids) == 2
        run.terminate()
        assert run.wait(timeout=60) == 143
    assert not [pid for pid in pids if Path(f"/proc/{pid}").exists()]
    # The neighbours ended with their input: nobody writes any more.
    assert not (home / "pids").exists()
