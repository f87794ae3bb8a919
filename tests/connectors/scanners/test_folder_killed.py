"""A watcher that is killed at any point, started again, ends as if nothing had happened."""

import hashlib
import re
import signal
from collections.abc import Callable, Iterator

import pytest

from tests.connectors.scanners.conftest import ROOT
from tests.connectors.scanners.laboratory import Laboratory
from tests.faults.zygote import Zygote

pytestmark = pytest.mark.faults

# Where it may be killed, and how often the laboratory below passes there.
POINTS = {
    "scan_file_note.before_commit": 2,
    "scan_file_note.after_commit": 2,
    "spool.before_copy": 2,
    "spool.after_copy": 2,
    "spool.before_rename": 2,
    "spool.after_rename": 2,
    "scan_file_take.before_commit": 2,
    "scan_file_take.after_commit": 2,
    "spool.before_remove": 1,
    "spool.after_remove": 1,
}
KILLS = [f"{point}:{hit}" for point, hits in POINTS.items() for hit in range(1, hits + 1)]


Watch = Callable[..., int]


@pytest.fixture(scope="module")
def watch() -> Iterator[Watch]:
    """Has a process watch a laboratory until nothing moves, or until a failpoint; returns how it ended."""
    with Zygote("tests.connectors.scanners.watching:watch") as zygote:

        def until_calm(lab: Laboratory, failpoint: str = "") -> int:
            url = lab.database.url.render_as_string(hide_password=False)
            return zygote.ended((str(lab.path.parent), url), failpoint, lab.path.parent / "watch.log")

        yield until_calm


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def fill(lab: Laboratory) -> None:
    lab.write("first.svs", b"first" * 500_000)
    lab.write("second.svs", b"second")
    lab.write("second again.svs", b"second")
    lab.write("empty.svs", b"")


def ended_right(lab: Laboratory) -> None:
    """The oracle: what would be so had nobody been killed."""
    rows = lab.rows()
    assert len(rows) == 4
    assert lab.row("first.svs").state == "taken"
    assert sorted(lab.row(name).state for name in ("second.svs", "second again.svs")) == ["duplicate", "taken"]
    assert lab.row("empty.svs").state == "refused"
    assert lab.told() == sorted([digest(b"first" * 500_000), digest(b"second")])
    assert lab.spooled() == {row.id for row in rows if row.state == "taken"}
    for row in rows:
        if row.state == "taken":
            assert digest(lab.spool.path_of(row.id).read_bytes()) == row.sha256


def test_every_failpoint_of_this_room_is_tried() -> None:
    sources = [path.read_text() for path in (ROOT / "connectors" / "scanners").glob("*.py")]
    named = {name for source in sources for name in re.findall(r'failpoint\("([\w.]+)"\)', source)}
    written = {name for source in sources for name in re.findall(r'_writing\("(\w+)"\)', source)}
    commits = {f"{name}.{side}_commit" for name in written for side in ("before", "after")}
    assert named | commits == set(POINTS)


def test_without_a_kill_the_laboratory_ends_right(watch: Watch, any_lab: Laboratory) -> None:
    fill(any_lab)
    assert watch(any_lab) == 0
    ended_right(any_lab)


@pytest.mark.parametrize("failpoint", KILLS)
def test_a_watcher_that_is_killed_there_ends_as_if_nothing_had_happened(
    watch: Watch, lab: Laboratory, failpoint: str
) -> None:
    fill(lab)
    assert watch(lab, failpoint) == -signal.SIGKILL
    assert watch(lab) == 0
    ended_right(lab)


@pytest.mark.postgres
@pytest.mark.parametrize("failpoint", ["scan_file_take.before_commit", "scan_file_take.after_commit"])
def test_so_it_does_on_postgresql(watch: Watch, any_lab: Laboratory, failpoint: str) -> None:
    fill(any_lab)
    assert watch(any_lab, failpoint) == -signal.SIGKILL
    assert watch(any_lab) == 0
    ended_right(any_lab)


@pytest.mark.parametrize("failpoint", ["scan_file_note.after_commit", "spool.after_rename", "spool.before_remove"])
def test_a_watcher_that_is_killed_twice_at_the_same_point_ends_right_too(
    watch: Watch, lab: Laboratory, failpoint: str
) -> None:
    fill(lab)
    assert watch(lab, failpoint) == -signal.SIGKILL
    assert watch(lab, failpoint) in {-signal.SIGKILL, 0}
    assert watch(lab) == 0
    ended_right(lab)


@pytest.mark.parametrize("failpoint", ["spool.after_rename", "scan_file_take.before_commit"])
def test_a_copy_that_was_whole_is_taken_although_its_file_is_gone_since(
    watch: Watch, lab: Laboratory, failpoint: str
) -> None:
    path = lab.write("slide.svs", b"the only copy")
    assert watch(lab, failpoint) == -signal.SIGKILL
    path.unlink()
    # Its folder is not known to be the same one, so the file is missed for as long as a share may be away.
    lab.look()
    assert lab.row().state == "arriving"
    lab.look(600)
    row = lab.row()
    assert (row.state, lab.told()) == ("taken", [digest(b"the only copy")])
    assert lab.spool.path_of(row.id).read_bytes() == b"the only copy"


@pytest.mark.parametrize("failpoint", ["spool.after_copy", "spool.before_rename", "spool.after_rename"])
def test_a_file_that_was_replaced_since_is_taken_as_it_is_now(watch: Watch, lab: Laboratory, failpoint: str) -> None:
    lab.write("slide.svs", b"old", older_s=60)
    assert watch(lab, failpoint) == -signal.SIGKILL
    lab.write("slide.svs", b"new")
    assert watch(lab) == 0
    row = lab.row()
    assert (row.state, row.sha256, lab.told()) == ("taken", digest(b"new"), [digest(b"new")])
    assert lab.spool.path_of(row.id).read_bytes() == b"new"
    assert lab.spooled() == {row.id}


@pytest.mark.parametrize("failpoint", ["spool.before_rename", "spool.after_rename"])
def test_a_copy_of_a_file_that_was_emptied_since_does_not_stay(watch: Watch, lab: Laboratory, failpoint: str) -> None:
    lab.write("slide.svs", b"old", older_s=60)
    assert watch(lab, failpoint) == -signal.SIGKILL
    lab.write("slide.svs", b"")
    assert watch(lab) == 0
    assert (lab.row().state, lab.spooled(), lab.told()) == ("refused", set(), [])
