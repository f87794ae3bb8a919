"""Trouble that passes: nothing is lost, it is said in one sentence, and one bad file never stops the others."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from sqlalchemy.orm import Session

from connectors.scanners.folder import FolderWatcher
from connectors.scanners.spool import Spool
from models.database import Database
from models.errors import RejectedError
from models.tables.scan import ScanFile
from tests.connectors.scanners.conftest import DISK_BYTES, ROOT, Traced
from tests.connectors.scanners.laboratory import PATIENCE_S, STABLE_S, Laboratory, furnished, received

NOBODY = 65_534


def test_a_file_that_keeps_changing_is_told_once_and_taken_when_it_stops(any_lab: Laboratory) -> None:
    for seconds in range(0, int(PATIENCE_S) + 200, 100):
        any_lab.write("slide.svs", b"x" * (seconds + 1), older_s=2_000 - seconds)
        any_lab.look(100)
    row = any_lab.row()
    assert row.state == "arriving"
    assert (row.problem or "").startswith("slide.svs has kept changing for more than 600 s: see whether its scanner")
    with any_lab.statements() as statements:
        any_lab.look(1)
    assert statements == []
    assert any_lab.look(STABLE_S).taken == 1
    assert any_lab.row().problem is None


def test_how_long_a_file_has_been_growing_outlives_a_restart(lab: Laboratory) -> None:
    lab.folder = replace(lab.folder, patience=lab.folder.stable_for * 0)
    lab.write("slide.svs", b"1", older_s=9)
    lab.look()
    lab.start()
    lab.write("slide.svs", b"12", older_s=6)
    lab.look()
    assert "has kept changing" in (lab.row().problem or "")


def test_a_file_that_disappears_is_told_to_be_missing_and_then_given_up(any_lab: Laboratory) -> None:
    path = any_lab.write("slide.svs")
    any_lab.look()
    path.unlink()
    any_lab.look(1)
    row = any_lab.row()
    assert (row.state, (row.problem or "")[:45]) == ("arriving", "slide.svs is not in the folder at the moment:")
    any_lab.look(STABLE_S)
    row = any_lab.row()
    assert row.state == "refused"
    assert (row.problem or "").startswith("slide.svs disappeared before it could be taken: if it was not moved or ren")


def test_a_file_that_was_given_up_and_comes_back_is_taken(any_lab: Laboratory) -> None:
    path = any_lab.write("slide.svs")
    any_lab.look()
    kept = any_lab.path.parent / "kept.svs"
    path.rename(kept)
    any_lab.look(1)
    any_lab.look(STABLE_S)
    assert any_lab.states() == {"slide.svs": ["refused"]}
    kept.rename(path)
    any_lab.settle()
    assert any_lab.states() == {"slide.svs": ["taken"]}
    assert any_lab.row().problem is None


def test_a_file_that_moves_while_it_arrives_is_taken_where_it_went(lab: Laboratory) -> None:
    path = lab.write("slide.svs")
    lab.look()
    (lab.path / "sorted").mkdir()
    path.rename(lab.path / "sorted" / "slide.svs")
    lab.look(STABLE_S)
    lab.look(STABLE_S)
    assert lab.states() == {"slide.svs": ["refused"], "sorted/slide.svs": ["taken"]}


def test_a_folder_that_is_away_is_told_and_what_was_arriving_goes_on_when_it_is_back(any_lab: Laboratory) -> None:
    any_lab.write("slide.svs")
    any_lab.look()
    away = any_lab.path.rename(any_lab.path.with_name("away"))
    for _ in range(3):
        state = any_lab.look(PATIENCE_S)
        assert state.problem == (
            "the folder can't be read (No such file or directory): mount its share, or correct its path or rights; "
            "it is tried again"
        )
    assert any_lab.states() == {"slide.svs": ["arriving"]}
    away.rename(any_lab.path)
    assert any_lab.look().taken == 1


def test_an_empty_mount_point_in_a_shares_place_gives_nothing_up_for_a_while(lab: Laboratory) -> None:
    lab.write("slide.svs")
    lab.write("taken.svs", b"before")
    lab.look()
    lab.write("arriving.svs", b"on its way")
    lab.look(STABLE_S)
    away = lab.path.rename(lab.path.with_name("away"))
    lab.path.mkdir()
    for _ in range(5):
        lab.look(PATIENCE_S / 10)
    assert lab.row("arriving.svs").state == "arriving"
    assert "see whether the folder's share is mounted" in (lab.row("arriving.svs").problem or "")
    lab.path.rmdir()
    away.rename(lab.path)
    lab.look()
    assert lab.row("arriving.svs").problem is None
    lab.look(STABLE_S)
    assert set(map(tuple, lab.states().values())) == {("taken",)}


def test_a_restart_while_a_share_is_away_gives_nothing_up_either(lab: Laboratory) -> None:
    lab.write("slide.svs")
    lab.look()
    away = lab.path.rename(lab.path.with_name("away"))
    lab.path.mkdir()
    lab.start()
    lab.look()
    lab.look(STABLE_S * 2)
    assert lab.states() == {"slide.svs": ["arriving"]}
    lab.path.rmdir()
    away.rename(lab.path)
    lab.settle()
    assert lab.states() == {"slide.svs": ["taken"]}


def test_a_folder_that_is_gone_for_good_is_given_up_in_the_end(lab: Laboratory) -> None:
    lab.write("slide.svs")
    lab.look()
    lab.path.rename(lab.path.with_name("away"))
    lab.path.mkdir()
    lab.look(1)
    lab.look(PATIENCE_S)
    assert lab.states() == {"slide.svs": ["refused"]}


def test_a_full_spool_loses_nothing_and_says_what_it_needs(small_disk: Path, lab: Laboratory) -> None:
    lab.spool = Spool(small_disk / "spool", "north-spool", reserve_bytes=DISK_BYTES // 2)
    lab.write("large.svs", b"x" * DISK_BYTES)
    lab.write("small.svs", b"small")
    assert lab.settle().taken == 1
    assert lab.states() == {"large.svs": ["arriving"], "small.svs": ["taken"]}
    problem = lab.row("large.svs").problem or ""
    assert problem.startswith(f"the spool of place north-spool is full: needs {DISK_BYTES} bytes beside a reserve of")
    assert (lab.path / "large.svs").stat().st_size == DISK_BYTES
    assert lab.spooled() == {lab.row("small.svs").id}


def test_a_spool_that_stays_full_is_told_once_and_room_is_used_when_there_is_some(lab: Laboratory) -> None:
    room = lab.spool.free_bytes()
    lab.spool = Spool(lab.spool.root, "north-spool", reserve_bytes=room * 2)
    lab.write("slide.svs")
    lab.settle()
    with lab.statements() as statements:
        for _ in range(5):
            lab.look(60)
    assert statements == []
    lab.spool = Spool(lab.spool.root, "north-spool", reserve_bytes=0)
    lab.start()
    lab.settle()
    assert (lab.row().state, lab.row().problem) == ("taken", None)


def test_a_file_that_could_not_be_taken_is_tried_less_and_less_often(lab: Laboratory) -> None:
    tries: list[float] = []

    def refuse(_session: Session, _row: ScanFile) -> None:
        tries.append(lab.clock.now)
        raise RejectedError("nobody wants it: ask somebody")

    lab.write("slide.svs")
    watcher = FolderWatcher(lab.database, lab.spool, lab.folder, refuse, lab.clock)
    for _ in range(240):
        watcher.look()
        lab.clock.now += 1
    watcher.close()
    waits = [later - earlier for earlier, later in pairwise(tries)]
    assert waits[:7] == [1, 2, 4, 8, 16, 32, 60]
    assert (lab.row().state, lab.row().problem) == ("arriving", "nobody wants it: ask somebody")


def test_a_file_that_the_rest_can_t_receive_is_not_in_the_books_and_stops_no_other(any_lab: Laboratory) -> None:
    def receive(session: Session, row: ScanFile) -> None:
        received(session, row)
        session.flush()
        if row.relative_path == "bad.svs":
            raise RejectedError("nobody wants it: ask somebody")

    any_lab.write("bad.svs", b"bad")
    any_lab.write("good.svs", b"good")
    watcher = FolderWatcher(any_lab.database, any_lab.spool, any_lab.folder, receive, any_lab.clock)
    watcher.look()
    any_lab.clock.now += STABLE_S
    assert watcher.look().taken == 1
    watcher.close()
    assert any_lab.states() == {"bad.svs": ["arriving"], "good.svs": ["taken"]}
    assert any_lab.row("bad.svs").sha256 is None
    assert len(any_lab.told()) == 1
    any_lab.settle()
    assert any_lab.states() == {"bad.svs": ["taken"], "good.svs": ["taken"]}
    assert len(any_lab.told()) == 2


def test_a_row_that_changes_under_a_watcher_is_read_again(lab: Laboratory) -> None:
    lab.write("slide.svs")
    lab.look()
    with lab.database.write("meddle") as session:
        row = session.get_one(ScanFile, lab.row().id)
        row.bytes = 12_345
    assert lab.look(STABLE_S).taken == 0
    lab.settle()
    assert lab.states() == {"slide.svs": ["taken"]}


def test_a_watcher_on_another_machine_that_was_faster_takes_nothing_twice(lab: Laboratory) -> None:
    lab.write("slide.svs")
    lab.look()
    elsewhere = Laboratory(lab.database, Spool(lab.path.parent / "other spool", "other", 0), lab.folder, lab.clock)
    elsewhere.look()
    lab.clock.now += STABLE_S
    assert elsewhere.look().taken == 1
    assert lab.look().taken == 0
    assert (lab.row().state, lab.row().place, len(lab.told())) == ("taken", "other", 1)
    assert (lab.spooled(), elsewhere.spooled()) == (set(), {lab.row().id})
    for watcher in elsewhere.watchers:
        watcher.close()


@pytest.mark.postgres
def test_a_database_that_is_away_is_told_and_nothing_is_forgotten(
    unmade_postgres_database: str, tmp_path: Path
) -> None:
    lab = furnished(unmade_postgres_database, tmp_path)
    lab.write("slide.svs")
    lab.look()
    there = lab.database
    away = Database("postgresql+psycopg://nobody:x@127.0.0.1:1/nothing")
    for watcher in lab.watchers:
        watcher.close()
    lab.database = away
    lab.start()
    state = lab.look(STABLE_S)
    assert (state.problem or "").startswith("the database could not be read")
    lab.database = there
    lab.start()
    assert lab.settle().taken == 1
    away.close()
    lab.end()


def test_a_database_that_fills_up_between_two_files_loses_neither(small_disk: Path, tmp_path: Path) -> None:
    lab = furnished(f"sqlite:///{small_disk / 'coverslip.db'}", tmp_path)
    lab.write("one.svs", b"one")
    lab.look()
    status = os.statvfs(small_disk)
    (small_disk / "filler").write_bytes(b"x" * status.f_bavail * status.f_frsize)
    for number in range(200):
        lab.write(f"{number}.svs", b"%d" % number)
    problems = {lab.look(STABLE_S).problem for _ in range(3)}
    assert all((problem or "").startswith("the database could not take the change") for problem in problems)
    (small_disk / "filler").unlink()
    lab.settle()
    lab.look(60)
    assert set(map(tuple, lab.states().values())) == {("taken",)}
    assert (len(lab.rows()), len(lab.told())) == (201, 201)
    assert lab.spooled() == {row.id for row in lab.rows()}
    lab.end()


@contextmanager
def without_rights() -> Iterator[None]:
    """Have no more rights than an ordinary account, for a while."""
    if os.geteuid() != 0:
        yield
        return
    os.setegid(NOBODY)
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)


@pytest.fixture
def plain_lab() -> Iterator[Laboratory]:
    """A laboratory that belongs to an ordinary account."""
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        lab = furnished(f"sqlite:///{home / 'coverslip.db'}", home)
        if os.geteuid() == 0:
            for path in (home, *home.rglob("*")):
                os.chown(path, NOBODY, NOBODY)
        yield lab
        lab.end()


def test_a_file_that_may_not_be_read_waits_with_a_sentence_until_it_may(plain_lab: Laboratory) -> None:
    bad = plain_lab.write("bad.svs", b"not ours")
    plain_lab.write("good.svs")
    bad.chmod(0)
    with without_rights():
        assert plain_lab.settle().taken == 1
    row = plain_lab.row("bad.svs")
    assert row.state == "arriving"
    assert (row.problem or "").startswith("bad.svs can't be opened (Permission denied): give Coverslip the right to")
    bad.chmod(0o644)
    with without_rights():
        assert plain_lab.look(60).taken == 1
    assert plain_lab.row("bad.svs").problem is None


def test_a_folder_below_that_may_not_be_read_is_told_and_the_rest_is_taken(plain_lab: Laboratory) -> None:
    inside = plain_lab.write("closed/slide.svs", b"on its way")
    plain_lab.write("good.svs")
    plain_lab.look()
    inside.parent.chmod(0)
    with without_rights():
        state = plain_lab.look(STABLE_S)
        assert state.taken == 1
        assert state.problem == (
            "1 of the things in the folder can't be looked at (Permission denied): see to their rights or to the "
            "share; the others are taken"
        )
        plain_lab.look(PATIENCE_S * 2)
    assert plain_lab.row("closed/slide.svs").state == "arriving"
    inside.parent.chmod(0o755)
    with without_rights():
        assert plain_lab.look().taken == 1


def test_a_scanner_folder_that_may_not_be_read_is_told(plain_lab: Laboratory) -> None:
    plain_lab.write("slide.svs")
    plain_lab.path.chmod(0)
    with without_rights():
        assert (plain_lab.look().problem or "").startswith("the folder can't be read (Permission denied): mount its")
    plain_lab.path.chmod(0o755)
    with without_rights():
        plain_lab.settle()
    assert plain_lab.states() == {"slide.svs": ["taken"]}


@pytest.mark.parametrize("error", ["EIO", "ESTALE"])
def test_a_file_that_can_t_be_read_to_its_end_stops_no_other(lab: Laboratory, traced: Traced, error: str) -> None:
    bad = lab.write("bad.svs", b"x" * 3_000_000)
    lab.write("good.svs")
    options = ["-P", str(bad), "-e", "trace=pread64", "-e", f"inject=pread64:error={error}:when=2+"]
    url = lab.database.url.render_as_string(hide_password=False)
    arguments = (lab.path.parent, url, 2)
    code = f"import runpy, sys; sys.path.insert(0, {str(ROOT)!r})\n"
    code += "runpy.run_module('tests.connectors.scanners.watching', run_name='__main__')"
    assert traced(options, code, *arguments).returncode == 1
    assert lab.states() == {"bad.svs": ["arriving"], "good.svs": ["taken"]}
    assert (lab.row("bad.svs").problem or "").endswith("see to the scanner's disk or share, at byte 1048576 and beyond")
    assert lab.spooled() == {lab.row("good.svs").id}
    lab.settle()
    assert lab.states() == {"bad.svs": ["taken"], "good.svs": ["taken"]}
