"""How an event leaves: what the outbox says becomes its frozen bytes, and these a record of the log."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, Literal

from connectors.eventlog.protocol import Acknowledged, Headers
from connectors.settings import Settings
from connectors.telemetry import Publication
from connectors.wiring import Lab
from models.errors import RejectedError, TransientError
from models.events.envelope import CONTENT_TYPE, OURS, Event, build
from models.events.fields import EventData
from models.events.kinds import KINDS, DeadLetter
from models.failpoint import failpoint

_KIND_OF_NAME: Final = {kind.__name__: kind for kind in KINDS.values()}
# What somebody who looks at the topic alone needs to find the record: nothing of these is from outside.
_CONTEXT: Final = ("topic", "partition", "offset", "stage", "error", "first_at", "last_at", "tries", "trace_id")
_NOT_SET: Final = "Kafka is not in the settings any more: put [kafka] back, events still wait for it"


@dataclass(frozen=True)
class Leaving:
    """One record that is to be written, the same at each try; ``message_id`` is ours, for telling of it."""

    message_id: str
    event_type: str
    topic: str
    key: bytes
    value: bytes
    headers: Headers


def frozen(message_id: str, announcement: Mapping[str, Any], subject_id: str, stated_at: datetime) -> bytes:
    """Return the bytes of an event of ours, which has the id of its message."""
    return build(Event(message_id, OURS, stated_at, _data_of(announcement), subject_id))


def leaving(
    settings: Settings, message_id: str, said: Mapping[str, Any] | EventData, key: str, value: bytes
) -> Leaving:
    """Return where an event goes, with its headers; ``TransientError`` when the settings have no Kafka."""
    if settings.kafka is None:
        raise TransientError(_NOT_SET)
    data = said if isinstance(said, EventData) else _data_of(said)
    headers: Headers = (("content-type", CONTENT_TYPE),)
    if isinstance(data, DeadLetter):
        context = data.as_json()
        headers += tuple((f"dead-letter-{name}", str(context[name]).encode()) for name in _CONTEXT if name in context)
    return Leaving(message_id, data.TYPE, settings.kafka.prefix + data.TOPIC, key.encode(), value, headers)


def write(lab: Lab, record: Leaving) -> Acknowledged:
    """Return where the record lies; ``TransientError`` and ``RejectedError`` as the log's sink says."""
    if lab.events is None:
        raise TransientError(_NOT_SET)
    began = time.monotonic()
    failpoint("event.before_publish")
    try:
        placed = lab.events.publish(record.topic, record.key, record.value, record.headers)
    except (TransientError, RejectedError) as error:
        _tell(lab, record, "refused" if isinstance(error, RejectedError) else "none", began)
        raise
    failpoint("event.after_publish")
    _tell(lab, record, "written", began)
    return placed


def _tell(lab: Lab, record: Leaving, ended: Literal["written", "refused", "none"], began: float) -> None:
    took = timedelta(seconds=time.monotonic() - began)
    lab.telemetry.published(Publication(record.message_id, record.event_type, ended, len(record.value), took))


def _data_of(announcement: Mapping[str, Any]) -> EventData:
    said = dict(announcement)
    return _KIND_OF_NAME[said.pop("kind")].model_validate(said)
