"""A LIMS that plays a script: what an MLLP client meets at the other end."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from connectors.lims.framing import frame


def message(control_id: str) -> bytes:
    return f"MSH|^~\\&|COVERSLIP|NET|LIMS|SITEA|20261122||OUL^R22|{control_id}|P|2.5.1\rSPM|1|S1\r".encode()


def ack(control_id: str, code: str = "AA", text: str = "") -> bytes:
    return frame(
        f"MSH|^~\\&|LIMS|SITEA|COVERSLIP|NET|20261122||ACK^R22|L1|P|2.5.1\rMSA|{code}|{control_id}|{text}\r".encode()
    )


Script = Callable[[socket.socket, int], None]


@contextmanager
def peer(script: Script) -> Iterator[tuple[int, list[int]]]:
    """Run ``script`` with each connection and its number, one after the other."""
    door = socket.create_server(("127.0.0.1", 0))
    door.settimeout(0.1)
    numbers: list[int] = []
    stopped = threading.Event()

    def serve() -> None:
        while not stopped.is_set():
            try:
                connection, _ = door.accept()
            except TimeoutError:
                continue
            connection.settimeout(3)
            numbers.append(len(numbers) + 1)
            with connection, suppress(OSError):
                script(connection, len(numbers))

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield door.getsockname()[1], numbers
    finally:
        stopped.set()
        thread.join()
        door.close()


def hear(connection: socket.socket) -> bool:
    """Read one message; false when the sender went away."""
    heard = b""
    while not heard.endswith(b"\x1c\r"):
        data = connection.recv(65_536)
        if not data:
            return False
        heard += data
    return True


def say(*answers: bytes) -> Script:
    def script(connection: socket.socket, _number: int) -> None:
        for answer in answers:
            if not hear(connection):
                return
            connection.sendall(answer)
        hear(connection)

    return script
