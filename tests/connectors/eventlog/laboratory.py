"""A laboratory that is set to a broker of the tests, one way or another."""

from pathlib import Path

from connectors.first_lab import write_first_lab
from connectors.settings import Settings, load
from infra.kafka.broker import Broker, Security

Said = dict[str, str]


def laboratory(home: Path, address: str, **said: str) -> Settings:
    """Write a first laboratory whose settings say this about Kafka, and read it."""
    path = write_first_lab(home)
    kept = path.read_text().partition("\n[kafka]\n")[0]
    lines = [f'bootstrap = ["{address}"]', *(f'{name} = "{value}"' for name, value in said.items())]
    path.write_text(f"{kept}\n[kafka]\n" + "\n".join(lines) + "\n")
    return load(home)


def security(broker: Broker) -> Security:
    """Return what a secured broker believes."""
    assert broker.security is not None
    return broker.security


def by_password(broker: Broker, user: str, mechanism: str = "SCRAM-SHA-512") -> Said:
    """Return the settings of somebody who signs in by a password, over TLS."""
    trusted = security(broker)
    files = {"ca_file": str(trusted.ca_file), "password_file": str(trusted.password_file(user))}
    return {"security": "sasl_ssl", "mechanism": mechanism, "username": user} | files


def by_token(broker: Broker, token: Path) -> Said:
    """Return the settings of somebody who signs in by a bearer token, over TLS."""
    files = {"ca_file": str(security(broker).ca_file), "token_file": str(token)}
    return {"security": "sasl_ssl", "mechanism": "OAUTHBEARER"} | files


def by_certificate(broker: Broker, user: str) -> Said:
    """Return the settings of somebody who shows a certificate."""
    certificate, key = security(broker).certificate_files(user)
    files = {"ca_file": str(security(broker).ca_file), "certificate_file": str(certificate), "key_file": str(key)}
    return {"security": "ssl"} | files
