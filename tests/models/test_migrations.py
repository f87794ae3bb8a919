"""From an empty database to the present tables, on SQLite and on PostgreSQL."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import inspect, select, text
from sqlalchemy.engine.interfaces import ReflectedIndex
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from models import tables
from models.base import Base
from models.database import Database
from models.errors import RefusedError
from models.migrate import _config, migrate
from models.tables.books import Fact, History
from models.tables.case import Case
from models.tables.deadline import Deadline

_ = tables
ROOT = Path(__file__).resolve().parents[2]
NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
MIGRATING = """
import sys
from models.database import Database
from models.migrate import migrate

migrate(Database(sys.argv[1]))
"""


@pytest.fixture
def empty(empty_database_url: str) -> Iterator[Database]:
    database = Database(empty_database_url, checkpoints=True)
    yield database
    database.close()


@pytest.fixture
def migrated(empty: Database) -> Database:
    migrate(empty)
    return empty


def start(database: Database, failpoint: str = "") -> subprocess.Popen[str]:
    url = database.url.render_as_string(hide_password=False)
    environment = os.environ | {"COVERSLIP_FAILPOINT": failpoint}
    return subprocess.Popen([sys.executable, "-c", MIGRATING, url], cwd=ROOT, env=environment, text=True)


def test_migrating_twice_is_like_migrating_once(empty: Database) -> None:
    migrate(empty)
    first = inspect(empty.engine).get_table_names()
    migrate(empty)
    assert inspect(empty.engine).get_table_names() == first
    assert set(first) == {*Base.metadata.tables, "alembic_version"}


def test_the_migrations_make_exactly_the_tables_of_the_models(migrated: Database) -> None:
    with migrated.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        assert compare_metadata(context, Base.metadata) == []


def test_the_migrations_make_the_same_checks_and_partial_indexes_as_the_models(migrated: Database) -> None:
    # Alembic compares neither: so the database is asked what it understood, of the migrations and of the models.
    by_migrations = understood(migrated)
    empty_again(migrated)
    Base.metadata.create_all(migrated.engine)
    assert by_migrations == understood(migrated)


def understood(database: Database) -> dict[str, dict[str, str]]:
    found = inspect(database.engine)
    return {
        table: {str(check["name"]): check["sqltext"] for check in found.get_check_constraints(table)}
        | {str(index["name"]): limit(index) for index in found.get_indexes(table)}
        for table in Base.metadata.tables
    }


def limit(index: ReflectedIndex) -> str:
    """Return which rows an index is limited to, as the database writes it."""
    return " ".join(str(option) for option in index.get("dialect_options", {}).values())


def empty_again(database: Database) -> None:
    if database.is_sqlite:
        Base.metadata.drop_all(database.engine)
        return
    with database.write("empty") as session:
        session.execute(text("DROP SCHEMA public CASCADE"))
        session.execute(text("CREATE SCHEMA public"))


def test_every_migration_follows_the_one_before() -> None:
    scripts = ScriptDirectory.from_config(_config())
    assert len(scripts.get_bases()) == 1
    assert len(scripts.get_heads()) == 1


def test_processes_that_migrate_at_once_get_in_one_another_s_way_but_not_in_trouble(empty: Database) -> None:
    processes = [start(empty) for _ in range(3)]
    assert [process.wait(60) for process in processes] == [0, 0, 0]
    assert set(inspect(empty.engine).get_table_names()) == {*Base.metadata.tables, "alembic_version"}


@pytest.mark.faults
@pytest.mark.parametrize(
    ("failpoint", "tables_left"),
    [("migrate.before_commit", 0), ("migrate.after_commit", len(Base.metadata.tables) + 1)],
)
def test_a_migration_that_is_killed_happened_whole_or_not_at_all(
    empty: Database, failpoint: str, tables_left: int
) -> None:
    assert start(empty, failpoint).wait(60) == -signal.SIGKILL
    assert len(inspect(empty.engine).get_table_names()) == tables_left
    migrate(empty)
    assert set(inspect(empty.engine).get_table_names()) == {*Base.metadata.tables, "alembic_version"}


def test_a_database_of_a_newer_coverslip_is_left_alone(migrated: Database) -> None:
    with migrated.write("newer") as session:
        session.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(RefusedError, match="has revision 9999, which this version does not know: install the newer"):
        migrate(migrated)


def test_the_first_tables_are_never_taken_back(migrated: Database) -> None:
    config = _config()
    with migrated.write("down") as session:
        config.attributes["connection"] = session.connection()
        with pytest.raises(NotImplementedError, match="restore a backup instead"):
            command.downgrade(config, "base")


def test_messages_that_came_before_there_were_events_stay_as_they_were(empty: Database) -> None:
    config = _config()
    with empty.write("first") as session:
        config.attributes["connection"] = session.connection()
        command.upgrade(config, "0001")
        session.execute(
            text(
                "INSERT INTO inbox (id, source, peer, sha256, payload, state, received_at)"
                " VALUES ('i', 'hl7', 'lims-a', 's', '', 'applied', '2026-03-02 12:00:00+00:00')"
            )
        )
    migrate(empty)
    with empty.read() as session:
        found = session.execute(text("SELECT state, event_id, origin, quarantined_at FROM inbox")).all()
    assert [tuple(row) for row in found] == [("applied", None, None, None)]


def test_what_could_be_read_before_that_was_noted_is_not_taken_for_new(empty: Database) -> None:
    config = _config()
    with empty.write("third") as session:
        config.attributes["connection"] = session.connection()
        command.upgrade(config, "0003")
        for statement in _A_CASE_OF_0003:
            session.execute(text(statement))
    migrate(empty)
    with empty.read() as session:
        readable = session.execute(text("SELECT id FROM slide WHERE readable_at IS NOT NULL ORDER BY id"))
        assert readable.scalars().all() == ["archived", "elsewhere", "glass"]
        held = session.execute(text("SELECT kind, subject_id, state FROM step")).all()
        assert [tuple(row) for row in held] == [("hold", "c", "ready")]


def test_what_the_lims_asked_for_is_a_deadline_after_that_became_a_row_and_what_is_over_is_not_due(
    empty: Database,
) -> None:
    config = _config()
    with empty.write("third") as session:
        config.attributes["connection"] = session.connection()
        command.upgrade(config, "0003")
        for statement in _CASES_THAT_ARE_DUE:
            session.execute(text(statement))
    migrate(empty)
    with empty.read() as session:
        due = session.execute(select(Case.id, Case.due_at, Case.due_kind).order_by(Case.id)).all()
        asked, soon = datetime(2026, 1, 9, tzinfo=UTC), datetime(2096, 3, 9, tzinfo=UTC)
        assert [tuple(row) for row in due] == [
            ("again", None, None),
            ("cancelled", None, None),
            ("open", asked, "ordered"),
            ("over", None, None),
            ("wanted", soon, "ordered"),
        ]
        rows = session.scalars(select(Deadline).order_by(Deadline.case_id)).all()
        assert [(row.case_id, row.round, row.kind, row.basis, row.due_at) for row in rows] == [
            ("open", 1, "ordered", "moment", asked),
            ("wanted", 2, "ordered", "moment", soon),
        ]


_CASES_THAT_ARE_DUE = (
    "INSERT INTO site (id, name, zone) VALUES ('s', 'S', 'UTC')",
    """INSERT INTO "case" (id, site_id, lane, cancelled, released, images, reading, report, round, completeness_version,
        identity_digest, registered_at, orders_changed_at, round_closed_at, due_at)
    VALUES ('open', 's', 2, false, false, 'awaiting', 'none', 'none', 1, 1, '', '2026-01-02 12:00:00.000000',
        '2026-01-02 12:00:00.000000', NULL, '2026-01-09 00:00:00.000000'),
        ('again', 's', 2, false, false, 'awaiting', 'none', 'none', 2, 1, '', '2026-01-02 12:00:00.000000',
        '2026-01-02 12:00:00.000000', NULL, '2026-01-09 00:00:00.000000'),
        ('wanted', 's', 2, false, false, 'awaiting', 'none', 'none', 2, 1, '', '2026-01-02 12:00:00.000000',
        '2026-01-02 12:00:00.000000', NULL, '2096-03-09 00:00:00.000000'),
        ('over', 's', 2, false, false, 'awaiting', 'none', 'final', 1, 1, '', '2026-01-02 12:00:00.000000',
        '2026-01-02 12:00:00.000000', '2026-01-05 00:00:00.000000', '2026-01-09 00:00:00.000000'),
        ('cancelled', 's', 2, true, false, 'awaiting', 'none', 'none', 1, 1, '', '2026-01-02 12:00:00.000000',
        '2026-01-02 12:00:00.000000', NULL, '2026-01-09 00:00:00.000000')""",
)


_A_CASE_OF_0003 = (
    "INSERT INTO site (id, name, zone) VALUES ('s', 'S', 'UTC')",
    """INSERT INTO "case" (id, site_id, lane, cancelled, released, images, reading, report, round, completeness_version,
        identity_digest, registered_at, orders_changed_at)
    VALUES ('c', 's', 2, false, false, 'incomplete', 'none', 'none', 1, 1, '', '2026-03-02 12:00:00.000000',
        '2026-03-02 12:00:00.000000')""",
    """INSERT INTO slide (id, case_id, container_identifier, issuer, stains, route, cancelled, images_elsewhere,
        elsewhere_at)
    VALUES ('archived', 'c', 'archived', 'NET', '[]', 'scan', false, NULL, NULL),
        ('awaited', 'c', 'awaited', 'NET', '[]', 'scan', false, false, '2026-03-02 12:00:00.000000'),
        ('elsewhere', 'c', 'elsewhere', 'NET', '[]', 'scan', false, true, '2026-03-02 12:00:00.000000'),
        ('glass', 'c', 'glass', 'NET', '[]', 'glass only', false, NULL, NULL)""",
    """INSERT INTO scan (id, site_id, scanner, slide_id, case_id, purpose, edition, quality, quality_by_person,
        identity, storage, outcome, received_at, traceparent)
    VALUES ('a', 's', 'x', 'archived', 'c', 'primary', 1, 'pass', false, 'matched', 'proven', 'active',
        '2026-03-02 12:00:00.000000', '')""",
)


@pytest.fixture
def books(migrated: Database) -> Database:
    """Books with one line of history and one fact."""
    with migrated.write("enter") as session:
        session.add(
            History(id=1, at=NOW, subject_kind="scan", subject_id="s", what="outcome", after="active", cause="test")
        )
        session.add(
            Fact(
                id=1,
                subject_kind="case",
                subject_id="c",
                kind="registered",
                effective_at=NOW,
                digest="0" * 64,
                body={},
                received_at=NOW,
            )
        )
    return migrated


@pytest.mark.parametrize("table", ["history", "fact"])
@pytest.mark.parametrize(
    "change",
    ["UPDATE {} SET subject_id = 'x'", "UPDATE {} SET id = 2", "DELETE FROM {}", "DELETE FROM {} WHERE id = 1"],
)
def test_no_line_of_the_books_is_changed_or_taken_out(books: Database, table: str, change: str) -> None:
    with pytest.raises(DBAPIError, match=f"{table} is append-only"), books.write("tamper") as session:
        session.execute(text(change.format(table)))
    with books.read() as session:
        assert lines(session, table) == [1]


@pytest.mark.parametrize("table", ["history", "fact"])
def test_no_line_of_the_books_is_written_over(books: Database, table: str) -> None:
    if not books.is_sqlite:
        pytest.skip("INSERT OR REPLACE is SQLite's own")
    with pytest.raises(DBAPIError, match=f"{table} is append-only"), books.write("tamper") as session:
        session.execute(text(f"INSERT OR REPLACE INTO {table} SELECT * FROM {table}"))  # noqa: S608
    with books.read() as session:
        assert lines(session, table) == [1]


@pytest.mark.postgres
@pytest.mark.parametrize("table", ["history", "fact"])
def test_the_books_are_not_emptied(postgres_database: str, table: str) -> None:
    database = Database(postgres_database)
    migrate(database)
    with pytest.raises(DBAPIError, match=f"{table} is append-only"), database.write("tamper") as session:
        session.execute(text(f"TRUNCATE {table}"))
    database.close()


def lines(session: Session, table: str) -> list[int]:
    return list(session.scalars(text(f"SELECT id FROM {table}")))  # noqa: S608
