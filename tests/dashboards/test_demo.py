"""The demonstration as a newcomer runs it: real processes, without a terminal."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
STARTED = "The page with all of it"


@contextmanager
def demo(home: Path, *options: str) -> Iterator[subprocess.Popen[str]]:
    """Start a demonstration in a state folder; at the end of the test it is gone, whatever happened."""
    command = [sys.executable, "-m", "dashboards.cli.main", "--home", str(home), "demo", *options]
    with subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as started:
        try:
            yield started
        finally:
            if started.poll() is None:
                started.send_signal(signal.SIGTERM)


def processes_of(home: Path) -> list[int]:
    """Return the processes whose command line names a state folder."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            words = (entry / "cmdline").read_bytes().split(b"\0") if entry.name.isdigit() else []
        except OSError:
            continue
        if os.fsencode(home) in words:
            found.append(int(entry.name))
    return found


def wait_until_started(running: subprocess.Popen[str]) -> None:
    assert running.stdout is not None
    for line in running.stdout:
        if STARTED in line:
            return
    pytest.fail("the demonstration ended before it had started")


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> tuple[int, dict[str, Any], str, Path]:
    """A whole demonstration: its exit code, its JSON, what it said on the way, its state folder."""
    home = tmp_path_factory.mktemp("demo") / "home"
    with demo(home, "--json") as running:
        said, progress = running.communicate(timeout=230)
    return running.returncode, json.loads(said), progress, home


@pytest.mark.timeout(250)
def test_every_slide_and_case_ends_where_the_script_says(ended: tuple[int, dict[str, Any], str, Path]) -> None:
    code, report, progress, _home = ended
    assert report["faults"] == []
    assert report["ok"] is True
    assert code == 0
    assert len(report["slides"]) == 40
    assert report["seconds"] < 180
    assert report["books"].startswith("agree in all")
    assert "Traceback" not in progress


@pytest.mark.timeout(250)
def test_every_case_on_a_worklist_says_whose_and_why(ended: tuple[int, dict[str, Any], str, Path]) -> None:
    assigned = [case for case in ended[1]["cases"] if case["state"] == "assigned"]
    assert len(assigned) == 6
    assert all(case["reader"] and case["why"] for case in assigned)


@pytest.mark.timeout(250)
def test_the_lims_heard_everything_that_counts_as_answered(ended: tuple[int, dict[str, Any], str, Path]) -> None:
    _code, report, _progress, home = ended
    heard = [json.loads(line) for path in home.glob("simulated/*.jsonl") for line in path.read_text().splitlines()]
    assert len({one["message_control_id"] for one in heard}) == report["messages"]["told"]
    told = {one["container_identifier"] for one in heard if one["state"] == "archived"}
    assert told == {slide["slide"] for slide in report["slides"] if slide["state"] in ("archived", "assigned")}


@pytest.mark.timeout(250)
def test_archived_slides_are_dicom_files_in_the_archive(ended: tuple[int, dict[str, Any], str, Path]) -> None:
    _code, report, _progress, home = ended
    archived = [slide for slide in report["slides"] if slide["state"] in ("archived", "assigned")]
    files = [
        path for path in Path(report["archive"]).rglob("*") if path.is_file() and path.read_bytes()[128:132] == b"DICM"
    ]
    assert Path(report["archive"]).is_relative_to(home)
    assert len(files) >= len(archived)


@pytest.mark.timeout(250)
def test_nothing_runs_on_when_it_has_ended(ended: tuple[int, dict[str, Any], str, Path]) -> None:
    assert processes_of(ended[3]) == []


@pytest.mark.faults
@pytest.mark.timeout(90)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_asked_to_end_it_ends_what_it_started_and_nothing_else(tmp_path: Path, number: signal.Signals) -> None:
    home = tmp_path / "home"
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)", str(home)]) as bystander:
        with demo(home) as running:
            wait_until_started(running)
            assert len(processes_of(home)) > 2
            running.send_signal(number)
            said, _ = running.communicate(timeout=60)
        left = processes_of(home)
        bystander.kill()
    assert running.returncode == 130
    assert "Traceback" not in said
    assert left == [bystander.pid]


@pytest.mark.faults
@pytest.mark.timeout(90)
def test_killed_it_takes_its_processes_along(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with demo(home) as running:
        wait_until_started(running)
        running.kill()
        running.communicate(timeout=60)
    until = time.monotonic() + 45
    while processes_of(home) and time.monotonic() < until:
        time.sleep(0.2)
    assert processes_of(home) == []


@pytest.mark.faults
@pytest.mark.timeout(90)
def test_when_its_time_is_up_it_says_what_is_missing(tmp_path: Path) -> None:
    with demo(tmp_path / "home", "--json", "--seconds", "10") as running:
        said, _ = running.communicate(timeout=80)
    assert running.returncode == 1
    report = json.loads(said)
    assert report["ok"] is False
    assert any("26A1001" in fault for fault in report["faults"])


def test_a_folder_in_use_is_refused_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "coverslip.toml").write_text("mine")
    with demo(tmp_path) as running:
        _, error = running.communicate(timeout=60)
    assert running.returncode == 1
    assert "is in use" in error
    assert "Traceback" not in error
    assert (tmp_path / "coverslip.toml").read_text() == "mine"


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to hide a library from one process")
def test_where_nothing_can_be_converted_it_says_so_at_once_and_leaves_nothing(tmp_path: Path) -> None:
    known = subprocess.run(["ldconfig", "-p"], capture_output=True, text=True, check=True).stdout
    libraries = [line.split(" => ")[1] for line in known.splitlines() if "libturbojpeg.so" in line]
    (tmp_path / "no library").touch()
    hidden = "".join(f"mount --bind '{tmp_path / 'no library'}' '{library}'; " for library in libraries)
    command = ["unshare", "--mount", "sh", "-e", "-c", f'{hidden}exec "$@"', "sh"]
    if subprocess.run([*command, "true"], capture_output=True, check=False).returncode != 0:
        pytest.skip("needs the right to mount")
    started = [sys.executable, "-m", "dashboards.cli.main", "--home", str(tmp_path / "home"), "demo"]
    done = subprocess.run([*command, *started], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    [sentence] = done.stderr.splitlines()
    assert "libturbojpeg is not found, so no slide can be converted to DICOM: sudo apt-get install" in sentence
    assert not (tmp_path / "home").exists()
