"""What tests share: databases, Kafka brokers, and the real slides that lie beside a checkout."""

import os
import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from infra.kafka.broker import Broker
from tests import kafka_broker as kafka
from tests import postgres

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
ON_CI = os.environ.get("CI") == "true"

# No deadline: other work runs beside the tests. On CI the same input every time, so that a change is judged by itself.
settings.register_profile("coverslip", deadline=None, print_blob=True, derandomize=ON_CI)
settings.load_profile("coverslip")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real slides, labels and DICOM files; a test that asks for it is skipped without it."""
    if not SHARED_DATA.is_dir():
        pytest.skip("needs the real slides in ../shared/data, which are not here")
    return SHARED_DATA


@pytest.fixture(scope="session")
def postgres_cluster() -> Iterator[postgres.Cluster]:
    """A PostgreSQL server for this run alone."""
    programs = postgres.binaries()
    if programs is None:
        missing = "needs a PostgreSQL server: apt-get install postgresql, which `make test` does when it may"
        (pytest.fail if ON_CI else pytest.skip)(missing)
    with postgres.cluster(programs) as cluster:
        yield cluster


@pytest.fixture(scope="session")
def postgres_url(postgres_cluster: postgres.Cluster) -> str:
    """The address of the server's own database; a test that writes wants ``postgres_database``."""
    return postgres_cluster.url()


@pytest.fixture
def postgres_database(postgres_cluster: postgres.Cluster) -> Iterator[str]:
    """The address of a fresh, empty PostgreSQL database."""
    with postgres_cluster.empty_database() as url:
        yield url


@pytest.fixture
def unmade_postgres_database(postgres_cluster: postgres.Cluster) -> Iterator[str]:
    """The address of a PostgreSQL database that ``migrated`` makes: a copy of one with all tables."""
    with postgres_cluster.unmade_database() as url:
        yield url


_ON_BOTH = ["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)]


@pytest.fixture(params=_ON_BOTH)
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of a database that ``migrated`` makes: the test runs once on SQLite and once on PostgreSQL."""
    return _url(request, tmp_path, "unmade_postgres_database")


@pytest.fixture(params=_ON_BOTH)
def empty_database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of an empty database, once of each kind."""
    return _url(request, tmp_path, "postgres_database")


def _url(request: pytest.FixtureRequest, folder: Path, on_postgres: str) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{folder / 'coverslip.db'}"
    return str(request.getfixturevalue(on_postgres))


@pytest.fixture(scope="session")
def kafka_broker() -> Iterator[Broker | kafka.Tansu]:
    """Apache Kafka on loopback, plaintext, shared by the run: a test keeps to names of its own (``kafka_prefix``).

    Where it can't be had Tansu stands in, which has no more than an address and a process; tests that are marked
    ``apache_kafka`` never meet it.
    """
    missing = kafka.why_not()
    if missing and ON_CI:
        pytest.fail(missing)
    if missing and (neither := kafka.why_no_stand_in()):
        pytest.skip(f"{missing}; {neither}")
    with kafka.standing_in() if missing else kafka.running() as broker:
        yield broker


@pytest.fixture(autouse=True)
def _apache_kafka_or_none(request: pytest.FixtureRequest) -> None:
    """A test of what only Apache Kafka does is skipped without it; the same of the log in memory is not."""
    chosen = getattr(request.node, "callspec", None)
    in_memory = chosen is not None and "memory" in chosen.params.values()
    if request.node.get_closest_marker("apache_kafka") and not in_memory:
        _need_kafka()


@pytest.fixture(scope="session")
def secure_kafka_broker() -> Iterator[Broker]:
    """Apache Kafka that wants TLS and a password, a token or a certificate, with ACLs; shared by the run.

    ``kafka_broker.USERS`` have credentials in ``broker.security``, and no rights until a test gives them some.
    """
    _need_kafka()
    with kafka.running(secured=True) as broker:
        yield broker


@pytest.fixture
def own_kafka_broker() -> Iterator[Broker]:
    """Apache Kafka for one test alone, to be killed, frozen and started again."""
    _need_kafka()
    with kafka.running() as broker:
        yield broker


@pytest.fixture
def kafka_prefix() -> str:
    """What the names of this test's topics and groups begin with."""
    return f"test-{secrets.token_hex(4)}."


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say in one line what a run without Apache Kafka did not show."""
    skipped = [one for one in terminalreporter.getreports("skipped") if kafka.NEEDED in str(one.longrepr)]
    if skipped:
        terminalreporter.write_line(f"{kafka.NOT_COVERED} ({len(skipped)} tests)")


def _need_kafka() -> None:
    missing = kafka.why_not()
    if missing:
        (pytest.fail if ON_CI else pytest.skip)(f"{kafka.NEEDED}: {missing}")
