"""A PostgreSQL cluster of its own for one test run, on loopback, ended by its process id."""

import getpass
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import psycopg
from psycopg import sql

_START_LIMIT_S = 60
_STOP_LIMIT_S = 20
_ROLE = "coverslip"

# The data lives for one run, so nothing waits for a disk.
_SETTINGS = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "100",
    "shared_buffers": "64MB",
    "timezone": "UTC",
}


class ServerDidNotStartError(Exception):
    """The server ended, or did not answer in time; the message is the end of its log."""


@dataclass(frozen=True)
class Cluster:
    """A running PostgreSQL server that belongs to this test run alone."""

    port: int
    password: str

    def url(self, database: str = "postgres") -> str:
        """Return SQLAlchemy's address of one database of this cluster."""
        return f"postgresql+psycopg://{_ROLE}:{self.password}@127.0.0.1:{self.port}/{database}"

    def connect(self) -> psycopg.Connection:
        """Open a connection that may create and drop databases."""
        return psycopg.connect(
            host="127.0.0.1",
            port=self.port,
            user=_ROLE,
            password=self.password,
            dbname="postgres",
            autocommit=True,
            connect_timeout=5,
        )

    @contextmanager
    def unmade_database(self) -> Iterator[str]:
        """Give the address of a database that nobody made yet; drop it at the end with whoever is still connected."""
        name = f"test_{secrets.token_hex(6)}"
        try:
            yield self.url(name)
        finally:
            with self.connect() as connection:
                connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))

    @contextmanager
    def empty_database(self) -> Iterator[str]:
        """Create an empty database, give its address, and drop it as above."""
        with self.unmade_database() as url:
            with self.connect() as connection:
                name = sql.Identifier(url.rpartition("/")[2])
                connection.execute(sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(name))
            yield url


@dataclass(frozen=True)
class _Owner:
    """Who runs the server: ourselves or, since PostgreSQL refuses root, an account without rights."""

    name: str
    prefix: tuple[str, ...]

    @classmethod
    def choose(cls) -> Self:
        # The server ends with the test run, even one that is killed.
        dies_along = ("setpriv", "--pdeathsig", "INT")
        if os.geteuid() != 0:
            return cls(getpass.getuser(), dies_along)
        known = {entry.pw_name: entry for entry in pwd.getpwall()}
        account = known.get("postgres") or known["nobody"]
        as_account = (f"--reuid={account.pw_uid}", f"--regid={account.pw_gid}", "--clear-groups")
        return cls(account.pw_name, (*dies_along, *as_account))


def binaries() -> Path | None:
    """Return the folder of the newest PostgreSQL server here, or nothing.

    Debian keeps servers out of the PATH, one folder a version.
    """
    debian = [path.parent for path in Path("/usr/lib/postgresql").glob("*/bin/initdb")]
    if debian:
        return max(debian, key=lambda folder: int(folder.parent.name))
    initdb = shutil.which("initdb")
    return Path(initdb).resolve().parent if initdb else None


@contextmanager
def cluster(programs: Path) -> Iterator[Cluster]:
    """Make a cluster in a temporary folder, start it on a free port, and end it."""
    owner = _Owner.choose()
    password = secrets.token_hex(16)
    with tempfile.TemporaryDirectory(prefix="coverslip-postgres-") as name:
        folder = Path(name)
        _initialise(folder, programs, owner, password)
        process, made = _start(folder, programs, owner, password)
        try:
            yield made
        finally:
            _stop(process)


def _initialise(folder: Path, programs: Path, owner: _Owner, password: str) -> None:
    secret = folder / "password"
    secret.write_text(password)
    if os.geteuid() == 0:
        shutil.chown(folder, owner.name)
        shutil.chown(secret, owner.name)
    arguments = ("--username", _ROLE, "--pwfile", str(secret), "--auth", "scram-sha-256", "--no-sync")
    encoding = ("--encoding", "UTF8", "--locale", "C")
    command = (*owner.prefix, str(programs / "initdb"), "--pgdata", str(folder / "data"), *arguments, *encoding)
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=_START_LIMIT_S, check=False)
    if done.returncode != 0:
        raise ServerDidNotStartError(done.stderr)


def _start(folder: Path, programs: Path, owner: _Owner, password: str) -> tuple[subprocess.Popen[bytes], Cluster]:
    """Start the server; three times, since another process may take a port that was free a moment ago."""
    for _ in range(3):
        port = _free_port()
        options = [f"--{name}={value}" for name, value in (_SETTINGS | {"port": str(port)}).items()]
        process = _spawn(folder, [*owner.prefix, str(programs / "postgres"), "-D", str(folder / "data"), *options])
        made = Cluster(port, password)
        if _answers(made, process):
            return process, made
        _stop(process)
    raise ServerDidNotStartError((folder / "log").read_text()[-2_000:])


def _spawn(folder: Path, command: Sequence[str]) -> subprocess.Popen[bytes]:
    with (folder / "log").open("ab") as log:
        return subprocess.Popen(command, cwd=folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _answers(made: Cluster, process: subprocess.Popen[bytes]) -> bool:
    limit = time.monotonic() + _START_LIMIT_S
    while process.poll() is None and time.monotonic() < limit:
        try:
            made.connect().close()
        except psycopg.OperationalError:
            time.sleep(0.05)
        else:
            return True
    return False


def _stop(process: subprocess.Popen[bytes]) -> None:
    """End the server: at once and cleanly, else by force."""
    process.send_signal(signal.SIGINT)
    try:
        process.wait(_STOP_LIMIT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(_STOP_LIMIT_S)
