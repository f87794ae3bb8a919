"""What no row can tell: bytes that appear, vanish or change in the archive and in the spool."""

import json
import shutil
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest

from connectors.archive.protocol import RejectionReason
from connectors.wiring import Lab
from tests.flows.audit.story import breaches

NOBODY = str(uuid.UUID(int=1))

Break = Callable[[Path], None]


def an_object(home: Path) -> Path:
    return min(path for path in (home / "archive").glob("*/*/*.dcm") if path.parts[-4] != "rejected")


def a_rejected_object(home: Path) -> Path:
    return min((home / "archive" / "rejected").glob("*/*/*.dcm"))


def a_spool_file(home: Path) -> Path:
    return min((home / "spool" / "scans").glob("*/*"))


def object_appears(home: Path) -> None:
    shutil.copy(an_object(home), an_object(home).with_name("1.2.3.dcm"))


def object_is_moved_to_another_series(home: Path) -> None:
    other = an_object(home).parent.with_name("1.2.3")
    other.mkdir()
    an_object(home).rename(other / an_object(home).name)


def object_is_copied_to_another_study(home: Path) -> None:
    other = home / "archive" / "1.2.3" / "1.2.3"
    other.mkdir(parents=True)
    shutil.copy(an_object(home), other)


def object_changes_by_one_bit(home: Path) -> None:
    content = bytearray(an_object(home).read_bytes())
    content[0] ^= 1
    an_object(home).chmod(0o600)
    an_object(home).write_bytes(content)


def series_is_rejected_by_another_hand(home: Path) -> None:
    live = an_object(home).parent
    away = home / "archive" / "rejected" / live.parent.name / live.name
    away.mkdir(parents=True)
    (away / "rejection.json").write_text(json.dumps({"code": RejectionReason.QUALITY.value}))


def rejection_is_forgotten(home: Path) -> None:
    away = a_rejected_object(home).parent
    live = home / "archive" / away.parent.name / away.name
    (away / "rejection.json").unlink()
    live.parent.mkdir(exist_ok=True)
    shutil.rmtree(live, ignore_errors=True)
    away.rename(live)


def foreign_name_appears(home: Path) -> None:
    (home / "spool" / "incoming" / "26B0001 Example Ada.svs.part").write_bytes(b"")


def lonely_copy_appears(home: Path) -> None:
    (home / "spool" / "scans" / NOBODY).mkdir()


def lonely_part_appears(home: Path) -> None:
    (home / "spool" / "incoming" / f"{NOBODY}.part").write_bytes(b"")


def part_of_a_whole_file_appears(home: Path) -> None:
    (home / "spool" / "incoming" / f"{a_spool_file(home).parent.name}.part").write_bytes(b"")


def lonely_work_appears(home: Path) -> None:
    (home / "spool" / "work" / NOBODY).mkdir()


def spool_file_is_cut(home: Path) -> None:
    a_spool_file(home).chmod(0o600)
    with a_spool_file(home).open("r+b") as file:
        file.truncate(3)


def spool_file_changes_by_one_bit(home: Path) -> None:
    content = bytearray(a_spool_file(home).read_bytes())
    content[-1] ^= 1
    a_spool_file(home).chmod(0o600)
    a_spool_file(home).write_bytes(content)


#    check      how the disk is broken                                        what is said of it
KNOWN_BAD: list[tuple[str, Break, str]] = [
    ("archive", object_appears, "holds object 1.2.3, which the books do not know"),
    ("archive", lambda home: an_object(home).unlink(), "does not offer object"),
    ("archive", object_is_moved_to_another_series, "in another study or series than the books"),
    ("archive", object_is_copied_to_another_study, "twice"),
    ("archive", object_changes_by_one_bit, "gives back other bytes for object"),
    ("archive", series_is_rejected_by_another_hand, "does not offer object"),
    ("archive", lambda home: a_rejected_object(home).unlink(), "lost object"),
    ("archive", rejection_is_forgotten, "still offers object"),
    ("spool", foreign_name_appears, "holds something in incoming that is not ours"),
    ("spool", lonely_copy_appears, f"holds file {NOBODY}, which no row explains"),
    ("spool", lonely_part_appears, f"holds part {NOBODY}, which no row explains"),
    ("spool", part_of_a_whole_file_appears, "which no row explains"),
    ("spool", lonely_work_appears, f"holds work {NOBODY}, which no row explains"),
    ("spool", lambda home: a_spool_file(home).unlink(), "lost file"),
    ("spool", spool_file_is_cut, "has 3 bytes in the spool"),
    ("spool", spool_file_changes_by_one_bit, "has other bytes in the spool"),
]


@pytest.mark.parametrize(("check", "break_disk", "said"), KNOWN_BAD, ids=[f"{bad[0]}-{bad[2]}" for bad in KNOWN_BAD])
def test_broken_disks_are_caught(sqlite_lab: Lab, check: str, break_disk: Break, said: str) -> None:
    break_disk(sqlite_lab.settings.home)
    found = breaches(sqlite_lab, check)
    assert any(said in sentence for sentence in found), found
    assert not any("Example" in sentence for sentence in found)
