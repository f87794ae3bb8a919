"""Settings of one MLLP wire: its address, its certificates, how much a peer may ask of it and how it is answered."""

import ipaddress
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Port = Annotated[int, Field(ge=0, le=65535)]
Seconds = Annotated[timedelta, Field(gt=timedelta(0))]


AfterRefusal = Literal["a person", "send again"]


class FrozenSettings(BaseModel):
    """A part of the settings: read once, never changed, and nothing that it does not know."""

    # What was said may be a secret, so no error repeats it.
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class Wire(FrozenSettings):
    """Where HL7 goes over TCP, and who is believed there; plain text stays on this machine unless it is asked for."""

    host: str = "127.0.0.1"
    ca_file: Path | None = None
    """Whose certificates are believed, and nobody else's."""
    certificate_file: Path | None = None
    key_file: Path | None = None
    insecure_allow: bool = False
    """Whether patient data may cross the network in plain text: the page and ``doctor`` say so all the time."""

    @property
    def secure(self) -> bool:
        """Whether TLS is spoken."""
        return self.ca_file is not None or self.certificate_file is not None

    @property
    def exposed(self) -> bool:
        """Whether plain text leaves this machine."""
        return not self.secure and not is_loopback(self.host)

    @model_validator(mode="after")
    def _certificate_has_its_key(self) -> "Wire":
        if (self.certificate_file is None) != (self.key_file is None):
            message = "certificate_file and key_file belong together: set both or none"
            raise ValueError(message)
        return self


class PeerWire(Wire):
    """How a LIMS is reached that we tell something."""

    port: Port = 2576
    certificate_name: Annotated[str, Field(min_length=1, max_length=253)] | None = None
    """The name that its certificate must hold, where that is not ``host``."""
    acknowledgement: Literal["original", "enhanced"] = "original"
    """``enhanced`` asks for both answers (MSH-15, MSH-16), and CA is not the last word then."""
    answer_within: Seconds = timedelta(seconds=10)
    application_within: Seconds = timedelta(seconds=30)
    """In enhanced mode, from CA to the application's answer on the same connection."""
    after_error: AfterRefusal = "a person"
    """What AE and CE mean there: HL7 has them report an error, which sending again does not mend."""
    after_reject: AfterRefusal = "send again"
    """What AR and CR mean there: HL7 has them cover a system that is down, so it is tried a few times more."""

    @model_validator(mode="after")
    def _is_believed_by_somebody(self) -> "PeerWire":
        if self.certificate_file is not None and self.ca_file is None:
            message = "ca_file must be set beside certificate_file: it says whose word for the LIMS is believed"
            raise ValueError(message)
        if self.certificate_name is not None and self.ca_file is None:
            message = "certificate_name can't be used without ca_file: nobody shows a certificate"
            raise ValueError(message)
        _exposed_on_purpose(self)
        return self


class DoorWire(Wire):
    """How a door for HL7 is opened, how much a peer may ask of it, and how it answers.

    What is not said about answers is what the peer's profile says.
    """

    port: Port = 2575
    at_gateway: bool = False
    """A gateway opens this port; here is only said how what it hands on is to be read."""

    acknowledgement: Literal["original", "enhanced"] | None = None
    """``original``: one application answer whatever MSH-15 and MSH-16 say; ``enhanced`` obeys them."""
    answer_with: Literal["by type", "ACK"] | None = None
    unknown_type_answer: Literal["AA", "AE", "AR"] | None = None
    processing_id: Literal["P", "T", "D", "any"] | None = None
    """The MSH-11 that is acted on; what says another is kept aside."""
    processing_id_answer: Literal["AE", "AR"] | None = None
    charset: Annotated[str, Field(pattern=r"^[A-Za-z0-9 /_-]{1,40}$")] | None = None
    """What the text is in when MSH-18 says nothing, spelt as there."""
    when_the_store_is_away: Literal["close", "AE", "AR"] = "close"
    """Most senders keep a message that was not answered, and many take AE as the last word."""

    frame_bytes: Annotated[int, Field(ge=1024, le=64 << 20)] = 32 << 20
    segments: Annotated[int, Field(ge=1)] = 20_000
    repetitions: Annotated[int, Field(ge=1)] = 10_000
    """In one segment."""
    idle_time: Seconds = timedelta(hours=1)
    """A connection that says nothing for so long is closed."""
    read_time: Seconds = timedelta(minutes=1)
    """From the first byte of a message to its last."""
    connections: Annotated[int, Field(ge=1, le=10_000)] = 256
    connections_a_host: Annotated[int, Field(ge=1, le=10_000)] = 128

    @model_validator(mode="after")
    def _shows_a_certificate(self) -> "DoorWire":
        if self.ca_file is not None and self.certificate_file is None:
            message = "ca_file can't be used without certificate_file and key_file: a door with TLS shows its own first"
            raise ValueError(message)
        if not self.at_gateway:
            _exposed_on_purpose(self)
        return self


def _exposed_on_purpose(wire: Wire) -> None:
    if wire.exposed and not wire.insecure_allow:
        message = (
            f"host {wire.host} is not this machine, and HL7 in plain text shows patients to the network: set "
            "certificate_file, key_file and ca_file, or insecure_allow = true"
        )
        raise ValueError(message)


def is_loopback(host: str) -> bool:
    """Return whether a host is this machine and nobody else's."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
