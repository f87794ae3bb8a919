"""Certificates, passwords and tokens of one broker on this machine: made at its start, worth nothing elsewhere."""

import base64
import json
import secrets
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.x509.oid import NameOID

AUDIENCE = "kafka"
ISSUER = "coverslip-tests"
VALID_FOR = timedelta(days=30)


@dataclass(frozen=True)
class Authority:
    """A certificate authority of our own and the folder that its certificates are written to."""

    folder: Path
    name: str
    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate

    @classmethod
    def make(cls, folder: Path, name: str) -> "Authority":
        """Make an authority and write its certificate, ``NAME.pem``."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = _named(name)
        builder = _builder(subject, subject, key.public_key()).add_extension(
            x509.BasicConstraints(ca=True, path_length=0), critical=True
        )
        usage = x509.KeyUsage(
            digital_signature=True,
            content_commitment=False,
            key_encipherment=False,
            data_encipherment=False,
            key_agreement=False,
            key_cert_sign=True,
            crl_sign=True,
            encipher_only=False,
            decipher_only=False,
        )
        certificate = builder.add_extension(usage, critical=True).sign(key, hashes.SHA256())
        folder.mkdir(parents=True, exist_ok=True)
        made = cls(folder, name, key, certificate)
        made.file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        return made

    @property
    def file(self) -> Path:
        """The authority's own certificate."""
        return self.folder / f"{self.name}.pem"

    def issue(self, name: str, valid_for: timedelta = VALID_FOR) -> tuple[Path, Path]:
        """Write a certificate for 127.0.0.1 with this common name and its key; return both files."""
        key = ec.generate_private_key(ec.SECP256R1())
        builder = _builder(_named(name), self.certificate.subject, key.public_key(), valid_for)
        # The address and no host name, so that a client that asks for "localhost" sees a certificate of somebody else.
        address = x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))])
        issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key())
        signed = builder.add_extension(address, critical=False).add_extension(issuer, critical=False)
        certificate_file, key_file = self.folder / f"{name}.pem", self.folder / f"{name}.key"
        certificate = signed.sign(self.key, hashes.SHA256())
        certificate_file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        key_file.touch(mode=0o600)
        key_file.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        return certificate_file, key_file


@dataclass(frozen=True)
class TokenIssuer:
    """Signs the bearer tokens that the broker believes."""

    key: rsa.RSAPrivateKey
    keys_file: Path

    @classmethod
    def make(cls, folder: Path) -> "TokenIssuer":
        """Make a signing key and write its public half, ``jwks.json``."""
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        numbers = key.public_key().public_numbers()
        public = {"kty": "RSA", "use": "sig", "alg": "RS256", "kid": ISSUER}
        public |= {"n": _base64(_bytes(numbers.n)), "e": _base64(_bytes(numbers.e))}
        folder.mkdir(parents=True, exist_ok=True)
        keys_file = folder / "jwks.json"
        keys_file.write_text(json.dumps({"keys": [public]}))
        return cls(key, keys_file)

    def token(self, user: str, valid_for: timedelta = timedelta(hours=1)) -> str:
        """Return a signed token that says who somebody is."""
        now = int(time.time())
        claims: dict[str, object] = {"sub": user, "iss": ISSUER, "aud": AUDIENCE, "scope": "kafka", "iat": now}
        claims["exp"] = now + int(valid_for.total_seconds())
        header = {"alg": "RS256", "typ": "JWT", "kid": ISSUER}
        signed = ".".join(_base64(json.dumps(part).encode()) for part in (header, claims))
        return f"{signed}.{_base64(self.key.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256()))}"


def password() -> str:
    """Return a password that nobody has to remember."""
    return secrets.token_hex(16)


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, valid_for: timedelta = VALID_FOR
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + valid_for)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _bytes(number: int) -> bytes:
    return number.to_bytes((number.bit_length() + 7) // 8, "big")


def _base64(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).decode().rstrip("=")
