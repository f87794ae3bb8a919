"""Settings of Kafka: where it is, who we are there, and what a gateway hands on to it."""

import re
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, model_validator

from connectors.settings_wire import FrozenSettings

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


def _address(text: str) -> str:
    named = re.fullmatch(r"(?:\[[0-9A-Fa-f:]+\]|[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?):([0-9]{1,5})", text)
    if named is None or int(named.group(1)) not in range(1, 1 << 16):
        message = "must be host:port, for example kafka.example:9093"
        raise ValueError(message)
    return text


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


class Gateway(FrozenSettings):
    """What a gateway is for: what its doors take in is handed on to Kafka, and applied where that is read."""

    forward: bool = True
