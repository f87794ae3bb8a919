"""What tests of connectors share."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MiB."""
    if os.geteuid() != 0:
        pytest.skip("needs root, to mount a small disk")
    mounted = tmp_path / "small"
    mounted.mkdir()
    done = subprocess.run(
        ["/bin/mount", "-t", "tmpfs", "-o", "size=1m", "coverslip-test", str(mounted)], check=False, capture_output=True
    )
    if done.returncode != 0:
        pytest.skip("needs the right to mount a small disk, which this container does not have")
    yield mounted
    subprocess.run(["/bin/umount", str(mounted)], check=True)
