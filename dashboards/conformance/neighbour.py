"""One simulated neighbour as a process of its own, and all that it saw."""

import json
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from types import TracebackType
from typing import Any, Final, Self

from connectors.lims.simulated_dpow import Behaviour, Fields, Wanted, said, segments_of
from connectors.lims.simulated_peer import Again, Behave, Role, Send
from models.errors import RefusedError

_START_SECONDS: Final = 30.0
_ANSWER_SECONDS: Final = 40.0
_END_SECONDS: Final = 10.0


@dataclass(frozen=True)
class Seen:
    """One message as the neighbour saw it, or what it saw instead: ``way`` says what happened to it."""

    way: str
    called: str = ""
    transaction: str = ""
    control_id: str = ""
    sha256: str = ""
    raw: str = ""
    problem: str = ""
    port: int = 0

    @property
    def segments(self) -> list[Fields]:
        """Its segments."""
        return segments_of(self.raw.encode())

    def said(self, place: str, component: int = 0) -> str:
        """Return one field, such as ``MSA-2``, or one component of it; empty when it is not there."""
        return said(self.segments, place, component)


@dataclass(frozen=True)
class Exchange:
    """A message that the neighbour sent, and what came back."""

    sent: Seen
    answer: Seen


class Neighbour:
    """A simulated PAWM or image manager: it runs as long as the block, and what it saw lies in ``folder`` too.

    Attributes
    ----------
    patience
        How long in seconds to wait for what it is to hear.
    port
        Where it listens.
    """

    def __init__(self, role: Role, to_port: int, listen: int, folder: Path, patience: float) -> None:
        record = ("--record", str(folder / f"{role}.jsonl"), "--listen", str(listen))
        command = ("hl7", "simulate", role, "--to", f"127.0.0.1:{to_port}", *record)
        self._log = (folder / f"{role}.log").open("wb")
        self._process = subprocess.Popen(
            (sys.executable, "-m", "dashboards.cli.main", *command),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            encoding="utf-8",
        )
        self.port = listen
        self._role = role
        self.patience = patience
        self._seen: list[Seen] = []
        self._news = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> Self:
        try:
            self.port = self.wait_for(lambda one: one.way == "listening", seconds=_START_SECONDS)[0].port
        except RefusedError:
            self.end()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.end()

    def send(self, called: str, wanted: Wanted) -> Exchange:
        """Have it send a message; return what it sent and what was answered."""
        return self._exchanged(called, Send(send=wanted, called=called).model_dump_json())

    def again(self, earlier: str, called: str) -> Exchange:
        """Have it send the bytes of an earlier message once more."""
        return self._exchanged(called, Again(again=earlier, called=called).model_dump_json())

    def behave(self, behaviour: Behaviour, fulfil_after: float | None = None) -> None:
        """Tell it how to answer from now on."""
        self._tell(Behave(behave=behaviour, fulfil_after=fulfil_after).model_dump_json())

    def heard(self, which: Callable[[Seen], bool], at_least: int = 1) -> list[Seen]:
        """Return the messages from Coverslip that are such, as soon as there are so many, or when patience ends."""

        def was_heard(one: Seen) -> bool:
            return one.way == "heard" and which(one)

        return self.wait_for(was_heard, seconds=self.patience, must=False, at_least=at_least)

    def wait_for(
        self,
        which: Callable[[Seen], bool],
        *,
        seconds: float,
        must: bool = True,
        after: int = 0,
        at_least: int = 1,
    ) -> list[Seen]:
        """Return what it saw that is such, the first ``after`` events aside; say so if it must be and is not there."""
        until = monotonic() + seconds
        with self._news:
            while len(found := [one for one in self._seen[after:] if which(one)]) < at_least:
                left = until - monotonic()
                if left <= 0 or (self._process.poll() is not None and not self._reader.is_alive()):
                    break
                self._news.wait(min(left, 0.5))
        if must and not found:
            raise RefusedError(f"the simulated {self._role} did not do what it was asked to: see {self._log.name}")
        return found

    def end(self) -> None:
        """End it with its input; one that does not end is killed."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            self._process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._reader.join(_END_SECONDS)
        if self._process.stdout is not None:
            self._process.stdout.close()
        self._log.close()

    def _exchanged(self, called: str, line: str) -> Exchange:
        with self._news:
            before = len(self._seen)
        self._tell(line)

        def ended(one: Seen) -> bool:
            return one.called == called and one.way in {"was answered", "not answered"}

        answer = self.wait_for(ended, seconds=_ANSWER_SECONDS, after=before)[0]
        sent = self.wait_for(lambda one: one.called == called and one.way == "sent", seconds=0, after=before)[0]
        return Exchange(sent, answer)

    def _tell(self, line: str) -> None:
        assert self._process.stdin is not None  # noqa: S101 - it was asked for
        try:
            self._process.stdin.write(line + "\n")
            self._process.stdin.flush()
        except BrokenPipeError as error:
            raise RefusedError(f"the simulated {self._role} has ended: see {self._log.name}") from error

    def _read(self) -> None:
        assert self._process.stdout is not None  # noqa: S101 - it was asked for
        for line in self._process.stdout:
            event: dict[str, Any] = json.loads(line)
            with self._news:
                self._seen.append(Seen(**{name: event[name] for name in Seen.__dataclass_fields__ if name in event}))
                self._news.notify_all()
