import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy.engine import make_url

from connectors.wiring import Lab
from tests.flows.audit.story import lived_in
from tests.postgres import Cluster
from tests.small_lab import small_lab


@dataclass(frozen=True)
class Template:
    """A laboratory that was lived in, to be copied."""

    folder: Path
    url: str


@pytest.fixture(scope="module")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Template:
    folder = tmp_path_factory.mktemp("lived_in")
    lived_in(folder, f"sqlite:///{folder / 'coverslip.db'}").database.close()
    return Template(folder, "")


@pytest.fixture(scope="module")
def postgres_template(postgres_cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Template]:
    folder = tmp_path_factory.mktemp("lived_in")
    with postgres_cluster.unmade_database() as url:
        lived_in(folder, url).database.close()
        yield Template(folder, url)


@pytest.fixture
def sqlite_lab(sqlite_template: Template, tmp_path: Path) -> Iterator[Lab]:
    """A copy of the laboratory that was lived in, on SQLite."""
    home = tmp_path / "home"
    shutil.copytree(sqlite_template.folder, home)
    lab = small_lab(home, f"sqlite:///{home / 'coverslip.db'}")
    yield lab
    lab.database.close()


@pytest.fixture
def postgres_lab(postgres_template: Template, postgres_cluster: Cluster, tmp_path: Path) -> Iterator[Lab]:
    """A copy of the laboratory that was lived in, on PostgreSQL."""
    home = tmp_path / "home"
    shutil.copytree(postgres_template.folder, home)
    lived_in_database = make_url(postgres_template.url).database
    name = f"copy_{tmp_path.name}"[:60]
    with postgres_cluster.connect() as connection:
        connection.execute(f'CREATE DATABASE "{name}" TEMPLATE "{lived_in_database}"')
    lab = small_lab(home, postgres_cluster.url(name))
    yield lab
    lab.database.close()
    with postgres_cluster.connect() as connection:
        connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def lab(request: pytest.FixtureRequest) -> Lab:
    """The laboratory that was lived in, on each database."""
    copied: Lab = request.getfixturevalue("sqlite_lab" if request.param == "sqlite" else "postgres_lab")
    return copied
