import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from sqlalchemy import create_engine, inspect, text

from tests import postgres

pytestmark = pytest.mark.postgres

ROOT = Path(__file__).resolve().parents[1]
A_RUN_THAT_WAITS = """
import time
from tests import postgres

programs = postgres.binaries()
assert programs
with postgres.cluster(programs) as cluster, cluster.connect() as connection:
    [folder] = connection.execute("SELECT current_setting('data_directory')").fetchone()
    print(folder, flush=True)
    time.sleep(60)
"""


def test_each_test_gets_an_empty_database_of_its_own(postgres_cluster: postgres.Cluster) -> None:
    with postgres_cluster.empty_database() as one, postgres_cluster.empty_database() as other:
        first, second = create_engine(one), create_engine(other)
        with first.begin() as connection:
            connection.execute(text("CREATE TABLE slide (id text)"))
        assert inspect(first).get_table_names() == ["slide"]
        assert inspect(second).get_table_names() == []
        first.dispose()
        second.dispose()


def test_a_database_is_dropped_although_someone_is_still_connected(postgres_cluster: postgres.Cluster) -> None:
    with postgres_cluster.empty_database() as url:
        engine = create_engine(url)
        left_open = engine.connect()
    with postgres_cluster.connect() as connection:
        names = {row[0] for row in connection.execute("SELECT datname FROM pg_database")}
    assert url.rsplit("/", 1)[1] not in names
    left_open.invalidate()
    left_open.close()
    engine.dispose()


def test_the_server_wants_a_password_and_hears_loopback_only(postgres_cluster: postgres.Cluster) -> None:
    with postgres_cluster.connect() as connection:
        [(addresses, authentication)] = connection.execute(
            "SELECT current_setting('listen_addresses'), string_agg(DISTINCT auth_method, ' ') FROM pg_hba_file_rules"
        ).fetchall()
    assert addresses == "127.0.0.1"
    assert authentication == "scram-sha-256"


@pytest.mark.usefixtures("postgres_cluster")
def test_the_server_ends_with_a_test_run_that_is_killed() -> None:
    run = subprocess.Popen([sys.executable, "-c", A_RUN_THAT_WAITS], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert run.stdout is not None
    folder = Path(run.stdout.readline().strip())
    running = folder / "postmaster.pid"
    was_running = running.exists()
    run.kill()
    run.communicate(timeout=10)
    ended = goes(running)
    shutil.rmtree(folder.parent)  # nobody else is left to do it
    assert was_running
    assert ended


def goes(path: Path) -> bool:
    limit = time.monotonic() + 20
    while path.exists() and time.monotonic() < limit:
        time.sleep(0.05)
    return not path.exists()


def test_a_test_that_asks_for_a_database_runs_on_an_empty_one_of_each_kind(empty_database_url: str) -> None:
    engine = create_engine(empty_database_url)
    assert inspect(engine).get_table_names() == []
    engine.dispose()
