"""What this machine has to have, whatever the laboratory: Python, SQLite, the libraries that read and write slides."""

import ctypes
import shutil
import sqlite3
import subprocess
import sys
from importlib import import_module
from typing import Final

from dashboards.doctor.finding import Finding, Findings, Installation

_PYTHON_FROM, _PYTHON_BEFORE = (3, 11), (3, 15)
# Older ones have no RETURNING.
_SQLITE_FROM: Final = (3, 35, 0)
# https://sqlite.org/wal.html#walresetbug: in 3.7.0 to 3.51.2, but for two branches that were corrected too.
_WAL_RESET_BUG: Final = ((3, 7, 0), (3, 51, 2))
_CORRECTED_BRANCHES: Final = (((3, 44, 6), (3, 45, 0)), ((3, 50, 7), (3, 51, 0)))

_LEAVES_THE_NETWORK: Final = """
import ctypes, os
flags = 0x40000000 if os.geteuid() == 0 else 0x50000000  # CLONE_NEWNET, without root in CLONE_NEWUSER: unshare(2)
raise SystemExit(ctypes.CDLL(None).unshare(flags) != 0)
"""


def python(_installation: Installation) -> Findings:
    """Look at the Python that runs this."""
    version = ".".join(map(str, sys.version_info[:3]))
    if _PYTHON_FROM <= sys.version_info[:2] < _PYTHON_BEFORE and sys.platform == "linux":
        yield Finding("Python", "ok", f"{version} on Linux")
        return
    fix = "make setup PYTHON=/path/to/python3.11 or newer, up to 3.14, on Linux"
    yield Finding("Python", "missing", f"{version} on {sys.platform} is not supported", fix)


def sqlite(installation: Installation) -> Findings:
    """Look at the SQLite that Python brings, and whether it has the bug that several checkpointing processes meet."""
    version, number = sqlite3.sqlite_version, sqlite3.sqlite_version_info
    if not installation.settings.database.startswith("sqlite"):
        yield Finding("SQLite", "ok", f"{version}, for Prefect only: the database is PostgreSQL")
    elif number < _SQLITE_FROM:
        yield Finding("SQLite", "missing", f"{version} is too old, 3.35.0 is needed", "use a newer Python")
    elif has_wal_reset_bug(number):
        yield Finding(
            "SQLite",
            "ok",
            f"{version} has the WAL-reset bug (3.7.0 to 3.51.2), which needs a commit during a checkpoint: here both "
            "take turns by a lock file, and one process checkpoints; so let no other program write to the database",
        )
    else:
        yield Finding("SQLite", "ok", f"{version}, without the WAL-reset bug")


def has_wal_reset_bug(version: tuple[int, ...]) -> bool:
    """Return whether this SQLite may corrupt a file when a commit falls into a checkpoint."""
    first, last = _WAL_RESET_BUG
    is_corrected = any(since <= version < until for since, until in _CORRECTED_BRANCHES)
    return first <= version <= last and not is_corrected


def turbojpeg(_installation: Installation) -> Findings:
    """Look for the system library that converting needs, as the converter looks for it."""
    try:
        path = import_module("opentile.jpeg.jpeg").find_turbojpeg_path()
        ctypes.CDLL(str(path))
    except (ImportError, OSError):
        fix = "sudo apt-get install libturbojpeg0, or libturbojpeg on Ubuntu; or set TURBOJPEG to where it lies"
        yield Finding("libturbojpeg", "missing", "not found, so no slide can be converted to DICOM", fix)
        return
    yield Finding("libturbojpeg", "ok", path.name)


def libraries(_installation: Installation) -> Findings:
    """Look whether the libraries load that read slides and labels, and what converts."""
    try:
        for name in ("tifffile", "zxingcpp", "wsidicomizer"):
            import_module(name)
        version = import_module("openslide").__library_version__
    except (ImportError, OSError) as error:
        sentence = f"what reads and converts slides does not load ({type(error).__name__})"
        yield Finding("OpenSlide", "missing", sentence, "make setup")
        return
    yield Finding("OpenSlide", "ok", f"{version}; tifffile, zxing-cpp and wsidicomizer load too")


def decoding(_installation: Installation) -> Findings:
    """Look whether the children that decode slides can be kept from the network, as they try to be."""
    tried = subprocess.run([sys.executable, "-S", "-c", _LEAVES_THE_NETWORK], capture_output=True, check=False)
    if tried.returncode == 0:
        yield Finding("decoding", "ok", "slides are decoded in children without network, with limits")
        return
    fix = "allow unprivileged user namespaces, or keep this machine from the network"
    yield Finding(
        "decoding", "note", "slides are decoded in children with limits, which this kernel leaves the network", fix
    )


def dciodvfy(_installation: Installation) -> Findings:
    """Look for the validator of DICOM files, which only tests use."""
    if shutil.which("dciodvfy"):
        yield Finding("dciodvfy", "ok", "found; only the tests use it")
        return
    yield Finding("dciodvfy", "note", "not found; only the tests use it", "sudo apt-get install dicom3tools")
