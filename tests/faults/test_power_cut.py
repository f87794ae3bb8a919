"""Nothing is mentioned in the books that a power cut could still take away."""

import shutil
from pathlib import Path

import pytest

from tests.faults.experiment import Bench
from tests.faults.lab import laboratory
from tests.faults.power_cut import NO_TRACER, traced_journey

pytestmark = [pytest.mark.faults, pytest.mark.timeout(300)]


def test_bytes_reach_the_disk_before_their_name_and_their_name_before_the_books(bench: Bench, tmp_path: Path) -> None:
    if shutil.which("strace") is None:
        pytest.skip(NO_TRACER)
    with laboratory(bench.template, tmp_path / "home") as lab:
        assert traced_journey(lab) == []
