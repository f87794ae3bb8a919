"""What crosses the network in plain text, and how long the certificates of the MLLP wires are good."""

from datetime import timedelta
from pathlib import Path
from typing import Final

from connectors.lims.tls import Credentials, door_context, peer_context, valid_until
from connectors.settings import Settings
from connectors.settings_doors import Listener
from connectors.settings_wire import Wire
from connectors.wiring import door_credentials, peer_credentials
from dashboards.doctor.finding import Finding, Findings, Installation
from models.database import utc_now
from models.errors import RefusedError

_RENEW_WITHIN: Final = timedelta(days=30)


def exposed(settings: Settings) -> tuple[str, ...]:
    """Return the names of the wires on which patient data crosses the network in plain text."""
    doors = (one.peer for one in settings.listeners if one.exposed and not one.at_gateway)
    return (*doors, *(peer.name for peer in settings.lims if peer.exposed))


def refuse_bad_certificates(settings: Settings) -> None:
    """Read what TLS needs before any process starts.

    Raises
    ------
    RefusedError
        A file is missing or does not fit: one sentence that names listener or LIMS, setting and file.
    """
    for listener in settings.listeners:
        if listener.secure and not listener.at_gateway:
            door_context(door_credentials(settings, listener))
    for peer in settings.lims:
        if peer.secure:
            peer_context(peer_credentials(settings, peer))


def wires(installation: Installation) -> Findings:
    """Look at the certificates of each MLLP wire, or say that it has none and needs one."""
    settings = installation.settings
    for listener in (one for one in settings.listeners if not one.at_gateway):
        yield from _wire(f"MLLP {listener.peer}", listener, door_credentials(settings, listener))
    for peer in settings.lims:
        yield from _wire(f"LIMS {peer.name}", peer, peer_credentials(settings, peer))


def _wire(what: str, wire: Wire, credentials: Credentials) -> Findings:
    if wire.exposed:
        sentence = f"HL7 crosses the network in plain text at {wire.host} (insecure_allow)"
        yield Finding(what, "note", sentence, "set certificate_file, key_file and ca_file")
    if not wire.secure:
        return
    try:
        (door_context if isinstance(wire, Listener) else peer_context)(credentials)
    except RefusedError as error:
        yield Finding(what, "missing", str(error))
        return
    yield _validity(what, credentials, credentials.certificate)


def _validity(what: str, credentials: Credentials, certificate: Path | None) -> Finding:
    if certificate is None:
        return Finding(what, "ok", "TLS; we show no certificate of ours")
    until = valid_until(credentials)
    if until is None:
        return Finding(what, "missing", f"our certificate {certificate} is not valid now", "have it renewed")
    if until - utc_now() < _RENEW_WITHIN:
        return Finding(what, "note", f"TLS; our certificate {certificate} ends on {until:%d %B %Y}", "have it renewed")
    return Finding(what, "ok", f"TLS; our certificate is good until {until:%d %B %Y}")
