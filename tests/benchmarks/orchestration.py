"""How much the orchestration costs when every step does nothing, beside a bare Prefect flow in the same run.

``python -m tests.benchmarks.orchestration`` prints a table: slides a second, processor time a slide (ours and the
server's), bytes a slide, at 100 and at 5,000 slides waiting; how fast the same database transactions are alone; and the
time from a scan's event to its last step when it is calm. ``--quick`` takes fewer slides.
"""

import argparse
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx
from rich.console import Console
from rich.table import Table

from flows.prefect_server import prefect_environment
from tests.benchmarks.empty_lab import settings_of

_LONGEST_SECONDS = 1_500
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Measured:
    """One line of the table."""

    what: str
    slides: int
    seconds: float
    cpu: float
    server_cpu: float | None = None
    bytes_a_slide: float | None = None

    @property
    def rate(self) -> float:
        """Slides a second."""
        return self.slides / self.seconds


def main() -> None:
    """Measure everything and print it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    quick = parser.parse_args().quick
    few, many, bare = (100, 1_000, 10) if quick else (100, 5_000, 25)
    lines = []
    with _server(tuned=False) as (port, pid):
        lines.append(_measure("bare flow, default server", ("tests.benchmarks.bare", str(bare), str(port)), pid))
    with _server(tuned=True) as (port, pid):
        lines.append(_measure("bare flow, tuned server", ("tests.benchmarks.bare", str(bare), str(port)), pid))
        for slides in (few, many):
            ours = ("tests.benchmarks.ours", "--slides", str(slides), "--prefect-port", str(port))
            lines.append(_measure(f"Coverslip, {slides} waiting", ours, pid))
        calm = _run(("tests.benchmarks.ours", "--slides", "0", "--calm", "20", "--prefect-port", str(port)))
    alone = _run(("tests.benchmarks.ours", "--slides", "500", "--record"))
    _report(lines, calm, alone)


def _report(lines: list[Measured], calm: dict[str, Any], alone: dict[str, Any]) -> None:
    console = Console(width=120)
    table = Table(
        "run", "slides/s", "CPU ms/slide", "server CPU ms/slide", "database bytes/slide", "x default", "x tuned"
    )
    default, tuned = lines[0], lines[1]
    for line in lines:
        table.add_row(
            line.what,
            f"{line.rate:.1f}",
            f"{1000 * line.cpu / line.slides:.1f}",
            "" if line.server_cpu is None else f"{1000 * line.server_cpu / line.slides:.1f}",
            "" if line.bytes_a_slide is None else f"{line.bytes_a_slide:,.0f}",
            f"{line.rate / default.rate:.1f}",
            f"{line.rate / tuned.rate:.1f}",
        )
    console.print(table)
    slides = alone["slides"]
    by_driver, by_sqlalchemy = alone["by_driver"], alone["by_sqlalchemy"]
    ours = {"seconds": alone["seconds"], "cpu": alone["cpu"]}
    console.print(
        f"The same {alone['transactions']:.1f} transactions a slide ({alone['statements']:.0f} statements), alone in "
        f"one thread: by the driver {_rate(by_driver, slides)}, through SQLAlchemy {_rate(by_sqlalchemy, slides)}\n"
        f"and ours without Prefect in the same run: {_rate(ours, slides)}; "
        f"{by_driver['seconds'] / ours['seconds']:.2f} and {by_sqlalchemy['seconds'] / ours['seconds']:.2f} of them."
    )
    console.print(f"Calm, from event to last step: p50 {calm['p50_s']:.2f} s, p95 {calm['p95_s']:.2f} s")


def _rate(taken: dict[str, float], slides: int) -> str:
    return f"{slides / taken['seconds']:.0f} slides/s, {1000 * taken['cpu'] / slides:.1f} ms CPU"


def _measure(what: str, module: tuple[str, ...], server: int) -> Measured:
    before = _cpu_of(server)
    run = _run(module)
    server_cpu = _cpu_of(server) - before
    return Measured(what, run["slides"], run["seconds"], run["cpu"], server_cpu, run.get("bytes_a_slide"))


def _run(module: tuple[str, ...]) -> dict[str, Any]:
    with TemporaryDirectory() as home:
        environment = {**os.environ, "PREFECT_BENCHMARK_HOME": home, "PREFECT_HOME": home}
        done = subprocess.run(
            (sys.executable, "-m", *module),
            env=environment,
            stdout=subprocess.PIPE,
            text=True,
            check=True,
            timeout=_LONGEST_SECONDS,
        )
    measured: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return measured


@contextmanager
def _server(*, tuned: bool) -> Iterator[tuple[int, int]]:
    """Run Prefect's server on SQLite, with its own defaults or as Coverslip sets it; yield its port and pid."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    with TemporaryDirectory() as home:
        quiet = {"PREFECT_HOME": home, "DO_NOT_TRACK": "1", "PREFECT_SERVER_ANALYTICS_ENABLED": "false"}
        settings = prefect_environment(settings_of(Path(home), port)) if tuned else quiet
        command = (sys.executable, "-m", "uvicorn", "--factory", "prefect.server.api.server:create_app")
        options = ("--host", "127.0.0.1", "--port", str(port), "--log-level", "error")
        with subprocess.Popen((*command, *options), env={**os.environ, **settings}) as server:
            try:
                _wait_for(port)
                yield port, server.pid
            finally:
                server.terminate()


def _wait_for(port: int) -> None:
    for _ in range(120):
        try:
            if httpx.get(f"http://127.0.0.1:{port}/api/health", timeout=2.0).status_code == httpx.codes.OK:
                return
        except httpx.HTTPError:
            time.sleep(0.5)
    message = "Prefect's server did not start within a minute"
    raise RuntimeError(message)


def _cpu_of(pid: int) -> float:
    """Return the processor seconds of a process (proc(5), utime and stime)."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


if __name__ == "__main__":
    main()
