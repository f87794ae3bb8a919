"""Starts processes of ours from one that has loaded all their code: in milliseconds of processor time, not a second.

What it forks is what ``python -m dashboards.cli.main`` is once it has loaded its modules, and is killed like any other.
It has one thread; it ends, with all that it started, when whoever started it is gone.
"""

import importlib
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, NoReturn, Self

from tests.faults.survey import ROOT

_PACKET_BYTES: Final = 65_536
_REAP_SECONDS: Final = 0.02
_START_SECONDS: Final = 60.0


class Forked:
    """A process that a zygote started, with what is asked of a ``Popen``."""

    def __init__(self, pid: int, status: socket.socket) -> None:
        self.pid = pid
        self._status = status
        self._code: int | None = None
        # Names this very process, also when it is gone and its number is another's.
        try:
            self._descriptor: int | None = os.pidfd_open(pid)
        except ProcessLookupError:
            self._descriptor = None

    def poll(self) -> int | None:
        """Return how it ended, ``None`` while it lives."""
        return self._ended(0.0)

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end and return how it ended, below zero for a signal."""
        code = self._ended(timeout)
        if code is None:
            raise subprocess.TimeoutExpired(str(self.pid), timeout or 0.0)
        return code

    def send_signal(self, number: int) -> None:
        """Send a signal, unless it has ended."""
        if self._descriptor is not None and self.poll() is None:
            signal.pidfd_send_signal(self._descriptor, number)

    def kill(self) -> None:
        """End it at once."""
        self.send_signal(signal.SIGKILL)

    def terminate(self) -> None:
        """Ask it to end."""
        self.send_signal(signal.SIGTERM)

    def _ended(self, seconds: float | None) -> int | None:
        if self._code is None:
            self._status.settimeout(seconds)
            try:
                self._code = int(self._status.recv(64))
            except (BlockingIOError, TimeoutError):
                return None
            self._status.close()
            if self._descriptor is not None:
                os.close(self._descriptor)
        return self._code


class Zygote:
    """The process that others are forked from; any number of threads may ask it."""

    def __init__(self) -> None:
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        command = [sys.executable, "-m", "tests.faults.zygote", str(theirs.fileno())]
        with theirs:
            self._process = subprocess.Popen(command, cwd=ROOT, pass_fds=(theirs.fileno(),))
        self._asking = threading.Lock()
        self._control.settimeout(_START_SECONDS)
        assert self._control.recv(16) == b"ready"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._control.close()
        self._process.wait(_START_SECONDS)

    def start(self, arguments: Sequence[str], environment: Mapping[str, str], log: Path) -> Forked:
        """Start the command with these arguments; what it says is appended to the log."""
        asked = {"arguments": [*arguments], "environment": dict(environment), "log": str(log)}
        status, theirs = socket.socketpair()
        with theirs, self._asking:
            socket.send_fds(self._control, [json.dumps(asked).encode()], [theirs.fileno()])
            return Forked(int(self._control.recv(64)), status)


def _serve(control: socket.socket) -> None:
    """Fork whenever asked, and tell of each how it ended."""
    children: dict[int, socket.socket] = {}
    control.sendall(b"ready")
    with selectors.DefaultSelector() as selector:
        selector.register(control, selectors.EVENT_READ)
        while True:
            if selector.select(_REAP_SECONDS):
                message, descriptors, _flags, _address = socket.recv_fds(control, _PACKET_BYTES, 1)
                if not message:
                    break
                status = socket.socket(fileno=descriptors[0])
                pid = os.fork()
                if pid == 0:
                    selector.close()
                    for held in (control, status, *children.values()):
                        held.close()
                    _be(json.loads(message))
                children[pid] = status
                control.sendall(str(pid).encode())
            _reap(children)
    for pid in children:
        os.kill(pid, signal.SIGKILL)


def _reap(children: dict[int, socket.socket]) -> None:
    for pid, status in [*children.items()]:
        ended, code = os.waitpid(pid, os.WNOHANG)
        if ended:
            with children.pop(pid), status:
                status.sendall(str(os.waitstatus_to_exitcode(code)).encode())


def _be(asked: dict[str, Any]) -> NoReturn:
    """Become what was asked for: its environment, its output, its arguments; never return."""
    from dashboards.cli.main import main  # noqa: PLC0415 - loaded long ago
    from models.failpoint import arm  # noqa: PLC0415 - as above

    code: object = 1
    try:
        os.environ.clear()
        os.environ.update(asked["environment"])
        arm()
        log = os.open(asked["log"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        for taken, descriptor in ((os.open(os.devnull, os.O_RDONLY), 0), (log, 1), (log, 2)):
            os.dup2(taken, descriptor)
        main(asked["arguments"])
        code = 0
    except SystemExit as ended:
        code = ended.code
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code if isinstance(code, int) else 0 if code is None else 1)


_LOADED = (
    *("dashboards.cli.commands", "dashboards.doors", "dashboards.intake", "dashboards.supervisor"),
    *("dashboards.doctor.wires", "connectors.first_lab", "connectors.wiring", "models.migrate", "flows.actions"),
    *("flows.engine", "flows.people.sync", "flows.prefect_server", "flows.standing", "flows.steps", "flows.worker"),
)
"""What commands import when they run."""


def _load() -> None:
    """Load what the processes load when they start, the doors' page too."""
    for module in _LOADED:
        importlib.import_module(module)


if __name__ == "__main__":
    _load()
    _serve(socket.socket(fileno=int(sys.argv[1])))
