"""Prefect around the shifts: it runs and shows them. Without it the same shifts run bare, and the page says so."""

import threading
import time
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Protocol

import httpx

from flows.journey import Stage

_PROBE_SECONDS = 1.0
_PROBES = 2
_PROBE_AGAIN_SECONDS = 5.0
# A server on SQLite answers 503 now and then while another stage writes; one that does nothing else is away.
_TRIES = 2
_REFUSALS_BEFORE_AWAY = 3
# The first flow run of a process takes about a second to start.
_LONGEST_TURN_SECONDS = 3.0

ShiftRun = Callable[[], int]
"""Runs one shift and returns how many steps ended."""


_shift: ContextVar[ShiftRun] = ContextVar("shift")


def current_shift() -> int:
    """Run the shift that was handed to the engine: a flow takes plain data only, so it finds its shift here.

    Raises
    ------
    LookupError
        A flow was started by something other than a worker.
    """
    return _shift.get()()


class Engine(Protocol):
    """Something that runs shifts; a shift is run exactly once, whatever the engine's own state."""

    @property
    def standing(self) -> str:
        """One sentence for people."""
        ...

    def look(self) -> str:
        """Look whether the engine is there, at most now and then, and return its standing."""
        ...

    def run(self, stage: Stage, first: str, shift: ShiftRun) -> None:
        """Run a shift of a stage; ``first`` is the opaque id of the subject that it begins with."""
        ...


class BareEngine:
    """No engine: shifts are plain calls."""

    standing = "without Prefect, as the settings say"

    def look(self) -> str:
        """Return the standing, which never changes."""
        return self.standing

    def run(self, stage: Stage, first: str, shift: ShiftRun) -> None:  # noqa: ARG002 - the protocol's signature
        """Run the shift."""
        shift()


class PrefectEngine:
    """Shifts as Prefect flow runs while its server answers within a second; bare while it doesn't.

    Parameters
    ----------
    api_url
        The server's API, such as ``http://127.0.0.1:4200/api``.
    flows
        By stage name: a flow that takes the opaque id it is named by, and calls ``current_shift``.
    """

    def __init__(self, api_url: str, flows: Mapping[str, Callable[[str], object]]) -> None:
        self._health_url = f"{api_url}/health"
        self._flows = flows
        self._lock = threading.Lock()
        self._asking = _Turn()
        self._probe_at = 0.0
        self._refused = 0
        self._away_since: datetime | None = datetime.now(UTC)

    @property
    def standing(self) -> str:
        """One sentence for people."""
        if self._away_since is None:
            return "Prefect runs and shows the flows"
        return f"Prefect is away since {self._away_since:%H:%M:%S} UTC: slides still move"

    def look(self) -> str:
        """Probe the server when the last answer is old, and return the standing: also while nothing is to be run."""
        self._answers()
        return self.standing

    def run(self, stage: Stage, first: str, shift: ShiftRun) -> None:
        """Run a shift, in a flow run where that is possible."""
        if not stage.flow or not self._answers():
            shift()
            return
        once = _Once(shift, self._asking)
        token = _shift.set(once)
        try:
            self._in_a_flow_run(stage, first, once)
        finally:
            _shift.reset(token)
        if not once.called:
            shift()

    def _in_a_flow_run(self, stage: Stage, first: str, once: "_Once") -> None:
        """Have a flow run the shift; a server on SQLite refuses now and then when several stages call it at once."""
        for _ in range(_TRIES):
            self._asking.take()
            try:
                self._flows[stage.name](first)
            except Exception:
                if once.error is not None:
                    raise
                if once.called:
                    break
            else:
                self._refused = 0
                return
            finally:
                self._asking.let_go()
        self._failed()

    def _answers(self) -> bool:
        """Probe the server now and then; in between, trust the last answer."""
        with self._lock:
            if time.monotonic() < self._probe_at:
                return self._away_since is None
            self._probe_at = time.monotonic() + _PROBE_AGAIN_SECONDS
        # A machine that is busy may miss one probe; two in a row are an answer.
        healthy = any(_is_healthy(self._health_url) for _ in range(_PROBES))
        if healthy:
            self._away_since = None
        elif self._away_since is None:
            self._away_since = datetime.now(UTC)
        return healthy

    def _failed(self) -> None:
        """Ask for a probe before the next flow run; a server that answers probes and nothing else is away too."""
        with self._lock:
            self._refused += 1
            if self._refused < _REFUSALS_BEFORE_AWAY:
                self._probe_at = 0.0
                return
            self._refused = 0
            self._away_since = self._away_since or datetime.now(UTC)
            self._probe_at = time.monotonic() + _PROBE_AGAIN_SECONDS


def _is_healthy(url: str) -> bool:
    try:
        return httpx.get(url, timeout=_PROBE_SECONDS).status_code == httpx.codes.OK
    except httpx.HTTPError:
        return False


class _Turn:
    """Lets one flow run at a time ask the server for its start or its end.

    A server on SQLite refuses one of two that write at once, and Prefect's client then sleeps for two seconds, whatever
    its retries are set to. Nobody waits long for a turn: a call that hangs must not hold the other stages.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._holder: int | None = None

    def take(self) -> None:
        """Wait for the turn, but not for ever."""
        if self._lock.acquire(timeout=_LONGEST_TURN_SECONDS):
            self._holder = threading.get_ident()

    def let_go(self) -> None:
        """Give the turn back, if it is ours."""
        if self._holder == threading.get_ident():
            self._holder = None
            self._lock.release()


class _Once:
    """Calls a shift at most once and remembers what came of it."""

    def __init__(self, shift: ShiftRun, asking: _Turn) -> None:
        self._shift = shift
        self._asking = asking
        self.called = False
        self.error: BaseException | None = None

    def __call__(self) -> int:
        if self.called:
            return 0
        self.called = True
        self._asking.let_go()
        try:
            return self._shift()
        except BaseException as error:
            self.error = error
            raise
        finally:
            self._asking.take()
