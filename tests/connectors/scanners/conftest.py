"""What the tests of scanner folders share: a spool, a disk that is soon full, and how calls reach the kernel."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from connectors.scanners.spool import Spool
from tests.connectors.scanners.laboratory import Laboratory, furnished

ROOT = Path(__file__).resolve().parents[3]
DISK_BYTES = 16 << 20

Traced = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return Spool(tmp_path / "spool", "north", reserve_bytes=0)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 16 MiB."""
    if os.geteuid() != 0:
        pytest.skip("needs root, to mount a small disk")
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(folder)]
    if subprocess.run(command, capture_output=True, check=False).returncode != 0:
        pytest.skip("needs the right to mount a small disk")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)  # a failed test may still hold a file


@pytest.fixture
def traced() -> Traced:
    """Run Python code under strace; ``arguments`` become its ``sys.argv[1:]``."""
    strace = shutil.which("strace")
    if strace is None:
        pytest.skip("needs strace")

    def run(options: list[str], code: str, *arguments: object) -> subprocess.CompletedProcess[str]:
        command = [strace, "-f", *options, sys.executable, "-c", code, *map(str, arguments)]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)

    return run


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Laboratory]:
    """A laboratory on SQLite."""
    yield from _open(f"sqlite:///{tmp_path / 'coverslip.db'}", tmp_path)


@pytest.fixture
def any_lab(database_url: str, tmp_path: Path) -> Iterator[Laboratory]:
    """A laboratory on SQLite and one on PostgreSQL."""
    yield from _open(database_url, tmp_path)


def _open(url: str, folder: Path) -> Iterator[Laboratory]:
    made = furnished(url, folder)
    yield made
    made.end()
