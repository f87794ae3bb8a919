"""Coverslip as a person runs it: ``coverslip up`` on a state folder of its own, and the command beside it."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from connectors.first_lab import FirstPorts, write_first_lab

_COVERSLIP = (sys.executable, "-m", "dashboards.cli.main")


@dataclass(frozen=True)
class Running:
    """A running installation: where its doors are, and how to ask it."""

    home: Path
    where: dict[str, Any]

    @property
    def mllp_port(self) -> int:
        """The port that takes HL7."""
        return int(self.where["mllp"][0]["port"])

    @property
    def scanner_folder(self) -> Path:
        """The folder that the scanner writes into."""
        return Path(self.where["scanners"][0]["path"])

    @property
    def archive(self) -> Path:
        """The archive folder."""
        return Path(self.where["archive"])

    def coverslip(self, *words: str) -> str:
        """Run the command as a person would; return what it printed, or fail with what it complained of."""
        done = subprocess.run(
            (*_COVERSLIP, "--home", str(self.home), *words), capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def rows(self) -> list[dict[str, Any]]:
        """Return what ``coverslip list --json`` says."""
        listed: list[dict[str, Any]] = json.loads(self.coverslip("list", "--json"))
        return listed

    def wait_until(self, true: Callable[[list[dict[str, Any]]], bool], seconds: float = 60.0) -> list[dict[str, Any]]:
        """Return the rows once they are as wanted."""
        deadline = time.monotonic() + seconds
        rows = self.rows()
        while not true(rows):
            assert time.monotonic() < deadline, f"not so within {seconds:.0f} s: {rows}"
            time.sleep(0.5)
            rows = self.rows()
        return rows


@contextmanager
def running(home: Path, change_settings: Callable[[str], str] = lambda text: text) -> Iterator[Running]:
    """Run ``coverslip up`` on free ports until the block ends; a clean end is part of what is tested."""
    ports = FirstPorts(mllp=free_port(), page=free_port(), lims=free_port(), engine=free_port())
    settings = write_first_lab(home, ports)
    settings.write_text(change_settings(settings.read_text(encoding="utf-8")), encoding="utf-8")
    log = (home / "up.log").open("wb")
    process = subprocess.Popen(
        (*_COVERSLIP, "--home", str(home), "up", "--json"), stdout=subprocess.PIPE, stderr=log, env={**os.environ}
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, (home / "up.log").read_text(encoding="utf-8")
        yield Running(home, json.loads(line))
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=60) == 0
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        if process.stdout is not None:
            process.stdout.close()
        log.close()


def free_port() -> int:
    """Return a port of the loopback address that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
