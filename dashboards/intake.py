"""The door of Kafka, in a process of its own: what scanners and gateways at other sites tell becomes inbox rows."""

import gc
import logging
import threading

from connectors.eventlog.protocol import EventSource, Positions
from connectors.settings import Settings
from connectors.wiring import open_database, open_ids
from flows.intake.events import Doorway, take_events
from models.errors import RefusedError

_log = logging.getLogger(__name__)

TOPICS = ("scanner", "lims.hl7v2")
"""What is read, without the configured prefix."""


def run_intake(settings: Settings, stop: threading.Event) -> None:
    """Read Kafka into the inbox until ``stop`` is set.

    Raises
    ------
    RefusedError
        Kafka is not set, or not as it is, or has no such topic; or this is a gateway, which hands on and reads nothing.
    """
    kafka = settings.kafka
    if kafka is None:
        raise RefusedError(f"{settings.home / 'coverslip.toml'} has no [kafka] section, so there is nothing to read")
    if settings.forwards:
        raise RefusedError("this is a gateway: what it takes in is handed on to Kafka, and read elsewhere")
    # Whoever has no Kafka does not wait for its client.
    from connectors.eventlog.connection import client_options, greet, sentence  # noqa: PLC0415
    from connectors.eventlog.kafka import KafkaSource  # noqa: PLC0415

    def opened(positions: Positions) -> EventSource:
        # The client itself tries on without end, and says only that it could not: so it is known before it is begun.
        greet(settings)
        topics = [f"{kafka.prefix}{topic}" for topic in TOPICS]
        options = client_options(settings)
        return KafkaSource(options, kafka.group, topics, positions, say=lambda error: sentence(error, kafka))

    database = open_database(settings)
    try:
        doorway = Doorway(settings, database, open_ids(settings))
        take_events(doorway, opened, stop, all_is_loaded)
    finally:
        database.close()


def all_is_loaded() -> None:
    """Have the collector of garbage pass over what is here for good.

    To look through all libraries once in some ten thousand events took a twentieth of the time.
    """
    gc.freeze()
    _log.info("reading the event log")
