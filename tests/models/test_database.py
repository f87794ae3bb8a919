"""The two ways into a database, on SQLite and on PostgreSQL, with real processes beside them."""

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select, text
from sqlalchemy.exc import StatementError

from models.database import Database, database_now
from models.errors import TransientError
from models.migrate import migrate
from models.tables.books import Alert
from models.tables.place import Site

ROOT = Path(__file__).resolve().parents[2]
NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)

# A process of its own: adds one to a counter, again and again, and says how long its longest write took.
COUNTING = """
import sys, time
from sqlalchemy import text
from models.database import Database

database = Database(sys.argv[1])
longest = 0.0
for _ in range(int(sys.argv[2])):
    began = time.monotonic()
    with database.write("count") as session:
        # Read first, as real work does: only the way the transaction is opened keeps the next line from failing.
        n = session.scalar(text("SELECT n FROM counter" + sys.argv[3]))
        session.execute(text("UPDATE counter SET n = :n"), {"n": n + 1})
    longest = max(longest, time.monotonic() - began)
print(longest)
"""

# Writes one line, as an acknowledged message would be, then says so.
WRITING = """
import sys
from sqlalchemy import text
from models.database import Database

database = Database(sys.argv[1])
print("ready", flush=True)
with database.write("counting") as session:
    session.execute(text("UPDATE counter SET n = n + 1"))
print("written", flush=True)
"""

# Is in the middle of a write when it says so, and stays there.
HOLDING = """
import sys, time
from sqlalchemy import text
from models.database import Database

database = Database(sys.argv[1])
with database.write("hold") as session:
    session.execute(text("UPDATE counter SET n = n + 1"))
    print("holding", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def database(empty_database_url: str) -> Iterator[Database]:
    """A database with one counter, which stands at 0."""
    opened = Database(empty_database_url, checkpoints=True)
    with opened.write("prepare") as session:
        session.execute(text("CREATE TABLE counter (n INTEGER NOT NULL)"))
        session.execute(text("INSERT INTO counter VALUES (0)"))
    yield opened
    opened.close()


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'coverslip.db'}"


def url_of(database: Database) -> str:
    return database.url.render_as_string(hide_password=False)


def counted(database: Database) -> int:
    with database.read() as session:
        return int(session.scalars(text("SELECT n FROM counter")).one())


def start(code: str, *arguments: object, failpoint: str = "") -> subprocess.Popen[str]:
    command = [sys.executable, "-c", code, *map(str, arguments)]
    environment = os.environ | {"COVERSLIP_FAILPOINT": failpoint}
    return subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def run(code: str, *arguments: object, failpoint: str = "") -> tuple[int, str]:
    with start(code, *arguments, failpoint=failpoint) as process:
        said, complaint = process.communicate(timeout=60)
    assert not complaint
    return process.returncode, said


@pytest.mark.parametrize(
    ("pragma", "wanted"),
    [
        ("journal_mode", "wal"),
        ("synchronous", 2),
        ("foreign_keys", 1),
        ("recursive_triggers", 1),
        ("busy_timeout", 10_000),
    ],
)
def test_every_connection_to_sqlite_keeps_what_a_commit_promises(sqlite_url: str, pragma: str, wanted: object) -> None:
    database = Database(sqlite_url)
    with database.read() as one, database.read() as other, database.write("ask") as third:
        found = [session.scalar(text(f"PRAGMA {pragma}")) for session in (one, other, third)]
    assert found == [wanted] * 3
    database.close()


@pytest.mark.parametrize(("checkpoints", "pages"), [(True, 1_000), (False, 0)])
def test_only_the_process_that_is_told_to_folds_the_log_back(sqlite_url: str, checkpoints: bool, pages: int) -> None:  # noqa: FBT001
    database = Database(sqlite_url, checkpoints=checkpoints)
    with database.read() as session:
        assert session.scalar(text("PRAGMA wal_autocheckpoint")) == pages
    database.close()


def test_a_commit_is_on_the_disk_before_the_write_is_over(sqlite_url: str, tmp_path: Path) -> None:
    strace = shutil.which("strace")
    if strace is None:
        pytest.skip("needs strace")
    database = Database(sqlite_url)
    with database.write("prepare") as session:
        session.execute(text("CREATE TABLE counter AS SELECT 0 AS n"))
    log = tmp_path / "calls"
    command = [strace, "-f", "-y", "-o", str(log), "-e", "trace=write,pwrite64,fsync,fdatasync"]
    subprocess.run([*command, sys.executable, "-c", WRITING, sqlite_url], cwd=ROOT, check=True, timeout=60)
    calls = log.read_text().split('"ready', 1)[1].split('"written', 1)[0].splitlines()
    wal = [line.split("(", 1)[0].split()[-1] for line in calls if "coverslip.db-wal" in line]
    database.close()
    assert wal[0] == "pwrite64"
    assert wal[-1] in {"fsync", "fdatasync"}


def test_a_write_is_alone_from_its_first_line_and_a_read_keeps_nobody_out(sqlite_url: str) -> None:
    database = Database(sqlite_url)
    other = sqlite3.connect(database.url.database or "", timeout=0, isolation_level=None)
    with database.read() as session:
        session.execute(text("SELECT 1 FROM sqlite_master"))
        other.execute("BEGIN IMMEDIATE").execute("ROLLBACK")
    with database.write("hold") as session:
        session.execute(text("SELECT 1 FROM sqlite_master"))
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            other.execute("BEGIN IMMEDIATE")
    other.close()
    database.close()


def test_an_exception_takes_everything_back(database: Database) -> None:
    with pytest.raises(ValueError, match="on second thoughts"):
        count_with_second_thoughts(database)
    assert counted(database) == 0


def count_with_second_thoughts(database: Database) -> None:
    with database.write("doubt") as session:
        session.execute(text("UPDATE counter SET n = 7"))
        raise ValueError("on second thoughts")


def test_a_reader_sees_what_was_committed_and_nothing_else(database: Database) -> None:
    with database.write("hold") as session:
        session.execute(text("UPDATE counter SET n = 7"))
        assert counted(database) == 0
    assert counted(database) == 7


def test_a_time_without_a_zone_is_refused(database: Database) -> None:
    migrate(database)
    alert = Alert(subject_kind="scan", subject_id="x", kind="k", sentence="s", raised_at=NOON.replace(tzinfo=None))
    with pytest.raises(StatementError, match="a time without a zone can't be stored"), database.write("x") as session:
        session.add(alert)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    times=st.lists(
        st.datetimes(
            min_value=datetime(1990, 1, 1),  # noqa: DTZ001 - hypothesis adds the zone
            max_value=datetime(2090, 1, 1),  # noqa: DTZ001
            timezones=st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes))),
        ),
        min_size=2,
        max_size=6,
        unique=True,
    )
)
def test_times_come_back_as_the_same_instant_and_in_their_order(database: Database, times: list[datetime]) -> None:
    migrate(database)
    with database.write("note") as session:
        session.execute(text("DELETE FROM alert"))
        for number, raised_at in enumerate(times):
            session.add(Alert(subject_kind="scan", subject_id=str(number), kind="k", sentence="s", raised_at=raised_at))
    with database.read() as session:
        found = session.scalars(select(Alert.raised_at).order_by(Alert.raised_at)).all()
    assert found == sorted(times)
    assert {moment.tzinfo for moment in found} <= {UTC}


def test_the_databases_time_is_now_and_has_a_zone(database: Database) -> None:
    with database.read() as session:
        now = database_now(session)
    assert now.tzinfo is not None
    assert abs(datetime.now(UTC) - now) < timedelta(minutes=1)


def test_time_goes_on_within_a_transaction(database: Database) -> None:
    with database.write("wait") as session:
        before = database_now(session)
        time.sleep(0.01)
        assert database_now(session) > before


@pytest.mark.parametrize("url", ["sqlite:///{}/missing/coverslip.db", "postgresql+psycopg://x:x@127.0.0.1:1/x"])
def test_a_database_that_is_away_is_tried_again(url: str, tmp_path: Path) -> None:
    database = Database(url.format(tmp_path))
    with pytest.raises(TransientError, match="tried again later"), database.write("x") as session:
        session.execute(text("SELECT 1"))
    with pytest.raises(TransientError, match="tried again later"), database.read() as session:
        session.execute(text("SELECT 1"))
    with pytest.raises(TransientError, match="tried again later"):
        migrate(database)


def test_sqlite_without_a_file_is_refused() -> None:
    with pytest.raises(ValueError, match="SQLite needs a file"):
        Database("sqlite://")


def test_a_full_disk_fails_the_write_and_harms_nothing(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root, to mount a small disk")
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(tmp_path)], check=False).returncode:
        pytest.skip("needs the right to mount a small disk")
    try:
        database = Database(f"sqlite:///{tmp_path}/coverslip.db", checkpoints=True)
        migrate(database)
        note_a_site(database, "before")
        (tmp_path / "filler").write_bytes(b"x" * os.statvfs(tmp_path).f_bavail * os.statvfs(tmp_path).f_frsize)
        with pytest.raises(TransientError, match="tried again later"):
            note_a_site(database, "large" * 100_000)
        (tmp_path / "filler").unlink()
        note_a_site(database, "after")
        with database.read() as session:
            assert session.scalars(select(Site.id).order_by(Site.id)).all() == ["after", "before"]
            assert session.scalar(text("PRAGMA integrity_check")) == "ok"
        database.close()
    finally:
        subprocess.run(["umount", "--lazy", str(tmp_path)], check=True)  # a failed test may still hold a file


def note_a_site(database: Database, name: str) -> None:
    with database.write("site") as session:
        session.add(Site(id=name[:60], name=name, zone="Europe/London"))


@pytest.mark.faults
def test_what_was_not_committed_never_was_and_what_was_committed_stays(database: Database) -> None:
    assert run(WRITING, url_of(database), failpoint="counting.before_commit") == (-signal.SIGKILL, "ready\n")
    assert counted(database) == 0
    assert run(WRITING, url_of(database), failpoint="counting.after_commit") == (-signal.SIGKILL, "ready\n")
    assert counted(database) == 1
    assert run(WRITING, url_of(database), failpoint="another.before_commit") == (0, "ready\nwritten\n")
    assert counted(database) == 2


def test_processes_that_write_at_once_all_succeed_and_none_waits_long(database: Database) -> None:
    # PostgreSQL lets readers of the same row in at once: there the row is asked for as it will be written.
    locked = "" if database.is_sqlite else " FOR UPDATE"
    processes = [start(COUNTING, url_of(database), 100, locked) for _ in range(4)]
    said = [process.communicate(timeout=60) for process in processes]
    assert [complaint for _, complaint in said] == [""] * 4
    assert counted(database) == 400
    assert max(float(longest) for longest, _ in said) < 5


def test_processes_that_start_at_once_on_a_new_database_all_get_in(sqlite_url: str) -> None:
    code = "import sys; from models.database import Database; from models.migrate import migrate\n"
    processes = [start(code + "migrate(Database(sys.argv[1]))", sqlite_url) for _ in range(4)]
    said = [process.communicate(timeout=60) for process in processes]
    assert [complaint for _, complaint in said] == [""] * 4


def test_a_writer_that_is_stopped_is_not_waited_for_for_ever(database: Database) -> None:
    with start(HOLDING, url_of(database)) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "holding\n"
        holder.send_signal(signal.SIGSTOP)
        patient = Database(url_of(database), lock_wait=timedelta(seconds=0.3))
        began = time.monotonic()
        for _ in range(2):
            with pytest.raises(TransientError, match="tried again later"):
                count_one(patient)
        assert time.monotonic() - began < 5
        holder.kill()
        holder.wait(10)
    # Its lock goes with it.
    count_one(patient)
    assert counted(patient) == 1
    patient.close()


def test_a_reader_never_waits_for_a_writer(database: Database) -> None:
    with start(HOLDING, url_of(database)) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "holding\n"
        assert counted(database) == 0
        holder.kill()


def count_one(database: Database) -> None:
    with database.write("count") as session:
        session.execute(text("UPDATE counter SET n = n + 1"))


@pytest.mark.postgres
def test_a_connection_that_the_server_ended_is_replaced(postgres_database: str) -> None:
    database, other = Database(postgres_database), Database(postgres_database)
    with pytest.raises(TransientError, match="tried again later"):
        write_while_the_server_ends_it(database, other)
    with database.read() as session:
        assert session.scalar(text("SELECT 1")) == 1
    database.close()
    other.close()


def write_while_the_server_ends_it(database: Database, other: Database) -> None:
    ending = text("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()")
    with database.write("x") as session:
        session.execute(text("SELECT 1"))
        with other.write("end") as second:
            second.execute(ending)
        session.execute(text("SELECT 1"))


@pytest.mark.postgres
def test_a_deadlock_ends_one_of_two_writes_and_that_one_is_tried_again(postgres_database: str) -> None:
    database = Database(postgres_database)
    with database.write("prepare") as session:
        session.execute(text("CREATE TABLE pair (id INTEGER PRIMARY KEY, n INTEGER)"))
        session.execute(text("INSERT INTO pair VALUES (1, 0), (2, 0)"))
    code = """
import sys, time
from sqlalchemy import text
from models.database import Database
from models.errors import TransientError

database = Database(sys.argv[1])
try:
    with database.write("pair") as session:
        for number in sys.argv[2:]:
            session.execute(text("UPDATE pair SET n = n + 1 WHERE id = :id"), {"id": int(number)})
            time.sleep(0.5)
    print("done")
except TransientError:
    print("again")
"""
    processes = [start(code, postgres_database, *order) for order in ((1, 2), (2, 1))]
    said = sorted(process.communicate(timeout=60)[0].strip() for process in processes)
    assert said == ["again", "done"]
    database.close()
