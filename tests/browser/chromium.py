"""A real browser, driven over its DevTools protocol: no driver program, no library but websockets."""

import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from websockets.sync.client import connect
from websockets.sync.connection import Connection

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_FLAGS = (
    "--headless",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--remote-debugging-port=0",
)
_START_LIMIT_S = 30


class BrowserError(Exception):
    """The browser did not start, or a script in the page failed."""


def program() -> str | None:
    """Return where a browser is, or nothing."""
    return next(filter(None, map(shutil.which, _NAMES)), None)


class Tab:
    """One page in the browser, and everything that it complained of."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._asked = 0
        self.complaints: list[str] = []
        self.requested: list[str] = []
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.command(f"{domain}.enable")

    def command(self, method: str, **parameters: Any) -> dict[str, Any]:  # noqa: ANN401 - the protocol's own
        """Send one command and return its result."""
        self._asked += 1
        asked = self._asked
        self._connection.send(json.dumps({"id": asked, "method": method, "params": parameters}))
        while True:
            message = json.loads(self._connection.recv(timeout=20))
            if message.get("id") == asked:
                if "error" in message:
                    raise BrowserError(message["error"]["message"])
                result: dict[str, Any] = message["result"]
                return result
            self._heard(message)

    def open(self, url: str) -> None:
        """Go to a page and wait until it is there."""
        self.command("Page.navigate", url=url)
        self.until("document.readyState === 'complete' && location.href !== 'about:blank'")

    def value(self, script: str) -> Any:  # noqa: ANN401 - whatever the script gives
        """Return what a script in the page evaluates to."""
        answer = self.command("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in answer:
            raise BrowserError(str(answer["exceptionDetails"]))
        return answer["result"].get("value")

    def until(self, script: str, seconds: float = 15) -> None:
        """Wait until a script gives something true."""
        limit = time.monotonic() + seconds
        while not self.value(script):
            if time.monotonic() > limit:
                raise BrowserError(f"did not come true in {seconds} s: {script}")
            time.sleep(0.05)

    def press(self, key: str) -> None:
        """Press one key."""
        for kind in ("rawKeyDown", "keyUp"):
            self.command("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=9)

    def _heard(self, message: dict[str, Any]) -> None:
        parameters = message.get("params", {})
        if message["method"] == "Runtime.exceptionThrown":
            self.complaints.append(str(parameters["exceptionDetails"].get("exception", {}).get("description")))
        if message["method"] == "Log.entryAdded":
            self.complaints.append(parameters["entry"]["text"])
        if message["method"] == "Network.requestWillBeSent":
            self.requested.append(parameters["request"]["url"])


@contextmanager
def browser(path: str) -> Iterator[Tab]:
    """Start a browser with an empty profile and give its first tab; end it, by its process id, at the end."""
    # Chromium refuses its sandbox to root; the pages are our own.
    sandbox = ("--no-sandbox",) if os.geteuid() == 0 else ()
    with tempfile.TemporaryDirectory(prefix="coverslip-browser-", ignore_cleanup_errors=True) as profile:
        command = [path, *_FLAGS, *sandbox, f"--user-data-dir={profile}", "about:blank"]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            with connect(_address(Path(profile), process), max_size=64 << 20) as connection:
                yield Tab(connection)
        finally:
            process.terminate()
            process.wait(20)


def _address(profile: Path, process: subprocess.Popen[bytes]) -> str:
    """Return the address of the first tab, as soon as the browser has written its port."""
    limit = time.monotonic() + _START_LIMIT_S
    while process.poll() is None and time.monotonic() < limit:
        written = profile / "DevToolsActivePort"
        if written.exists() and (lines := written.read_text().splitlines()):
            tabs = httpx.get(f"http://127.0.0.1:{lines[0]}/json/list", trust_env=False).json()
            for tab in tabs:
                if tab["type"] == "page":
                    return str(tab["webSocketDebuggerUrl"])
        time.sleep(0.05)
    raise BrowserError("the browser did not start")
