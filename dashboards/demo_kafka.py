"""The demonstration's own Kafka: one node in its state folder, with our topics, that ends with it."""

from collections.abc import Iterator
from contextlib import contextmanager

from connectors.eventlog.topics import opened_cluster, read_topics
from connectors.settings import Settings
from infra.kafka.broker import Broker, BrokerDidNotStartError
from infra.kafka.libraries import ROOT, KafkaNotToBeHadError, libraries
from models.errors import RefusedError

_TOPICS = ROOT / "infra" / "kafka" / "topics.toml"


def expect_kafka() -> None:
    """Return once Kafka can be started on this machine; the first time Maven fetches it.

    Raises
    ------
    RefusedError
        Java or Maven is missing; the sentence says how to get it.
    """
    try:
        libraries()
    except KafkaNotToBeHadError as error:
        raise RefusedError(str(error)) from error


@contextmanager
def running_kafka(settings: Settings) -> Iterator[None]:
    """Run a new node in the demonstration's own folder, with our topics, each of which it keeps once.

    Raises
    ------
    RefusedError
        It did not start.
    """
    try:
        broker = Broker.make(settings.home / "kafka", port=_port(settings)).start()
    except BrokerDidNotStartError as error:
        message = f"Apache Kafka did not start: {settings.home / 'kafka'} holds its log"
        raise RefusedError(message) from error
    try:
        with opened_cluster(settings) as cluster:
            wanted = read_topics(_TOPICS).replicated(1)
            cluster.apply(wanted, cluster.compare(wanted).differences)
        yield
    finally:
        broker.stop()


def _port(settings: Settings) -> int:
    """Return the port where the settings say that Kafka is."""
    if settings.kafka is None:
        message = "the laboratory was written without Kafka"
        raise RefusedError(message)
    return int(settings.kafka.bootstrap[0].rpartition(":")[2])
