"""Everything a step may use, built from the settings: the only place that names real classes."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Protocol

from connectors.archive.protocol import Archive
from connectors.lims.sender import Answer
from connectors.scanners.spool import Spool
from connectors.settings import Settings
from connectors.slides.bounded import Limits
from connectors.telemetry import Telemetry
from models.database import Database
from models.opaque import OpaqueIds


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
