"""What the folder archive leaves on the disk, whatever happens to it."""

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from signal import SIGKILL

import pytest

from connectors.archive.folder import FolderArchive
from connectors.archive.protocol import RejectionReason, StoredInstance
from models.errors import TransientError
from models.uid import instance_uid, series_uid, study_uid

_CHECKOUT = Path(__file__).resolve().parents[3]
_STUDY, _SERIES = study_uid("case", "north"), series_uid("scan", 1)

_STORE = """
import sys
from pathlib import Path
from connectors.archive.folder import FolderArchive
from connectors.archive.protocol import RejectionReason, StoredInstance

root, path, study, series, uid, sha256, size, verb = sys.argv[1:]
archive = FolderArchive(Path(root))
if verb == "store":
    archive.store(StoredInstance(study, series, uid, sha256, int(size)), Path(path))
else:
    archive.reject(study, series, RejectionReason(verb))
"""


@pytest.fixture
def archive(tmp_path: Path) -> FolderArchive:
    """An archive that was set up."""
    archive = FolderArchive(tmp_path / "archive")
    archive.prepare()
    return archive


def _made(home: Path, role: str = "level-0", size: int = 100_000) -> tuple[StoredInstance, Path]:
    content = hashlib.sha256(role.encode()).digest() * (size // 32)
    path = home / f"{role}.dcm"
    path.write_bytes(content)
    digest = hashlib.sha256(content).hexdigest()
    return StoredInstance(_STUDY, _SERIES, instance_uid("scan", 1, role), digest, len(content)), path


def _files(root: Path) -> set[str]:
    return {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}


def _in_another_process(root: Path, made: tuple[StoredInstance, Path], verb: str, failpoint: str) -> int:
    instance, path = made
    told = [
        str(root),
        str(path),
        _STUDY,
        _SERIES,
        instance.sop_instance_uid,
        instance.sha256,
        str(instance.bytes),
        verb,
    ]
    environment = {**os.environ, "COVERSLIP_FAILPOINT": failpoint}
    return subprocess.run([sys.executable, "-c", _STORE, *told], cwd=_CHECKOUT, env=environment, check=False).returncode


def test_objects_lie_under_their_uids_read_only_and_the_folder_needs_no_coverslip(
    archive: FolderArchive, tmp_path: Path
) -> None:
    level, path = _made(tmp_path)
    archive.store(level, path)
    kept = tmp_path / "archive" / _STUDY / _SERIES / f"{level.sop_instance_uid}.dcm"
    assert kept.read_bytes() == path.read_bytes()
    assert kept.stat().st_mode & 0o777 == 0o444
    assert _files(tmp_path / "archive") == {".coverslip-archive", str(kept.relative_to(tmp_path / "archive"))}


def test_a_rejected_series_lies_apart_with_its_reason(archive: FolderArchive, tmp_path: Path) -> None:
    level, path = _made(tmp_path)
    archive.store(level, path)
    archive.reject(_STUDY, _SERIES, RejectionReason.PATIENT_SAFETY)
    away = tmp_path / "archive" / "rejected" / _STUDY / _SERIES
    assert {file.name for file in away.iterdir()} == {f"{level.sop_instance_uid}.dcm", "rejection.json"}
    assert json.loads((away / "rejection.json").read_text()) == {
        "code": "113037",
        "scheme": "DCM",
        "meaning": "Rejected for Patient Safety Reasons",
    }
    assert list((tmp_path / "archive" / _STUDY).rglob("*.dcm")) == []


def test_a_reason_that_was_half_written_when_its_process_was_killed_is_not_left_over(
    archive: FolderArchive, tmp_path: Path
) -> None:
    level, path = _made(tmp_path)
    archive.store(level, path)
    away = tmp_path / "archive" / "rejected" / _STUDY / _SERIES
    away.mkdir(parents=True)
    (away / ".rejection.json.dead.part").write_bytes(b'{"code"')
    archive.reject(_STUDY, _SERIES, RejectionReason.PATIENT_SAFETY)
    assert {file.name for file in away.iterdir()} == {f"{level.sop_instance_uid}.dcm", "rejection.json"}


def test_a_copy_that_does_not_fit_the_asker_s_disk_is_not_left_half(
    archive: FolderArchive, small_disk: Path, tmp_path: Path
) -> None:
    level, path = _made(tmp_path)
    archive.store(level, path)
    (small_disk / "filling").write_bytes(bytes(shutil.disk_usage(small_disk).free - 4096))
    with pytest.raises(TransientError, match=r"can't be copied out of the archive \(ENOSPC\): make room"):
        archive.fetch(level, small_disk / "copy.dcm")
    assert {file.name for file in small_disk.iterdir()} == {"filling"}


@pytest.mark.parametrize("failpoint", ["archive.before_rename", "archive.after_rename"])
def test_a_store_that_was_killed_is_done_again_and_leaves_nothing_behind(
    archive: FolderArchive, tmp_path: Path, failpoint: str
) -> None:
    made = _made(tmp_path)
    root = tmp_path / "archive"
    assert _in_another_process(root, made, "store", failpoint) == -SIGKILL
    assert any(name.endswith(".part") for name in _files(root))
    assert archive.listed(_STUDY, _SERIES) in (frozenset(), {made[0].sop_instance_uid})
    archive.store(*made)
    assert archive.digest(made[0]) == made[0].sha256
    assert _files(root) == {".coverslip-archive", f"{_STUDY}/{_SERIES}/{made[0].sop_instance_uid}.dcm"}


@pytest.mark.parametrize("failpoint", ["archive.before_reject", "archive.after_reject", "archive.after_move:1"])
def test_a_rejection_that_was_killed_is_whole_or_not_there_and_is_done_again(
    archive: FolderArchive, tmp_path: Path, failpoint: str
) -> None:
    made = [_made(tmp_path, role) for role in ("level-0", "level-1", "label")]
    uids = {instance.sop_instance_uid for instance, _ in made}
    for instance, path in made:
        archive.store(instance, path)
    assert _in_another_process(tmp_path / "archive", made[0], RejectionReason.QUALITY, failpoint) == -SIGKILL
    assert archive.listed(_STUDY, _SERIES) == (uids if failpoint == "archive.before_reject" else frozenset())
    assert {holding.sop_instance_uid for holding in archive.holdings()} == uids
    archive.reject(_STUDY, _SERIES, RejectionReason.QUALITY)
    assert {(holding.sop_instance_uid, holding.rejected) for holding in archive.holdings()} == {
        (uid, RejectionReason.QUALITY) for uid in uids
    }
    assert list((tmp_path / "archive" / _STUDY).rglob("*.dcm")) == []


def test_a_part_that_is_still_being_written_is_left_alone(archive: FolderArchive, tmp_path: Path) -> None:
    level, path = _made(tmp_path)
    archive.store(level, path)
    folder = tmp_path / "archive" / _STUDY / _SERIES
    dead = folder / f".{level.sop_instance_uid}.dcm.dead.part"
    alive = folder / f".{level.sop_instance_uid}.dcm.alive.part"
    dead.write_bytes(b"half")
    with alive.open("wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        archive.store(level, path)
        assert alive.exists()
        assert not dead.exists()


def test_a_share_that_is_not_mounted_is_never_written_into(tmp_path: Path) -> None:
    mount_point = tmp_path / "mnt"
    mount_point.mkdir()
    level, path = _made(tmp_path)
    archive = FolderArchive(mount_point, "vault")
    for ask in (
        lambda: archive.store(level, path),
        lambda: archive.listed(_STUDY, _SERIES),
        lambda: archive.digest(level),
        lambda: archive.reject(_STUDY, _SERIES, RejectionReason.QUALITY),
        lambda: list(archive.holdings()),
    ):
        with pytest.raises(TransientError, match="vault is not there"):
            ask()
    assert list(mount_point.iterdir()) == []


def test_setting_up_again_changes_nothing(archive: FolderArchive, tmp_path: Path) -> None:
    level, path = _made(tmp_path)
    archive.store(level, path)
    before = {name: (tmp_path / "archive" / name).stat().st_mtime_ns for name in _files(tmp_path / "archive")}
    archive.prepare()
    assert before == {name: (tmp_path / "archive" / name).stat().st_mtime_ns for name in _files(tmp_path / "archive")}


def test_a_flipped_byte_shows_in_the_digest(archive: FolderArchive, tmp_path: Path) -> None:
    level, path = _made(tmp_path)
    archive.store(level, path)
    kept = tmp_path / "archive" / _STUDY / _SERIES / f"{level.sop_instance_uid}.dcm"
    kept.chmod(0o644)
    with kept.open("r+b") as file:
        file.seek(5000)
        file.write(b"\0")
    assert archive.digest(level) != level.sha256


def test_a_full_disk_is_said_with_sizes_and_leaves_nothing_half_stored(small_disk: Path, tmp_path: Path) -> None:
    archive = FolderArchive(small_disk / "archive")
    archive.prepare()
    first, first_path = _made(tmp_path, "level-0", 600_000)
    second, second_path = _made(tmp_path, "level-1", 600_000)
    archive.store(first, first_path)
    with pytest.raises(TransientError, match=r"full: 600000 bytes are needed, \d+ are free"):
        archive.store(second, second_path)
    assert archive.listed(_STUDY, _SERIES) == {first.sop_instance_uid}
    assert [name for name in _files(small_disk) if name.endswith(".part")] == []
    first_kept = small_disk / "archive" / _STUDY / _SERIES / f"{first.sop_instance_uid}.dcm"
    first_kept.unlink()
    archive.store(second, second_path)
    assert archive.digest(second) == second.sha256


def test_names_reach_the_disk_only_after_the_bytes(archive: FolderArchive, tmp_path: Path) -> None:
    strace = "/usr/bin/strace"
    if not Path(strace).exists():
        pytest.skip("needs strace, to see the order of writing and syncing")
    made = _made(tmp_path)
    log = tmp_path / "calls"
    instance, path = made
    told = [str(tmp_path / "archive"), str(path), _STUDY, _SERIES, instance.sop_instance_uid, instance.sha256]
    subprocess.run(
        [
            strace,
            "-f",
            "-y",
            "-e",
            "trace=fsync,link,linkat,unlink,write",
            "-o",
            str(log),
            sys.executable,
            "-c",
            _STORE,
            *told,
            str(instance.bytes),
            "store",
        ],
        cwd=_CHECKOUT,
        check=True,
    )
    calls = [line for line in log.read_text().splitlines() if ".part" in line or f"{_SERIES}>" in line]
    order = [line.split("(")[0].split()[-1] for line in calls]
    assert order.index("fsync") > max(index for index, call in enumerate(order) if call == "write")
    assert order.index("fsync") < next(index for index, call in enumerate(order) if call.startswith("link"))
    assert order[-1] == "fsync"
    assert archive.digest(instance) == instance.sha256
