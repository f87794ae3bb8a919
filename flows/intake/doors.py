"""What stands behind each door: bytes from a LIMS or a scanner become durable here, and only then count as ours."""

import asyncio
import hashlib
import json
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta

from sqlalchemy.orm import Session

from connectors.lims.answers import acknowledge, refuse, unavailable
from connectors.lims.framing import FrameRefused
from connectors.lims.header import read_header
from connectors.lims.listener import ListenerLimits
from connectors.settings import Listener, Settings
from connectors.telemetry import Exchange, Telemetry
from flows.intake.inbox import Arrival, InboxWriter, keep
from flows.intake.profiles import profile_of
from models.database import database_now, utc_now
from models.errors import TransientError
from models.opaque import OpaqueIds
from models.tables.scan import ScanFile

# Hashed within a millisecond.
_LARGE_BYTES = 262_144
# For more at a time hashlib lets other threads run, and waiting for its turn again takes longer than the hashing.
_UNSHARED_BYTES = 2_047


def hl7_door(
    settings: Settings, listener: Listener, inbox: InboxWriter, telemetry: Telemetry
) -> Callable[[bytes], Awaitable[bytes | None]]:
    """Return what a listener calls with each message: its stored answer, or ``None`` when it could not be stored."""
    profile = profile_of(settings, listener.peer)

    async def keep_message(raw: bytes) -> bytes | None:
        began = time.monotonic()
        header, digest = read_header(raw), await _sha256(raw)
        acknowledged = acknowledge(raw, profile, utc_now(), header, digest)
        arrival = Arrival(
            source="hl7",
            peer=listener.peer,
            payload=raw,
            answer=acknowledged.payload,
            message_control_id=header.control_id.decode("utf-8", "replace"),
            message_type=header.message_type,
            sha256=digest,
        )
        try:
            kept = await inbox.keep(arrival)
        except TransientError:
            return None
        kind, _, trigger = header.message_type.partition("^")
        took = timedelta(seconds=time.monotonic() - began)
        telemetry.received(Exchange(listener.peer, kept.inbox_id, kind, trigger[:3], acknowledged.code, len(raw), took))
        return kept.answer

    return keep_message


async def _sha256(raw: bytes) -> str:
    """Hash a message; a large one beside the loop, which answers others meanwhile."""
    if len(raw) >= _LARGE_BYTES:
        return (await asyncio.to_thread(hashlib.sha256, raw)).hexdigest()
    digest = hashlib.sha256()
    for place in range(0, len(raw), _UNSHARED_BYTES):
        digest.update(raw[place : place + _UNSHARED_BYTES])
    return digest.hexdigest()


def refusal_door(settings: Settings, listener: Listener) -> Callable[[FrameRefused], bytes]:
    """Return what a listener calls with a message that was too large to be kept."""
    profile = profile_of(settings, listener.peer)
    return lambda refused: refuse(refused, profile, utc_now()).payload


def away_door(settings: Settings, listener: Listener) -> Callable[[bytes], bytes] | None:
    """Return what a listener calls with a message that could not be stored; nothing where no answer is wanted."""
    code = listener.when_the_store_is_away
    if code == "close":
        return None
    profile = profile_of(settings, listener.peer)
    return lambda raw: unavailable(raw, profile, utc_now(), code).payload


def limits_of(listener: Listener) -> ListenerLimits:
    """Return how much the peer of a listener may ask of it."""
    return ListenerLimits(
        frame_bytes=listener.frame_bytes,
        unfinished_bytes=8 * listener.frame_bytes,
        idle_seconds=listener.idle_time.total_seconds(),
        frame_seconds=listener.read_time.total_seconds(),
        connections=listener.connections,
        connections_a_host=listener.connections_a_host,
    )


def scanner_door(ids: OpaqueIds, *, forward: bool = False) -> Callable[[Session, ScanFile], None]:
    """Return what a watcher calls inside the transaction that takes a file."""

    def received(session: Session, file: ScanFile) -> None:
        event = {
            "type": "scanner.slide-scanned",
            "site_id": file.site_id,
            "root": file.root,
            "file_id": file.id,
            "sha256": file.sha256,
        }
        payload = json.dumps(event, sort_keys=True).encode()
        arrival = Arrival(source="scanner", peer=file.root, payload=payload, message_type="scanner.slide-scanned")
        keep(session, ids, arrival, database_now(session), forward=forward)

    return received
