"""The laboratory's neighbours in a demonstration: each site's scanner and LIMS play their part of the script.

They do what they hear: an order that is late comes after its slides, and a slide is scanned again when its LIMS was
told so. Nothing of Coverslip's is used but its doors: the MLLP port, the scanner folder, and messages that come out,
by MLLP and by Kafka.
"""

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from connectors.lims.message import Message
from connectors.lims.simulator import SimulatedLims, send_orders
from connectors.settings import Settings
from flows.simulate.laboratory import heard_path, lims_name, scanner_folder
from flows.simulate.listener import listen
from flows.simulate.orders import order_messages
from flows.simulate.scanners import scan
from flows.simulate.script import CASES, SITES, ScriptedCase, ScriptedScan, ScriptedSlide

_PATIENCE_SECONDS: Final = 120.0
_BETWEEN_SLIDES_SECONDS: Final = 2.0
# So long a scan without its order can be seen waiting.
_LATE_ORDER_SECONDS: Final = 4.0
_LISTEN_SECONDS: Final = 0.2


@dataclass(frozen=True)
class Heard:
    """What a LIMS was told: its message control id and type, and of a slide which one and what became of it."""

    message_control_id: str
    message_type: str
    container_identifier: str = ""
    state: str = ""


def play(
    settings: Settings,
    stop: threading.Event,
    cases: tuple[ScriptedCase, ...] = CASES,
    pause_seconds: float = _BETWEEN_SLIDES_SECONDS,
) -> None:
    """Play every neighbour's part; each LIMS listens until ``stop`` is set.

    ``pause_seconds`` is a scanner's pause between two slides.
    """
    parts = [
        _Site(settings, site.id, stop, [case for case in cases if case.site == site.id], pause_seconds)
        for site in SITES
    ]
    for part in parts:
        part.lims.start()
    threads = [
        threading.Thread(target=run, daemon=True) for part in parts for run in (part.order, part.scan, part.note)
    ]
    if settings.kafka is not None:
        threads.append(threading.Thread(target=listen, args=(settings, stop), daemon=True))
    for thread in threads:
        thread.start()
    stop.wait()
    for part in parts:
        part.lims.stop()


def heard_of(message: bytes) -> Heard:
    """Return what one message that came out of Coverslip says."""
    read = Message(message)
    names = [one.stated(2, 1, 1) for one in read.named("SPM")]
    states = [one.stated(5, 2) for one in read.named("OBX") if one.stated(3, 1) == "IMAGE-STATE"]
    return Heard(read.header.control_id.decode("utf-8", "replace"), read.header.message_type, *names[:1], *states[:1])


@dataclass
class _Site:
    """One site's neighbours."""

    settings: Settings
    site_id: str
    stop: threading.Event
    cases: list[ScriptedCase]
    pause_seconds: float

    def __post_init__(self) -> None:
        self.lims = SimulatedLims(port=self.settings.peer(lims_name(self.site_id)).port)
        self.scanned = {case.accession_number: threading.Event() for case in self.cases}
        # The same in every process that plays this laboratory, so that a repeated message has the same bytes.
        self.began = datetime.fromtimestamp(int((self.settings.home / "coverslip.toml").stat().st_mtime), UTC)
        self.connected = threading.Event()

    def order(self) -> None:
        """Send the site's orders, those that come late after the scans of their slides."""
        for case in sorted(
            (one for one in self.cases if one.order != "never"), key=lambda one: one.order != "at first"
        ):
            if case.order == "after its scans":
                self._wait_for(self.scanned[case.accession_number])
                self.stop.wait(_LATE_ORDER_SECONDS)
            if self.stop.is_set():
                return
            self._send(case)

    def scan(self) -> None:
        """Scan the site's racks as soon as its LIMS talks with us; then again what has to be."""
        self._wait_for(self.connected)
        for turn in (1, 2):
            for case, slide, scripted in self._turns(turn):
                if turn > 1:
                    self._wait_until_told_to_rescan(slide.container_identifier)
                if self.stop.wait(self.pause_seconds):
                    return
                scan(scanner_folder(self.settings.home, self.site_id), case, slide, scripted, self.began)
                if slide is case.slides[-1]:
                    self.scanned[case.accession_number].set()

    def note(self) -> None:
        """Note what the LIMS was told, for whoever compares it with what was said."""
        path, noted = heard_path(self.settings.home, self.site_id), 0
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w", encoding="utf-8", buffering=1) as file:
            while not self.stop.is_set():
                for message in self.lims.wait_for(noted + 1, _LISTEN_SECONDS)[noted:]:
                    file.write(json.dumps(vars(heard_of(message))) + "\n")
                    noted += 1

    def _send(self, case: ScriptedCase) -> None:
        listener = next(one for one in self.settings.listeners if one.site == self.site_id)
        send_orders(listener.host, listener.port, order_messages(case, self.began), _PATIENCE_SECONDS)
        self.connected.set()

    def _turns(self, turn: int) -> Iterator[tuple[ScriptedCase, ScriptedSlide, ScriptedScan]]:
        for case in self.cases:
            for slide in case.slides:
                for scripted in slide.scans[turn - 1 : turn]:
                    yield case, slide, scripted

    def _wait_until_told_to_rescan(self, container_identifier: str) -> None:
        known = 0
        while not self.stop.is_set():
            messages = self.lims.wait_for(known + 1, _LISTEN_SECONDS)
            for heard in map(heard_of, messages[known:]):
                if (heard.container_identifier, heard.state) == (container_identifier, "to be rescanned"):
                    return
            known = len(messages)

    def _wait_for(self, event: threading.Event) -> None:
        while not self.stop.is_set() and not event.wait(_LISTEN_SECONDS):
            continue
