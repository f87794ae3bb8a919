"""TLS on an MLLP wire, and what goes wrong with it in one sentence each.

Version 1.2 or 1.3, the newest that both speak; authenticated encryption only (AEAD), keys agreed anew for every
connection: the "BCP 195, RFC 8996" profile of DICOM PS3.15, which IHE ATNA names too. Only the authority of ``ca_file``
is believed: who signs for the public must not be able to sign for a laboratory.
"""

import ssl
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from models.errors import RefusedError

# The suites of TLS 1.3 are AEAD all; these are the ones of 1.2 that RFC 9325 recommends.
_SUITES_1_2 = "ECDHE+AESGCM:ECDHE+CHACHA20"

# OpenSSL's verify codes, x509_vfy.h.
_CERTIFICATE_FAULTS = {
    9: "its certificate is not valid yet",
    10: "its certificate has expired",
    18: "its certificate is signed by itself, and is not the one of ca_file",
    19: "its certificate comes from an authority that is not the one of ca_file",
    20: "its certificate comes from an authority that is not the one of ca_file",
    21: "its certificate comes from an authority that is not the one of ca_file",
    26: "its certificate is made for another use",
    62: "its certificate holds another name",
    64: "its certificate holds another address",
}
# What the other side said of us, or we of it, by the end of OpenSSL's reason (RFC 8446, 6.2).
_REASONS = {
    "ALERT_CERTIFICATE_EXPIRED": "it says that our certificate has expired",
    "ALERT_UNKNOWN_CA": "it does not know the authority of our certificate",
    "ALERT_BAD_CERTIFICATE": "it does not accept our certificate",
    "ALERT_CERTIFICATE_UNKNOWN": "it does not accept our certificate",
    "ALERT_UNSUPPORTED_CERTIFICATE": "it does not accept a certificate of our kind",
    "ALERT_CERTIFICATE_REQUIRED": "it wants a certificate of ours: set certificate_file and key_file",
    "ALERT_ACCESS_DENIED": "it does not let the holder of our certificate in",
    "ALERT_PROTOCOL_VERSION": "it speaks no version of TLS that we do (1.2 or 1.3)",
    "ALERT_HANDSHAKE_FAILURE": "we have no cipher suite in common, or it wants a certificate of ours",
    "PEER_DID_NOT_RETURN_A_CERTIFICATE": "it shows no certificate, and this door wants one",
    "UNSUPPORTED_PROTOCOL": "it speaks no version of TLS that we do (1.2 or 1.3)",
    "VERSION_TOO_LOW": "it speaks no version of TLS that we do (1.2 or 1.3)",
    "NO_SHARED_CIPHER": "it offers no cipher suite that is safe enough",
    "WRONG_VERSION_NUMBER": "it does not speak TLS",
    "HTTP_REQUEST": "it does not speak TLS",
    "RECORD_LAYER_FAILURE": "it does not speak TLS",
}
_PEER_SAYS_NOTHING = "it ended the handshake: it does not speak TLS, or not with us"


@dataclass(frozen=True)
class Credentials:
    """The files of one wire, and what the settings call it: ``listeners lims``."""

    what: str
    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None


def door_context(credentials: Credentials) -> ssl.SSLContext:
    """Return what a door speaks TLS with; peers must show a certificate too when there is an authority to ask.

    Raises
    ------
    RefusedError
        A file can't be used, the key belongs to another certificate, or that is not valid now.
    """
    context = _context(credentials, ssl.PROTOCOL_TLS_SERVER)
    if credentials.ca is not None:
        context.verify_mode = ssl.CERT_REQUIRED
    trouble = _own_handshake(credentials)[1]
    if trouble:
        raise RefusedError(f"{credentials.what}: certificate_file: {credentials.certificate}: {trouble}")
    return context


def peer_context(credentials: Credentials) -> ssl.SSLContext:
    """Return what a sender speaks TLS with: it checks authority and name, and shows our certificate if we have one.

    Raises
    ------
    RefusedError
        A file can't be used, or the key belongs to another certificate.
    """
    return _context(credentials, ssl.PROTOCOL_TLS_CLIENT)


def valid_until(credentials: Credentials) -> datetime | None:
    """Return until when our own certificate is good; nothing when it is not good now, or when there is none."""
    return _own_handshake(credentials)[0] if credentials.certificate is not None else None


def handshake_fault(error: OSError) -> str:
    """Return why TLS did not come about, as the end of a sentence whose subject is the other side."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return _CERTIFICATE_FAULTS.get(error.verify_code, f"its certificate is not believed ({error.verify_message})")
    reason = (getattr(error, "reason", None) or "").replace(" ", "_").upper()
    return next((said for ending, said in _REASONS.items() if reason.endswith(ending)), _PEER_SAYS_NOTHING)


def tell_handshake_faults(context: ssl.SSLContext, tell: Callable[[str], None]) -> None:
    """Have ``tell`` hear of every handshake of this context that fails: asyncio itself says nothing of them."""

    class Telling(ssl.SSLObject):
        def do_handshake(self) -> None:
            try:
                super().do_handshake()
            except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
                raise
            except OSError as error:
                tell(handshake_fault(error))
                raise

    context.sslobject_class = Telling


def _context(credentials: Credentials, protocol: int) -> ssl.SSLContext:
    context = ssl.SSLContext(protocol)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(_SUITES_1_2)
    context.options |= ssl.OP_NO_RENEGOTIATION
    # So that ca_file may hold one peer's own certificate, and no one else's is believed.
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    if credentials.ca is not None:
        _read(credentials, "ca_file", credentials.ca)
        try:
            context.load_verify_locations(credentials.ca)
        except (OSError, ValueError) as error:
            message = f"{credentials.what}: ca_file: {credentials.ca} holds no certificate (PEM)"
            raise RefusedError(message) from error
    if credentials.certificate is not None and credentials.key is not None:
        _show(context, credentials, credentials.certificate, credentials.key)
    return context


def _show(context: ssl.SSLContext, credentials: Credentials, certificate: Path, key: Path) -> None:
    """Load our own certificate; a key with a pass phrase is refused, since nobody could be asked for it."""
    if b"-----BEGIN CERTIFICATE-----" not in _read(credentials, "certificate_file", certificate):
        raise RefusedError(f"{credentials.what}: certificate_file: {certificate} holds no certificate (PEM)")
    if b"PRIVATE KEY-----" not in _read(credentials, "key_file", key):
        raise RefusedError(f"{credentials.what}: key_file: {key} holds no private key (PEM)")
    try:
        context.load_cert_chain(certificate, key, password="")
    except ssl.SSLError as error:
        fault = f"key_file: {key} can't be read: it is damaged, or has a pass phrase"
        if error.reason == "KEY_VALUES_MISMATCH":
            fault = f"key_file: {key} is not the key of certificate_file {certificate}"
        raise RefusedError(f"{credentials.what}: {fault}") from error
    except (OSError, ValueError) as error:
        message = f"{credentials.what}: key_file: {key} can't be read: it is damaged, or has a pass phrase"
        raise RefusedError(message) from error


def _read(credentials: Credentials, setting: str, path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        message = f"{credentials.what}: {setting}: {path} can't be read: {error.strerror}"
        raise RefusedError(message) from error


def _own_handshake(credentials: Credentials) -> tuple[datetime | None, str]:
    """Shake hands with ourselves, in memory, as a peer would that believes this certificate: until when, or why not."""
    server, client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    assert credentials.certificate is not None  # noqa: S101 - the two callers have asked
    server.load_cert_chain(credentials.certificate, credentials.key, password="")
    client.check_hostname = False
    client.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    client.load_verify_locations(credentials.certificate)
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    asking, answering = client.wrap_bio(back, there), server.wrap_bio(there, back, server_side=True)
    for side in (asking, answering, asking):
        try:
            side.do_handshake()
        except ssl.SSLWantReadError:
            continue
        except ssl.SSLError as error:
            return None, handshake_fault(error).replace("its certificate", "the certificate")
    shown = asking.getpeercert() or {}
    return datetime.fromtimestamp(ssl.cert_time_to_seconds(str(shown["notAfter"])), UTC), ""
