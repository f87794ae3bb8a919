"""A file's way from its first sight to the spool."""

import hashlib
import os
import shutil
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import update
from sqlalchemy.orm import Session

from connectors.scanners.folder import FolderWatcher
from models.facets import FileState
from models.tables.scan import ScanFile
from tests.connectors.scanners.laboratory import STABLE_S, Laboratory, furnished, received


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def test_a_file_has_a_row_from_its_first_sight_before_anything_is_copied(any_lab: Laboratory) -> None:
    path = any_lab.write("slide.svs")
    state = any_lab.look()
    row = any_lab.row("slide.svs")
    assert (state.arriving, state.taken, state.problem) == (1, 0, None)
    assert (row.state, row.root, row.site_id) == (FileState.ARRIVING, "scanner-1", "north")
    assert (row.bytes, row.modified_ns) == (path.stat().st_size, path.stat().st_mtime_ns)
    assert row.first_seen_at == row.changed_at
    assert abs(datetime.now(UTC) - row.first_seen_at) < timedelta(minutes=1)
    assert (row.sha256, row.place, row.taken_at, row.scan_id, row.problem) == (None,) * 5
    assert any_lab.spooled() == set()


def test_a_file_that_no_longer_changes_is_taken_and_the_rest_is_told_at_once(any_lab: Laboratory) -> None:
    any_lab.write("slide.svs", b"the slide")
    state = any_lab.settle()
    row = any_lab.row("slide.svs")
    assert (state.arriving, state.taken) == (0, 1)
    assert (row.state, row.sha256, row.place) == (FileState.TAKEN, digest(b"the slide"), "north-spool")
    assert row.taken_at is not None
    assert row.taken_at >= row.first_seen_at
    assert any_lab.told() == [digest(b"the slide")]
    assert any_lab.spool.path_of(row.id).read_bytes() == b"the slide"
    assert any_lab.spool.path_of(row.id).name == "slide.svs"


def test_the_scanners_own_file_is_left_as_it_was(lab: Laboratory) -> None:
    path = lab.write("slide.svs")
    before = path.stat()
    lab.settle()
    after = path.stat()
    assert (after.st_ino, after.st_mode, after.st_mtime_ns) == (before.st_ino, before.st_mode, before.st_mtime_ns)
    assert path.read_bytes() == b"a slide"


def test_a_file_is_not_taken_a_moment_too_early(lab: Laboratory) -> None:
    lab.write("slide.svs")
    lab.look()
    assert lab.look(STABLE_S - 0.1).taken == 0
    assert lab.look(0.1).taken == 1


def test_a_file_that_grows_is_followed_and_taken_whole(lab: Laboratory) -> None:
    first = lab.write("slide.svs", b"sl", older_s=9)
    lab.look()
    seen = lab.row()
    for content, older_s in ((b"sli", 6.0), (b"slid", 3.0), (b"slide", 0.0)):
        lab.write("slide.svs", content, older_s=older_s)
        assert lab.look(STABLE_S - 1).taken == 0
        assert lab.row().bytes == len(content)
    row = lab.row()
    assert (row.id, row.first_seen_at) == (seen.id, seen.first_seen_at)
    assert row.changed_at > seen.changed_at
    assert row.modified_ns == first.stat().st_mtime_ns
    assert lab.look(STABLE_S).taken == 1
    assert lab.row().sha256 == digest(b"slide")


def test_a_file_whose_size_stays_but_whose_time_changes_is_still_being_written(lab: Laboratory) -> None:
    for older_s in (9.0, 6.0, 3.0):
        lab.write("slide.svs", b"laid out in full first", older_s=older_s)
        assert lab.look(STABLE_S).taken == 0
    assert lab.look(STABLE_S).taken == 1


@pytest.fixture
def marking_lab(tmp_path: Path) -> Laboratory:
    return furnished(f"sqlite:///{tmp_path / 'coverslip.db'}", tmp_path, done_suffix=".done")


def test_a_done_marker_makes_a_file_whole_at_once(marking_lab: Laboratory) -> None:
    marking_lab.write("slide.svs", older_s=1)
    assert marking_lab.look().taken == 0
    marking_lab.write("slide.svs.done", b"")
    assert marking_lab.look().taken == 1
    assert marking_lab.states() == {"slide.svs": ["taken"]}
    marking_lab.end()


def test_a_marker_of_an_earlier_version_says_nothing_about_this_one(marking_lab: Laboratory) -> None:
    marking_lab.write("slide.svs.done", b"", older_s=10)
    marking_lab.write("slide.svs")
    assert marking_lab.look().taken == 0
    assert marking_lab.look(1).taken == 0
    assert marking_lab.look(STABLE_S).taken == 1
    marking_lab.end()


def test_an_empty_file_is_not_made_whole_by_a_marker(marking_lab: Laboratory) -> None:
    marking_lab.write("slide.svs", b"", older_s=1)
    marking_lab.write("slide.svs.done", b"")
    marking_lab.look()
    marking_lab.look()
    assert marking_lab.states() == {"slide.svs": ["refused"]}
    marking_lab.end()


def test_folders_below_are_looked_through(lab: Laboratory) -> None:
    lab.write("2026-03-02/rack 4/slide.svs")
    assert lab.settle().taken == 1
    assert lab.states() == {"2026-03-02/rack 4/slide.svs": ["taken"]}


def test_the_same_bytes_under_another_name_are_one_scan(any_lab: Laboratory) -> None:
    any_lab.write("slide.svs", b"the slide")
    any_lab.settle()
    any_lab.write("again/slide (2).svs", b"the slide")
    state = any_lab.settle()
    assert (state.arriving, state.taken) == (0, 0)
    assert any_lab.states() == {"slide.svs": ["taken"], "again/slide (2).svs": ["duplicate"]}
    assert any_lab.row("again/slide (2).svs").sha256 == digest(b"the slide")
    assert any_lab.told() == [digest(b"the slide")]
    assert any_lab.spooled() == {any_lab.row("slide.svs").id}


def test_a_file_that_is_renamed_after_it_was_taken_is_the_same_scan(lab: Laboratory) -> None:
    path = lab.write("slide.svs")
    lab.settle()
    path.rename(lab.path / "renamed.svs")
    lab.settle()
    assert lab.states() == {"slide.svs": ["taken"], "renamed.svs": ["duplicate"]}
    assert len(lab.told()) == 1


def test_twins_in_one_look_are_one_scan(lab: Laboratory) -> None:
    lab.write("one.svs", b"the slide")
    lab.write("two.svs", b"the slide")
    assert lab.settle().taken == 1
    assert sorted(lab.states().values()) == [["duplicate"], ["taken"]]


def test_the_same_bytes_from_two_scanners_at_the_same_moment_are_one_scan(any_lab: Laboratory) -> None:
    other = Laboratory(any_lab.database, any_lab.spool, any_lab.folder, any_lab.clock)
    other.folder = type(any_lab.folder)("scanner-2", "north", any_lab.path.parent / "scanner-2")
    other.path.mkdir()
    contents = [b"slide %d" % number for number in range(20)]
    for number, content in enumerate(contents):
        any_lab.write(f"{number}.svs", content)
        other.write(f"{number}.svs", content)
    any_lab.look()
    other.look()
    any_lab.clock.now += STABLE_S
    threads = [threading.Thread(target=laboratory.look) for laboratory in (any_lab, other)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    states = [row.state for row in any_lab.rows()]
    assert (states.count("taken"), states.count("duplicate")) == (20, 20)
    assert len(any_lab.told()) == 20
    assert any_lab.spooled() == {row.id for row in any_lab.rows() if row.state == "taken"}
    for watcher in other.watchers:
        watcher.close()


def test_dropping_the_same_file_again_changes_nothing(lab: Laboratory) -> None:
    path = lab.write("slide.svs")
    lab.settle()
    before = vars_of(lab)
    aside = path.with_name("aside.tmp")
    shutil.copy2(path, aside)
    path.unlink()
    lab.look(STABLE_S)
    aside.rename(path)
    lab.settle()
    lab.look(120)
    assert vars_of(lab) == before


def test_the_same_path_with_other_bytes_is_another_scan(any_lab: Laboratory) -> None:
    any_lab.write("slide.svs", b"first", older_s=60)
    any_lab.settle()
    any_lab.write("slide.svs", b"second")
    # Files that were dealt with are looked at once a minute.
    any_lab.look(60)
    any_lab.look(STABLE_S)
    assert any_lab.states() == {"slide.svs": ["taken", "taken"]}
    assert any_lab.told() == sorted([digest(b"first"), digest(b"second")])
    assert len(any_lab.spooled()) == 2


def test_the_same_path_written_again_with_the_same_bytes_is_the_same_scan(lab: Laboratory) -> None:
    lab.write("slide.svs", b"the slide", older_s=60)
    lab.settle()
    lab.write("slide.svs", b"the slide")
    lab.look(60)
    lab.look(STABLE_S)
    assert lab.states() == {"slide.svs": ["taken", "duplicate"]}
    assert len(lab.told()) == 1


def test_an_earlier_version_that_comes_back_ends_the_one_that_was_arriving(any_lab: Laboratory) -> None:
    path = any_lab.write("slide.svs", b"first", older_s=60)
    any_lab.settle()
    kept = path.with_suffix(".tmp")
    shutil.copy2(path, kept)
    any_lab.write("slide.svs", b"half of the sec")
    any_lab.look(60)
    assert any_lab.states() == {"slide.svs": ["taken", "arriving"]}
    kept.rename(path)
    any_lab.look(1)
    any_lab.look(STABLE_S)
    assert any_lab.states() == {"slide.svs": ["taken", "refused"]}
    assert "replaced by a version that had come before" in (any_lab.rows()[1].problem or "")


def test_a_restart_changes_nothing(any_lab: Laboratory) -> None:
    any_lab.write("taken.svs", b"1")
    any_lab.write("again.svs", b"1")
    any_lab.write("empty.svs", b"")
    any_lab.settle()
    any_lab.write("arriving.svs", b"2")
    any_lab.look()
    before = vars_of(any_lab)
    any_lab.start()
    any_lab.look()
    assert vars_of(any_lab) == before
    assert any_lab.look(STABLE_S).taken == 1
    after = vars_of(any_lab)
    any_lab.start()
    any_lab.settle()
    assert vars_of(any_lab) == after
    assert len(any_lab.told()) == 2


def vars_of(lab: Laboratory) -> list[dict[str, object]]:
    return [{key: value for key, value in vars(row).items() if not key.startswith("_")} for row in lab.rows()]


def test_the_row_keeps_its_id_from_first_sight_through_every_restart(lab: Laboratory) -> None:
    lab.write("slide.svs")
    lab.look()
    first = lab.row().id
    lab.start()
    lab.settle()
    assert lab.row().id == first
    assert lab.spooled() == {first}


@pytest.mark.parametrize("name", [".hidden.svs", "~$slide.svs", "slide.svs.tmp", "slide.svs.PART", "Thumbs.db"])
def test_what_programs_leave_while_they_work_is_not_looked_at(lab: Laboratory, name: str) -> None:
    lab.write(name)
    lab.settle()
    assert lab.rows() == []


def test_a_file_written_under_another_name_and_renamed_is_taken_without_a_word(lab: Laboratory) -> None:
    path = lab.write("slide.svs.writing", b"the sl")
    lab.look()
    lab.write("slide.svs.writing", b"the slide")
    lab.look(STABLE_S)
    path.rename(lab.path / "slide.svs")
    lab.settle()
    assert lab.states() == {"slide.svs": ["taken"]}


def test_what_stays_the_same_is_neither_asked_for_nor_written_again(any_lab: Laboratory) -> None:
    any_lab.write("slide.svs")
    any_lab.write("empty.svs", b"")
    any_lab.write("notes.txt")
    any_lab.settle()
    any_lab.look(STABLE_S)
    any_lab.write("arriving.svs", b"on its way")
    any_lab.look()
    with any_lab.statements() as statements:
        any_lab.look(1)
        any_lab.look(1)
    assert statements == []


def test_all_that_one_look_sees_is_one_transaction(lab: Laboratory) -> None:
    for number in range(30):
        lab.write(f"{number}.svs", b"%d" % number)
    with lab.statements() as statements:
        lab.look()
    assert statements.count("BEGIN IMMEDIATE") == 1
    for number in range(30):
        lab.write(f"{number}.svs", b"longer %d" % number)
    with lab.statements() as statements:
        lab.look()
    assert statements.count("BEGIN IMMEDIATE") == 1


def test_a_look_that_is_under_way_says_since_when(lab: Laboratory) -> None:
    lab.write("slide.svs")
    since: list[float | None] = []

    def note(session: Session, row: ScanFile) -> None:
        since.append(watcher.looking_since)
        received(session, row)

    watcher = FolderWatcher(lab.database, lab.spool, lab.folder, note, lab.clock)
    watcher.look()
    lab.clock.now += STABLE_S
    watcher.look()
    assert since == [lab.clock.now]
    assert watcher.looking_since is None
    watcher.close()


def test_one_process_watches_a_folder_and_the_next_takes_over(lab: Laboratory) -> None:
    lab.write("slide.svs")
    lab.look()
    second = FolderWatcher(lab.database, lab.spool, lab.folder, received, lab.clock)
    assert "another process watches this folder" in (second.look().problem or "")
    lab.watchers[-1].close()
    assert second.look().problem is None
    lab.clock.now += STABLE_S
    assert second.look().taken == 1
    second.close()


@pytest.mark.parametrize("name", ["", "Scanner 1", "../scanner", "scanner/1", "a" * 64])
def test_a_scanner_needs_a_name_of_ours(lab: Laboratory, name: str) -> None:
    with pytest.raises(ValueError, match="a scanner's name"):
        type(lab.folder)(name, "north", lab.path)


def test_real_slides_are_taken_bit_by_bit(lab: Laboratory, shared_data: Path) -> None:
    for source in sorted((shared_data / "slides").iterdir()):
        shutil.copyfile(source, lab.path / source.name)
    lab.settle()
    rows = lab.rows()
    assert [row.state for row in rows] == ["taken"] * len(rows)
    for row in rows:
        assert lab.spool.path_of(row.id).read_bytes() == (shared_data / "slides" / row.relative_path).read_bytes()


def test_a_time_of_change_that_no_column_holds_is_no_trouble(lab: Laboratory) -> None:
    path = lab.write("slide.svs")
    os.utime(path, ns=(0, 10**19))
    lab.write("other.svs", b"another")
    assert lab.settle().taken == 2
    lab.start()
    lab.settle()
    assert lab.states() == {"slide.svs": ["taken"], "other.svs": ["taken"]}


def test_thousands_of_files_that_were_dealt_with_cost_next_to_nothing(lab: Laboratory) -> None:
    count = 5_000
    for number in range(count):
        (lab.path / f"H26-{number:05d}-A1.svs").touch()
    lab.look()
    with lab.database.write("deal with them") as session:
        session.execute(update(ScanFile).values(state="taken", sha256=ScanFile.id, place="north-spool"))
    lab.start()
    with lab.statements() as statements:
        lab.look()
    assert len(statements) < 50  # not one for each file, even after a restart
    with lab.statements() as statements:
        began = time.process_time()
        for _ in range(10):
            assert lab.look(1).arriving == 0
        a_look_s = (time.process_time() - began) / 10
    assert statements == []
    assert a_look_s < 0.05
