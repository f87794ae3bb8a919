"""Settings: one frozen class, read once from one file, passed down.

The file is ``coverslip.toml`` in the state folder (``COVERSLIP_HOME``, default ``var/``); a first start writes
a small laboratory there to edit. Durations are in seconds.
"""

import re
import tomllib
from datetime import time, timedelta
from pathlib import Path
from typing import Annotated, Any, Literal
from zoneinfo import available_timezones

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, ValidationError, model_validator

from models.errors import RefusedError

Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")]
Port = Annotated[int, Field(ge=0, le=65535)]
Seconds = Annotated[timedelta, Field(gt=timedelta(0))]


def _zone(name: str) -> str:
    if name not in available_timezones():
        message = f"{name!r} is no IANA time zone; for example: Europe/London"
        raise ValueError(message)
    return name


def _pattern(text: str) -> str:
    try:
        pattern = re.compile(text)
    except re.error as error:
        message = f"no regular expression: {error}"
        raise ValueError(message) from error
    if "container" not in pattern.groupindex:
        message = "needs a named group, (?P<container>…), that holds the container identifier"
        raise ValueError(message)
    return text


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class LimsPeer(_Frozen):
    """A LIMS that we tell what happened."""

    name: Name
    host: str = "127.0.0.1"
    port: Port = 2576
    application: str = "LIMS"
    facility: str = ""
    answer_within: Seconds = timedelta(seconds=10)


class Listener(_Frozen):
    """A port on which HL7 comes in, for one peer in one dialect."""

    peer: Name
    site: Name
    issuer: str
    """The issuer of container and accession numbers that a message gives without one."""
    host: str = "127.0.0.1"
    port: Port = 2575
    subspecialties: dict[str, str] = {}
    """Code of OBR-4 or SPM-8 to our subspecialty; the shipped table covers the usual words."""


class ScannerFolder(_Frozen):
    """A folder that a scanner writes into."""

    name: Name
    site: Name
    path: Path
    stable_for: Seconds = timedelta(seconds=5)
    patience: Seconds = timedelta(hours=1)
    done_suffix: str | None = None


class SiteRules(_Frozen):
    """A site and the rules that differ from site to site."""

    id: Name
    name: str
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


class Hours(_Frozen):
    """Weekly reading hours in the site's civil time."""

    days: tuple[Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"], ...]
    starts: time
    ends: time


class Reader(_Frozen):
    """A pathologist: what they lead in, what else they may read, and when."""

    id: Name
    name: str
    site: Name
    points_a_week: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 100.0
    leads: tuple[str, ...] = ()
    may_read: tuple[str, ...] = ()
    hours: tuple[Hours, ...] = ()


class Engine(_Frozen):
    """Prefect, which runs and shows the flows; the ledger decides without it too."""

    enabled: bool = True
    port: Port = 4200


class Page(_Frozen):
    """The web page; without sign-in it is served on loopback only."""

    host: Literal["127.0.0.1", "::1"] = "127.0.0.1"
    port: Port = 8080


class Telemetry(_Frozen):
    """Traces and metrics: off, appended to a file as JSON lines, or sent to an OTLP/HTTP endpoint."""

    to: Literal["off", "file", "otlp"] = "off"
    endpoint: str = "http://127.0.0.1:4318"


class Work(_Frozen):
    """How much runs side by side in one worker, and how patient it is."""

    slide_qc: Annotated[int, Field(ge=1, le=64)] = 1
    barcode_matching: Annotated[int, Field(ge=1, le=64)] = 1
    archive_upload: Annotated[int, Field(ge=1, le=64)] = 2
    child_memory_bytes: Annotated[int, Field(ge=256 << 20)] = 4 << 30
    heartbeat_grace: Seconds = timedelta(seconds=15)
    spool_reserve_bytes: Annotated[int, Field(ge=0)] = 1 << 30


class Settings(_Frozen):
    """Everything that a laboratory may set."""

    home: Path
    installation_key: SecretStr
    """The key of all opaque ids, 32 bytes in hexadecimal; the same in every installation of a network."""
    database_url: str = ""
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
                message = f"{what} names {', '.join(unknown)}, which is not defined; defined: {', '.join(sorted(known))}"
                raise ValueError(message)
        return self

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
    try:
        raw: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        message = f"{path} is missing: 'coverslip up' writes a first one"
        raise RefusedError(message) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        message = f"{path} is no TOML: {error}"
        raise RefusedError(message) from error
    try:
        return Settings(**{**raw, "home": home})
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"]) or "the file"
        message = f"{path}: {place}: {first['msg']}"
        raise RefusedError(message) from error
