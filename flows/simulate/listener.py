"""Another system, in a demonstration with Kafka: it reads what Coverslip writes there, and notes what it read."""

import json
import threading
from collections.abc import Iterator
from datetime import timedelta
from typing import Final

from connectors.eventlog.protocol import EventSource
from connectors.settings import Settings
from flows.simulate.laboratory import read_back_path
from models.errors import TransientError
from models.events.envelope import parse
from models.events.kinds import KINDS

_GROUP: Final = "demonstration-listener"
_POLL: Final = timedelta(seconds=0.5)
_LEAVE: Final = timedelta(seconds=1)
_MOST_RECORDS: Final = 100
_PAUSE_SECONDS: Final = 1.0


def listen(settings: Settings, stop: threading.Event) -> None:
    """Note every event of ours, from the first on, until ``stop`` is set; an event read twice is noted twice."""
    source = _opened(settings)
    path = read_back_path(settings.home)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", buffering=1) as file:
        while not stop.is_set():
            try:
                records = source.poll(_POLL, _MOST_RECORDS)
            except TransientError:
                stop.wait(_PAUSE_SECONDS)
                continue
            for record in records:
                event = parse(record.value or b"")
                file.write(json.dumps({"id": event.id, "type": event.type, "subject": event.subject}) + "\n")
    source.close(_LEAVE)


def read_back(settings: Settings) -> Iterator[str]:
    """Yield the ids of the events that were noted so far."""
    path = read_back_path(settings.home)
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
        # The last line may be under way.
        if line.endswith("}"):
            yield json.loads(line)["id"]


def _opened(settings: Settings) -> EventSource:
    # The client takes a third of a second to import, and most demonstrations have no Kafka.
    from connectors.eventlog.connection import client_options  # noqa: PLC0415
    from connectors.eventlog.kafka import KafkaSource  # noqa: PLC0415

    prefix = settings.kafka.prefix if settings.kafka else ""
    topics = {prefix + kind.TOPIC for kind in KINDS.values() if kind.FROM == "coverslip"}
    return KafkaSource(client_options(settings), _GROUP, topics, lambda _partitions: {})
