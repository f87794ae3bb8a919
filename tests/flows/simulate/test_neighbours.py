"""The simulated neighbours do what they hear, through Coverslip's doors and nothing else."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from connectors.lims.message import Message
from connectors.lims.outgoing import Address, build
from connectors.lims.sender import MllpSender
from connectors.lims.simulator import SimulatedLims
from connectors.settings import Settings, load
from flows.simulate.laboratory import free_ports, heard_path, lims_name, scanner_folder, write_laboratory
from flows.simulate.neighbours import heard_of, play
from flows.simulate.script import Glass, ScriptedCase
from models.announcements import CaseNamed, SlideAnnounced, SlideState

NOW = datetime(2026, 11, 22, 9, 30, tzinfo=UTC)
BLURRED = ScriptedCase("alder", "26A1002", "Basil", "", "gi", "assigned", (Glass(("A1-1",), ("blurred", "sharp")),))
LATE = ScriptedCase("alder", "26A1003", "Cleo", "", "skin", "assigned", (Glass(("A1-1",)),), order="after its scans")


def told(slide: str, state: SlideState) -> bytes:
    """Return the message by which Coverslip tells what became of a slide."""
    case = CaseNamed(accession_number="26A1002", accession_issuer="ALDER", site="alder")
    announced = SlideAnnounced(state=state, container_identifier=slide, container_issuer="ALDER", case=case)
    address = Address(application="X", facility="Y")
    return build(announced, control_id="M1", sent_at=NOW, sending=address, receiving=address)


@contextmanager
def played(home: Path, *cases: ScriptedCase) -> Iterator[tuple[Settings, SimulatedLims]]:
    """Play these cases against a door that takes every order."""
    write_laboratory(home, free_ports())
    settings = load(home)
    stop = threading.Event()
    listener = next(one for one in settings.listeners if one.site == "alder")
    with SimulatedLims(port=listener.port) as door:
        thread = threading.Thread(target=play, args=(settings, stop, cases, 0.01))
        thread.start()
        try:
            yield settings, door
        finally:
            stop.set()
            thread.join()


def eventually(condition: Callable[[], bool], seconds: float = 20.0) -> bool:
    """Return whether something became true in time."""
    until = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > until:
            return False
        time.sleep(0.05)
    return True


def files(home: Path) -> list[str]:
    return sorted(path.name for path in scanner_folder(home, "alder").iterdir())


def test_a_slide_is_scanned_again_once_its_lims_was_told_to(tmp_path: Path) -> None:
    with played(tmp_path / "demo", BLURRED) as (settings, _door):
        assert eventually(lambda: files(settings.home) == ["26A1002-A1-1.svs"])
        with MllpSender("127.0.0.1", settings.peer(lims_name("alder")).port) as sender:
            sender.send(told("26A1002-A9-9", "to be rescanned"), "M1")
            sender.send(told("26A1002-A1-1", "archived"), "M1")
            time.sleep(0.5)
            assert files(settings.home) == ["26A1002-A1-1.svs"], "neither another slide nor another state counts"
            sender.send(told("26A1002-A1-1", "to be rescanned"), "M1")
        assert eventually(lambda: files(settings.home) == ["26A1002-A1-1.svs", "26A1002-A1-1_2.svs"])


def test_a_late_order_comes_after_the_slides_it_names(tmp_path: Path) -> None:
    with played(tmp_path / "demo", BLURRED, LATE) as (settings, door):
        (first,) = door.wait_for(1, 20)
        assert Message(first).header.control_id == b"26A1002-1"
        assert eventually(lambda: "26A1003-A1-1.svs" in files(settings.home))
        assert len(door.received) == 1
        assert Message(door.wait_for(2, 20)[-1]).header.control_id == b"26A1003-1"


def test_what_the_lims_heard_is_noted(tmp_path: Path) -> None:
    with played(tmp_path / "demo") as (settings, _door):
        with MllpSender("127.0.0.1", settings.peer(lims_name("alder")).port) as sender:
            assert eventually(lambda: heard_path(settings.home, "alder").exists())
            sender.send(told("26A1002-A1-1", "archived"), "M1")
        assert eventually(lambda: heard_path(settings.home, "alder").read_text() != "")
        noted = json.loads(heard_path(settings.home, "alder").read_text())
    assert noted == vars(heard_of(told("26A1002-A1-1", "archived")))
    assert noted["container_identifier"] == "26A1002-A1-1"
    assert noted["state"] == "archived"
