"""A simulated LIMS: it sends orders over real MLLP and hears what Coverslip says, as kindly or badly as asked."""

import socket
import threading
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from time import monotonic, sleep
from types import TracebackType
from typing import Literal, Self

from connectors.lims.framing import Deframer, FrameRefused, frame
from connectors.lims.header import read_header
from connectors.lims.sender import Answer, MllpSender, SenderLimits
from models.errors import TransientError

Behaviour = Literal["AA", "AE", "AR", "CA", "silent", "slow", "close", "wrong-id", "torn"]
"""What it does with a message: answer so; say nothing; accept it late; close the connection instead; answer another
message; answer half and close."""

_CODES = frozenset({"AA", "AE", "AR", "CA"})
_POLL_SECONDS = 0.05
_READ_BYTES = 65_536


def send_orders(
    host: str, port: int, messages: Iterable[bytes], patience_seconds: float = 60.0, pause_seconds: float = 0.5
) -> list[Answer]:
    """Send messages in order over one connection, each until it is answered, as a LIMS with a queue does.

    Raises
    ------
    TransientError
        When one message found no answer for ``patience_seconds``.
    """
    with MllpSender(host, port, SenderLimits(answer_seconds=10.0)) as sender:
        return [_send_until_answered(sender, message, patience_seconds, pause_seconds) for message in messages]


def _send_until_answered(sender: MllpSender, message: bytes, patience: float, pause: float) -> Answer:
    control_id = read_header(message).control_id.decode()
    until = monotonic() + patience
    while True:
        try:
            return sender.send(message, control_id)
        except TransientError:
            if monotonic() + pause > until:
                raise
            sleep(pause)


class SimulatedLims:
    """Listens on loopback in threads of its own; keeps every message that it heard, in order of arrival.

    Attributes
    ----------
    port
        The port it listens on, from the start on.

    Parameters
    ----------
    answer
        Returns the answer to a message that is to be accepted, empty for none; a plain ACK where this is not given.
    host
        Where it listens.
    hears
        Called with each message and what is done with it, before that is done; then no message is kept here.
    """

    def __init__(
        self,
        *behaviours: Behaviour,
        port: int = 0,
        slow_seconds: float = 2.0,
        answer: Callable[[bytes], bytes] | None = None,
        host: str = "127.0.0.1",
        hears: Callable[[bytes, Behaviour], None] | None = None,
    ) -> None:
        self._host = host
        self._hears = hears
        self.port = port
        self._behaviours: Sequence[Behaviour] = behaviours or ("AA",)
        self._answer = answer
        self._slow_seconds = slow_seconds
        self._heard: list[bytes] = []
        self._lock = threading.Condition()
        self._stopping = threading.Event()
        self._threads: list[threading.Thread] = []

    def behave(self, *behaviours: Behaviour) -> None:
        """From now on do these, one for each message; the last of them stays."""
        with self._lock:
            self._behaviours = behaviours

    @property
    def received(self) -> list[bytes]:
        """Every message heard so far, whatever was answered."""
        with self._lock:
            return list(self._heard)

    def wait_for(self, count: int, seconds: float) -> list[bytes]:
        """Return what was heard as soon as it is ``count`` messages, or after so many seconds."""
        with self._lock:
            self._lock.wait_for(lambda: len(self._heard) >= count, seconds)
            return list(self._heard)

    def start(self) -> None:
        """Listen; ``OSError`` when the port is taken."""
        door = socket.create_server((self._host, self.port))
        self.port = door.getsockname()[1]
        self._spawn(self._accept, door)

    def stop(self) -> None:
        """Stop listening, close every connection and wait for the threads."""
        self._stopping.set()
        # The first thread starts the others and has ended when it is joined, so none is missed.
        for thread in self._threads:
            thread.join()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    def _spawn(self, serve: Callable[[socket.socket], None], connection: socket.socket) -> None:
        thread = threading.Thread(target=serve, args=(connection,), daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self, door: socket.socket) -> None:
        door.settimeout(_POLL_SECONDS)
        with door:
            while not self._stopping.is_set():
                with suppress(TimeoutError):
                    connection, _ = door.accept()
                    self._spawn(self._converse, connection)

    def _converse(self, connection: socket.socket) -> None:
        """Hear one peer until it goes, we stop or a message is answered by closing."""
        deframer = Deframer()
        connection.settimeout(_POLL_SECONDS)
        with connection, suppress(OSError):
            while not self._stopping.is_set():
                try:
                    data = connection.recv(_READ_BYTES)
                except TimeoutError:
                    continue
                if not data or not all(self._hear(connection, found) for found in deframer.feed(data)):
                    return

    def _hear(self, connection: socket.socket, found: bytes | FrameRefused) -> bool:
        """Keep one message and do as told; false when the connection must be closed."""
        if isinstance(found, FrameRefused):
            return False
        with self._lock:
            behaviour = self._behaviours[0]
            self._behaviours = self._behaviours[1:] or self._behaviours
            if self._hears is not None:
                self._hears(found, behaviour)
            else:
                self._heard.append(found)
            self._lock.notify_all()
        if behaviour == "slow":
            self._stopping.wait(self._slow_seconds)
        if behaviour in {"silent", "close"}:
            return behaviour == "silent"
        answer = self._answer_to(found, behaviour if behaviour in _CODES else "AA")
        if behaviour == "wrong-id":
            answer = _answer(found, "AA", b"NOT-" + read_header(found).control_id)
        framed = frame(answer) if answer else b""
        connection.sendall(framed[: len(framed) // 2] if behaviour == "torn" else framed)
        return behaviour != "torn"

    def _answer_to(self, message: bytes, code: str) -> bytes:
        return self._answer(message) if self._answer and code == "AA" else _answer(message, code)


def _answer(message: bytes, code: str, named: bytes | None = None) -> bytes:
    """Return a plain ACK, as most systems send it; to another message where one is named."""
    control_id = read_header(message).control_id if named is None else named
    words = b"" if code in {"AA", "CA"} else b"|The simulated LIMS was told to refuse."
    header = b"MSH|^~\\&|LIMS|SIM|COVERSLIP|NET|||ACK|S" + control_id[:19] + b"|P|2.5.1\r"
    return header + b"MSA|" + code.encode() + b"|" + control_id + words + b"\r"
