"""What a record of an event log is to the inbox: an event, a LIMS's message in an envelope, a part of one, or a riddle.

Nothing here is acted on and nothing is refused: what can't be read is kept as it came, and ``apply`` says why.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any, TypeAlias

from connectors.eventlog.protocol import Record
from connectors.lims.answers import acknowledge
from connectors.lims.header import read_header
from connectors.lims.profile import Profile
from connectors.settings import Settings
from flows.intake.inbox import Arrival
from flows.intake.profiles import profile_of
from models.errors import RefusedError, RejectedError
from models.events.envelope import parse
from models.events.kinds import Hl7Part, Hl7Received

_LONGEST_PEER = 64

ProfileFor: TypeAlias = Callable[[str], Profile]
"""Returns a peer's profile; raises ``RefusedError`` when no listener is named so."""


@dataclass(frozen=True)
class PartArrived:
    """A part of a large message, of this peer, and the record that it came in."""

    peer: str
    part: Hl7Part
    record: Arrival


def read_record(
    settings: Settings, cluster_id: str, record: Record, profile_for: ProfileFor | None = None
) -> Arrival | PartArrived:
    """Return what a record is to the inbox; who reads many gives a ``profile_for`` that makes each profile once."""
    try:
        event = parse(record.value or b"")
    except RejectedError:
        return unread(settings, cluster_id, record)
    peer = event.origin.name or record.partition.topic[:_LONGEST_PEER]
    as_event = Arrival(
        source="event",
        peer=peer,
        payload=record.value or b"",
        message_type=event.type,
        event_id=event.id,
        origin=_origin_of(cluster_id, record),
    )
    if isinstance(event.data, Hl7Part):
        return PartArrived(peer, event.data, as_event)
    if isinstance(event.data, Hl7Received):
        profile_for = profile_for or partial(profile_of, settings)
        return message_of(profile_for, as_event, event.data.payload, event.data.received_at, event.data.sha256)
    return as_event


def unread(settings: Settings, cluster_id: str, record: Record) -> Arrival:
    """Return a record as it came: its bytes, under the name of whoever its key says it is from."""
    key = (record.key or b"").decode("utf-8", "replace").rpartition("/")[2]
    known = {scanner.name for scanner in settings.scanners} | {listener.peer for listener in settings.listeners}
    # A key is written by others: only one that names somebody of the settings is taken at its word.
    peer = key if key in known else record.partition.topic[:_LONGEST_PEER]
    return Arrival("event", peer, record.value or b"", origin=_origin_of(cluster_id, record))


def message_of(
    profile_for: ProfileFor, envelope: Arrival, payload: bytes, received_at: datetime, sha256: str = ""
) -> Arrival:
    """Return a LIMS's message as its own door would have kept it, with the answer that the door would have given.

    ``sha256`` is the payload's where it is known.
    """
    header = read_header(payload)
    try:
        answer = acknowledge(payload, profile_for(envelope.peer), received_at, header, sha256).payload
    except RefusedError:
        # No listener is named so: it is kept, and ``apply`` says what to do.
        answer = None
    return Arrival(
        source="hl7",
        peer=envelope.peer,
        payload=payload,
        answer=answer,
        message_control_id=header.control_id.decode("utf-8", "replace"),
        message_type=header.message_type,
        event_id=envelope.event_id,
        origin=envelope.origin,
        otherwise=envelope,
        sha256=sha256,
    )


def _origin_of(cluster_id: str, record: Record) -> dict[str, Any]:
    """Return where a record lies, as the inbox keeps it."""
    return {
        "cluster": cluster_id,
        "topic": record.partition.topic,
        "partition": record.partition.number,
        "offset": record.offset,
        "written_at": record.written_at.isoformat(),
    }
