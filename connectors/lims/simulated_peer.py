"""A simulated PAWM or image manager as a process of its own: it is told what to send, and says all that it saw.

It takes one JSON object a line: a message to send (``Wanted``), an earlier one to send again, or how to behave from now
on. It gives one JSON object a line for everything that went over the wire, so that a run is judged by what the
other side saw.
"""

import hashlib
import json
import socket
import threading
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from itertools import count
from typing import Any, Final, Literal

from pydantic import Field, TypeAdapter, ValidationError

from connectors.lims import dpow
from connectors.lims.simulated_dpow import (
    Behaviour,
    Wanted,
    answer,
    message,
    said,
    segments_of,
    transaction_of,
)
from connectors.lims.simulator import SimulatedLims
from models.statements import Frozen

Role = Literal["pawm", "ima"]

Say = Callable[[dict[str, Any]], None]
"""Write down one event; called from several threads, one at a time."""

_PATIENCE_SECONDS: Final = 20.0
_READ_BYTES: Final = 65_536
_SHOWN_BYTES: Final = 8_192
"""Of a message that is larger only the beginning is written down."""


class Send(Frozen):
    """Send a message and wait for its answer; ``called`` is what the record calls it."""

    send: Wanted
    called: str


class Again(Frozen):
    """Send the bytes of an earlier message once more."""

    again: str
    called: str


class Behave(Frozen):
    """From now on answer so; with ``fulfil_after``, do the work that was accepted after so many seconds."""

    behave: Behaviour = "accept"
    fulfil_after: float | None = Field(default=None, ge=0)


_COMMANDS: Final[TypeAdapter[Send | Again | Behave]] = TypeAdapter(Send | Again | Behave)


def play(role: Role, to: tuple[str, int], listen: int, commands: Iterable[str], say: Say) -> None:
    """Play the part until there are no more commands; the port that it listens on is the first thing it says."""
    peer = _Peer(role, to, say)
    with SimulatedLims(port=listen, answer=peer.answer) as door:
        peer.tell("listening", port=door.port)
        for line in commands:
            if line.strip():
                peer.obey(line)
        peer.close()


class SimulatedLine:
    """A connection to an MLLP door, opened when it is needed; not for two threads at once.

    It frames by itself: what comes back is given as it came, whatever it answers.
    """

    def __init__(self, to: tuple[str, int]) -> None:
        self._to = to
        self._connection: socket.socket | None = None

    def exchange(self, raw: bytes) -> bytes:
        """Send one message in its frame and return the next frame that comes back; ``OSError`` when none does."""
        try:
            return self._exchange(raw)
        except OSError:
            self.hang_up()
            raise

    def hang_up(self) -> None:
        """Close the connection; the next message opens another."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _exchange(self, raw: bytes) -> bytes:
        if self._connection is None:
            self._connection = socket.create_connection(self._to, _PATIENCE_SECONDS)
        self._connection.settimeout(_PATIENCE_SECONDS)
        self._connection.sendall(b"\x0b" + raw + b"\x1c\r")
        came = b""
        while not came.endswith(b"\x1c\r"):
            data = self._connection.recv(_READ_BYTES)
            if not data:
                raise ConnectionResetError("the connection was closed instead")
            came += data
        return came.removeprefix(b"\x0b").removesuffix(b"\x1c\r")


class _Peer:
    """What one peer knows: how it was told to behave, and what it sent."""

    def __init__(self, role: Role, to: tuple[str, int], say: Say) -> None:
        self._role = role
        self._to = to
        self._say = say
        self._behave = Behave()
        self._sent: dict[str, bytes] = {}
        self._numbers = count(1)
        # Messages of one process never bear the numbers of another's.
        self._prefix = f"{role[0].upper()}{datetime.now(UTC):%d%H%M%S%f}"[:14]
        self._line = SimulatedLine(to)
        self._lock = threading.RLock()
        self._doing: list[threading.Timer] = []

    def tell(self, way: str, raw: bytes | None = None, **more: Any) -> None:  # noqa: ANN401 - what JSON can hold
        """Say what happened, with the message that it happened to."""
        event: dict[str, Any] = {"way": way, "at": datetime.now(UTC).isoformat(), **more}
        if raw is not None:
            segments = segments_of(raw[:_SHOWN_BYTES])
            event |= {"transaction": transaction_of(segments), "control_id": said(segments, "MSH-10")}
            event |= {"bytes": len(raw), "sha256": hashlib.sha256(raw).hexdigest()}
            event["raw"] = raw[:_SHOWN_BYTES].decode("utf-8", "backslashreplace")
        with self._lock:
            self._say(event)

    def obey(self, line: str) -> None:
        """Do what one line says; one that can't be understood is answered with what is wrong with it."""
        try:
            command = _COMMANDS.validate_json(line)
        except ValidationError as error:
            faults = error.errors(include_input=False, include_url=False)
            self.tell("misunderstood", problem="; ".join(f"{fault['loc']}: {fault['msg']}" for fault in faults))
            return
        match command:
            case Behave():
                self._behave = command
                self.tell("behaves", behaviour=command.behave)
            case Send(send=wanted, called=called):
                self._send(called, message(wanted, self._control_id(), datetime.now(UTC)))
            case Again(again=earlier, called=called):
                self._send(called, self._sent[earlier])

    def answer(self, heard: bytes) -> bytes:
        """Note a message, and return what is to be answered to it."""
        self.tell("heard", heard)
        behave = self._behave
        said_back = answer(heard, behave.behave, self._control_id(), datetime.now(UTC))
        if said_back:
            self.tell("answered", said_back)
        segments = segments_of(heard)
        works = behave.behave == "accept" and transaction_of(segments) == dpow.PLACE_WORK_ORDER
        if works and behave.fulfil_after is not None:
            self._fulfil_later(said(segments, "ORC-2"), said(segments, "ORC-38"), behave.fulfil_after)
        return said_back

    def close(self) -> None:
        """Give up what was still to be done, and go."""
        for timer in self._doing:
            timer.cancel()
        with self._lock:
            self._line.hang_up()

    def _fulfil_later(self, order: str, case: str, seconds: float) -> None:
        """Tell after a while that the work was done, and register the slide that came of it."""
        asset = f"{case}-{order.partition('^')[0]}"

        def fulfil() -> None:
            named = Wanted(what="work done", case=case, asset=asset, temporary=order.replace("^", "&"))
            done = named.model_copy(update={"status": dpow.FULFILLED, "order_number": order})
            for called, wanted in (
                (f"done {order}", done),
                (f"slide {order}", Wanted(what="slide", case=case, asset=asset)),
            ):
                self._send(called, message(wanted, self._control_id(), datetime.now(UTC)))

        timer = threading.Timer(seconds, fulfil)
        timer.daemon = True
        self._doing.append(timer)
        timer.start()

    def _send(self, called: str, raw: bytes) -> None:
        with self._lock:
            self._sent[called] = raw
            self.tell("sent", raw, called=called)
            try:
                answered = self._line.exchange(raw)
            except OSError as error:
                self.tell("not answered", called=called, problem=str(error) or type(error).__name__)
            else:
                self.tell("was answered", answered, called=called)

    def _control_id(self) -> str:
        return f"{self._prefix}{next(self._numbers):05}"


def as_line(event: dict[str, Any]) -> str:
    """Return one event as a line of JSON."""
    return json.dumps(event, ensure_ascii=False)
