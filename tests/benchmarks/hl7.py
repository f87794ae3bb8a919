"""How fast HL7 is acknowledged over MLLP, beside three other doors and the database alone, in one run.

``python -m tests.benchmarks.hl7`` opens each door in a process of its own and talks to it over 1, 10 and 100
connections, each of which sends an order with three specimens when the one before was answered. Ours commits each to
SQLite (synchronous=FULL) before it answers, and so does the like of it: python-hl7's server as a careful user fills it
in. The same server as it comes, and hl7apy's, keep nothing. The rows that came of ours are then written again by the
bare driver, as many in a transaction as our door wrote. Then: what it costs to read an order, and what one of 10 MB
costs the others.
"""

import argparse
import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

from rich.console import Console
from rich.table import Table

from connectors.lims.message import Message
from connectors.lims.profile import Profile
from connectors.lims.reading import read

_CONNECTIONS = (1, 10, 100)
_DOORS = ("ours", "python-hl7 durable", "python-hl7", "hl7apy")
_WARM_UP_SECONDS = 0.5
_LARGE_BYTES = 10_000_000
_ORDER = "\r".join(
    (
        "MSH|^~\\&|LIMS|SITEA|COVERSLIP|NET|20261122091500+0000||OML^O33^OML_O33|{number}|P|2.5.1||||||UNICODE UTF-8",
        "PID|1||9990048215^^^NHS^NH~A100234^^^SITEA^MR||Example^Ada^^^^^L||19640229|F|||1 High Street^^Leeds^^LS1 1AA",
        "PV1|1|I|WARD7^^^SITEA||||1234^Surgeon^Sam|||SUR",
        *(
            f"SPM|{n}|26H004821-A1-{n}&SITEA^26H004821-A1-{n}&SITEA|26H004821-A1&SITEA|119376003^Tissue^SCT||||"
            f"76752008^Breast^SCT|7771000^Left^SCT|||||||||20261122080000+0000|||||||||GLASS\r"
            f"ORC|NW|P{n}^LIMS|26H004821^LIMS||||||20261122091500+0000|||1234^Surgeon^Sam\r"
            f"TQ1|{n}||||||20261122091500+0000|20261125170000+0000|R\r"
            f"OBR|{n}|P{n}^LIMS|26H004821^LIMS|HE^H and E^L|||20261122080000+0000|||||||||1234^Surgeon^Sam\r"
            f"OBX|1|CWE|397165007^Stain^SCT||12710003^Haematoxylin stain^SCT||||||F\r"
            f"OBX|2|CWE|397165007^Stain^SCT||36879007^Eosin stain^SCT||||||F\r"
            f"OBX|3|TX|22636-5^Clinical history^LN||Screening detected lesion, 12 mm, core biopsy, ?invasive||||||F"
            for n in (1, 2, 3)
        ),
    )
)


@dataclass
class _Talk(asyncio.Protocol):
    """One connection: sends an order, and the next when it is answered; opens another where the door closes it."""

    load: "_Load"
    transport: asyncio.Transport | None = None
    expected: bytes = b""
    heard: bytes = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self._say()

    def data_received(self, data: bytes) -> None:
        self.heard += data
        if not self.heard.endswith(b"\x1c\r"):
            return
        assert self.expected in self.heard, "an answer that names another message"
        self.heard = b""
        self.load.answered += 1
        if not self.load.reconnects and not self.load.over:
            self._say()

    def connection_lost(self, error: Exception | None) -> None:
        del error
        self.load.closed.set()
        if self.load.reconnects and not self.load.over:
            self.load.open()

    def _say(self) -> None:
        assert self.transport is not None
        self.load.number += 1
        self.expected = b"MSA|AA|%d" % self.load.number
        self.transport.write(b"\x0b" + _ORDER.format(number=self.load.number).encode() + b"\r\x1c\r")


@dataclass
class _Load:
    """Everything that is said to one door."""

    port: int
    reconnects: bool
    number: int = 0
    answered: int = 0
    over: bool = False
    talks: "set[asyncio.Task[object]]" = field(default_factory=set)
    closed: asyncio.Event = field(default_factory=asyncio.Event)

    def open(self) -> None:
        opening = asyncio.get_running_loop().create_connection(lambda: _Talk(self), "127.0.0.1", self.port)
        task = asyncio.ensure_future(opening)
        self.talks.add(task)
        task.add_done_callback(self.talks.discard)


def main() -> None:
    """Measure everything and print it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=3.0, help="how long each door is talked to")
    parser.add_argument("--rounds", type=int, default=3, help="how often each is")
    wanted = parser.parse_args()
    console = Console(width=120)
    with TemporaryDirectory() as folder:
        rounds = [_round(Path(folder) / f"round-{number}", wanted.seconds) for number in range(wanted.rounds)]
        _report(console, rounds)
        _report_reading(console)
        _report_large(console, [_large(Path(folder) / f"large-{number}") for number in range(wanted.rounds)])


def _round(folder: Path, seconds: float) -> dict[str, dict[int, dict[str, float]]]:
    """Talk to each door over each number of connections; every database is a new one."""
    measured: dict[str, dict[int, dict[str, float]]] = {door: {} for door in (*_DOORS, "rows")}
    for connections in _CONNECTIONS:
        for door in _DOORS:
            place = folder / f"{door}-{connections}"
            place.mkdir(parents=True)
            with _opened(door, place) as (port, process):
                load = _Load(port, reconnects=door == "hl7apy")
                measured[door][connections] = asyncio.run(_talk(load, connections, seconds, process.pid))
        done = subprocess.run(_command("rows", folder / f"ours-{connections}"), stdout=subprocess.PIPE, check=True)
        measured["rows"][connections] = json.loads(done.stdout)
    return measured


def _command(way: str, folder: Path) -> tuple[str, ...]:
    return (sys.executable, "-m", "tests.benchmarks.hl7_doors", way, str(folder))


@contextmanager
def _opened(door: str, folder: Path) -> Iterator[tuple[int, "subprocess.Popen[str]"]]:
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(_command(door, folder), **pipes) as process:
        assert process.stdout is not None
        try:
            yield int(process.stdout.readline()), process
        finally:
            process.communicate(timeout=60)


async def _talk(load: _Load, connections: int, seconds: float, pid: int) -> dict[str, float]:
    """Return how many messages a second were answered, and the door's processor time for each."""
    for _ in range(connections):
        load.open()
    await asyncio.sleep(_WARM_UP_SECONDS)
    already, began, used = load.answered, time.perf_counter(), _cpu(pid)
    await asyncio.sleep(seconds)
    answered, took, cost = load.answered - already, time.perf_counter() - began, _cpu(pid) - used
    load.over = True
    await asyncio.sleep(0.2)
    return {"rate": answered / took, "cpu": cost / answered}


def _cpu(pid: int) -> float:
    """Return the seconds of processor time that a process has used."""
    ticks = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[11:13]
    return sum(map(int, ticks)) / os.sysconf("SC_CLK_TCK")


def _large(folder: Path) -> dict[str, float]:
    """Return what a message of 10 MB adds to the wait of another connection, and to the memory of the door."""
    folder.mkdir()
    with _opened("ours", folder) as (port, process):
        return asyncio.run(_beside_large(port, process.pid))


async def _beside_large(port: int, pid: int) -> dict[str, float]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    alone = [await _ask(reader, writer, number) for number in range(300)]
    before = _memory(pid)
    large = asyncio.ensure_future(_say_large(port))
    beside: list[float] = []
    while not large.done():
        beside.append(await _ask(reader, writer, 1_000 + len(beside)))
    after = _memory(pid)
    writer.close()
    return {
        "usual": median(alone),
        "worst": max(beside),
        "worst alone": max(alone),
        "took": large.result(),
        "bytes": after["VmHWM"] - before["VmRSS"],
    }


async def _ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> float:
    """Return how long one order's answer took."""
    began = time.perf_counter()
    writer.write(b"\x0b" + _ORDER.format(number=number).encode() + b"\r\x1c\r")
    assert b"MSA|AA|%d" % number in await reader.readuntil(b"\x1c\r")
    return time.perf_counter() - began


async def _say_large(port: int) -> float:
    """Send a message of 10 MB as its sender's network takes it, and return how long its answer took."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    text = b"\x0b" + _ORDER.format(number="large").encode() + b"\rOBX|9|ED|PDF^Report||^application^pdf^Base64^"
    began = time.perf_counter()
    writer.write(text)
    for _ in range(_LARGE_BYTES // 100_000):
        writer.write(b"QUJD" * 25_000)
        await writer.drain()
    writer.write(b"||||||F\r\x1c\r")
    assert b"MSA|AA|large" in await reader.readuntil(b"\x1c\r")
    took = time.perf_counter() - began
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()
    return took


def _memory(pid: int) -> dict[str, float]:
    """Return what a process holds now, and the most that it ever held, in bytes."""
    lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
    said = dict(line.split(":", 1) for line in lines)
    return {name: int(said[name].split()[0]) * 1024.0 for name in ("VmRSS", "VmHWM")}


def _report(console: Console, rounds: list[dict[str, dict[int, dict[str, float]]]]) -> None:
    table = Table(
        "acknowledged a second (CPU of the door)", *(f"{connections} connections" for connections in _CONNECTIONS)
    )
    names = {
        "ours": "ours, durable",
        "python-hl7 durable": "python-hl7, durable",
        "python-hl7": "python-hl7, nothing kept",
        "hl7apy": "hl7apy, nothing kept, reconnecting",
        "rows": "the database alone, in our batches",
    }
    for way, named in names.items():
        rates = [median(one[way][connections]["rate"] for one in rounds) for connections in _CONNECTIONS]
        costs = [median(one[way][connections]["cpu"] for one in rounds) for connections in _CONNECTIONS]
        table.add_row(named, *(f"{rate:,.0f} ({1e6 * cost:,.0f} µs)" for rate, cost in zip(rates, costs, strict=True)))
    table.add_row(
        "messages in a commit of ours",
        *(f"{median(one['rows'][c]['batch'] for one in rounds):.1f}" for c in _CONNECTIONS),
    )
    console.print(table)
    for connections in _CONNECTIONS:
        tenfold = "10" if connections == 10 else ""
        aims = {"python-hl7 durable": tenfold, "python-hl7": tenfold, "hl7apy": "", "rows": "0.7"}
        for other, aim in aims.items():
            shares = [one["ours"][connections]["rate"] / one[other][connections]["rate"] for one in rounds]
            said, aimed = ", ".join(f"{share:.2f}" for share in shares), f"aim: {aim}; " if aim else ""
            cheaper = median(one[other][connections]["cpu"] / one["ours"][connections]["cpu"] for one in rounds)
            console.print(
                f"{connections} connections: {median(shares):.2f} × {names[other]} ({aimed}{said}); "
                f"by processor time {cheaper:.2f}"
            )


def _report_reading(console: Console) -> None:
    """Print what it costs to read an order with three specimens."""
    raw, profile = _ORDER.format(number="1").encode(), Profile(issuer="SITEA")
    costs = []
    for _ in range(7):
        began = time.process_time()
        for _ in range(200):
            stated = read(Message(raw), profile)
        costs.append((time.process_time() - began) / 200)
    assert stated.order is not None
    console.print(f"reading an order with three specimens: {median(costs) * 1e3:.3f} ms of CPU (aim: 0.3)")


def _report_large(console: Console, rounds: list[dict[str, float]]) -> None:
    delay = median(one["worst"] - one["usual"] for one in rounds)
    console.print(
        f"beside one of 10 MB ({median(one['took'] for one in rounds) * 1e3:.0f} ms) another connection waits at most "
        f"{delay * 1e3:.0f} ms longer (aim: 50; usual {median(one['usual'] for one in rounds) * 1e3:.1f} ms, at worst "
        f"{median(one['worst alone'] for one in rounds) * 1e3:.1f}), and the door holds "
        f"{median(one['bytes'] for one in rounds) / 1e6:.0f} MB more"
    )


if __name__ == "__main__":
    main()
