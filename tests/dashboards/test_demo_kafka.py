"""The demonstration by way of a gateway and a real Apache Kafka, and what a machine without Java is told."""

import json
import os
import time
from collections import Counter
from pathlib import Path

import pytest

from flows.simulate.laboratory import gateway_folder, read_back_path
from tests import kafka_broker
from tests.dashboards.test_demo import demo, wait_until_started


def processes_below(home: Path) -> list[list[bytes]]:
    """Return the command lines that name a state folder or something in it."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            words = (entry / "cmdline").read_bytes().split(b"\0") if entry.name.isdigit() else []
        except OSError:
            continue
        if any(word.startswith(os.fsencode(home)) for word in words):
            found.append(words)
    return found


@pytest.mark.faults
@pytest.mark.timeout(280)
def test_by_kafka_all_of_it_ends_the_same_and_what_was_said_can_be_read_there(tmp_path: Path) -> None:
    if missing := kafka_broker.why_not():
        pytest.skip(missing)
    home = tmp_path / "home"
    with demo(home, "--kafka", "--json") as running:
        said, progress = running.communicate(timeout=260)
    report = json.loads(said)
    assert report["faults"] == []
    assert running.returncode == 0
    assert len(report["slides"]) == 40
    assert report["seconds"] < 180
    assert report["books"].count("agree in all") == 2, "those of the gateway too"
    events = report["events"]
    # Every message and every scan came by Kafka: there was no other way.
    assert events["came"] == report["messages"]["came"] + len(report["scans"])
    assert (events["unread"], events["unwritten"], events["unheard"]) == (0, 0, 0)
    noted = [json.loads(line) for line in read_back_path(home).read_text().splitlines()]
    assert len({one["id"] for one in noted}) == events["left"]
    kinds = Counter(one["type"] for one in noted)
    archived = [slide for slide in report["slides"] if slide["state"] in ("archived", "assigned")]
    assert kinds["slide.archived"] == len(archived)
    # An urgent case is told of when it can be read, and once more when the archive has proven it.
    completed = {one["subject"] for one in noted if one["type"] == "case.completed"}
    assert len(completed) == kinds["case.assigned"] == 6
    assert (gateway_folder(home) / "coverslip.db").exists()
    assert "Traceback" not in progress
    assert processes_below(home) == []


@pytest.mark.faults
@pytest.mark.timeout(120)
def test_killed_it_takes_kafka_and_the_gateway_along(tmp_path: Path) -> None:
    if missing := kafka_broker.why_not():
        pytest.skip(missing)
    home = tmp_path / "home"
    with demo(home, "--kafka") as running:
        wait_until_started(running)
        assert any(b"kafka.Kafka" in words for words in processes_below(home))
        running.kill()
        running.communicate(timeout=60)
    until = time.monotonic() + 45
    while processes_below(home) and time.monotonic() < until:
        time.sleep(0.2)
    assert processes_below(home) == []


def test_without_java_it_says_what_is_missing_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    empty = tmp_path / "bin"
    empty.mkdir()
    monkeypatch.setenv("PATH", str(empty))
    with demo(tmp_path / "home", "--kafka") as running:
        _, error = running.communicate(timeout=60)
    assert running.returncode == 1
    (sentence,) = error.splitlines()
    assert "needs Java: apt-get install openjdk-17-jre-headless" in sentence
    assert not (tmp_path / "home").exists()
