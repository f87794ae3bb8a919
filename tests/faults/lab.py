"""One small laboratory made of real processes, any of which may be killed at any failpoint.

A case with two slides goes its whole way: order, scans, quality, match, conversion, archive, proof, assignment and
messages out. Prefect stays off: a shift runs the same without it, and starts at once.
"""

import os
import random
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from connectors.slides.simulator import SlideScript, write_slide
from tests.faults.lims import Lims
from tests.faults.survey import ROOT
from tests.faults.zygote import Forked, Zygote

ACCESSION: Final = "26H004821"
SLIDES: Final = (f"{ACCESSION}-A1-1", f"{ACCESSION}-A1-2")
_SIDE_PX: Final = 1280
_START_SECONDS: Final = 60.0

# Linux takes the ports of outgoing connections from 32768 on (ip_local_port_range). Test processes side by side share
# them out: nobody listens yet on a port that was chosen.
_PROCESSES: Final = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
_PORTS: Final = range(15_000 + int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")), 32_000, _PROCESSES)
_given: set[int] = set()
_choosing = threading.Lock()

_SETTINGS: Final = """
installation_key = "{key}"

[[sites]]
id = "site-a"
name = "Site A (invented)"
lims = "lims"
settle_after = 0.2

[[scanners]]
name = "scanner-a"
site = "site-a"
path = "scanner"
stable_for = 0.2

[[listeners]]
peer = "lims"
site = "site-a"
issuer = "SITEA"
port = {mllp}

[[lims]]
name = "lims"
port = {lims}
answer_within = 5

[[readers]]
id = "reader-one"
name = "Dr One Example"
site = "site-a"
leads = ["breast"]
hours = [{{ days = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"], starts = 00:00:00, ends = 00:00:00 }}]

[page]
port = {page}

[engine]
enabled = {with_prefect}
port = {prefect}

[work]
heartbeat_grace = 2
spool_reserve_bytes = 0
"""
_MOVING: Final = (
    "SELECT kind, state FROM step WHERE state IN ('ready', 'running') OR state = 'set aside' AND NOT alerted"
    " OR state = 'waiting' AND kind NOT IN ('rebalance', 'hold')"
    " AND waiting_for NOT IN ('a person', 'a rescan', 'the scanner')"
)
_WAITING: Final = (
    "SELECT kind, state, waiting_for FROM step WHERE state = 'set aside'"
    " OR state = 'waiting' AND waiting_for IN ('a person', 'a rescan', 'the scanner')"
)
_ARRIVED: Final = (
    "SELECT (SELECT count(*) FROM scan WHERE storage = 'proven'),"
    " (SELECT count(*) FROM assignment WHERE ended_at IS NULL)"
)
_ARRIVING: Final = "SELECT relative_path FROM scan_file WHERE state = 'arriving'"
_STUCK: Final = ("waits for a person", "waits for set aside")
_PID: Final = "PID|1||9990048215^^^NHS^NH~A100234^^^SITEA^MR||Example^Ada^^^^^L||19640229|F"
_DUE: Final = "TQ1|1|||||||20261130170000+0000|R"


NO_TISSUE: Final = "no tissue.svs"
NO_LABEL: Final = "no label.svs"


def messages() -> tuple[bytes, ...]:
    """Return what the LIMS has to say: who the patient is, then the case with its two slides."""
    order = [_PID, *_group(f"{ACCESSION}-A", "", "CONTAINER"), *_group(f"{ACCESSION}-A1", f"{ACCESSION}-A", "CASSETTE")]
    for slide in SLIDES:
        order += _group(slide, f"{ACCESSION}-A1", "GLASS")
    return _message("ADT^A08^ADT_A01", "M1", "EVN|A08", _PID, "PV1|1|O"), _message("OML^O33^OML_O33", "M2", *order)


def foreign_order() -> bytes:
    """Return an order of another case that claims the first one's slides: it is kept, and set aside."""
    slides = [segment for slide in SLIDES for segment in _group(slide, f"{ACCESSION}-A1", "GLASS")]
    return _message("OML^O33^OML_O33", "M3", _PID, *slides).replace(f"{ACCESSION}^LIMS".encode(), b"26H999999^LIMS")


def merge() -> bytes:
    """Return that the patient of the case is another's double, who stays."""
    stays = _PID.replace("A100234", "B700001").replace("9990048215^^^NHS^NH~", "")
    return _message("ADT^A40^ADT_A39", "M4", "EVN|A40", stays, "MRG|A100234^^^SITEA^MR")


def _message(kind: str, name: str, *segments: str) -> bytes:
    header = f"MSH|^~\\&|LIMS|SITEA|COVERSLIP|NET|20261122091500+0000||{kind}|{name}|P|2.5.1"
    return "".join(f"{segment}\r" for segment in (header, *segments)).encode()


def _group(container: str, parent: str, kind: str) -> list[str]:
    tissue = "119376003^Tissue specimen^SCT||||76752008^Breast structure^SCT"
    return [
        f"SPM|1|{container}|{parent}|{tissue}{'|' * 19}{kind}",
        *([f"SAC|||{container}"] if kind == "GLASS" else []),
        f"ORC|NW|P1^LIMS|{ACCESSION}^LIMS",
        _DUE,
        f"OBR|1|P1^LIMS|{ACCESSION}^LIMS|BREAST^Breast histology^L",
    ]


@dataclass
class Running:
    """A process of ours and where it says what it does."""

    name: str
    process: subprocess.Popen[bytes] | Forked
    log: Path

    def ended(self, seconds: float = 60.0) -> int:
        """Wait for its end; return its exit status, below zero for a signal."""
        return self.process.wait(seconds)


@dataclass
class FaultLab:
    """A state folder with its two processes and its two neighbours, all on loopback.

    ``root`` is the tree that the code is run from: another one for a deliberately broken copy. With a ``zygote``, its
    processes are forked from that one.
    """

    home: Path
    lims: Lims
    ports: dict[str, int]
    root: Path = ROOT
    zygote: Zygote | None = None
    running: dict[str, Running] = field(default_factory=dict)

    @property
    def archive(self) -> Path:
        """Where the archived objects lie."""
        return self.home / "archive"

    @property
    def spool(self) -> Path:
        """Where our own copies of the scanner's files lie."""
        return self.home / "spool"

    @property
    def mllp(self) -> int:
        """The port that orders come in on."""
        return self.ports["mllp"]

    def tell_by_way_of(self, port: int) -> None:
        """Have what we tell the LIMS go to this port, from the next start on."""
        self.ports["lims"] = port
        _write_settings(self.home, **self.ports)

    def run_with_prefect(self) -> None:
        """Have Prefect run the shifts, from the next start on."""
        [self.ports["prefect"]] = free_ports(1)
        _write_settings(self.home, **self.ports)

    def start(
        self,
        name: str,
        failpoint: str | None = None,
        *,
        arguments: Sequence[str] = (),
        under: Sequence[str] = (),
        **more: str,
    ) -> Running:
        """Start ``doors`` or ``worker`` alone, to be killed at a failpoint if one is named.

        ``arguments`` are given instead of the name, ``under`` is a command to run it under, ``more`` goes to its
        environment.
        """
        log = self.home / f"{name}.log"
        given, known = ("--home", str(self.home), *(arguments or (name,))), environment(failpoint, more)
        if self.zygote is not None and not under:
            self.running[name] = Running(name, self.zygote.start(given, known, log), log)
            return self.running[name]
        with log.open("ab") as output:
            process = subprocess.Popen(
                [*under, sys.executable, "-m", "dashboards.cli.main", *given],
                cwd=self.root,
                env=known,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        self.running[name] = Running(name, process, log)
        return self.running[name]

    def deliver(self) -> None:
        """Let the LIMS order and the scanner scan, whoever of ours is there to take it."""
        self.order()
        for slide in SLIDES:
            self.scan(f"{slide}.svs")

    def order(self) -> None:
        """Let the LIMS say who the patient is and what was cut."""
        for message in messages():
            self.lims.send(message, self.mllp)

    def scan(self, slide: str, name: str | None = None) -> None:
        """Let the scanner write a slide, under another name if one is given; it appears whole."""
        unfinished = self.home / "scanner" / f"{slide}.tmp"
        shutil.copyfile(self.home / "slides" / slide, unfinished)
        unfinished.rename(self.home / "scanner" / (name or slide))

    def command(self, *arguments: str, failpoint: str | None = None) -> int:
        """Run a command of a person's to its end and return its exit status; what it said is kept with the logs."""
        status = self.start("command", failpoint, arguments=arguments).ended()
        del self.running["command"]
        return status

    def until_quiet(self, seconds: float = 150.0) -> None:
        """Wait until the case is assigned and everybody was told; say what still moves when that takes too long."""
        self._until(self.unfinished, seconds)

    def until_still(self, seconds: float = 150.0) -> None:
        """Wait until nothing moves but what waits for a person or a scan."""
        self._until(self.moving, seconds)

    def _until(self, left: Callable[[], list[str]], seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while unfinished := left():
            ended = [one.name for one in self.running.values() if one.process.poll() is not None]
            assert not ended, f"{ended} ended by themselves:\n{self.logs()}"
            assert time.monotonic() < deadline, f"not quiet after {seconds:g} s: {unfinished}\n{self.logs()}"
            stuck = [one for one in unfinished if one.endswith(_STUCK)]
            assert left == self.moving or not stuck, f"a person is asked about a slide that has no fault: {stuck}"
            time.sleep(0.05)

    def wait(self, holds: Callable[[], bool], sentence: str, seconds: float = 120.0) -> None:
        """Wait until something holds; the sentence says what does not when that takes too long."""
        deadline = time.monotonic() + seconds
        while not holds():
            assert time.monotonic() < deadline, f"{sentence}\n{self.logs()}"
            time.sleep(0.02)

    def unfinished(self) -> list[str]:
        """Return what still has to happen before the journey is at its end, in words."""
        with self.books() as books:
            left = self._moving(books)
            left += [f"{kind} waits for {waiting_for or state}" for kind, state, waiting_for in books.execute(_WAITING)]
            proven, assigned = books.execute(_ARRIVED).fetchone()
        left += [f"{proven} scans are proven"] if proven < len(SLIDES) else []
        left += ["nobody has the case"] if not assigned else []
        return left

    def moving(self) -> list[str]:
        """Return what goes on by itself, in words."""
        with self.books() as books:
            return self._moving(books)

    def _moving(self, books: sqlite3.Connection) -> list[str]:
        left = [f"{name} is not acknowledged" for name in self.lims.waits]
        left += [f"{kind} is {state}" for kind, state in books.execute(_MOVING)]
        left += [f"{path} is arriving" for (path,) in books.execute(_ARRIVING)]
        return left

    def stop(self) -> dict[str, int]:
        """Ask every process to end and return how each did."""
        for one in self.running.values():
            if one.process.poll() is None:
                one.process.send_signal(signal.SIGTERM)
        return {one.name: one.ended() for one in self.running.values()}

    def kill(self) -> None:
        """End whatever still runs, at once."""
        for one in self.running.values():
            one.process.kill()
            one.process.wait()

    @contextmanager
    def books(self) -> Iterator[sqlite3.Connection]:
        """Open the database beside our own code, for reading only."""
        books = sqlite3.connect(f"file:{self.home / 'coverslip.db'}?mode=ro", uri=True, timeout=10)
        try:
            yield books
        finally:
            books.close()

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """Return the rows of one query."""
        with self.books() as books:
            return books.execute(query).fetchall()

    def logs(self) -> str:
        """Return the last that each process said."""
        return "\n".join(
            f"--- {one.name}\n{one.log.read_text('utf-8', 'replace')[-3000:]}" for one in self.running.values()
        )


def environment(failpoint: str | None = None, more: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return what a process of ours gets to know: nothing of the failpoints that others are to be killed at."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("COVERSLIP_")}
    armed = {} if failpoint is None else {"COVERSLIP_FAILPOINT": failpoint}
    return {**kept, **armed, **(more or {})}


def make_template(home: Path, root: Path = ROOT) -> Path:
    """Make a state folder that is set up and empty, with two slides to be scanned: copied for each laboratory."""
    home.mkdir(parents=True)
    _write_settings(home, mllp=2575, lims=2576, page=8080)
    command = [sys.executable, "-m", "dashboards.cli.main", "--home", str(home), "migrate"]
    subprocess.run(command, cwd=root, env=environment(), check=True, capture_output=True, timeout=_START_SECONDS)
    (home / "slides").mkdir()
    for number, slide in enumerate(SLIDES, start=1):
        script = SlideScript(slide, seed=number, width=_SIDE_PX, height=_SIDE_PX)
        write_slide(home / "slides" / f"{slide}.svs", script)
    write_slide(home / "slides" / NO_LABEL, replace(script, label="absent"))
    write_slide(home / "slides" / NO_TISSUE, replace(script, tissue="none"))
    return home


@contextmanager
def laboratory(
    template: Path, home: Path, root: Path = ROOT, *, known: Lims | None = None, zygote: Zygote | None = None
) -> Iterator[FaultLab]:
    """Furnish a laboratory like another one; at the end nothing of it runs any more.

    ``known`` is the LIMS that the other one had: the new one remembers what that one saw.
    """
    shutil.copytree(template, home)
    mllp, page = free_ports(2)
    with Lims(known) as lims:
        ports = {"mllp": mllp, "lims": lims.port, "page": page}
        _write_settings(home, **ports)
        (home / "scanner").mkdir(exist_ok=True)
        lab = FaultLab(home, lims, ports, root, zygote)
        try:
            yield lab
        finally:
            lab.kill()


def free_ports(count: int) -> list[int]:
    """Return ports of loopback that nobody has, nor will be given by chance: below those of outgoing connections."""
    found: list[int] = []
    while len(found) < count:
        port = random.choice(_PORTS)
        with suppress(OSError), _choosing:
            if port not in _given:
                socket.create_server(("127.0.0.1", port)).close()
                _given.add(port)
                found.append(port)
    return found


def wait_for_port(port: int, seconds: float = _START_SECONDS) -> None:
    """Return once somebody listens there."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            assert time.monotonic() < deadline, f"nobody listens on port {port} after {seconds:g} s"
            time.sleep(0.05)
        else:
            return


def _write_settings(home: Path, **ports: int) -> None:
    """Write the settings; Prefect is off unless it has a port."""
    prefect = {"prefect": 4200, "with_prefect": str("prefect" in ports).lower()}
    (home / "coverslip.toml").write_text(_SETTINGS.format(**{"key": "0f" * 32, **prefect, **ports}), "utf-8")
