"""A Coverslip for one conformance run: a state folder of its own, doors and worker as real processes, no engine."""

import os
import secrets
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from connectors.settings import Settings
from dashboards.cli.processes import prepare
from dashboards.supervisor import Supervisor

SITE: Final = "site-a"
ISSUER: Final = "SITE-A"
READER: Final = "example-one"
SCANS: Final = "scans"
"""The folder that the one scanner writes into, below the state folder."""
FRAME_BYTES: Final = 32 << 20
"""The largest message that a door takes where the settings say nothing."""


@dataclass(frozen=True)
class Ports:
    """The ports of a run, all on loopback: where Coverslip hears the two, where they hear Coverslip, the page."""

    from_pawm: int
    from_ima: int
    to_pawm: int
    to_ima: int
    page: int


@contextmanager
def laboratory(home: Path) -> Iterator[tuple[Settings, Ports]]:
    """Write the settings, start the processes and end exactly those; the folder stays."""
    ports = free_ports()
    write_settings(home, ports)
    settings = prepare(home)
    supervisor = Supervisor(settings, lambda _sentence: None)
    supervisor.start()
    try:
        yield settings, ports
    finally:
        supervisor.end()


def free_ports() -> Ports:
    """Return ports that nobody uses at this moment."""
    with ExitStack() as held:
        probes = [held.enter_context(socket.socket()) for _ in range(5)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return Ports(*(int(probe.getsockname()[1]) for probe in probes))


def write_settings(home: Path, ports: Ports) -> None:
    """Write the settings: one PAWM, one image manager, one scanner, and one reader who is always there."""
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    text = _SETTINGS.format(
        key=secrets.token_hex(32),
        **{name: getattr(ports, name) for name in Ports.__dataclass_fields__},
        site=SITE,
        issuer=ISSUER,
        reader=READER,
        scans=SCANS,
    )
    # It holds the installation's key: for its owner alone.
    descriptor = os.open(home / "coverslip.toml", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)


_SETTINGS: Final = """\
# The laboratory of a conformance run. Everybody and everything in it is invented.
installation_key = "{key}"

[engine]
enabled = false

[page]
port = {page}

[[sites]]
id = "{site}"
name = "Site A (invented)"
zone = "Europe/London"
lims = "pawm"
settle_after = 1
identifier_pattern = '(?P<container>26[A-Z0-9]{{1,9}}-[A-Z][0-9]{{1,2}}-[0-9]{{1,2}})'

[[scanners]]
name = "scanner-a"
site = "{site}"
path = "{scans}"
stable_for = 0.5

[[listeners]]
peer = "pawm"
profile = "dpow"
site = "{site}"
issuer = "{issuer}"
port = {from_pawm}

[[listeners]]
peer = "ima"
profile = "dpow"
site = "{site}"
issuer = "{issuer}"
port = {from_ima}

[[lims]]
name = "pawm"
port = {to_pawm}
facility = "{issuer}"
slides_as = "LAB-104"
answer_within = 3

[[readers]]
id = "{reader}"
name = "Dr One Example"
site = "{site}"
points_a_week = 1000
leads = ["breast", "general"]
hours = [{{ days = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"], starts = 00:00:00, ends = 00:00:00 }}]
"""
