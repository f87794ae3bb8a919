from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from connectors.settings_readers import Reader
from connectors.wiring import Lab
from tests.flows.reads.life import LabOf, reading_lab


@pytest.fixture
def lab_of(tmp_path: Path, database_url: str) -> Iterator[LabOf]:
    """Give what opens a laboratory with people and a policy."""
    with _opening(tmp_path, database_url) as open_lab:
        yield open_lab


@contextmanager
def _opening(folder: Path, database_url: str) -> Iterator[LabOf]:
    opened: list[Lab] = []

    def open_lab(*people: Reader, **said: Any) -> Lab:  # noqa: ANN401 - as ``reading_lab`` takes it
        opened.append(reading_lab(folder, database_url, *people, **said))
        return opened[-1]

    yield open_lab
    for lab in opened:
        lab.database.close()
