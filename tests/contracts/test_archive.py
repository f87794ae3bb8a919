"""What every archive promises, kept by each that Coverslip has."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest

from connectors.archive.folder import FolderArchive
from connectors.archive.protocol import Archive, Holding, RejectionReason, StoredInstance
from models.errors import RejectedError, TransientError
from models.uid import instance_uid, series_uid, study_uid


def _folder_archive(home: Path) -> Archive:
    archive = FolderArchive(home / "archive")
    archive.prepare()
    return archive


_MAKERS: dict[str, Callable[[Path], Archive]] = {"folder": _folder_archive}


@pytest.fixture(params=sorted(_MAKERS))
def archive(request: pytest.FixtureRequest, tmp_path: Path) -> Archive:
    """One archive of each kind, empty."""
    return _MAKERS[request.param](tmp_path)


def made(home: Path, role: str = "level-0", *, edition: int = 1, content: bytes = b"") -> tuple[StoredInstance, Path]:
    """An object as the books know it, and the file of it in the spool."""
    content = content or f"pixels of {role}".encode() * 1000
    path = home / f"{role}-{edition}-{hashlib.sha256(content).hexdigest()[:8]}.dcm"
    path.write_bytes(content)
    instance = StoredInstance(
        study_instance_uid=study_uid("case", "north"),
        series_instance_uid=series_uid("scan", edition),
        sop_instance_uid=instance_uid("scan", edition, role),
        sha256=hashlib.sha256(content).hexdigest(),
        bytes=len(content),
    )
    return instance, path


def series_of(instance: StoredInstance) -> tuple[str, str]:
    return instance.study_instance_uid, instance.series_instance_uid


def test_what_was_stored_is_listed_and_reads_back_by_digest(archive: Archive, tmp_path: Path) -> None:
    level, level_path = made(tmp_path)
    label, label_path = made(tmp_path, "label")
    archive.store(level, level_path)
    archive.store(label, label_path)
    assert archive.listed(*series_of(level)) == {level.sop_instance_uid, label.sop_instance_uid}
    assert archive.digest(level) == level.sha256
    assert archive.digest(label) == label.sha256


def test_storing_the_same_object_again_changes_nothing(archive: Archive, tmp_path: Path) -> None:
    level, path = made(tmp_path)
    for _ in range(3):
        archive.store(level, path)
    assert archive.listed(*series_of(level)) == {level.sop_instance_uid}
    assert [holding.sop_instance_uid for holding in archive.holdings()] == [level.sop_instance_uid]


def test_other_bytes_under_the_same_uid_are_refused_and_the_old_ones_stay(archive: Archive, tmp_path: Path) -> None:
    level, path = made(tmp_path)
    archive.store(level, path)
    other, other_path = made(tmp_path, content=b"other pixels")
    with pytest.raises(RejectedError, match="other bytes"):
        archive.store(other, other_path)
    assert archive.digest(level) == level.sha256


def test_a_file_that_is_not_the_one_in_the_books_is_not_stored(archive: Archive, tmp_path: Path) -> None:
    level, path = made(tmp_path)
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    with pytest.raises(RejectedError, match="not the one in the books"):
        archive.store(level, path)
    assert archive.listed(*series_of(level)) == frozenset()
    assert list(archive.holdings()) == []


def test_a_file_that_left_the_spool_is_said_to_be_gone(archive: Archive, tmp_path: Path) -> None:
    level, path = made(tmp_path)
    path.unlink()
    with pytest.raises(RejectedError, match="gone from the spool"):
        archive.store(level, path)
    assert list(archive.holdings()) == []


def test_an_unknown_series_lists_nothing(archive: Archive) -> None:
    assert archive.listed(study_uid("case", "north"), series_uid("unknown", 1)) == frozenset()


def test_the_digest_of_what_is_not_there_may_be_asked_again(archive: Archive, tmp_path: Path) -> None:
    level, _ = made(tmp_path)
    with pytest.raises(TransientError, match="does not hold"):
        archive.digest(level)


def test_what_was_stored_is_handed_out_bit_for_bit_rejected_or_not(archive: Archive, tmp_path: Path) -> None:
    level, path = made(tmp_path)
    archive.store(level, path)
    assert archive.fetch(level, tmp_path / "offered")
    archive.reject(*series_of(level), RejectionReason.PATIENT_SAFETY)
    assert archive.fetch(level, tmp_path / "rejected")
    assert (tmp_path / "offered").read_bytes() == (tmp_path / "rejected").read_bytes() == path.read_bytes()


def test_what_is_not_there_is_not_handed_out_and_nothing_is_written_over(archive: Archive, tmp_path: Path) -> None:
    level, path = made(tmp_path)
    assert not archive.fetch(level, tmp_path / "copy")
    assert not (tmp_path / "copy").exists()
    archive.store(level, path)
    (tmp_path / "copy").write_bytes(b"another's")
    with pytest.raises(TransientError):
        archive.fetch(level, tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == b"another's"


@pytest.mark.parametrize("reason", RejectionReason)
def test_a_rejected_series_is_listed_no_more_but_stays_in_the_books(
    archive: Archive, tmp_path: Path, reason: RejectionReason
) -> None:
    level, path = made(tmp_path)
    archive.store(level, path)
    archive.reject(*series_of(level), reason)
    assert archive.listed(*series_of(level)) == frozenset()
    assert list(archive.holdings()) == [Holding(*series_of(level), level.sop_instance_uid, reason)]
    assert archive.digest(level) == level.sha256


def test_rejecting_again_changes_nothing_and_the_first_reason_stands(archive: Archive, tmp_path: Path) -> None:
    level, path = made(tmp_path)
    archive.store(level, path)
    archive.reject(*series_of(level), RejectionReason.WRONG_WORKLIST_ENTRY)
    before = list(archive.holdings())
    archive.reject(*series_of(level), RejectionReason.QUALITY)
    assert list(archive.holdings()) == before


def test_an_object_of_a_rejected_series_is_not_taken_any_more(archive: Archive, tmp_path: Path) -> None:
    level, path = made(tmp_path)
    label, label_path = made(tmp_path, "label")
    archive.store(level, path)
    archive.reject(*series_of(level), RejectionReason.PATIENT_SAFETY)
    for instance, file in ((level, path), (label, label_path)):
        with pytest.raises(RejectedError, match="rejected"):
            archive.store(instance, file)
    assert archive.listed(*series_of(level)) == frozenset()


def test_a_series_can_be_rejected_before_anything_of_it_arrived(archive: Archive, tmp_path: Path) -> None:
    level, path = made(tmp_path)
    archive.reject(*series_of(level), RejectionReason.WRONG_WORKLIST_ENTRY)
    with pytest.raises(RejectedError, match="rejected"):
        archive.store(level, path)


def test_the_next_edition_of_a_rejected_scan_is_stored(archive: Archive, tmp_path: Path) -> None:
    first, first_path = made(tmp_path)
    second, second_path = made(tmp_path, edition=2)
    archive.store(first, first_path)
    archive.reject(*series_of(first), RejectionReason.WRONG_WORKLIST_ENTRY)
    archive.store(second, second_path)
    assert archive.listed(*series_of(second)) == {second.sop_instance_uid}
    states = {holding.series_instance_uid: holding.rejected for holding in archive.holdings()}
    assert states == {
        first.series_instance_uid: RejectionReason.WRONG_WORKLIST_ENTRY,
        second.series_instance_uid: None,
    }


@pytest.mark.parametrize("name", ["..", "../x", "1.2/../..", "", "1.2\n", "rejected"])
def test_what_is_no_uid_never_reaches_the_archive(archive: Archive, tmp_path: Path, name: str) -> None:
    level, _ = made(tmp_path)
    with pytest.raises(RejectedError, match="no UID"):
        StoredInstance(name, level.series_instance_uid, level.sop_instance_uid, level.sha256, level.bytes)
    with pytest.raises(RejectedError, match="no UID"):
        archive.listed(level.study_instance_uid, name)
    with pytest.raises(RejectedError, match="no UID"):
        archive.reject(name, level.series_instance_uid, RejectionReason.QUALITY)
