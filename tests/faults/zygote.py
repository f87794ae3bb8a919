"""Starts processes of ours from one that has loaded all their code: in milliseconds of processor time, not a second.

What it forks is what ``python -m dashboards.cli.main`` is once it has loaded its modules, and is killed like any other.
It has one thread; it ends, with all that it started, when whoever started it is gone.
"""

import gc
import importlib
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, NoReturn, Self, TypeAlias

from tests.faults.survey import ROOT

COMMAND: Final = "dashboards.cli.main:main"
Main: TypeAlias = Callable[[Sequence[str]], int | None]

_PACKET_BYTES: Final = 65_536
_REAP_SECONDS: Final = 0.02
_START_SECONDS: Final = 120.0


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
    """The process that others are forked from; any number of threads may ask it.

    ``main`` is what they are to do, as ``module:function``: it gets the arguments, and returns how the process ends.
    ``root`` is the tree whose code they run, and ``interpreter`` what they start others by.
    """

    def __init__(self, main: str = COMMAND, *, root: Path = ROOT, interpreter: Path | None = None) -> None:
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        command = [sys.executable, "-m", "tests.faults.zygote", str(theirs.fileno()), main]
        known = os.environ | {"PYTHONPATH": str(ROOT)}
        with theirs:
            self._process = subprocess.Popen(command, cwd=root, env=known, pass_fds=(theirs.fileno(),))
        self._interpreter = str(interpreter or sys.executable)
        self._asking = threading.Lock()
        self._is_ready = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._control.close()
        self._process.wait(_START_SECONDS)

    def start(self, arguments: Sequence[str], environment: Mapping[str, str], log: Path) -> Forked:
        """Start the command with these arguments; what it says is appended to the log."""
        asked = {"arguments": [*arguments], "environment": dict(environment), "log": str(log)}
        asked["interpreter"] = self._interpreter
        status, theirs = socket.socketpair()
        with theirs, self._asking:
            self._wait_until_ready()
            socket.send_fds(self._control, [json.dumps(asked).encode()], [theirs.fileno()])
            return Forked(int(self._control.recv(64)), status)

    def ended(self, arguments: Sequence[str], failpoint: str, log: Path, within: float = 100.0) -> int:
        """Have one do its work, or be killed at a failpoint; return its status, below zero for a signal."""
        return self.start(arguments, os.environ | {"COVERSLIP_FAILPOINT": failpoint}, log).wait(within)

    def _wait_until_ready(self) -> None:
        if not self._is_ready:
            self._control.settimeout(_START_SECONDS)
            assert self._control.recv(16) == b"ready", "the zygote ended while it was starting"
            self._is_ready = True


def _serve(control: socket.socket, main: Main) -> None:
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
                    _be(json.loads(message), main)
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


def _be(asked: dict[str, Any], main: Main) -> NoReturn:
    """Become what was asked for: its environment, its output, its arguments; never return."""
    from models.failpoint import arm  # noqa: PLC0415 - loaded long ago, and only here

    code: object = 1
    try:
        os.environ.clear()
        os.environ.update(asked["environment"])
        arm()
        log = os.open(asked["log"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        for taken, descriptor in ((os.open(os.devnull, os.O_RDONLY), 0), (log, 1), (log, 2)):
            os.dup2(taken, descriptor)
        sys.executable = asked["interpreter"]
        code = main(asked["arguments"])
    except SystemExit as ended:
        code = ended.code
    except Exception:  # noqa: BLE001 - its last words, as an interpreter says them
        traceback.print_exc()
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


def _load(main: str) -> Main:
    """Load what the processes load when they start and run, the doors' page too."""
    module, _, function = main.partition(":")
    for name in _LOADED if main == COMMAND else ():
        importlib.import_module(name)
    loaded: Main = getattr(importlib.import_module(module), function)
    gc.collect()
    gc.freeze()
    return loaded


if __name__ == "__main__":
    _serve(socket.socket(fileno=int(sys.argv[1])), _load(sys.argv[2]))
