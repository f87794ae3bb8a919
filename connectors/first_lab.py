"""The small laboratory that a first start writes, as a file to edit; and any laboratory in words."""

import fcntl
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sqlalchemy import make_url

from connectors.settings import Settings
from connectors.settings_readers import Hours, Reader
from models.failpoint import failpoint

_SCANNER_FOLDER: Final = Path("scanners") / "site-a"
_UNFINISHED: Final = ".coverslip.toml.part"


@dataclass(frozen=True)
class FirstPorts:
    """The ports of a first laboratory, all on loopback; 0 has one chosen at each start."""

    mllp: int = 2575
    page: int = 8080
    lims: int = 2576
    engine: int = 4200


def write_first_lab(home: Path, ports: FirstPorts | None = None) -> Path:
    """Write ``coverslip.toml`` and its scanner's folder, unless the file is there; return the file's path.

    The file holds a new installation key and is for its owner's eyes only. It appears whole or not at all,
    and one that is there is never touched. What a start that was killed left is removed: it holds a key too.
    """
    path, unfinished = home / "coverslip.toml", home / _UNFINISHED
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    with _alone_in(home) as folder:
        unfinished.unlink(missing_ok=True)
        if path.exists():
            return path
        (home / _SCANNER_FOLDER).mkdir(parents=True, exist_ok=True)
        try:
            _write(unfinished, _first_lab(ports or FirstPorts()))
            failpoint("first_lab.before_link")
            _link(unfinished, path)
            failpoint("first_lab.after_link")
        finally:
            unfinished.unlink(missing_ok=True)
        os.fsync(folder)
    return path


def describe(settings: Settings) -> tuple[tuple[str, str], ...]:
    """Return what a laboratory is set to, in rows of what and how, without any secret."""
    return (
        ("settings", str(settings.home / "coverslip.toml")),
        ("database", make_url(settings.database).render_as_string(hide_password=True)),
        ("archive", str(settings.resolved(settings.archive_folder))),
        *(("site", f"{site.id}: {site.name}, {site.zone}") for site in settings.sites),
        *(
            ("scanner folder", f"{settings.resolved(scanner.path)} ({scanner.name} at {scanner.site})")
            for scanner in settings.scanners
            if not scanner.at_gateway
        ),
        *(
            ("HL7 in (MLLP)", f"{listener.host}:{listener.port} from {listener.peer} for {listener.site}")
            for listener in settings.listeners
            if not listener.at_gateway
        ),
        *(("LIMS that is told", f"{peer.name} at {peer.host}:{peer.port}") for peer in settings.lims),
        *_event_log(settings),
        ("page", f"http://{settings.page.host}:{settings.page.port}"),
        ("Prefect", f"http://127.0.0.1:{settings.engine.port}" if settings.engine.enabled else "off"),
        *(("pathologist", _in_words(reader)) for reader in settings.readers),
    )


def _event_log(settings: Settings) -> Iterator[tuple[str, str]]:
    if settings.kafka is None:
        return
    yield "Kafka", f"{', '.join(settings.kafka.bootstrap)}, topics {settings.kafka.prefix}*"
    if settings.forwards:
        yield "gateway", "what comes in is handed on to Kafka, and applied where that is read"


def _in_words(reader: Reader) -> str:
    parts = [f"{reader.id}: {reader.name} at {reader.site}, {reader.points_a_week:g} points a week"]
    parts += [f"leads {', '.join(reader.leads)}"] if reader.leads else []
    parts += [f"may read {', '.join(reader.may_read)}"] if reader.may_read else []
    parts += [", ".join(_hours_in_words(hours) for hours in reader.hours) or "never reads: no hours are set"]
    return "; ".join(parts)


def _hours_in_words(hours: Hours) -> str:
    return f"{' '.join(hours.days)} {hours.starts:%H:%M} to {hours.ends:%H:%M}"


@contextmanager
def _alone_in(home: Path) -> Iterator[int]:
    """Hold the folder against another first start; yield its descriptor. A process that dies lets go of it."""
    folder = os.open(home, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield folder
    finally:
        os.close(folder)


def _write(path: Path, text: str) -> None:
    """Write a file that its owner alone may read, and put it on the disk."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def _link(written: Path, path: Path) -> None:
    """Give a finished file its name, unless somebody was first by hand: their laboratory stands."""
    with suppress(FileExistsError):
        os.link(written, path)


def _first_lab(ports: FirstPorts) -> str:
    return _TEMPLATE.format(
        key=secrets.token_hex(32),
        scanner_folder=_SCANNER_FOLDER.as_posix(),
        mllp=ports.mllp,
        page=ports.page,
        lims=ports.lims,
        engine=ports.engine,
    )


_TEMPLATE: Final = """\
# Coverslip's settings: an invented laboratory to start with. Edit it, then start Coverslip again.
# Paths are below the folder of this file unless they begin with "/". Durations are in seconds.
# A line that begins with "#" and a name shows what holds when nothing is said.

# All ids are made with this key. It is a secret, belongs to the backup, and is the same in every
# installation of one network. Once there are cases, never change it.
installation_key = "{key}"

# Empty: a file in this folder. Or "postgresql+psycopg://user:password@host/name".
# database_url = ""
# archive_folder = "archive"

# --- Where slides are cut, scanned and read -----------------------------------------------------------

[[sites]]
id = "site-a"
name = "Site A (invented)"
zone = "Europe/London"
lims = "lims"                # who is told of this site's slides: one of [[lims]] below
# What this site prints on its labels; the group named "container" is the number that orders use.
# identifier_pattern = '(?P<container>[0-9]{{2}}[A-Z][0-9]{{4,8}}-[A-Z]{{1,2}}[0-9]{{0,3}}-[0-9]{{1,3}})'
# settle_after = 60          # a case's slides are all known when no order changed them for so long
# order_wait = 43200         # a scan without an order goes to a person after so long
# scan_wait = 172800         # a slide without a scan is raised after so long
# person_wait = 14400        # what waits for a person is raised after so long

# Drop slides here, or point the path to where your scanner writes.
[[scanners]]
name = "scanner-a"
site = "site-a"
path = "{scanner_folder}"
stable_for = 5               # a file is taken when it did not grow or change for so long
# done_suffix = ".done"      # for a scanner that writes such a file beside each finished slide

# --- The laboratory's own system (LIMS) ---------------------------------------------------------------

# Where orders come in: HL7 v2 over MLLP.
[[listeners]]
peer = "lims"
site = "site-a"
issuer = "SITE-A"            # of accession and container numbers that come without one
host = "127.0.0.1"
port = {mllp}
# Beyond this machine it needs TLS: certificate_file and key_file, and ca_file where peers are to show one too.
# when_the_store_is_away = "close"     # or "AE", "AR": what the peer hears then

# Whom we tell what became of them. Nobody there: messages wait, and the page shows it.
[[lims]]
name = "lims"
host = "127.0.0.1"
port = {lims}
# answer_within = 10
# acknowledgement = "original"         # "enhanced": CA is not the last word, the application's answer is
# after_error = "a person"             # what AE means there, or "send again"
# after_reject = "send again"          # what AR means there, or "a person"
# Beyond this machine it needs TLS: ca_file, and certificate_file and key_file where it wants to see ours.

# --- Pathologists: what each leads in, what else they may read, and when --------------------------------

# A case goes to whoever may read it and has least on their desk for the points that they read in a week.
# Hours are the site's civil time. From 00:00 to 00:00 is the whole day, so that a first try at night or on a
# Sunday finds a reader too: put real hours here, for example
#   hours = [{{ days = ["mon", "tue", "wed"], starts = 09:00:00, ends = 17:30:00 }}]

[[readers]]
id = "example-one"
name = "Dr One Example"
site = "site-a"
points_a_week = 100
leads = ["breast", "gynae", "endocrine", "general"]
may_read = ["skin", "soft_tissue", "paediatric", "head_neck"]
hours = [{{ days = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"], starts = 00:00:00, ends = 00:00:00 }}]

[[readers]]
id = "example-two"
name = "Dr Two Example"
site = "site-a"
points_a_week = 100
leads = ["gi", "hpb", "paediatric", "general"]
may_read = ["urology", "renal", "thoracic", "gynae"]
hours = [{{ days = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"], starts = 00:00:00, ends = 00:00:00 }}]

[[readers]]
id = "example-three"
name = "Dr Three Example"
site = "site-a"
points_a_week = 100
leads = ["skin", "head_neck", "haem", "soft_tissue"]
may_read = ["breast", "endocrine", "neuro", "general"]
hours = [{{ days = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"], starts = 00:00:00, ends = 00:00:00 }}]

[[readers]]
id = "example-four"
name = "Dr Four Example"
site = "site-a"
points_a_week = 60
leads = ["urology", "renal", "thoracic", "neuro"]
may_read = ["gi", "hpb", "haem", "general"]
hours = [{{ days = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"], starts = 00:00:00, ends = 00:00:00 }}]

# --- This machine -----------------------------------------------------------------------------------

# Without sign-in the page is served on this machine only.
[page]
host = "127.0.0.1"
port = {page}

# Prefect runs and shows the flows; without it slides move too.
[engine]
enabled = true
port = {engine}

# How much runs side by side.
# [work]
# slide_qc = 1
# barcode_matching = 1
# archive_upload = 2

# Traces and metrics, without patient data: "off", "file" or "otlp".
# [telemetry]
# to = "off"
# endpoint = "http://127.0.0.1:4318"
"""
