"""What is not taken, and the one sentence that says what, which and what to do."""

import os
import socket
from dataclasses import replace
from pathlib import Path

import pytest

from tests.connectors.scanners.laboratory import STABLE_S, Laboratory

HARMLESS = b"outside the folder"


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    (folder / "secret.svs").write_bytes(HARMLESS)
    return folder


def problem(lab: Laboratory, path: str) -> str:
    row = lab.row(path)
    assert row.state == "refused"
    assert row.problem is not None
    assert "\n" not in row.problem
    return row.problem


def test_an_empty_file_is_refused_once_it_stays_empty(any_lab: Laboratory) -> None:
    any_lab.write("slide.svs", b"")
    any_lab.look()
    assert any_lab.states() == {"slide.svs": ["arriving"]}
    any_lab.look(STABLE_S)
    assert problem(any_lab, "slide.svs") == "slide.svs is empty: export it again, or scan the slide again"


def test_an_empty_file_that_is_filled_later_is_taken(lab: Laboratory) -> None:
    lab.write("slide.svs", b"", older_s=60)
    lab.settle()
    lab.write("slide.svs", b"late, but whole")
    lab.look(60)
    lab.look(STABLE_S)
    assert lab.states() == {"slide.svs": ["refused", "taken"]}


def test_a_symbolic_link_is_refused_and_never_followed(lab: Laboratory, outside: Path) -> None:
    (lab.path / "slide.svs").symlink_to(outside / "secret.svs")
    (lab.path / "folder").symlink_to(outside)
    (lab.path / "nowhere.svs").symlink_to(outside / "missing")
    lab.settle()
    assert problem(lab, "slide.svs").startswith("slide.svs is a symbolic link, which could lead anywhere: put")
    assert problem(lab, "folder").startswith("folder is a symbolic link")
    assert problem(lab, "nowhere.svs").startswith("nowhere.svs is a symbolic link")
    assert lab.told() == []


def test_a_link_that_takes_a_files_place_is_not_followed(lab: Laboratory, outside: Path) -> None:
    path = lab.write("slide.svs")
    lab.look()
    path.unlink()
    path.symlink_to(outside / "secret.svs")
    lab.look(STABLE_S)
    lab.look(STABLE_S)
    assert lab.states() == {"slide.svs": ["refused"]}
    assert "symbolic link" in problem(lab, "slide.svs")
    assert lab.told() == []


def test_what_is_no_file_is_refused_without_touching_it(lab: Laboratory) -> None:
    os.mkfifo(lab.path / "pipe.svs")
    here = os.open(".", os.O_RDONLY)
    os.chdir(lab.path)  # a socket's path may have no more than 107 bytes
    try:
        server = socket.socket(socket.AF_UNIX)
        server.bind("socket.svs")
    finally:
        os.fchdir(here)
        os.close(here)
    lab.settle()
    server.close()
    assert problem(lab, "pipe.svs") == "pipe.svs is a named pipe: remove it, slides come as files"
    assert problem(lab, "socket.svs") == "socket.svs is a socket: remove it, slides come as files"


def test_a_device_is_refused(lab: Laboratory) -> None:
    try:
        os.mknod(lab.path / "device.svs", 0o600 | 0o020000, os.makedev(1, 5))
    except PermissionError:
        pytest.skip("needs the right to make a device")
    lab.settle()
    assert problem(lab, "device.svs") == "device.svs is a device: remove it, slides come as files"


def test_a_file_with_a_second_name_is_refused(lab: Laboratory, outside: Path) -> None:
    os.link(outside / "secret.svs", lab.path / "slide.svs")
    lab.settle()
    assert "slide.svs has 2 names (hard links)" in problem(lab, "slide.svs")
    assert "copy it into the folder as a file of its own" in problem(lab, "slide.svs")


def test_a_refusal_ends_with_its_reason(lab: Laboratory, outside: Path) -> None:
    os.link(outside / "secret.svs", lab.path / "slide.svs")
    lab.settle()
    (outside / "secret.svs").unlink()
    lab.look(60)
    assert lab.look(STABLE_S).taken == 1
    assert lab.states() == {"slide.svs": ["taken"]}
    assert lab.row().problem is None


@pytest.mark.parametrize(
    "raw", [b"caf\xe9.svs", b"two\nlines.svs", b"\x1b[31m.svs", "gpj.\u202esvs.svs".encode(), b"d\xff/slide.svs"]
)
def test_a_name_that_nobody_can_read_is_refused_and_the_others_are_taken(lab: Laboratory, raw: bytes) -> None:
    path = os.path.join(os.fsencode(lab.path), raw)  # noqa: PTH118 - bytes
    os.makedirs(os.path.dirname(path), exist_ok=True)  # noqa: PTH103, PTH120 - bytes
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT)
    os.write(descriptor, b"a slide")
    os.close(descriptor)
    lab.write("good.svs", b"another slide")
    assert lab.settle().taken == 1
    [bad] = [row for row in lab.rows() if row.relative_path != "good.svs"]
    assert bad.state == "refused"
    assert (bad.problem or "").endswith(": rename it, and it is taken")
    assert (bad.problem or "").isprintable()
    lab.start()
    lab.settle()
    assert len(lab.rows()) == 2


def test_a_path_too_long_or_too_deep_is_refused_and_the_others_are_taken(lab: Laboratory) -> None:
    long = "/".join(["x" * 200] * 6)
    deep = "/".join(["d"] * 40)
    for folder in (long, deep):
        descriptor = os.open(lab.path, os.O_RDONLY)
        for part in folder.split("/"):
            os.mkdir(part, dir_fd=descriptor)
            below = os.open(part, os.O_RDONLY, dir_fd=descriptor)
            os.close(descriptor)
            descriptor = below
        os.close(os.open("slide.svs", os.O_WRONLY | os.O_CREAT, dir_fd=descriptor))
        os.close(descriptor)
    lab.write("/".join(["e"] * 31) + "/slide.svs")
    assert lab.settle().taken == 1
    problems = [row.problem or "" for row in lab.rows() if row.state == "refused"]
    assert len(problems) == 2
    assert all("is a folder too deep" in text or "bytes long" in text for text in problems)


@pytest.mark.parametrize("name", ["notes.txt", "slide", "slide.svs.zip", "slide.mrxs", "slide.exe"])
def test_what_is_no_slide_by_its_ending_is_refused(lab: Laboratory, name: str) -> None:
    lab.write(name)
    lab.settle()
    assert problem(lab, name).startswith(f"{name} is no slide that is taken from here (.bif, .ndpi, .scn, .svs, ")


def test_an_ending_counts_however_it_is_written(lab: Laboratory) -> None:
    lab.write("SLIDE.SVS")
    lab.settle()
    assert lab.states() == {"SLIDE.SVS": ["taken"]}
    assert lab.spool.path_of(lab.row().id).name == "slide.svs"


def test_a_file_larger_than_any_slide_is_refused_without_reading_it(lab: Laboratory) -> None:
    lab.write("slide.svs")
    os.truncate(lab.path / "slide.svs", 1 << 40)
    lab.settle()
    assert f"slide.svs has {1 << 40} bytes, more than the {64 << 30} that are taken" in problem(lab, "slide.svs")


@pytest.mark.parametrize(("one", "other"), [("A.svs", "a.svs"), ("caf\u00e9.svs", "cafe\u0301.svs")])
def test_of_two_names_that_look_the_same_the_second_waits_for_a_name_of_its_own(
    any_lab: Laboratory, one: str, other: str
) -> None:
    any_lab.write(one, b"the first")
    any_lab.settle()
    path = any_lab.write(other, b"the second")
    any_lab.settle()
    assert any_lab.states() == {one: ["taken"], other: ["refused"]}
    assert "have the same name but for capitals or accents" in problem(any_lab, other)
    any_lab.start()
    any_lab.settle()
    assert any_lab.states() == {one: ["taken"], other: ["refused"]}
    path.rename(any_lab.path / "its own.svs")
    any_lab.settle()
    assert any_lab.states() == {one: ["taken"], other: ["refused"], "its own.svs": ["taken"]}


def test_of_two_such_names_at_once_one_is_taken(lab: Laboratory) -> None:
    lab.write("a.svs", b"the one")
    lab.write("A.svs", b"the other")
    lab.settle()
    assert lab.states() == {"A.svs": ["taken"], "a.svs": ["refused"]}


def test_a_name_is_free_again_when_the_other_file_has_left(lab: Laboratory) -> None:
    first = lab.write("A.svs", b"the one")
    lab.settle()
    lab.write("a.svs", b"the other")
    lab.settle()
    first.unlink()
    lab.look(60)
    lab.look(60)
    lab.look(STABLE_S)
    assert lab.states() == {"A.svs": ["taken"], "a.svs": ["taken"]}


def test_a_refusal_is_written_once(lab: Laboratory) -> None:
    lab.write("notes.txt")
    lab.write("empty.svs", b"")
    (lab.path / "link.svs").symlink_to("empty.svs")
    lab.settle()
    with lab.statements() as statements:
        for _ in range(5):
            lab.look(120)
    assert [text for text in statements if not text.startswith(("SELECT", "BEGIN"))] == []
    assert len(lab.rows()) == 3


def test_an_ending_that_is_allowed_later_is_taken_then(lab: Laboratory) -> None:
    lab.write("slide.dcm")
    lab.settle()
    lab.folder = replace(lab.folder, suffixes=lab.folder.suffixes | {".dcm"})
    lab.start()
    lab.settle()
    assert lab.states() == {"slide.dcm": ["taken"]}


def test_a_mounted_disk_in_the_folder_is_refused(lab: Laboratory, small_disk: Path) -> None:
    (small_disk / "slide.svs").write_bytes(b"on another disk")
    lab.folder = replace(lab.folder, path=small_disk.parent)
    lab.start()
    lab.settle()
    assert "disk is a folder too deep or on another disk" in problem(lab, "disk")
