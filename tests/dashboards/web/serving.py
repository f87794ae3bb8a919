"""The page on a real socket, as `coverslip up` serves it."""

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import uvicorn
from fastapi import FastAPI

from dashboards.web.live import ChangeWatch


@dataclass(frozen=True)
class Served:
    """A real server in a thread, and where it is."""

    url: str
    port: int
    watch: ChangeWatch


@contextmanager
def serve(app: FastAPI, port: int = 0) -> Iterator[Served]:
    """Serve an application on a free port of loopback, or on a given one, until the end of the block."""
    listener = socket.create_server(("127.0.0.1", port))
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, access_log=False, timeout_graceful_shutdown=2))
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_until_complete, args=(server._serve([listener]),))
    thread.start()
    while not server.started:
        time.sleep(0.01)
    taken: int = listener.getsockname()[1]
    try:
        yield Served(f"http://127.0.0.1:{taken}", taken, app.state.watch)
    finally:
        server.should_exit = True
        loop.call_soon_threadsafe(app.state.watch.close)
        thread.join(10)
        loop.close()
        listener.close()
    assert not thread.is_alive()
