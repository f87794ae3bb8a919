"""A laboratory's system that forgets nothing: the other side of the story, to be held against the books.

It shares no code with ours. It sends each message again until it is acknowledged, as a real one does, and keeps
every answer it saw and every message it was told, in the order in which they came.
"""

import queue
import socket
import socketserver
import threading
import time
from collections import defaultdict
from types import TracebackType
from typing import Self

_VT, _END = b"\x0b", b"\x1c\r"
_ANSWER_SECONDS = 5.0
_PAUSE_SECONDS = 0.05


def framed(message: bytes) -> bytes:
    """Put a message into its MLLP frame."""
    return _VT + message + _END


def control_id(message: bytes) -> str:
    """Return MSH-10, which in MSH counts one field less: the separator itself is MSH-1."""
    return message.split(b"\r", 1)[0].split(b"|")[9].decode()


def accepted(message: bytes) -> bytes:
    """Return the AA to a message."""
    asked = control_id(message).encode()
    return (
        b"MSH|^~\\&|COVERSLIP|NET|LIMS|SITEA|20261122091501+0000||ACK|A" + asked + b"|P|2.5.1\rMSA|AA|" + asked + b"\r"
    )


def exchange(message: bytes, port: int, seconds: float = _ANSWER_SECONDS) -> bytes:
    """Say one message on a connection of its own and return the answer; empty when there was none."""
    try:
        with socket.create_connection(("127.0.0.1", port), seconds) as connection:
            connection.settimeout(seconds)
            connection.sendall(framed(message))
            return _read_frame(connection)
    except OSError:
        return b""


class Lims:
    """Both halves of one peer: a client that orders and a server that is told.

    Attributes
    ----------
    answers
        By control id: every answer that the client saw, repeats included. Only what is in here was promised to us.
    told
        Every message that came in, whole, in the order of arrival.
    """

    def __init__(self, known: "Lims | None" = None) -> None:
        self.sent: dict[str, bytes] = dict(known.sent) if known else {}
        self.answers: dict[str, list[bytes]] = defaultdict(
            list, {k: [*v] for k, v in known.answers.items()} if known else {}
        )
        self.told: list[bytes] = list(known.told) if known else []
        self._to_send: queue.SimpleQueue[tuple[bytes, int] | None] = queue.SimpleQueue()
        self._over = threading.Event()
        self._lock = threading.Lock()
        self._server = _Server(self)
        self.port = int(self._server.server_address[1])
        self._threads = [
            threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True),
            threading.Thread(target=self._send_all, daemon=True),
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._over.set()
        self._to_send.put(None)
        self._server.shutdown()
        self._server.server_close()

    def send(self, message: bytes, port: int) -> None:
        """Have a message sent to this port of ours, after those before it, again and again until it is acknowledged."""
        self.sent[control_id(message)] = message
        self._to_send.put((message, port))

    @property
    def waits(self) -> list[str]:
        """Messages that nobody acknowledged yet."""
        return [name for name in self.sent if not self.answers[name]]

    def hear(self, message: bytes) -> bytes:
        """Keep what we are told, and answer."""
        with self._lock:
            self.told.append(message)
        return accepted(message)

    def _send_all(self) -> None:
        connection: socket.socket | None = None
        while (one := self._to_send.get()) is not None:
            message, port = one
            while not self._over.is_set():
                try:
                    if connection is None:
                        connection = socket.create_connection(("127.0.0.1", port), _ANSWER_SECONDS)
                        connection.settimeout(_ANSWER_SECONDS)
                    connection.sendall(framed(message))
                    answer = _read_frame(connection)
                except OSError:
                    answer = b""
                if answer:
                    self.answers[control_id(message)].append(answer)
                    break
                if connection is not None:
                    connection.close()
                    connection = None
                time.sleep(_PAUSE_SECONDS)
        if connection is not None:
            connection.close()


def _read_frame(connection: socket.socket) -> bytes:
    """Return the next message without its frame; empty when the connection ended before its end."""
    received = b""
    while not received.endswith(_END):
        piece = connection.recv(65536)
        if not piece:
            return b""
        received += piece
    return received.removeprefix(_VT).removesuffix(_END)


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, lims: Lims) -> None:
        self.lims = lims
        super().__init__(("127.0.0.1", 0), _Listening)


class _Listening(socketserver.BaseRequestHandler):
    server: _Server

    def handle(self) -> None:
        self.request.settimeout(None)
        while True:
            try:
                message = _read_frame(self.request)
                if not message:
                    return
                self.request.sendall(framed(self.server.lims.hear(message)))
            except OSError:
                return
