"""The demonstration's laboratory as a settings file: three sites, each with a scanner folder and a LIMS of its own.

With Kafka these are two files: a gateway has the doors of all three sites, and the laboratory gets what it hands on.
"""

import os
import secrets
import socket
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from flows.simulate.script import SITES, ScriptedSite
from models.errors import RefusedError

_SETTLE_SECONDS: Final = 5
_STABLE_SECONDS: Final = 1.5

# Together they cover the script's cases several times over, so that there is a choice to explain.
_READERS: Final = (
    ("ash", "Dr Ash Example", "alder", 100, ("breast", "gynae"), ("skin",)),
    ("bay", "Dr Bay Example", "alder", 100, ("gi", "hpb"), ("urology",)),
    ("fir", "Dr Fir Example", "alder", 60, ("thoracic",), ("haem", "breast")),
    ("elm", "Dr Elm Example", "birch", 100, ("gi", "skin"), ("hpb",)),
    ("hazel", "Dr Hazel Example", "birch", 80, ("urology", "gynae"), ("breast",)),
    ("lime", "Dr Lime Example", "cedar", 100, ("haem", "thoracic"), ("gi",)),
    ("oak", "Dr Oak Example", "cedar", 100, ("hpb", "urology"), ("gi",)),
    ("rowan", "Dr Rowan Example", "cedar", 50, ("breast", "skin"), ("gynae",)),
)


@dataclass(frozen=True)
class Ports:
    """The ports of the demonstration, all on loopback; for each site, where orders come in and where its LIMS hears.

    The last two are used with Kafka only.
    """

    page: int
    engine: int
    orders: tuple[int, ...]
    lims: tuple[int, ...]
    kafka: int
    gateway_page: int


def free_ports() -> Ports:
    """Return ports that nobody uses at this moment."""
    count = len(SITES)
    with ExitStack() as held:
        probes = [held.enter_context(socket.socket()) for _ in range(4 + 2 * count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        page, engine, kafka, gateway_page, *others = (int(probe.getsockname()[1]) for probe in probes)
    return Ports(page, engine, tuple(others[:count]), tuple(others[count:]), kafka, gateway_page)


def write_laboratory(home: Path, ports: Ports, *, by_kafka: bool = False) -> None:
    """Make a fresh state folder with the demonstration's settings and scanner folders; with Kafka, a gateway's too.

    Raises
    ------
    RefusedError
        The folder is in use already: what is there stays as it is.
    """
    try:
        home.mkdir(mode=0o700, parents=True)
    except FileExistsError as error:
        if not home.is_dir() or any(home.iterdir()):
            message = (
                f"{home} is in use: a demonstration begins in a folder of its own, so name one that is not there yet"
            )
            raise RefusedError(message) from error
    for site in SITES:
        scanner_folder(home, site.id).mkdir(parents=True, exist_ok=True)
    key = f'installation_key = "{secrets.token_hex(32)}"'
    engine = f"[engine]\nport = {ports.engine}"
    if not by_kafka:
        _write(home, (key, _page(ports.page), engine, *_sites(ports), *_readers()))
        return
    kafka = f'[kafka]\nbootstrap = ["127.0.0.1:{ports.kafka}"]'
    _write(home, (key, _page(ports.page), engine, kafka, *_sites(ports, at_gateway=True), *_readers()))
    gateway = gateway_folder(home)
    gateway.mkdir(mode=0o700)
    # The bytes of slides do not travel: both know the same spool.
    own = ("[gateway]", "[engine]\nenabled = false", '[work]\nspool = "../spool"')
    _write(
        gateway, ("readers = []", key, _page(ports.gateway_page), *own, kafka, *_sites(ports, folders="../scanners"))
    )


def gateway_folder(home: Path) -> Path:
    """Return the gateway's state folder, which a demonstration with Kafka has."""
    return home / "gateway"


def scanner_folder(home: Path, site_id: str) -> Path:
    """Return the folder that a site's scanner writes into."""
    return home / "scanners" / site_id


def heard_path(home: Path, site_id: str) -> Path:
    """Return the file in which a site's LIMS notes what it was told, one JSON object a line."""
    return home / "simulated" / f"heard-{site_id}.jsonl"


def read_back_path(home: Path) -> Path:
    """Return the file in which is noted what Coverslip wrote into Kafka, as others read it, one JSON object a line."""
    return home / "simulated" / "read-from-kafka.jsonl"


def lims_name(site_id: str) -> str:
    """Return the name of a site's LIMS in the settings."""
    return f"lims-{site_id}"


def scanner_name(site_id: str) -> str:
    """Return the name of a site's scanner in the settings."""
    return f"scanner-{site_id}"


def issuer_of(site_id: str) -> str:
    """Return who issues a site's accession and container numbers."""
    return site_id.upper()


def _write(folder: Path, parts: Iterable[str]) -> None:
    # It holds the installation's key: for its owner alone.
    descriptor = os.open(folder / "coverslip.toml", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write("# The laboratory of a demonstration. Everybody and everything in it is invented.\n\n")
        file.write("\n\n".join(parts) + "\n")


def _page(port: int) -> str:
    return f'[page]\nhost = "127.0.0.1"\nport = {port}'


def _sites(ports: Ports, folders: str = "scanners", *, at_gateway: bool = False) -> Iterator[str]:
    """Yield the sites with their neighbours; the doors of those ``at_gateway`` are opened there, not here."""
    doors = "\nat_gateway = true" if at_gateway else ""
    for site, orders, lims in zip(SITES, ports.orders, ports.lims, strict=True):
        yield _site(site)
        yield _peer(site, lims)
        yield _listener(site, orders) + doors
        yield _scanner(site, folders) + doors


def _readers() -> Iterator[str]:
    return (_reader(*reader) for reader in _READERS)


def _site(site: ScriptedSite) -> str:
    return (
        f'[[sites]]\nid = "{site.id}"\nname = "{site.name}"\nzone = "{site.zone}"\n'
        f'lims = "{lims_name(site.id)}"\nsettle_after = {_SETTLE_SECONDS}'
    )


def _peer(site: ScriptedSite, port: int) -> str:
    return f'[[lims]]\nname = "{lims_name(site.id)}"\nport = {port}\nfacility = "{issuer_of(site.id)}"'


def _listener(site: ScriptedSite, port: int) -> str:
    return (
        f'[[listeners]]\npeer = "{lims_name(site.id)}"\nsite = "{site.id}"\n'
        f'issuer = "{issuer_of(site.id)}"\nport = {port}'
    )


def _scanner(site: ScriptedSite, folders: str) -> str:
    return (
        f'[[scanners]]\nname = "{scanner_name(site.id)}"\nsite = "{site.id}"\npath = "{folders}/{site.id}"\n'
        f"stable_for = {_STABLE_SECONDS}"
    )


def _reader(
    reader_id: str, name: str, site: str, points: int, leads: tuple[str, ...], may_read: tuple[str, ...]
) -> str:
    days = ", ".join(f'"{day}"' for day in ("mon", "tue", "wed", "thu", "fri", "sat", "sun"))
    return (
        f'[[readers]]\nid = "{reader_id}"\nname = "{name}"\nsite = "{site}"\npoints_a_week = {points}\n'
        f"leads = {_listed(leads)}\nmay_read = {_listed(may_read)}\n"
        f"hours = [{{ days = [{days}], starts = 00:00:00, ends = 00:00:00 }}]"
    )


def _listed(words: tuple[str, ...]) -> str:
    return "[" + ", ".join(f'"{word}"' for word in words) + "]"
