"""Everything a step may use, built from the settings: the only place that names real classes."""

import ssl
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Protocol

from connectors.archive.folder import FolderArchive
from connectors.archive.protocol import Archive
from connectors.eventlog.protocol import EventSink
from connectors.lims.sender import Answer, MllpSender, SenderLimits
from connectors.lims.tls import Credentials, door_context, peer_context
from connectors.scanners.spool import Spool
from connectors.settings import Settings
from connectors.settings_doors import LimsPeer, Listener
from connectors.settings_wire import Wire
from connectors.slides.bounded import Decoder, Limits
from connectors.telemetry import Telemetry
from models.database import Database
from models.opaque import OpaqueIds

_LAST_WORDS = timedelta(seconds=2)


class Decodes(Protocol):
    """Runs a job on untrusted bytes where it can do no harm, and gives back what it found."""

    def run(self, job: str, arguments: Mapping[str, Any], limits: Limits = ...) -> dict[str, Any]:
        """Run an allowed job; ``RejectedError`` when the bytes are at fault, ``TransientError`` when we are."""
        ...


class Sends(Protocol):
    """Gives a LIMS one message at a time and waits for the answer to exactly that message."""

    def send(self, payload: bytes, control_id: str) -> Answer:
        """Send and return the answer; ``TransientError`` when there was none that belongs to it."""
        ...


@dataclass(frozen=True)
class Lab:
    """One laboratory's neighbours and rules, passed down to every step."""

    settings: Settings
    database: Database
    ids: OpaqueIds
    spool: Spool
    decoder: Decodes
    archive: Archive
    senders: Mapping[str, Sends]
    telemetry: Telemetry
    decode_within: timedelta = timedelta(minutes=5)
    events: EventSink | None = None
    """Nothing when the settings have no Kafka."""


def open_database(settings: Settings, *, checkpoints: bool = False) -> Database:
    """Open the database of the settings."""
    return Database(settings.database, checkpoints=checkpoints)


def open_ids(settings: Settings) -> OpaqueIds:
    """Return what names things, under the installation's key."""
    return OpaqueIds(bytes.fromhex(settings.installation_key.get_secret_value()))


def open_spool(settings: Settings) -> Spool:
    """Open this machine's spool."""
    work = settings.work
    return Spool(settings.resolved(work.spool), work.place, work.spool_reserve_bytes)


def open_archive(settings: Settings) -> FolderArchive:
    """Open the archive folder; it was prepared when the laboratory was set up."""
    return FolderArchive(settings.resolved(settings.archive_folder))


def open_sink(settings: Settings) -> EventSink | None:
    """Return what writes to Kafka, if the settings have it; it connects when it is first used.

    Raises
    ------
    RefusedError
        A file of a password, a token or a certificate can't be used.
    """
    kafka = settings.kafka
    if kafka is None:
        return None
    # Whoever has no Kafka does not wait for its client.
    from connectors.eventlog.connection import client_options, sentence  # noqa: PLC0415
    from connectors.eventlog.kafka import KafkaSink  # noqa: PLC0415

    return KafkaSink(client_options(settings), say=lambda error: sentence(error, kafka))


def door_tls(settings: Settings, listener: Listener) -> ssl.SSLContext | None:
    """Return what a door speaks TLS with, nothing when it speaks plain text.

    Raises
    ------
    RefusedError
        A certificate or a key can't be used: one sentence says which.
    """
    return door_context(door_credentials(settings, listener)) if listener.secure else None


def door_credentials(settings: Settings, listener: Listener) -> Credentials:
    """Return the files of a listener's certificates."""
    return _credentials(settings, f"listeners {listener.peer}", listener)


def peer_credentials(settings: Settings, peer: LimsPeer) -> Credentials:
    """Return the files of a LIMS's certificates."""
    return _credentials(settings, f"lims {peer.name}", peer)


def _credentials(settings: Settings, what: str, wire: Wire) -> Credentials:
    ca, certificate, key = (
        settings.resolved(file) if file is not None else None
        for file in (wire.ca_file, wire.certificate_file, wire.key_file)
    )
    return Credentials(what, ca, certificate, key)


def _sender(settings: Settings, peer: LimsPeer) -> MllpSender:
    limits = SenderLimits(
        answer_seconds=peer.answer_within.total_seconds(),
        application_seconds=peer.application_within.total_seconds() if peer.acknowledgement == "enhanced" else 0.0,
    )
    tls = peer_context(peer_credentials(settings, peer)) if peer.secure else None
    return MllpSender(peer.host, peer.port, limits, tls, peer.certificate_name)


@contextmanager
def open_lab(settings: Settings, process: str, jobs: tuple[str, ...]) -> Iterator[Lab]:
    """Build everything that a worker's steps use, and let it go at the end.

    ``jobs`` are the functions that may run in the bounded children.
    """
    with ExitStack() as stack:
        database = open_database(settings, checkpoints=True)
        stack.callback(database.close)
        telemetry = Telemetry.of(settings, process)
        stack.callback(telemetry.shutdown)
        events = open_sink(settings)
        if events is not None:
            stack.callback(events.close, _LAST_WORDS)
        yield Lab(
            settings=settings,
            database=database,
            ids=open_ids(settings),
            spool=open_spool(settings),
            decoder=stack.enter_context(Decoder(jobs)),
            archive=open_archive(settings),
            senders={peer.name: _sender(settings, peer) for peer in settings.lims},
            telemetry=telemetry,
            events=events,
        )
