"""What every command says of books that it can't open, and how it writes where no terminal is."""

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from dashboards.cli.desk import console
from tests.dashboards.cli.conftest import Run


def at_revision(file: Path, revision: str) -> None:
    with closing(sqlite3.connect(file)) as database:
        database.execute("UPDATE alembic_version SET version_num = ?", (revision,))
        database.commit()


@pytest.mark.parametrize(
    ("harm", "says"),
    [
        (Path.unlink, "there is no database at "),
        (lambda file: at_revision(file, "0001"), "'coverslip migrate' brings them there"),
        (lambda file: at_revision(file, "9999"), "a newer Coverslip made them, so run that one"),
        (lambda file: file.write_bytes(b"no database" * 1_000), "restore it from a backup"),
    ],
)
def test_books_that_can_not_be_opened_are_refused_in_one_sentence_with_what_to_do(
    run: Run, home: Path, harm: Callable[[Path], object], says: str
) -> None:
    for beside in ("coverslip.db-wal", "coverslip.db-shm"):
        (home / beside).unlink(missing_ok=True)
    harm(home / "coverslip.db")
    for words in (("list",), ("assign", "reads", "rosa"), ("people", "list"), ("policy", "show"), ("audit", "books")):
        said = run(*words)
        assert (said.code, said.out, says in said.err) == (1, "", True), said.err
        assert said.err.count("\n") == 1


def test_what_goes_into_a_pipe_is_not_folded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    assert console().width >= 200


def test_json_has_its_times_in_utc(run: Run) -> None:
    rows = json.loads(run("list", "--json").out)
    assert rows
    assert all(row["since"].endswith("+00:00") for row in rows)
