"""Settings: one frozen class, read once from one file, passed down.

The file is ``coverslip.toml`` in the state folder (``COVERSLIP_HOME``, default ``var/``); a first start writes
a small laboratory there to edit. Durations are in seconds.
"""

import re
from datetime import time, timedelta
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit
from zoneinfo import available_timezones

from pydantic import AfterValidator, Field, SecretStr, model_validator
from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError

from connectors.settings_wire import DoorWire, FrozenSettings, PeerWire, Port, Seconds
from connectors.toml_file import checked, read_toml
from models.errors import RefusedError
from models.identifier_pattern import compiled

_DEFAULT_PROFILE = "plain"

Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")]
Title = Annotated[str, Field(min_length=1, max_length=200)]
Subspecialty = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_]{0,62}$")]
Authority = Literal["coverslip", "lims", "pacs"]
"""Who may say who reads a case."""


def _zone(name: str) -> str:
    if name not in available_timezones():
        message = f"{name!r} is no IANA time zone; for example: Europe/London"
        raise ValueError(message)
    return name


def _pattern(text: str) -> str:
    compiled(text)
    return text


def _civil(at: time) -> time:
    if at.tzinfo is not None:
        message = "must have no offset: reading hours are in the civil time of the site, for example 08:30:00"
        raise ValueError(message)
    return at


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


def _address(text: str) -> str:
    named = re.fullmatch(r"(?:\[[0-9A-Fa-f:]+\]|[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?):([0-9]{1,5})", text)
    if named is None or int(named.group(1)) not in range(1, 1 << 16):
        message = "must be host:port, for example kafka.example:9093"
        raise ValueError(message)
    return text


class LimsPeer(PeerWire):
    """A LIMS that we tell what happened."""

    # Short enough for the names that are made with it, such as that of its slot.
    name: Annotated[Name, Field(max_length=48)]
    application: str = "LIMS"
    facility: str = ""
    slides_as: Literal["OUL^R22", "OUL^R21", "LAB-104"] = "OUL^R22"
    """How it hears of slides: by specimen, by the older result of an order, or as IHE DPOW tells of images."""
    quality_as: Literal["OBX", "NTE"] = "OBX"
    """Where it finds the verdict on a scan's quality, which has no home in DPOW."""
    rescans_as_work: bool = False
    """A scan that is to be made again is a work order (LAB-102) too."""
    hears_reports: bool = False
    """It is told where a report stands that others stated to us."""
    hears_all_readers: bool = False
    """It is told who reads second, ahead, a part or for an opinion too: one that knows one reader would change it."""


class Listener(DoorWire):
    """A port on which HL7 comes in, for one peer in one dialect."""

    peer: Name
    site: Name
    issuer: str
    """The issuer of container and accession numbers that a message gives without one."""
    profile: Annotated[str, Field(min_length=1, max_length=500)] = _DEFAULT_PROFILE
    """How it writes what it means: a shipped profile's name, or the path of a laboratory's own file."""
    subspecialties: dict[str, Subspecialty] = Field(default_factory=dict)
    """Code of OBR-4 or SPM-8 to our subspecialty; the shipped table covers the usual words."""


class ScannerFolder(FrozenSettings):
    """A folder that a scanner writes into."""

    name: Name
    site: Name
    path: Path
    stable_for: Seconds = timedelta(seconds=5)
    patience: Seconds = timedelta(hours=1)
    done_suffix: str | None = None
    at_gateway: bool = False
    """A gateway watches this folder; here is only said of which site it is."""


class SiteRules(FrozenSettings):
    """A site and the rules that differ from site to site."""

    id: Name
    name: Title
    zone: Annotated[str, AfterValidator(_zone)] = "Europe/London"
    lims: Name
    """Who is told: the name of a ``lims`` entry."""
    identifier_pattern: Annotated[str, AfterValidator(_pattern)] = (
        r"(?P<container>[0-9]{2}[A-Z][0-9]{4,8}-[A-Z]{1,2}[0-9]{0,3}-[0-9]{1,3})"
    )
    settle_after: Seconds = timedelta(seconds=60)
    """An expected set is closed when no order changed it for so long."""
    order_wait: Seconds = timedelta(hours=12)
    """A scan without its order goes to a person after so long."""
    scan_wait: Seconds = timedelta(hours=48)
    """A slide without a scan is raised after so long."""
    person_wait: Seconds = timedelta(hours=4)
    """A wait for a person is raised after so long."""
    work_wait: Seconds = timedelta(hours=72)
    """Work that the laboratory was asked for is raised after so long."""
    allocation: Authority = "coverslip"
    """Who says who reads a case; what others say is recorded and checked, and never overwritten where it is theirs."""
    allocation_of: dict[Subspecialty, Authority] = Field(default_factory=dict)
    """The subspecialties in which somebody else says so."""

    def who_allocates(self, subspecialty: str | None) -> Authority:
        """Return who says who reads a case of this subspecialty."""
        return self.allocation_of.get(subspecialty or "general", self.allocation)


class Hours(FrozenSettings):
    """Weekly reading hours in the site's civil time.

    They end on the next day when ``ends`` is not after ``starts``: 22:00 to 06:00 is a night, 00:00 to 00:00 a
    whole day.
    """

    days: tuple[Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"], ...]
    starts: Annotated[time, AfterValidator(_civil)]
    ends: Annotated[time, AfterValidator(_civil)]


class Reader(FrozenSettings):
    """A pathologist: what they lead in, what else they may read, and when."""

    id: Name
    name: Title
    site: Name
    points_a_week: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 100.0
    leads: tuple[Subspecialty, ...] = ()
    may_read: tuple[Subspecialty, ...] = ()
    hours: tuple[Hours, ...] = ()
    known_as: tuple[Annotated[str, Field(min_length=1, max_length=200)], ...] = ()
    """What the LIMS and the PACS call them, the first being what we tell them; without any, it is the id."""


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


def _token_endpoint(said: str) -> str:
    try:
        parts = urlsplit(said)
        is_one = parts.scheme == "https" and bool(parts.hostname) and (parts.port or 443) > 0
    except ValueError:
        is_one = False
    if not is_one or "@" in parts.netloc or parts.query or parts.fragment or not said.isascii() or " " in said:
        message = "must be https://host[:port]/path, without a user, a question mark or a #"
        raise ValueError(message)
    return said


class Kafka(FrozenSettings):
    """Where events are read from and written to, and who we are there. Secrets stay in files until they are used."""

    bootstrap: Annotated[tuple[Annotated[str, AfterValidator(_address)], ...], Field(min_length=1)]
    group: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9.-]{0,99}$")] = "coverslip"
    prefix: Annotated[str, Field(pattern=r"^([a-z0-9][a-z0-9.-]{0,62})?$")] = "coverslip."
    """What the names of all our topics begin with."""
    security: Literal["plaintext", "ssl", "sasl_ssl", "sasl_plaintext"] = "plaintext"
    ca_file: Path | None = None
    """Whose certificates are believed; without it, the authorities that this machine believes."""
    certificate_file: Path | None = None
    key_file: Path | None = None
    mechanism: Literal["SCRAM-SHA-512", "SCRAM-SHA-256", "OAUTHBEARER"] | None = None
    username: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    password_file: Path | None = None
    token_file: Path | None = None
    """A bearer token that somebody else keeps fresh; read again for every connection."""
    token_endpoint: Annotated[str, AfterValidator(_token_endpoint)] | None = None
    """Who gives us bearer tokens, by the client credentials grant."""
    client_id: Annotated[str, Field(pattern=r"^[!-~]{1,200}$")] | None = None
    client_secret_file: Path | None = None
    token_scope: Annotated[str, Field(pattern=r"^[!-~]+( [!-~]+)*$", max_length=1_000)] | None = None
    token_ca_file: Path | None = None
    """Whose certificates the token endpoint may show; without it, the authorities that this machine believes."""

    @model_validator(mode="after")
    def _fits_together(self) -> "Kafka":
        signs_in = self.security.startswith("sasl_")
        by_token = self.mechanism == "OAUTHBEARER"
        asks = by_token and self.token_endpoint is not None
        how_known = _BY_ENDPOINT if asks else ("token_file",) if by_token else ("username", "password_file")
        needed = ("mechanism", *how_known) if signs_in else ()
        possible = {*needed, *_KAFKA_TLS.get(self.security, ()), *(("token_scope", "token_ca_file") if asks else ())}
        how = f'with security = "{self.security}"' + (f' and mechanism = "{self.mechanism}"' if self.mechanism else "")
        said = {name for name in _KAFKA_IDENTITY if getattr(self, name) is not None}
        fault = ""
        if missing := [name for name in needed if name not in said]:
            fault = f"{' and '.join(missing)} must be set {how}"
        elif useless := sorted(said - possible):
            fault = f"{' and '.join(useless)} can't be used {how}: leave it out"
        elif len(said & {"certificate_file", "key_file"}) == 1:
            fault = "certificate_file and key_file belong together: set both or none"
        elif by_token and self.security == "sasl_plaintext":
            fault = 'a token that is sent in the open is anybody\'s: use security = "sasl_ssl"'
        if fault:
            raise ValueError(fault)
        return self


_KAFKA_TLS = {"ssl": ("ca_file", "certificate_file", "key_file"), "sasl_ssl": ("ca_file",)}
_KAFKA_IDENTITY = (
    "ca_file",
    "certificate_file",
    "key_file",
    "mechanism",
    "username",
    "password_file",
    "token_file",
    "token_endpoint",
    "client_id",
    "client_secret_file",
    "token_scope",
    "token_ca_file",
)
_BY_ENDPOINT = ("token_endpoint", "client_id", "client_secret_file")


class Gateway(FrozenSettings):
    """What a gateway is for: what its doors take in is handed on to Kafka, and applied where that is read."""

    forward: bool = True


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


class _Readers(FrozenSettings):
    """People alone, written as among the settings."""

    readers: Annotated[tuple[Reader, ...], Field(min_length=1)]


def readers_in(path: Path) -> tuple[Reader, ...]:
    """Return the pathologists of a file that has only [[readers]], written as in the settings file.

    Raises
    ------
    RefusedError
        As ``load``.
    """
    return checked(_Readers, read_toml(path), path).readers


def _refuse_bad_profiles(settings: Settings) -> None:
    """Read every profile that a listener names, so that a bad one stops the start and no message."""
    named = {listener.profile for listener in settings.listeners} - {_DEFAULT_PROFILE}
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
