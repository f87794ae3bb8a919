"""Settings: one frozen class, read once from one file, passed down.

The file is ``coverslip.toml`` in the state folder (``COVERSLIP_HOME``, default ``var/``); a first start writes
a small laboratory there to edit. Durations are in seconds.
"""

import re
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, SecretStr, model_validator
from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError

from connectors.lims.profile_file import DEFAULT
from connectors.settings_doors import LimsPeer, Listener, ScannerFolder
from connectors.settings_kafka import Gateway, Kafka
from connectors.settings_readers import Reader
from connectors.settings_site import Name, SiteRules
from connectors.settings_wire import FrozenSettings, Port, Seconds
from connectors.toml_file import checked, read_toml
from models.errors import RefusedError


def _key(secret: SecretStr) -> SecretStr:
    if not re.fullmatch(r"[0-9a-fA-F]{64}", secret.get_secret_value()):
        message = "must be 32 bytes in hexadecimal, 64 digits; for example what 'openssl rand -hex 32' prints"
        raise ValueError(message)
    return secret


def _database(url: str) -> str:
    try:
        known = not url or make_url(url).drivername in ("sqlite", "postgresql+psycopg")
    except (ArgumentError, ValueError):
        known = False
    if not known:
        # The address itself may hold a password.
        message = "must be empty, sqlite:///path/to/file.db or postgresql+psycopg://user:password@host:port/name"
        raise ValueError(message)
    return url


class Engine(FrozenSettings):
    """Prefect, which runs and shows the flows; the ledger decides without it too."""

    enabled: bool = True
    port: Port = 4200


class Page(FrozenSettings):
    """The web page; without sign-in it is served on loopback only."""

    host: Literal["127.0.0.1", "::1"] = "127.0.0.1"
    port: Port = 8080


class Telemetry(FrozenSettings):
    """Traces and metrics: off, appended to a file as JSON lines, or sent to an OTLP/HTTP endpoint."""

    to: Literal["off", "file", "otlp"] = "off"
    endpoint: str = "http://127.0.0.1:4318"


class Work(FrozenSettings):
    """How much runs side by side in one worker, and how patient it is."""

    slide_qc: Annotated[int, Field(ge=1, le=64)] = 1
    barcode_matching: Annotated[int, Field(ge=1, le=64)] = 1
    archive_upload: Annotated[int, Field(ge=1, le=64)] = 2
    child_memory_bytes: Annotated[int, Field(ge=256 << 20)] = 4 << 30
    heartbeat_grace: Seconds = timedelta(seconds=15)
    spool_reserve_bytes: Annotated[int, Field(ge=0)] = 1 << 30
    place: Name = "local"
    """What the books call this machine's spool: a worker does what needs bytes only where they lie."""
    spool: Path = Path("spool")
    """Where the spool lies; a gateway and the worker at its site share one."""


class Settings(FrozenSettings):
    """Everything that a laboratory may set."""

    home: Path
    installation_key: Annotated[SecretStr, AfterValidator(_key)]
    """The key of all opaque ids, 32 bytes in hexadecimal; the same in every installation of a network."""
    database_url: Annotated[str, AfterValidator(_database)] = ""
    """Empty: SQLite in the state folder."""
    archive_folder: Path = Path("archive")
    sites: tuple[SiteRules, ...]
    lims: tuple[LimsPeer, ...]
    listeners: tuple[Listener, ...]
    scanners: tuple[ScannerFolder, ...]
    readers: tuple[Reader, ...]
    engine: Engine = Engine()
    page: Page = Page()
    telemetry: Telemetry = Telemetry()
    work: Work = Work()
    kafka: Kafka | None = None
    """Absent: nothing is read from Kafka and nothing is written to it."""
    gateway: Gateway | None = None
    """Absent: what comes in is applied here."""

    @model_validator(mode="after")
    def _can_forward(self) -> "Settings":
        if self.forwards and self.kafka is None:
            message = "gateway.forward needs Kafka: add a [kafka] section, or leave [gateway] out"
            raise ValueError(message)
        if any(peer.name == "kafka" for peer in self.lims):
            message = "lims.name can't be kafka: that is what our own books call the event log"
            raise ValueError(message)
        return self

    @model_validator(mode="after")
    def _nothing_twice(self) -> "Settings":
        hours = [
            f"{reader.id} on {day} at {each.starts}"
            for reader in self.readers
            for each in reader.hours
            for day in each.days
        ]
        for what, said in (
            ("sites.id", [site.id for site in self.sites]),
            ("lims.name", [peer.name for peer in self.lims]),
            ("listeners.port", [f"{one.host}:{one.port}" for one in self.listeners if one.port]),
            ("scanners.name", [scanner.name for scanner in self.scanners]),
            ("scanners.path", [str(self.resolved(scanner.path)) for scanner in self.scanners]),
            ("readers.id", [reader.id for reader in self.readers]),
            ("readers.known_as", [name.casefold() for reader in self.readers for name in {*reader.known_as}]),
            ("readers.hours", hours),
        ):
            if twice := sorted({one for one in said if said.count(one) > 1}):
                message = f"{what} says {', '.join(twice)} more than once: each can only be there once"
                raise ValueError(message)
        return self

    @model_validator(mode="after")
    def _names_agree(self) -> "Settings":
        sites = {site.id for site in self.sites}
        peers = {peer.name for peer in self.lims}
        for what, wanted, known in (
            ("sites.lims", {site.lims for site in self.sites}, peers),
            ("listeners.site", {listener.site for listener in self.listeners}, sites),
            ("scanners.site", {scanner.site for scanner in self.scanners}, sites),
            ("readers.site", {reader.site for reader in self.readers}, sites),
        ):
            if unknown := sorted(wanted - known):
                message = (
                    f"{what} names {', '.join(unknown)}, which is not defined; defined: {', '.join(sorted(known))}"
                )
                raise ValueError(message)
        return self

    @property
    def forwards(self) -> bool:
        """Whether this is a gateway, which applies nothing itself."""
        return self.gateway is not None and self.gateway.forward

    def has_site(self, site_id: str) -> bool:
        """Whether a site known to the database is set still: where it is not, nothing of it can be decided."""
        return any(site.id == site_id for site in self.sites)

    def site(self, site_id: str) -> SiteRules:
        """Return a site's rules; a site known to the database but no longer set is refused by name."""
        for site in self.sites:
            if site.id == site_id:
                return site
        message = f"site {site_id} is not in the settings any more: put it back, its slides still need its rules"
        raise RefusedError(message)

    def peer(self, name: str) -> LimsPeer:
        """Return a LIMS by name."""
        for peer in self.lims:
            if peer.name == name:
                return peer
        message = f"LIMS {name} is not in the settings any more: put it back, messages to it still wait"
        raise RefusedError(message)

    def resolved(self, path: Path) -> Path:
        """Return a configured path, relative ones below the state folder."""
        return path if path.is_absolute() else self.home / path

    @property
    def database(self) -> str:
        """The database's URL."""
        return self.database_url or f"sqlite:///{self.home / 'coverslip.db'}"


def load(home: Path) -> Settings:
    """Read the settings of a state folder.

    Raises
    ------
    RefusedError
        The file is missing, no TOML, or says something impossible: one sentence that names file, key and fault.
    """
    path = home / "coverslip.toml"
    said = read_toml(path, "'coverslip up' writes a first one")
    settings = checked(Settings, said | {"home": home}, path)
    _refuse_bad_profiles(settings)
    _refuse_unknown_charsets(settings, path)
    return settings


def _refuse_bad_profiles(settings: Settings) -> None:
    """Read every profile that a listener names, so that a bad one stops the start and no message."""
    named = {listener.profile for listener in settings.listeners} - {DEFAULT}
    if not named:
        return
    # Who keeps to the default does not wait for what reads the others.
    from connectors.lims.profile import profile_named  # noqa: PLC0415

    for name in sorted(named):
        profile_named(name, settings.home)


def _refuse_unknown_charsets(settings: Settings, path: Path) -> None:
    said = sorted({one.charset for one in settings.listeners if one.charset is not None})
    if not said:
        return
    from connectors.lims.message import codec_of  # noqa: PLC0415 - as for profiles

    for charset in said:
        if codec_of(charset) is None:
            message = (
                f"{path}: listeners.charset: {charset} is no character set that is known: spell it as in MSH-18, for "
                "example UNICODE UTF-8 or 8859/1"
            )
            raise RefusedError(message)
