"""Rows by the hundred are the rows that SQLAlchemy would have written one by one."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from models.base import table_of
from models.database import Database, insert_unless_there
from models.many_rows import insert_many
from models.tables.books import InboxMessage
from models.tables.step import Step
from tests.migrated import migrated

INBOX, STEP = table_of(InboxMessage), table_of(Step)
# A zone of its own: what is stored is UTC all the same.
NOON = datetime(2026, 3, 2, 14, tzinfo=timezone(timedelta(hours=2)))


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    opened = migrated(database_url)
    yield opened
    opened.close()


def message(number: int) -> dict[str, Any]:
    return {
        "id": f"{number:036d}",
        "source": "event",
        "peer": "scanner-a",
        "sha256": f"{number:064d}",
        "payload": b"\x00\xff%d" % number,
        "answer": None,
        "event_id": f"e{number}",
        "origin": None if number % 2 else {"topic": "scanner", "offset": number, "site": "Zürich"},
    }


def stored(database: Database) -> list[dict[str, Any]]:
    with database.read() as session:
        return [dict(row._mapping) for row in session.execute(select(INBOX).order_by(INBOX.c.id))]


def test_many_rows_at_once_are_what_sqlalchemy_would_have_written(database: Database) -> None:
    rows = [message(number) for number in range(5)]
    with database.write("test") as session:
        insert_many(session, INBOX, {"received_at": NOON}, rows)
    ours = stored(database)
    with database.write("test") as session:
        session.execute(INBOX.delete())
        insert_unless_there(session, InboxMessage, [{**row, "received_at": NOON} for row in rows])

    assert ours == stored(database)
    assert [row["received_at"] for row in ours] == [NOON.astimezone(UTC)] * 5
    assert {row["state"] for row in ours} == {"kept"}


def test_a_row_that_some_constraint_says_is_there_is_passed_over_and_the_others_are_not(database: Database) -> None:
    again = message(1)
    same_bytes = {**message(2), "sha256": again["sha256"]}
    same_event = {**message(3), "event_id": again["event_id"]}
    with database.write("test") as session:
        insert_many(session, INBOX, {"received_at": NOON}, [message(1)])
        insert_many(session, INBOX, {"received_at": NOON}, [again, same_bytes, same_event, message(4)])

    assert [row["id"] for row in stored(database)] == [message(1)["id"], message(4)["id"]]


def test_rows_get_their_numbers_in_the_order_they_are_given_in(database: Database) -> None:
    subjects = [f"{7 * number % 10:036d}" for number in range(10)]
    alike = {"kind": "apply", "stage": "intake", "subject_kind": "inbox", "subject_id": "of each its own"}
    with database.write("test") as session:
        times = {"rank_at": NOON, "created_at": NOON}
        insert_many(session, STEP, {**alike, **times}, [{"subject_id": one} for one in subjects])

    with database.read() as session:
        steps = session.scalars(select(Step).order_by(Step.id)).all()
    assert [step.subject_id for step in steps] == subjects
    assert {(step.state, step.lane, step.attempt, step.expired, step.place) for step in steps} == {
        ("ready", 2, 0, False, "")
    }


def test_a_row_that_some_other_constraint_forbids_ends_the_transaction(database: Database) -> None:
    with pytest.raises(IntegrityError), database.write("test") as session:
        insert_many(session, INBOX, {"received_at": NOON, "state": "no such state"}, [message(1)])
    assert stored(database) == []


def test_no_rows_are_no_statement(database: Database) -> None:
    with database.write("test") as session:
        insert_many(session, INBOX, {"received_at": NOON}, [])
    assert stored(database) == []
