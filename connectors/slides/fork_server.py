"""The process that forks decoding children: started by ``bounded.py``, it loads the libraries once.

It has one thread, no network, and ends when its control socket closes. Each request is one packet, JSON, with
two descriptors: a socket that gets how the child ended, and a pipe that gets the child's answer.
"""

import contextlib
import ctypes
import errno
import gc
import importlib
import json
import os
import resource
import selectors
import signal
import socket
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, TypeAlias

from models.errors import RejectedError, TransientError

Job: TypeAlias = Callable[[dict[str, Any]], dict[str, Any]]

_PR_SET_PDEATHSIG = 1  # prctl(2)
_CLONE_NEWUSER, _CLONE_NEWNET = 0x10000000, 0x40000000  # unshare(2)
_PACKET_BYTES = 64 * 1024
_SENTENCE_CHARACTERS = 500
_STORAGE_TROUBLE = frozenset(
    {errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.ESTALE, errno.EMFILE, errno.ENFILE, errno.ETIMEDOUT},
)


@dataclass
class _Child:
    """A child that runs, and whom to tell of its end."""

    pid: int
    status: socket.socket
    deadline: float
    overran: bool = False


class _Server:
    """Forks, ends what overran or lost its caller, and reports how each child ended."""

    def __init__(self, control: socket.socket, jobs: dict[str, Job]) -> None:
        self._control = control
        self._jobs = jobs
        self._children: dict[int, _Child] = {}
        self._selector = selectors.DefaultSelector()
        self._selector.register(control, selectors.EVENT_READ)
        self._woken, self._waker = socket.socketpair()
        for end in (self._woken, self._waker):
            end.settimeout(0)
        self._selector.register(self._woken, selectors.EVENT_READ)
        signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
        signal.set_wakeup_fd(self._waker.fileno(), warn_on_full_buffer=False)

    def serve(self) -> None:
        """Run until the control socket closes; no child outlives us."""
        try:
            self._control.sendall(b"ready")
        except BrokenPipeError:
            return  # the other end was gone before we were there
        while True:
            for key, _ in self._selector.select(self._seconds_to_next_deadline()):
                if key.fileobj is self._control and not self._take_request():
                    return
                if isinstance(key.data, _Child):
                    self._selector.unregister(key.data.status)
                    self._end(key.data)  # its caller has gone
            self._end_those_that_overran()
            self._reap()

    def _seconds_to_next_deadline(self) -> float | None:
        deadlines = [child.deadline for child in self._children.values() if not child.overran]
        return max(0.0, min(deadlines) - time.monotonic()) if deadlines else None

    def _take_request(self) -> bool:
        try:
            message, descriptors, _, _ = socket.recv_fds(self._control, _PACKET_BYTES, 2)
        except ConnectionResetError:
            return False  # the other end was killed before it had read that we are ready
        if not message:
            return False
        status, answer = descriptors
        request = json.loads(message)
        pid = os.fork()
        if pid == 0:
            os.close(status)
            self._let_go()
            _be_child(self._jobs[request["job"]], request, answer)
        os.close(answer)
        child = _Child(pid, socket.socket(fileno=status), time.monotonic() + request["wall_seconds"])
        self._children[pid] = child
        self._selector.register(child.status, selectors.EVENT_READ, child)
        return True

    def _let_go(self) -> None:
        """Close, in a new child, everything that is the server's."""
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        self._selector.close()
        for held in (self._control, self._woken, self._waker, *(child.status for child in self._children.values())):
            held.close()

    def _end_those_that_overran(self) -> None:
        now = time.monotonic()
        for child in self._children.values():
            if child.deadline <= now and not child.overran:
                child.overran = True
                self._end(child)

    def _end(self, child: _Child) -> None:
        """Kill a child and whatever it started; it is ours and not yet reaped, so its number is still its own."""
        for kill in (os.killpg, os.kill):  # it may not have made its group yet
            with contextlib.suppress(ProcessLookupError):
                kill(child.pid, signal.SIGKILL)

    def _reap(self) -> None:
        with contextlib.suppress(BlockingIOError):
            self._woken.recv(4096)
        for child in list(self._children.values()):
            if os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
                continue
            self._end(child)  # what it started and left behind
            _, code, usage = os.wait4(child.pid, 0)
            report = {
                "exit_code": os.waitstatus_to_exitcode(code),
                "cpu_seconds": usage.ru_utime + usage.ru_stime,
                "overran": child.overran,
            }
            del self._children[child.pid]
            with contextlib.suppress(KeyError):
                self._selector.unregister(child.status)
            with child.status, contextlib.suppress(OSError):  # its caller may have gone
                child.status.sendall(json.dumps(report).encode())


def _be_child(job: Job, request: dict[str, Any], answer: int) -> NoReturn:
    """Do the job within its limits, write one JSON pair, and exit without the server's clean-up."""
    code = 1
    try:
        _bound(request)
        said = _outcome(job, request["arguments"])
        with os.fdopen(answer, "wb") as pipe:
            pipe.write(json.dumps(said, allow_nan=False).encode())
        code = 0
    finally:
        os._exit(code)


def _bound(request: dict[str, Any]) -> None:
    server = os.getppid()
    os.setsid()
    os.umask(0o077)
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != server:
        os._exit(1)  # the server died before the line above took hold
    with open(os.devnull, "wb", buffering=0) as nowhere:  # noqa: PTH123  # libraries quote files on their way down
        os.dup2(nowhere.fileno(), 1)
        os.dup2(nowhere.fileno(), 2)
    folder = request["arguments"].get("folder")
    if folder is not None:
        os.chdir(folder)
        tempfile.tempdir = folder
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    memory = pages * resource.getpagesize() + request["memory_bytes"]
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CPU, (request["cpu_seconds"], request["cpu_seconds"] + 1))
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))


def _outcome(job: Job, arguments: dict[str, Any]) -> tuple[str, Any]:
    """Run the job; of an error that is not ours only the class and the line leave, for texts may quote a patient."""
    try:
        return "returned", job(arguments)
    except RejectedError as error:
        return "rejected", str(error)[:_SENTENCE_CHARACTERS]
    except TransientError as error:
        return "transient", str(error)[:_SENTENCE_CHARACTERS]
    except MemoryError:
        return "memory", None
    except BaseException as error:  # noqa: BLE001  # the child's end: whatever a parser does becomes an answer
        if isinstance(error, OSError) and error.errno in _STORAGE_TROUBLE:
            return "transient", f"the storage failed during decoding ({errno.errorcode[error.errno]}); try again"
        return "raised", _where(error)


def _where(error: BaseException) -> str:
    innermost = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__} in {Path(innermost.filename).name} line {innermost.lineno}"


def _leave_the_network() -> None:
    """Give up the network for us and every child, where the kernel lets us; a file cannot call home."""
    flags = _CLONE_NEWNET if os.geteuid() == 0 else _CLONE_NEWUSER | _CLONE_NEWNET
    ctypes.CDLL(None).unshare(flags)


def _load(name: str) -> Job:
    module, _, function = name.partition(":")
    job: Job = getattr(importlib.import_module(module), function)
    return job


def main() -> None:
    """Load the jobs that the command line names, then serve the socket that it names first."""
    control = socket.socket(fileno=int(sys.argv[1]))
    _leave_the_network()
    server = _Server(control, {name: _load(name) for name in sys.argv[2:]})
    gc.collect()
    gc.freeze()  # a child's collector does not touch, and so copy, the pages of the libraries
    server.serve()


if __name__ == "__main__":
    main()
