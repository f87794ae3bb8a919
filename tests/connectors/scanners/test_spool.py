import hashlib
import os
import re
import stat
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import pytest

from connectors.scanners.names import SLIDE_SUFFIXES
from connectors.scanners.spool import Held, Spool, Taken
from models.errors import NeedsPersonError, TransientError
from tests.connectors.scanners.conftest import DISK_BYTES, Traced

FILE_ID = "0f9b2c52-6c3e-4d5e-9a30-2f61f7f5a001"
SCAN_ID = "0f9b2c52-6c3e-4d5e-9a30-2f61f7f5a002"
SLIDE = b"a slide, as far as the spool cares\n" * 100_000

TAKE = """
import os, sys
from pathlib import Path
from connectors.scanners.spool import Spool
from models.errors import TransientError

root, source, file_id = sys.argv[1:]
spool = Spool(Path(root), "north", 0)
print("ready", file=sys.stderr, flush=True)
descriptor = os.open(source, os.O_RDONLY)
try:
    spool.take(descriptor, os.fstat(descriptor).st_size, file_id, ".svs")
except TransientError as error:
    print(error)
"""


@pytest.fixture
def slide(tmp_path: Path) -> Path:
    path = tmp_path / "written by a scanner.svs"
    path.write_bytes(SLIDE)
    return path


@contextmanager
def opened(path: Path) -> Iterator[int]:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def take(spool: Spool, path: Path, file_id: str = FILE_ID, suffix: str = ".svs") -> Taken:
    with opened(path) as descriptor:
        return spool.take(descriptor, path.stat().st_size, file_id, suffix)


def held(spool: Spool) -> list[tuple[str, str]]:
    return [(thing.what, thing.id) for thing in spool.files()]


def test_a_taken_file_is_the_same_bytes_under_our_id_and_nobody_may_write_it(spool: Spool, slide: Path) -> None:
    taken = take(spool, slide)
    assert taken.path == spool.root / "scans" / FILE_ID / "slide.svs"
    assert taken.path.read_bytes() == SLIDE
    assert (taken.sha256, taken.bytes) == (hashlib.sha256(SLIDE).hexdigest(), len(SLIDE))
    assert stat.S_IMODE(taken.path.stat().st_mode) == 0o440
    assert spool.path_of(FILE_ID) == taken.path
    assert held(spool) == [("file", FILE_ID)]


def test_an_empty_file_is_copied_like_any_other(spool: Spool, tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    assert take(spool, tmp_path / "empty").sha256 == hashlib.sha256().hexdigest()


def test_the_whole_file_is_copied_wherever_its_descriptor_stands(spool: Spool, slide: Path) -> None:
    with opened(slide) as descriptor:
        os.lseek(descriptor, 1_000, os.SEEK_SET)
        assert spool.take(descriptor, len(SLIDE), FILE_ID).path.read_bytes() == SLIDE


@pytest.mark.parametrize("suffix", sorted(SLIDE_SUFFIXES))
def test_a_copy_keeps_the_ending_that_readers_choose_a_format_by(spool: Spool, slide: Path, suffix: str) -> None:
    assert take(spool, slide, suffix=suffix.upper()).path.name == f"slide{suffix}"


@pytest.mark.parametrize("suffix", ["", ".exe", ".svs/../../../x", "../x", ".svs\x00", ".svs ", "/etc/passwd"])
def test_any_other_ending_is_dropped(spool: Spool, slide: Path, suffix: str) -> None:
    assert take(spool, slide, suffix=suffix).path == spool.root / "scans" / FILE_ID / "slide"


@pytest.mark.parametrize("name", ["", "..", "../../x", "slide.svs", f"{FILE_ID}/x"])
def test_only_our_own_ids_become_names(spool: Spool, slide: Path, name: str) -> None:
    with pytest.raises(ValueError, match="UUID"):
        take(spool, slide, name)
    with pytest.raises(ValueError, match="UUID"):
        spool.work_folder(name, 1)
    with pytest.raises(ValueError, match="UUID"):
        spool.discard(name)
    assert held(spool) == []


def test_what_a_killed_attempt_left_is_replaced(spool: Spool, slide: Path) -> None:
    (spool.root / "incoming" / f"{FILE_ID}.part").write_bytes(b"half a sli")
    (spool.root / "scans" / FILE_ID).mkdir()
    (spool.root / "scans" / FILE_ID / "slide.tif").write_bytes(b"of another version")
    taken = take(spool, slide)
    assert list(taken.path.parent.iterdir()) == [taken.path]
    assert taken.path.read_bytes() == SLIDE
    assert held(spool) == [("file", FILE_ID)]


def test_a_whole_copy_of_the_same_version_need_not_be_made_again(spool: Spool, slide: Path) -> None:
    taken = take(spool, slide)
    status = slide.stat()
    assert spool.kept(FILE_ID, status.st_size, status.st_mtime_ns) == taken
    assert spool.kept(FILE_ID, status.st_size, status.st_mtime_ns + 1) is None
    assert spool.kept(FILE_ID, status.st_size + 1, status.st_mtime_ns) is None
    assert spool.kept(SCAN_ID, status.st_size, status.st_mtime_ns) is None


@pytest.mark.parametrize("off_by", [-1, 1])
def test_a_file_of_another_size_than_expected_is_left_for_later(spool: Spool, slide: Path, off_by: int) -> None:
    with opened(slide) as descriptor, pytest.raises(TransientError, match="changed while it was copied"):
        spool.take(descriptor, len(SLIDE) + off_by, FILE_ID)
    assert held(spool) == []


def test_a_file_that_is_written_while_it_is_copied_is_left_for_later(spool: Spool, slide: Path) -> None:
    # Large enough that the copy takes longer than the tick of a file's clock.
    slide.write_bytes(bytes(64 << 20))
    began, ended = threading.Event(), threading.Event()

    def write_on() -> None:
        with slide.open("r+b") as scanner:
            while not ended.is_set():
                scanner.seek(0)
                scanner.write(b"A")
                scanner.flush()
                began.set()

    scanner = threading.Thread(target=write_on)
    scanner.start()
    try:
        assert began.wait(timeout=30)
        with pytest.raises(TransientError, match="changed while it was copied"):
            take(spool, slide)
    finally:
        ended.set()
        scanner.join()
    assert held(spool) == []


def test_a_reserve_stays_free_and_the_sentence_says_how_much_is_missing(tmp_path: Path, slide: Path) -> None:
    spool = Spool(tmp_path / "spool", "north", reserve_bytes=1 << 60)
    with pytest.raises(TransientError) as caught:
        take(spool, slide)
    assert re.fullmatch(
        rf"the spool of place north is full: needs {len(SLIDE)} bytes beside a reserve of {1 << 60}, has \d+; .+",
        str(caught.value),
    )
    assert held(spool) == []
    assert slide.read_bytes() == SLIDE


def test_a_disk_that_fills_up_while_copying_leaves_nothing_behind(small_disk: Path, tmp_path: Path) -> None:
    # A reserve below zero begins the copy although there is no room, as when others write to the same disk.
    spool = Spool(small_disk / "spool", "north", reserve_bytes=-DISK_BYTES)
    large = tmp_path / "large.svs"
    large.write_bytes(b"x" * (DISK_BYTES + 1))
    before = spool.free_bytes()
    with pytest.raises(TransientError, match="is full: needs"):
        take(spool, large)
    assert held(spool) == []
    assert spool.free_bytes() == before
    assert large.stat().st_size == DISK_BYTES + 1


def test_a_spool_that_became_read_only_says_so(small_disk: Path, slide: Path) -> None:
    spool = Spool(small_disk / "spool", "north", reserve_bytes=0)
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with pytest.raises(TransientError, match="Read-only file system"):
        take(spool, slide)


def test_the_bytes_are_on_the_disk_before_their_name_is(tmp_path: Path, slide: Path, traced: Traced) -> None:
    ran = traced(["-y", "-e", "trace=fsync,rename"], TAKE, tmp_path / "spool", slide, FILE_ID)
    assert ran.returncode == 0
    lines = ran.stderr.split("ready\n", 1)[1].splitlines()
    calls = [re.sub(r"^\[pid +\d+\] ", "", line) for line in lines]
    seen = [(call.split("(", 1)[0], call) for call in calls if call.startswith(("fsync", "rename"))]
    assert [name for name, _ in seen] == ["fsync", "rename", "fsync", "fsync", "fsync"]
    assert f"{FILE_ID}.part" in seen[0][1]
    assert [re.search(r"<(.+)>", call).group(1).rsplit("/", 1)[1] for _, call in seen[2:]] == [  # type: ignore[union-attr]
        FILE_ID,
        "scans",
        "incoming",
    ]


@pytest.mark.parametrize(
    ("injected", "sentence"),
    [
        ("write:error=ENOSPC:when=2", "is full: needs"),
        ("fsync:error=EIO:when=2", "can't be used (Input/output error)"),
        ("fsync:error=EIO:when=3", "can't be used (Input/output error)"),
        ("rename:error=EIO", "can't be used (Input/output error)"),
        (
            "pread64:error=EIO:when=2+",
            "can't be read (Input/output error): see to the scanner's disk or share, at byte 1",
        ),
        (
            "pread64:error=ESTALE:when=2+",
            "can't be read (Stale file handle): see to the scanner's disk or share, at byte 1",
        ),
    ],
)
def test_a_disk_that_fails_is_told_in_one_sentence_and_costs_one_attempt(
    tmp_path: Path, slide: Path, traced: Traced, injected: str, sentence: str
) -> None:
    call = injected.split(":", 1)[0]
    # Only the spool's and the slide's own files fail, not what Python reads to start.
    only = ["-P", str(tmp_path / "spool"), "-P", str(slide)]
    for path in ("incoming", "scans", f"scans/{FILE_ID}", f"incoming/{FILE_ID}.part"):
        only += ["-P", str(tmp_path / "spool" / path)]
    ran = traced([*only, "-e", f"trace={call}", "-e", f"inject={injected}"], TAKE, tmp_path / "spool", slide, FILE_ID)
    assert ran.returncode == 0
    assert sentence in ran.stdout
    assert not list((tmp_path / "spool" / "incoming").iterdir())
    taken = take(Spool(tmp_path / "spool", "north", 0), slide)
    assert taken.path.read_bytes() == SLIDE


def test_a_file_that_the_books_have_and_the_spool_has_not_needs_a_person(spool: Spool) -> None:
    with pytest.raises(NeedsPersonError, match=f"does not hold file {FILE_ID}"):
        spool.path_of(FILE_ID)


def test_removing_twice_is_like_removing_once(spool: Spool, slide: Path) -> None:
    take(spool, slide)
    (spool.root / "incoming" / f"{FILE_ID}.part").write_bytes(b"half")
    spool.remove(FILE_ID)
    spool.remove(FILE_ID)
    assert held(spool) == []


def test_a_work_folder_is_private_and_empty_each_time(spool: Spool) -> None:
    folder = spool.work_folder(SCAN_ID, 1)
    (folder / "half a conversion.dcm").touch()
    assert spool.work_folder(SCAN_ID, 1) == folder
    assert not list(folder.iterdir())
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert spool.work_folder(SCAN_ID, 2) != folder
    assert held(spool) == [("work", SCAN_ID)]
    spool.discard(SCAN_ID)
    spool.discard(SCAN_ID)
    assert held(spool) == []


def test_the_audit_sees_everything_even_what_nobody_can_explain(spool: Spool, slide: Path) -> None:
    take(spool, slide)
    spool.work_folder(SCAN_ID, 3)
    other = str(uuid4())
    (spool.root / "incoming" / f"{other}.part").touch()
    (spool.root / "scans" / "core.1234").touch()
    assert spool.files() == [
        Held("part", other, spool.root / "incoming" / f"{other}.part"),
        Held("file", FILE_ID, spool.root / "scans" / FILE_ID),
        Held("unknown", "", spool.root / "scans" / "core.1234"),
        Held("work", SCAN_ID, spool.root / "work" / SCAN_ID),
    ]


def test_a_lock_is_one_holders_until_it_is_closed(spool: Spool) -> None:
    first = spool.lock("scanner-1")
    assert first is not None
    assert Spool(spool.root, "north", 0).lock("scanner-1") is None
    other = spool.lock("scanner-2")
    assert other is not None
    os.close(first)
    again = spool.lock("scanner-1")
    assert again is not None
    os.close(again)
    os.close(other)


def test_only_we_may_look_into_the_spool(spool: Spool) -> None:
    folders = [spool.root, *spool.root.iterdir()]
    assert {stat.S_IMODE(folder.stat().st_mode) for folder in folders} == {0o700}
