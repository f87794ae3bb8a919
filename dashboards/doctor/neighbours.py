"""Who can be reached, and whether our own doors are free to be opened or are open already."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import httpx

from dashboards.doctor.finding import UP, Finding, Findings, Installation
from flows.prefect_server import prefect_environment

_CONNECT_SECONDS: Final = 2.0
_LISTENING: Final = "0A"  # in /proc/net/tcp: proc(5)


def started_here(home: Path) -> dict[str, int | None] | None:
    """Return what a running ``up`` has started, by name; nothing when none runs on this state folder."""
    lock, pids = home / "up.lock", home / "pids"
    if not lock.exists() or not pids.exists() or not _is_locked(lock):
        return None
    named = (line.split() for line in pids.read_text(encoding="ascii").splitlines())
    return {name: int(pid) if pid.isdigit() else None for name, pid in named}


def processes(installation: Installation) -> Findings:
    """Look whether the system runs on this state folder."""
    running = installation.processes
    if running is None:
        yield Finding("processes", "note", f"'{UP}' does not run on this state folder", "it opens the doors and works")
        return
    ended = [name for name, pid in running.items() if pid is None]
    if ended:
        logs = installation.settings.home / "logs"
        names = " and ".join(ended)
        yield Finding("processes", "missing", f"{names} ended and is started again and again", f"{logs} says why")
        return
    yield Finding("processes", "ok", ", ".join(f"{name} is {pid}" for name, pid in running.items()))


def ports(installation: Installation) -> Findings:
    """Look whether each port that is to be opened is free, or open by us."""
    for what, host, port in _doors(installation):
        if port == 0:
            yield Finding(what, "ok", f"{host}, on a port that is chosen at each start")
            continue
        yield _port(installation, what, host, port)


def lims(installation: Installation) -> Findings:
    """Look whether each LIMS that is told accepts a connection."""
    for peer in installation.settings.lims:
        what = f"LIMS {peer.name}"
        trouble = connecting(peer.host, peer.port)
        if trouble:
            fix = f"messages to it wait; start it, or correct [[lims]] {peer.name}"
            yield Finding(what, "note", f"{peer.host}:{peer.port} does not answer ({trouble})", fix)
        else:
            yield Finding(what, "ok", f"{peer.host}:{peer.port} accepts connections")


def prefect(installation: Installation) -> Findings:
    """Look whether Prefect's server answers; slides move without it too."""
    settings = installation.settings
    if not settings.engine.enabled:
        yield Finding("Prefect", "ok", "not wanted by the settings: slides move without it")
        return
    address = prefect_environment(settings)["PREFECT_API_URL"]
    try:
        answer = httpx.get(f"{address}/health", timeout=_CONNECT_SECONDS)
    except httpx.HTTPError:
        if installation.processes is None:
            yield Finding("Prefect", "note", f"{address} does not answer", f"'{UP}' starts it")
            return
        log = settings.home / "logs" / "prefect.log"
        yield Finding("Prefect", "note", f"{address} does not answer; slides move without it", f"{log} says why")
        return
    if answer.status_code != httpx.codes.OK:
        yield Finding("Prefect", "note", f"{address} answers {answer.status_code}; slides move without it")
        return
    yield Finding("Prefect", "ok", f"{address} answers")


def telemetry(installation: Installation) -> Findings:
    """Look whether somebody takes the traces and metrics that are to be sent."""
    wanted = installation.settings.telemetry
    if wanted.to != "otlp":
        yield Finding("telemetry", "ok", {"off": "off", "file": "written to the state folder"}[wanted.to])
        return
    address = urlsplit(wanted.endpoint)
    port = address.port or (443 if address.scheme == "https" else 80)
    trouble = connecting(address.hostname or "", port)
    if trouble:
        fix = 'what is told meanwhile is dropped; start the collector, or set telemetry.to = "off"'
        yield Finding("telemetry", "note", f"{wanted.endpoint} does not answer ({trouble})", fix)
        return
    yield Finding("telemetry", "ok", f"sent to {wanted.endpoint}")


def connecting(host: str, port: int) -> str:
    """Return why a connection can't be made, or an empty text."""
    try:
        socket.create_connection((host, port), _CONNECT_SECONDS).close()
    except TimeoutError:
        return f"no answer within {_CONNECT_SECONDS:g} s"
    except OSError as error:
        return error.strerror or type(error).__name__
    return ""


def _is_locked(path: Path) -> bool:
    """Return whether somebody holds a lock on a file, without trying for it, which might have an ``up`` refused."""
    # proc(5): "1: FLOCK  ADVISORY  WRITE 32203 fe:00:5423442 0 EOF"; a line with "->" waits.
    lines = Path("/proc/locks").read_text(encoding="ascii").splitlines()
    inodes = {line.split()[5].rpartition(":")[2] for line in lines if "FLOCK" in line and "->" not in line}
    return str(path.stat().st_ino) in inodes


def _doors(installation: Installation) -> Iterator[tuple[str, str, int]]:
    settings = installation.settings
    for listener in (one for one in settings.listeners if not one.at_gateway):
        yield f"MLLP {listener.peer}", listener.host, listener.port
    yield "page", settings.page.host, settings.page.port
    if settings.engine.enabled:
        yield "Prefect's port", "127.0.0.1", settings.engine.port


def _port(installation: Installation, what: str, host: str, port: int) -> Finding:
    trouble = _binding(host, port)
    if not trouble:
        return Finding(what, "ok", f"port {port} of {host} is free")
    holder = _holder_of(port)
    if holder is not None and _works_on(holder, installation.settings.home):
        return Finding(what, "ok", f"port {port} of {host} is open, by our process {holder}")
    who = f"used by process {holder}" if holder else trouble
    fix = f"end what uses it, or set another in {installation.file}"
    return Finding(what, "missing", f"port {port} of {host} can't be opened ({who})", fix)


def _binding(host: str, port: int) -> str:
    """Return why a port can't be opened, or an empty text; it is let go at once."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            return os.strerror(error.errno or 0)
    return ""


def _holder_of(port: int) -> int | None:
    """Return the process that listens on a port, if it is one that we may look at."""
    sockets = {f"socket:[{inode}]" for inode in _listening(port)}
    for process in Path("/proc").glob("[0-9]*"):
        if sockets.intersection(_opened_by(process)):
            return int(process.name)
    return None


def _listening(port: int) -> Iterator[str]:
    """Yield the inodes of the sockets that listen on a port."""
    for table in (Path("/proc/net/tcp"), Path("/proc/net/tcp6")):
        lines = table.read_text(encoding="ascii").splitlines()[1:] if table.exists() else []
        for _, local, _, state, *rest in map(str.split, lines):
            if state == _LISTENING and int(local.rpartition(":")[2], 16) == port:
                yield rest[5]


def _works_on(pid: int, home: Path) -> bool:
    """Whether a process has anything open in this state folder: its log, the database, a lock."""
    inside = f"{home.resolve()}{os.sep}"
    return any(name.startswith(inside) for name in _opened_by(Path("/proc") / str(pid)))


def _opened_by(process: Path) -> Iterator[str]:
    """Yield what a process has open; nothing of one that is another user's or has just ended."""
    try:
        descriptors = list((process / "fd").iterdir())
    except OSError:
        return
    for descriptor in descriptors:
        try:
            yield str(descriptor.readlink())
        except OSError:
            continue
