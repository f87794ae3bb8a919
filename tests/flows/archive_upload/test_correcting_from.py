"""What a correction is made from: what the spool or the archive still holds, or the scanner's file."""

import shutil

import pytest
from sqlalchemy import select

from connectors.archive.folder import FolderArchive
from connectors.wiring import Lab
from flows.sweep import tidy
from models.facets import Storage
from models.tables.books import Alert
from models.tables.scan import ScanFile
from models.tables.step import Step
from tests.flows.archive_upload.correcting import (
    OTHER,
    PROVEN,
    REJECTED,
    archived,
    becomes,
    editions,
    jobs,
    the_end_is_right,
)
from tests.flows.looking import alerts, books_balance, steps, the_scan, time_passes, told
from tests.small_lab import ON_BOTH, run_until_calm


def result_of(lab: Lab, kind: str) -> set[str]:
    """Return what the last step of a kind said of its result."""
    with lab.database.read() as session:
        return set(session.scalars(select(Step.result).where(Step.kind == kind, Step.state == "done")).all()[-1] or ())


def the_spool_forgets(lab: Lab, *, the_file: bool) -> None:
    """Remove what was made in the spool, and perhaps the scanner's file too."""
    scan_id = the_scan(lab).id
    lab.spool.discard(scan_id)
    if the_file:
        with lab.database.read() as session:
            file_id = session.scalars(select(ScanFile.id).where(ScanFile.scan_id == scan_id)).one()
        lab.spool.remove(file_id)


@ON_BOTH
@pytest.mark.parametrize("kept", ["in the work folder", "in the archive", "in the archive alone"])
def test_a_merge_after_the_archive_copies_the_pixels_and_converts_nothing(lab: Lab, kept: str) -> None:
    archived(lab)
    if kept != "in the work folder":
        the_spool_forgets(lab, the_file=kept == "in the archive alone")
    becomes(lab, OTHER)
    assert (the_scan(lab).edition, the_scan(lab).storage) == (1, Storage.PROVEN)
    run_until_calm(lab)

    assert jobs(lab) == ["convert", "correct", "correct"]
    assert editions(lab) == {1: REJECTED, 2: PROVEN}
    the_end_is_right(lab, OTHER)
    assert told(lab) == ["archived", "released", "assigned", "archived", "released"]
    assert result_of(lab, "correct") == {"run", "input_version", "pixels"}
    if kept != "in the archive alone":
        books_balance(lab)


def test_objects_that_are_kept_nowhere_are_converted_from_the_scanner_s_file(lab: Lab) -> None:
    archived(lab)
    the_spool_forgets(lab, the_file=False)
    _the_archive_loses_everything(lab)
    becomes(lab, OTHER)
    run_until_calm(lab)

    assert jobs(lab) == ["convert", "convert"]
    assert "converter" in result_of(lab, "correct")
    the_end_is_right(lab, OTHER)


def test_a_spoiled_object_in_the_spool_is_passed_over_for_the_archive_s(lab: Lab) -> None:
    archived(lab)
    for path in lab.spool.root.glob("work/*/*/dicom/level-0.dcm"):
        path.write_bytes(b"spoiled")
    becomes(lab, OTHER)
    run_until_calm(lab)

    assert jobs(lab).count("convert") == 1
    the_end_is_right(lab, OTHER)
    books_balance(lab)


@ON_BOTH
def test_a_person_is_asked_when_neither_objects_nor_file_are_left_and_what_they_bring_back_is_used(lab: Lab) -> None:
    archived(lab)
    kept = lab.settings.home / "kept"
    shutil.copytree(lab.settings.resolved(lab.settings.archive_folder), kept)
    the_spool_forgets(lab, the_file=True)
    _the_archive_loses_everything(lab)
    becomes(lab, OTHER)
    run_until_calm(lab)

    assert steps(lab, "correct") == ["waiting for a person"]
    with lab.database.read() as session:
        said = session.scalars(select(Alert.sentence).where(Alert.kind == "needs a person")).one()
    assert "can't be corrected: neither the archive nor the spool holds its objects or its file" in said
    shutil.copytree(kept, lab.settings.resolved(lab.settings.archive_folder), dirs_exist_ok=True)
    time_passes(lab, "correct")
    run_until_calm(lab)
    assert jobs(lab) == ["convert", "correct", "correct"]
    assert "needs a person" not in alerts(lab)
    the_end_is_right(lab, OTHER)


def test_an_archive_that_is_away_is_asked_again(lab: Lab) -> None:
    archived(lab)
    the_spool_forgets(lab, the_file=False)
    archive = lab.settings.resolved(lab.settings.archive_folder)
    archive.rename(archive.with_name("away"))
    becomes(lab, OTHER)
    run_until_calm(lab)
    assert steps(lab, "correct") == ["waiting for another try"]
    assert the_scan(lab).storage == Storage.PROVEN
    assert list(lab.spool.root.glob("work/*/*")) == []

    archive.with_name("away").rename(archive)
    time_passes(lab, "correct")
    run_until_calm(lab)
    assert jobs(lab).count("convert") == 1
    the_end_is_right(lab, OTHER)
    books_balance(lab)


@ON_BOTH
def test_what_a_correction_needs_is_not_tidied_away_and_what_it_made_is(lab: Lab) -> None:
    archived(lab)
    becomes(lab, OTHER)
    assert tidy(lab) == 0
    run_until_calm(lab)
    assert tidy(lab) == 1
    assert list(lab.spool.root.glob("work/*")) == []
    books_balance(lab)


def _the_archive_loses_everything(lab: Lab) -> None:
    assert isinstance(lab.archive, FolderArchive)
    for path in lab.settings.resolved(lab.settings.archive_folder).rglob("*.dcm"):
        path.unlink()
