"""Heavy decoding in children that cannot hurt us: each has limits, one thread, and dies with its parent.

Files from outside are decoded by large C libraries. So no worker decodes: a fork server (``fork_server.py``),
which has loaded the libraries once, forks a child for every job. What comes back is JSON, never pickle.
"""

import json
import os
import selectors
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from signal import SIGKILL, SIGXCPU, Signals
from types import TracebackType
from typing import Self, TypeAlias

from models.errors import CoverslipError, RejectedError, TransientError

JSON: TypeAlias = "bool | int | float | str | list[JSON] | dict[str, JSON] | None"

_MEBIBYTE = 1024 * 1024
_ANSWER_BYTES = 4 * _MEBIBYTE  # of a child: measurements and codes, never pixels
_REQUEST_BYTES = 64 * 1024
_START_SECONDS = 60.0  # importing the libraries, on a machine that is busy with everything else
_GRACE_SECONDS = 5.0  # beyond a job's deadline, which the fork server enforces
_KEPT_ENVIRONMENT = (
    *("PATH", "LANG", "LC_ALL", "TZ", "LD_LIBRARY_PATH", "TURBOJPEG"),
    *("COVERSLIP_FAILPOINT", "COVERSLIP_FAILPOINT_LOG"),
)
_LIBRARY_THREADS = ("OMP", "OPENBLAS", "MKL", "NUMEXPR", "VECLIB_MAXIMUM", "BLIS")


@dataclass(frozen=True)
class Limits:
    """What one child may use; memory is what it may map beyond the libraries that are already loaded."""

    memory_bytes: int
    cpu_seconds: int
    wall: timedelta


DEFAULT_LIMITS = Limits(memory_bytes=1024 * _MEBIBYTE, cpu_seconds=60, wall=timedelta(minutes=2))


class Decoder:
    """Runs allowed jobs in bounded children; any number of threads may share one.

    Parameters
    ----------
    jobs
        Every function that may be run, as ``package.module:function``. Each takes one JSON object and returns
        one. The fork server imports their modules before it forks.
    """

    def __init__(self, jobs: tuple[str, ...]) -> None:
        self._jobs = jobs
        self._server: _ForkServer | None = None
        self._starting = threading.Lock()

    def __enter__(self) -> Self:
        with self._starting:
            self._server = _ForkServer(self._jobs)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._starting:
            if self._server is not None:
                self._server.stop()
            self._server = None

    def run(self, job: str, arguments: Mapping[str, JSON], limits: Limits = DEFAULT_LIMITS) -> dict[str, JSON]:
        """Run one job in a child of its own and return what it returned.

        Parameters
        ----------
        job
            One of the allowed names.
        arguments
            What the function gets. ``folder``, if there, is a private folder (0700) of the caller's: the child
            works in it and keeps its temporary files there.
        limits
            Memory, processor time and time on the clock.

        Raises
        ------
        RejectedError
            The job said so, hit a limit, crashed, or raised anything else; the text then names the class only.
        TransientError
            The job said so, the storage failed, or the child was killed by somebody else.
        """
        if job not in self._jobs:
            raise ValueError(f"{job} is not among the jobs of this decoder")
        request = {
            "job": job,
            "arguments": dict(arguments),
            "memory_bytes": limits.memory_bytes,
            "cpu_seconds": limits.cpu_seconds,
            "wall_seconds": limits.wall.total_seconds(),
        }
        message = json.dumps(request).encode()
        if len(message) > _REQUEST_BYTES:
            raise ValueError(f"the arguments of {job} are {len(message)} bytes; at most {_REQUEST_BYTES} can be sent")
        return _judged(self._running_server().ask(message, limits.wall), limits)

    def _running_server(self) -> "_ForkServer":
        with self._starting:
            if self._server is None:
                raise ValueError("a decoder runs jobs only inside its with block")
            if self._server.has_ended():
                self._server.stop()
                self._server = _ForkServer(self._jobs)
            self._server.wait_until_ready()
            return self._server


@dataclass(frozen=True)
class _Ending:
    """What a child answered, and how the fork server saw it end."""

    answer: bytes
    exit_code: int  # negative: the signal that ended it
    cpu_seconds: float
    overran: bool  # the fork server ended it at its deadline


class _ForkServer:
    """The other end of ``fork_server.py``: it lives until its control socket closes, however we die."""

    def __init__(self, jobs: tuple[str, ...]) -> None:
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "connectors.slides.fork_server", str(theirs.fileno()), *jobs],
                env=_environment(),
                pass_fds=(theirs.fileno(),),
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        self._ready = False

    def has_ended(self) -> bool:
        return self._process.poll() is not None

    def wait_until_ready(self) -> None:
        if self._ready:
            return
        self._control.settimeout(_START_SECONDS)
        try:
            self._ready = self._control.recv(16) == b"ready"
        except OSError as error:
            raise TransientError("the fork server of the decoder did not start in time; try again") from error
        if not self._ready:
            raise TransientError("the fork server of the decoder ended while it was starting; try again")

    def ask(self, message: bytes, wall: timedelta) -> _Ending:
        """Send one job and wait for its end, at most a grace longer than it may take."""
        status, their_status = socket.socketpair()
        answer, their_answer = os.pipe()
        try:
            try:
                socket.send_fds(self._control, [message], [their_status.fileno(), their_answer])
            except OSError as error:
                raise TransientError("the fork server of the decoder is gone; try again") from error
            finally:
                their_status.close()
                os.close(their_answer)
            return _wait_for_end(status, answer, time.monotonic() + wall.total_seconds() + _GRACE_SECONDS)
        finally:
            status.close()  # the fork server ends a child whose caller has gone
            os.close(answer)

    def stop(self) -> None:
        self._control.close()
        try:
            self._process.wait(_GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def _environment() -> dict[str, str]:
    """Return our search path, one thread for every numeric library, and none of the secrets in our own."""
    kept = {name: os.environ[name] for name in _KEPT_ENVIRONMENT if name in os.environ}
    one_thread = {f"{library}_NUM_THREADS": "1" for library in _LIBRARY_THREADS}
    return {**kept, **one_thread, "PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry)}


def _wait_for_end(status: socket.socket, answer: int, deadline: float) -> _Ending:
    os.set_blocking(answer, False)
    received = bytearray()
    with selectors.DefaultSelector() as selector:
        selector.register(status, selectors.EVENT_READ)
        selector.register(answer, selectors.EVENT_READ)
        while True:
            ready = selector.select(max(0.0, deadline - time.monotonic()))
            if not ready:
                raise TransientError("a decoding child does not end at its deadline; its storage may hang; try again")
            if any(key.fd == answer for key, _ in ready) and not _read_into(received, answer):
                selector.unregister(answer)
            if any(key.fd == status.fileno() for key, _ in ready):
                break
    _read_into(received, answer)
    try:
        report = json.loads(status.recv(1024))
    except (OSError, ValueError) as error:
        raise TransientError("the fork server of the decoder ended during a job; try again") from error
    return _Ending(bytes(received), report["exit_code"], report["cpu_seconds"], report["overran"])


def _read_into(received: bytearray, answer: int) -> bool:
    """Read what is there; return whether more may come."""
    while True:
        try:
            piece = os.read(answer, 65536)
        except BlockingIOError:
            return True
        if not piece:
            return False
        received += piece
        if len(received) > _ANSWER_BYTES:
            raise RejectedError(f"decoding answered with more than {_ANSWER_BYTES} bytes and was ended")


def _judged(ending: _Ending, limits: Limits) -> dict[str, JSON]:
    """Return the child's result, or raise what its end means."""
    if ending.overran:
        seconds = limits.wall.total_seconds()
        raise RejectedError(f"decoding was ended at its limit of {seconds:g} seconds on the clock")
    killed_late = ending.exit_code == -SIGKILL and ending.cpu_seconds >= limits.cpu_seconds
    if ending.exit_code == -SIGXCPU or killed_late:
        raise RejectedError(f"decoding was ended at its limit of {limits.cpu_seconds} seconds of processor time")
    if ending.exit_code == -SIGKILL:
        raise TransientError("a decoding child was killed from outside, perhaps for want of memory; try again")
    if ending.exit_code < 0:
        raise RejectedError(f"the decoder crashed on this file ({Signals(-ending.exit_code).name})")
    return _answered(ending, limits)


def _answered(ending: _Ending, limits: Limits) -> dict[str, JSON]:
    try:
        kind, value = json.loads(ending.answer)
    except (ValueError, TypeError) as error:
        raise RejectedError(f"decoding ended with exit status {ending.exit_code} and no answer") from error
    if kind == "memory":
        mebibytes = limits.memory_bytes // _MEBIBYTE
        raise RejectedError(f"decoding was ended at its limit of {mebibytes} MiB of memory")
    if kind == "raised":
        raise RejectedError(f"decoding stopped on this file ({value})")
    troubles: dict[str, type[CoverslipError]] = {"rejected": RejectedError, "transient": TransientError}
    if kind in troubles:
        raise troubles[kind](str(value))
    if kind != "returned" or not isinstance(value, dict):
        raise RejectedError("decoding answered with something that is not a result")
    return value
