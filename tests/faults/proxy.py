"""A wire between two peers that fails as told: late, cut after so many bytes, swallowed, or said twice.

It knows nothing of what it carries. Each new connection takes the next fault of a plan; those after the last one are
carried whole.
"""

import asyncio
import socket
import struct
import threading
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Literal, Self

_READ_BYTES: Final = 65_536
# RST instead of FIN: what is not read yet is thrown away (socket(7), SO_LINGER with no time).
_RESET: Final = struct.pack("ii", 1, 0)

Direction = Literal["there", "back"]
"""From who connected to who listens, or from who listens."""


@dataclass(frozen=True)
class Fault:
    """What is wrong with one connection.

    Attributes
    ----------
    cut_there, cut_back
        Both ends are closed once so many bytes went this way; 0 before the first.
    reset
        The cut throws away what is under way, as a pulled cable does, and not after it.
    delay_s
        Every piece waits so long, either way.
    swallow
        Nothing goes through this way, and nobody is told.
    twice_there
        Every piece from who connected is said twice.
    """

    cut_there: int | None = None
    cut_back: int | None = None
    reset: bool = False
    delay_s: float = 0.0
    swallow: Direction | None = None
    twice_there: bool = False


class FaultProxy:
    """Listens on a free port of loopback and carries each connection to ``port``, in a thread of its own."""

    def __init__(self, port: int, plan: Iterable[Fault] = ()) -> None:
        self._to = port
        self._plan = deque(plan)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="proxy", daemon=True)
        self._ready = threading.Event()
        self._carrying: set[asyncio.Task[None]] = set()
        self.port = 0
        self.connections = 0

    def __enter__(self) -> Self:
        self._thread.start()
        self._ready.wait(10)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    def plan(self, *faults: Fault) -> None:
        """Have the next connections fail like this."""
        self._plan.extend(faults)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(asyncio.start_server(self._accepted, "127.0.0.1", 0))
        self.port = int(server.sockets[0].getsockname()[1])
        self._ready.set()
        self._loop.run_forever()
        server.close()
        for task in self._carrying:
            task.cancel()
        self._loop.run_until_complete(asyncio.gather(*self._carrying, return_exceptions=True))
        self._loop.close()

    async def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        fault = self._plan.popleft() if self._plan else Fault()
        self.connections += 1
        task = asyncio.current_task()
        assert task is not None
        self._carrying.add(task)
        writers = [writer]
        try:
            back_reader, back_writer = await asyncio.open_connection("127.0.0.1", self._to)
            writers.append(back_writer)
            there = asyncio.create_task(_carry(reader, back_writer, fault, "there"))
            back = asyncio.create_task(_carry(back_reader, writer, fault, "back"))
            await _first_end(there, back)
        except (OSError, asyncio.CancelledError):
            fault = Fault(reset=True)
        finally:
            for one in writers:
                _close(one, reset=fault.reset)
            self._carrying.discard(task)


async def _first_end(*ways: "asyncio.Task[None]") -> None:
    """Wait until one way has ended, whichever; then the other ends too."""
    _done, pending = await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
    for way in pending:
        way.cancel()
    await asyncio.gather(*ways, return_exceptions=True)


async def _carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, fault: Fault, way: Direction) -> None:
    """Carry one way until its end or its cut."""
    left = fault.cut_there if way == "there" else fault.cut_back
    while left != 0:
        piece = await reader.read(_READ_BYTES)
        if not piece:
            return
        if fault.delay_s:
            await asyncio.sleep(fault.delay_s)
        if fault.swallow == way:
            continue
        if left is not None:
            piece = piece[:left]
            left -= len(piece)
        writer.write(piece * 2 if fault.twice_there and way == "there" else piece)
        await writer.drain()


def _close(writer: asyncio.StreamWriter, *, reset: bool) -> None:
    if reset:
        connected: socket.socket = writer.get_extra_info("socket")
        connected.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        writer.transport.abort()
    else:
        writer.close()
