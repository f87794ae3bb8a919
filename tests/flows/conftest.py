"""What the tests of the flows share: a small laboratory."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from connectors.wiring import Lab
from tests.small_lab import small_lab


@pytest.fixture
def lab(tmp_path: Path, database_url: str) -> Iterator[Lab]:
    """A small laboratory: the test runs once on SQLite and once on PostgreSQL."""
    opened = small_lab(tmp_path, database_url)
    yield opened
    opened.database.close()


@pytest.fixture
def sqlite_lab(tmp_path: Path) -> Iterator[Lab]:
    """A small laboratory on SQLite, for what no database could make different."""
    opened = small_lab(tmp_path, f"sqlite:///{tmp_path / 'coverslip.db'}")
    yield opened
    opened.database.close()


@pytest.fixture
def lab_on_postgres(tmp_path: Path, unmade_postgres_database: str) -> Iterator[Lab]:
    """A small laboratory on PostgreSQL, where transactions run side by side; mark the test ``postgres``."""
    opened = small_lab(tmp_path, unmade_postgres_database)
    yield opened
    opened.database.close()
