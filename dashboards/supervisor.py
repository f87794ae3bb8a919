"""Starts the processes of one machine, keeps them alive, and ends exactly those that it started, by pid."""

import ctypes
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

import httpx

from connectors.settings import Settings
from dashboards.web.health import DOORS_NEED
from flows.intake.consumers import reads_events
from flows.prefect_server import prefect_environment
from models.errors import RefusedError

_PR_SET_PDEATHSIG = 1
# Tells a child the process id of its supervisor.
_STARTED_BY = "COVERSLIP_STARTED_BY"
_READY_SECONDS = 60.0
_STOP_SECONDS = 25.0
_RESTART_PAUSES = (0.5, 1.0, 2.0, 5.0, 10.0)
# A child that has lived so long starts again without a pause.
_LIVED_WELL_SECONDS = 60.0


def die_with_parent() -> None:
    """Have the kernel end this process when the supervisor that started it is gone, even killed (Linux prctl(2)).

    One that a person or another program started stays: it is theirs to end.
    """
    parent = os.environ.get(_STARTED_BY)
    if parent is None:
        return
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != int(parent):
        # It died before the line above took hold.
        os.kill(os.getpid(), signal.SIGTERM)


@dataclass
class Child:
    """One process of ours, started again when it ends by itself."""

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str]
    log: Path
    process: subprocess.Popen[bytes] | None = None
    started_at: float = 0.0
    restarts: int = 0
    start_at: float = 0.0

    def start(self) -> None:
        """Start it, its output appended to its log."""
        self.log.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command,
                env={**os.environ, **self.environment, _STARTED_BY: str(os.getpid())},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.started_at = time.monotonic()

    @property
    def pid(self) -> int | None:
        """Its process id while it lives."""
        return self.process.pid if self.process and self.process.poll() is None else None

    def revive(self) -> bool:
        """Start it again when it has ended; pauses grow while it keeps ending. Return whether it was started."""
        if self.process is None or self.process.poll() is None:
            return False
        now = time.monotonic()
        if self.start_at == 0.0:
            if now - self.started_at > _LIVED_WELL_SECONDS:
                self.restarts = 0
            self.start_at = now + _RESTART_PAUSES[min(self.restarts, len(_RESTART_PAUSES) - 1)]
            self.restarts += 1
        if now < self.start_at:
            return False
        self.start_at = 0.0
        self.start()
        return True

    def terminate(self) -> None:
        """Ask it to end."""
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()

    def end(self, seconds: float) -> None:
        """Wait for its end, at most so long; then kill it, which is safe at any instruction."""
        if self.process is None:
            return
        try:
            self.process.wait(max(seconds, 0.1))
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


@dataclass
class Supervisor:
    """The processes of one installation on one machine."""

    settings: Settings
    say: Callable[[str], None]
    stop: threading.Event = field(default_factory=threading.Event)
    children: list[Child] = field(default_factory=list)

    def __post_init__(self) -> None:
        own = (sys.executable, "-m", "dashboards.cli.main", "--home", str(self.settings.home))
        logs = self.settings.home / "logs"
        prefect = prefect_environment(self.settings)
        if self.settings.engine.enabled:
            self.children.append(Child("prefect", (*own, "engine"), prefect, logs / "prefect.log"))
        self.children.append(Child("doors", (*own, "doors"), {}, logs / "doors.log"))
        self.children.append(Child("worker", (*own, "worker"), prefect, logs / "worker.log"))
        if reads_events(self.settings):
            self.children.append(Child("intake", (*own, "intake"), {}, logs / "intake.log"))

    def start(self) -> None:
        """Start every process and return once the doors are open.

        Raises
        ------
        RefusedError
            A port is taken, or the doors did not open; the sentence names what and where to look.
        """
        self._check_ports()
        for child in self.children:
            child.start()
        self._write_pids()
        doors = next(child for child in self.children if child.name == "doors")
        deadline = time.monotonic() + _READY_SECONDS
        while not self.doors_are_open():
            if doors.pid is None or time.monotonic() > deadline:
                self.end()
                message = f"the doors did not open: {doors.log} says why"
                raise RefusedError(message)
            if self.stop.wait(0.1):
                return

    def doors_are_open(self) -> bool:
        """Whether the page and the listeners answer; without Kafka they do."""
        try:
            answer = httpx.get(f"http://{self.settings.page.host}:{self.settings.page.port}/readyz", timeout=2.0)
        except httpx.HTTPError:
            return False
        return answer.status_code == httpx.codes.OK or DOORS_NEED.items() <= answer.json().items()

    def keep(self, each_turn: Callable[[], bool] = lambda: True) -> None:
        """Keep the children alive until told to stop, or until ``each_turn`` says that it is over."""
        while not self.stop.wait(0.2):
            for child in self.children:
                if child.revive():
                    self.say(f"{child.name} had ended and was started again; {child.log} says why")
                    self._write_pids()
            if not each_turn():
                return

    def end(self) -> None:
        """End the children, doors first so that nothing new comes in."""
        for name in ("doors", "intake", "worker", "prefect"):
            for child in self.children:
                if child.name == name:
                    child.terminate()
        deadline = time.monotonic() + _STOP_SECONDS
        for child in self.children:
            child.end(deadline - time.monotonic())
        (self.settings.home / "pids").unlink(missing_ok=True)

    def stop_on_signals(self) -> None:
        """Have SIGINT and SIGTERM end us cleanly."""

        def asked(_number: int, _frame: FrameType | None) -> None:
            self.stop.set()

        signal.signal(signal.SIGINT, asked)
        signal.signal(signal.SIGTERM, asked)

    def pids(self) -> dict[str, int | None]:
        """Return each child's process id."""
        return {child.name: child.pid for child in self.children}

    def _write_pids(self) -> None:
        lines = [f"{name} {pid}" for name, pid in self.pids().items()]
        (self.settings.home / "pids").write_text("\n".join(lines) + "\n", encoding="ascii")

    def _check_ports(self) -> None:
        wanted: list[tuple[str, str, int]] = [("page", self.settings.page.host, self.settings.page.port)]
        ours = (one for one in self.settings.listeners if not one.at_gateway)
        wanted += [(f"listener {one.peer}", one.host, one.port) for one in ours]
        if self.settings.engine.enabled:
            wanted.append(("Prefect", "127.0.0.1", self.settings.engine.port))
        for what, host, port in wanted:
            with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    probe.bind((host, port))
                except OSError as error:
                    message = (
                        f"port {port} of {host}, for {what}, can't be opened ({os.strerror(error.errno or 0)}): end "
                        f"what uses it, or set another in {self.settings.home / 'coverslip.toml'}"
                    )
                    raise RefusedError(message) from error
