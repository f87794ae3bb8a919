import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from connectors.scanners.walk import open_below, opened, walk
from models.errors import TransientError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "secret.svs").write_bytes(b"outside the folder")
    made = tmp_path / "scanner"
    (made / "rack 1").mkdir(parents=True)
    (made / "rack 1" / "slide.svs").write_bytes(b"a slide")
    (made / "way out").symlink_to(tmp_path)
    (made / "link.svs").symlink_to(tmp_path / "secret.svs")
    os.mkfifo(made / "pipe.svs")
    return made


@pytest.fixture
def root(folder: Path) -> Iterator[int]:
    with opened(folder) as descriptor:
        yield descriptor


def nothing(_path: str, _name: str) -> bool:
    return False


def test_a_look_finds_files_in_every_folder_and_enters_no_link(root: int) -> None:
    seen = walk(root, nothing)
    assert set(seen.files) == {"rack 1/slide.svs", "way out", "link.svs", "pipe.svs"}
    assert seen.files["rack 1/slide.svs"].st_size == len(b"a slide")
    assert seen.unread == {}


def test_what_is_skipped_is_not_looked_at(root: int) -> None:
    asked: list[tuple[str, str]] = []

    def skip(path: str, name: str) -> bool:
        asked.append((path, name))
        return name == "rack 1" or path == "link.svs"

    assert set(walk(root, skip).files) == {"way out", "pipe.svs"}
    assert ("rack 1", "rack 1") in asked
    assert ("rack 1/slide.svs", "slide.svs") not in asked


def test_a_look_leaves_no_descriptor_open(root: int) -> None:
    before = descriptors()
    walk(root, nothing)
    for path in ("rack 1/slide.svs", "rack 1/missing.svs", "way out/secret.svs"):
        try:
            os.close(open_below(root, path))
        except OSError:
            continue
    assert descriptors() == before


def descriptors() -> set[str]:
    return {path.name for path in Path("/proc/self/fd").iterdir()}


def test_a_file_is_opened_part_by_part(root: int) -> None:
    descriptor = open_below(root, "rack 1/slide.svs")
    assert os.read(descriptor, 100) == b"a slide"
    os.close(descriptor)


@pytest.mark.parametrize(
    "path",
    ["link.svs", "way out/secret.svs", "../secret.svs", "rack 1/../../secret.svs", "", "rack 1/", "./rack 1/slide.svs"],
)
def test_no_path_leads_out_of_the_folder(root: int, path: str) -> None:
    with pytest.raises(OSError, match=r"Too many levels|Not a directory|cross-device"):
        open_below(root, path)


def test_an_absolute_path_is_no_path_below(root: int, tmp_path: Path) -> None:
    with pytest.raises(OSError, match="cross-device"):
        open_below(root, str(tmp_path / "secret.svs"))


def test_a_pipe_in_a_files_place_does_not_hold_us(root: int) -> None:
    descriptor = open_below(root, "pipe.svs")
    assert stat.S_ISFIFO(os.fstat(descriptor).st_mode)
    os.close(descriptor)


def test_a_folder_that_is_gone_while_it_is_open_has_nothing_in_it(folder: Path, root: int) -> None:
    for path in sorted(folder.rglob("*"), reverse=True):
        if path.is_dir() and not path.is_symlink():
            path.rmdir()
        else:
            path.unlink()
    folder.rmdir()
    assert walk(root, nothing).files == {}


@pytest.mark.parametrize("path", ["missing", "scanner/rack 1/slide.svs"])
def test_a_scanner_folder_that_is_none_is_told(folder: Path, path: str) -> None:
    with (
        pytest.raises(TransientError, match=r"can't be read \((No such file|Not a directory)"),
        opened(folder.parent / path),
    ):
        pass


def test_the_scanner_folder_itself_may_be_reached_through_a_link(folder: Path) -> None:
    link = folder.with_name("link to it")
    link.symlink_to(folder)
    with opened(link) as root:
        assert "rack 1/slide.svs" in walk(root, nothing).files
