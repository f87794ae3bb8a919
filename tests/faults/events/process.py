"""One process of the intake from the event log: ``python -m tests.faults.events.process read|apply HOME``.

``read`` is a member of the consumer group with a short session, so that a run can see several take-overs; ``apply`` is
a worker of the intake's steps alone. SIGTERM ends either.
"""

import logging
import signal
import sys
import threading
from datetime import timedelta
from pathlib import Path

from connectors.eventlog.connection import client_options, sentence
from connectors.eventlog.kafka import KafkaSource
from connectors.eventlog.kafka_consumer import Limits
from connectors.eventlog.protocol import EventSource, Positions
from connectors.settings import Settings, load
from connectors.wiring import open_database, open_ids, open_lab
from dashboards.intake import TOPICS
from flows.engine import BareEngine
from flows.intake.events import Doorway, take_events
from flows.steps import STEPS
from flows.worker import run_worker

LIMITS = Limits(session=timedelta(seconds=6), quiet=timedelta(seconds=2), fresh=timedelta(seconds=2))

_log = logging.getLogger(__name__)


def main() -> None:
    """Run as the arguments say."""
    what, home = sys.argv[1:]
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    # kafka-python logs each try of its own to connect.
    logging.getLogger("kafka").setLevel(logging.CRITICAL)
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda _number, _frame: stop.set())
    settings = load(Path(home))
    (_read if what == "read" else _apply)(settings, stop)


def _read(settings: Settings, stop: threading.Event) -> None:
    kafka = settings.kafka
    assert kafka is not None

    def opened(positions: Positions) -> EventSource:
        topics = [kafka.prefix + topic for topic in TOPICS]
        options = client_options(settings)
        return KafkaSource(options, kafka.group, topics, positions, LIMITS, lambda error: sentence(error, kafka))

    database = open_database(settings, checkpoints=False)
    doorway = Doorway(settings, database, open_ids(settings), poll=timedelta(milliseconds=200))
    try:
        take_events(doorway, opened, stop, lambda: _log.warning("reads"))
    finally:
        database.close()


def _apply(settings: Settings, stop: threading.Event) -> None:
    with open_lab(settings, "worker", ()) as lab:
        run_worker(lab, BareEngine(), stop, {"apply": STEPS["apply"]})


if __name__ == "__main__":
    main()
