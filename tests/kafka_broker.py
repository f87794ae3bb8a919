"""Apache Kafka of its own for one test run, in a temporary folder on free ports."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from infra.kafka.broker import Broker, Security
from infra.kafka.libraries import KafkaNotToBeHadError, libraries

USERS = ("intake", "gateway", "stranger")
"""Who has a password, a certificate and tokens on a secured broker, beside ``admin``, who may do everything."""


def why_not() -> str:
    """Return why no broker can be had on this machine, in one sentence; empty when it can."""
    try:
        libraries()
    except KafkaNotToBeHadError as error:
        return str(error)
    return ""


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
