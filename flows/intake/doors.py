"""What stands behind each door: bytes from a LIMS or a scanner become durable here, and only then count as ours."""

import asyncio
import hashlib
import json
import time
from collections.abc import Callable
from datetime import timedelta

from sqlalchemy.orm import Session

from connectors.lims.answers import acknowledge, refuse, unavailable
from connectors.lims.door_terms import Keep, ListenerLimits, Say
from connectors.lims.framing import FrameRefused
from connectors.lims.header import read_header
from connectors.settings import Settings
from connectors.settings_doors import Listener
from connectors.telemetry import Exchange, Telemetry
from flows.intake.inbox import Arrival, InboxWriter, Kept, keep
from flows.intake.profiles import profile_of
from models.database import database_now, utc_now
from models.errors import TransientError
from models.opaque import OpaqueIds
from models.tables.scan import ScanFile

# Hashed within a millisecond.
_LARGE_BYTES = 262_144
# For more at a time hashlib lets other threads run, and waiting for its turn again takes longer than the hashing.
_UNSHARED_BYTES = 2_047


def hl7_door(settings: Settings, listener: Listener, inbox: InboxWriter, telemetry: Telemetry) -> Keep:
    """Return what a listener calls with each message: it says the stored answer, once that is durable."""
    profile = profile_of(settings, listener.peer)

    def keep_message(raw: bytes, say: Say) -> None:
        began = time.monotonic()
        if len(raw) < _LARGE_BYTES:
            keep_hashed(raw, _sha256(raw), began, say)
            return
        # Beside the loop, which answers others meanwhile.
        hashing = asyncio.get_running_loop().run_in_executor(None, hashlib.sha256, raw)
        hashing.add_done_callback(lambda done: keep_hashed(raw, done.result().hexdigest(), began, say))

    def keep_hashed(raw: bytes, digest: str, began: float, say: Say) -> None:
        header = read_header(raw)
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

        def told(kept: Kept | TransientError) -> None:
            if isinstance(kept, TransientError):
                say(None)
                return
            kind, _, trigger = header.message_type.partition("^")
            took = timedelta(seconds=time.monotonic() - began)
            exchange = Exchange(listener.peer, kept.inbox_id, kind, trigger[:3], acknowledged.code, len(raw), took)
            telemetry.received(exchange)
            say(kept.answer)

        inbox.keep(arrival, told)

    return keep_message


def _sha256(raw: bytes) -> str:
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
