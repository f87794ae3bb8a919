"""What the tests of the flows share: a small laboratory."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from connectors.wiring import Lab
from tests.small_lab import small_lab


@pytest.fixture
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of a database that ``migrated`` makes: on SQLite, unless a test asks for both (``ON_BOTH``)."""
    if getattr(request, "param", "sqlite") == "sqlite":
        return f"sqlite:///{tmp_path / 'coverslip.db'}"
    return str(request.getfixturevalue("unmade_postgres_database"))


@pytest.fixture
def lab(tmp_path: Path, database_url: str) -> Iterator[Lab]:
    """A small laboratory."""
    opened = small_lab(tmp_path, database_url)
    yield opened
    opened.database.close()


@pytest.fixture
def lab_on_postgres(tmp_path: Path, unmade_postgres_database: str) -> Iterator[Lab]:
    """A small laboratory on PostgreSQL, where transactions run side by side; mark the test ``postgres``."""
    opened = small_lab(tmp_path, unmade_postgres_database)
    yield opened
    opened.database.close()
