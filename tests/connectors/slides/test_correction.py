"""A converted object under another name: what names the slide is new, every pixel is the old one."""

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest
from pydicom import Dataset, dcmread
from pydicom.encaps import get_frame
from pydicom.uid import JPEGBaseline8Bit
from wsidicom import WsiDicom

from connectors.slides.bounded import Decoder, Limits
from connectors.slides.correction import correct
from connectors.slides.header import PatientHeader, PersonName, SlideHeader
from connectors.slides.writing import Pixels, write_object
from models.errors import RejectedError
from models.uid import derive_uid, instance_uid, series_uid
from tests.connectors.slides.converted import BARE, FULL, SCAN, Converted, frames_of

_JOB: Final = "connectors.slides.correction:correct"
_MEBIBYTE: Final = 1024 * 1024

_STAYS: Final = PatientHeader(identifier="B7", issuer="NORTH", name=PersonName(family="Example", given="Béla"), sex="M")
_MERGED: Final = FULL.model_copy(update={"patient": _STAYS, "study_instance_uid": derive_uid("study", "x", "north")})
_LESS: Final = BARE.model_copy(update={"scanned_at": FULL.scanned_at, "scanner": FULL.scanner})
_MORE: Final = FULL.model_copy(update={"scanned_at": None, "scanner": BARE.scanner})


@pytest.fixture(scope="session")
def converted(drawn: Path, tmp_path_factory: pytest.TempPathFactory) -> Converted:
    """The drawn slide, as the first edition has it."""
    return Converted(drawn, tmp_path_factory.mktemp("former"))


def corrected(former: Converted, folder: Path, header: SlideHeader, *, edition: int = 2) -> dict[str, dict[str, Any]]:
    """Correct every object of a former edition; return what was answered for each role."""
    folder.mkdir(exist_ok=True)
    answers = {}
    for one in former.instances:
        given = asked(former.folder / one["path"], folder, header, role=one["role"], edition=edition)
        answers[str(one["role"])] = json.loads(json.dumps(correct(given)))["instance"]
    return answers


def asked(
    path: Path, folder: Path, header: SlideHeader = _MERGED, *, role: str = "level-0", edition: int = 2
) -> dict[str, Any]:
    """What a worker sends to its child, as JSON."""
    return {
        "path": str(path),
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest() if path.exists() else "0",
        "folder": str(folder),
        "role": role,
        "header": header.model_dump(mode="json"),
        "scan_id": SCAN,
        "edition": edition,
    }


@pytest.mark.parametrize(
    ("former", "later"),
    [(FULL, _MERGED), (FULL, _LESS), (BARE, _MORE), (FULL, FULL)],
    ids=["another patient", "less is known", "more is known", "nothing but the edition"],
)
def test_a_corrected_object_is_what_converting_the_slide_again_would_have_made(
    drawn: Path, tmp_path: Path, former: SlideHeader, later: SlideHeader
) -> None:
    again = Converted(drawn, tmp_path / "again", later, edition=2)
    answers = corrected(Converted(drawn, tmp_path / "former", former), tmp_path / "corrected", later)
    for one in again.instances:
        answer = answers[one["role"]]
        assert {name: answer[name] for name in ("sha256", "bytes", "sop_instance_uid")} == {
            name: one[name] for name in ("sha256", "bytes", "sop_instance_uid")
        }
        assert (tmp_path / "corrected" / one["path"]).read_bytes() == again.file(one["role"]).read_bytes()


def test_real_slides_are_corrected_to_what_converting_them_again_would_make(shared_data: Path, tmp_path: Path) -> None:
    for name in ("CMU-1-Small-Region.svs", "hamamatsu-fluo-DAPI-387.ndpi"):
        slide = shared_data / "slides" / name
        again = Converted(slide, tmp_path / f"{name} again", _MERGED, edition=3)
        answers = corrected(Converted(slide, tmp_path / name), tmp_path / f"{name} corrected", _MERGED, edition=3)
        assert {role: one["sha256"] for role, one in answers.items()} == {
            one["role"]: one["sha256"] for one in again.instances
        }


def test_only_what_names_the_slide_differs(converted: Converted, tmp_path: Path) -> None:
    corrected(converted, tmp_path, _MERGED)
    named = {
        *("PatientName", "PatientID", "IssuerOfPatientID", "PatientBirthDate", "PatientSex"),
        *("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "FrameOfReferenceUID"),
        "DimensionOrganizationSequence",
    }
    for one in converted.instances:
        before, after = dcmread(converted.folder / one["path"]), dcmread(tmp_path / one["path"])
        assert set(after.keys()) == set(before.keys())
        changed = {element.keyword for element in after if element != before[element.tag]}
        assert changed - {"PyramidUID"} == named
        assert before.PixelData == after.PixelData
        assert after.file_meta.MediaStorageSOPInstanceUID == after.SOPInstanceUID
        assert after.file_meta.TransferSyntaxUID == before.file_meta.TransferSyntaxUID


def test_every_frame_is_bit_for_bit_the_former_one_s_and_its_digest_is_told(
    converted: Converted, tmp_path: Path
) -> None:
    answers = corrected(converted, tmp_path, _MERGED)
    for one in converted.instances:
        before, after = (folder / one["path"] for folder in (converted.folder, tmp_path))
        tails = [_pixels_of(path) for path in (before, after)]
        assert tails[0] == tails[1]
        assert hashlib.sha256(tails[0]).hexdigest() == answers[one["role"]]["pixels_sha256"]
        if one["role"] != "label":
            assert frames_of(dcmread(before)) == frames_of(dcmread(after))


def _pixels_of(path: Path) -> bytes:
    content = path.read_bytes()
    return content[content.index(b"\xe0\x7f\x10\x00O") :]


def test_nothing_of_the_former_patient_is_left(converted: Converted, tmp_path: Path) -> None:
    corrected(converted, tmp_path, _MERGED)
    for one in converted.instances:
        content = (tmp_path / one["path"]).read_bytes()
        for name in ("9434765919", "O'Neil", "19600229", series_uid(SCAN, 1), FULL.study_instance_uid):
            assert name.encode() not in content
        dataset = dcmread(tmp_path / one["path"], stop_before_pixels=True)
        assert (dataset.PatientID, str(dataset.PatientName)) == ("B7", "Example^Béla")
        assert dataset.SOPInstanceUID == instance_uid(SCAN, 2, one["role"])


def test_the_validator_finds_no_error(
    converted: Converted, tmp_path: Path, dciodvfy: Callable[[Path], list[str]]
) -> None:
    for kind, header in (("merged", _MERGED), ("less", _LESS)):
        answers = corrected(converted, tmp_path / kind, header)
        found = {role: dciodvfy(tmp_path / kind / "dicom" / f"{role}.dcm") for role in answers}
        assert found == {role: [] for role in answers}


def test_wsidicom_opens_a_corrected_slide_and_reads_the_same_pixels(converted: Converted, tmp_path: Path) -> None:
    corrected(converted, tmp_path, _MERGED)
    with WsiDicom.open(converted.folder / "dicom") as before, WsiDicom.open(tmp_path / "dicom") as after:
        assert len(after.levels) == len(before.levels)
        for level in range(len(before.levels)):
            old, new = (np.asarray(slide.read_region((0, 0), level, (300, 200))) for slide in (before, after))
            assert np.array_equal(old, new)
        assert before.read_label().tobytes() == after.read_label().tobytes()


def test_a_correction_may_be_corrected(drawn: Path, converted: Converted, tmp_path: Path) -> None:
    second = corrected(converted, tmp_path / "second", _LESS)
    for role, one in second.items():
        path = tmp_path / "second" / "dicom" / f"{role}.dcm"
        (tmp_path / "third").mkdir(exist_ok=True)
        third = correct(asked(path, tmp_path / "third", _MERGED, role=role, edition=3))["instance"]
        assert isinstance(third, dict)
        assert third["pixels_sha256"] == one["pixels_sha256"]
    again = Converted(drawn, tmp_path / "again", _MERGED, edition=3)
    for one in again.instances:
        assert (tmp_path / "third" / one["path"]).read_bytes() == again.file(one["role"]).read_bytes()


@pytest.mark.parametrize("spoiled", ["one bit", "cut short", "something else", "gone"])
def test_what_is_not_to_the_last_bit_the_object_in_the_books_is_not_even_read(
    converted: Converted, tmp_path: Path, spoiled: str
) -> None:
    path = tmp_path / "former.dcm"
    content = converted.file("level-0").read_bytes()
    path.write_bytes(content)
    given = asked(path, tmp_path)
    middle = len(content) // 2
    flipped = content[:middle] + bytes((content[middle] ^ 1,)) + content[middle + 1 :]
    path.write_bytes({"one bit": flipped, "cut short": content[:-1]}.get(spoiled, b"no DICOM at all"))
    if spoiled == "gone":
        path.unlink()
    assert correct(given) == {"instance": None}
    assert not (tmp_path / "dicom").exists()


def test_a_correction_that_is_asked_for_wrongly_is_refused(converted: Converted, tmp_path: Path) -> None:
    given = asked(converted.file("level-0"), tmp_path)
    for name, value in (("edition", 1), ("role", "../level-0"), ("role", ""), ("sha256", ""), ("scan_id", "")):
        with pytest.raises(RejectedError, match="The correction was asked for without"):
            correct({**given, name: value})
    with pytest.raises(RejectedError, match=r"header can't be written to DICOM: patient.identifier"):
        correct({**given, "header": {**given["header"], "patient": {"identifier": "a\\b"}}})


def test_an_object_that_was_not_converted_here_is_refused(tmp_path: Path) -> None:
    dataset = Dataset()
    dataset.SOPInstanceUID = instance_uid("another", 1, "level-0")
    dataset.AcquisitionDateTime = "2026"
    path = tmp_path / "foreign.dcm"
    write_object(path, dataset, Pixels([b"\xff\xd8\xff\xd9"], 1, JPEGBaseline8Bit, large=False))
    with pytest.raises(RejectedError, match="does not say when it was scanned as ours do"):
        correct(asked(path, tmp_path))


def _large_object(path: Path, converted: Converted, frames: int, frame_bytes: int) -> None:
    """Write an object with the extended offset table, as a slide of more than 4 GiB has it."""

    def pixels() -> Iterator[bytes]:
        for number in range(frames):
            yield b"\xff\xd8" + number.to_bytes(4, "big") * (frame_bytes // 4 - 1) + b"\xff\xd9"

    dataset = dcmread(converted.file("level-0"), stop_before_pixels=True)
    dataset.NumberOfFrames = frames
    write_object(path, dataset, Pixels(pixels(), frames, JPEGBaseline8Bit, large=True))


def test_the_extended_offset_table_is_carried_along(converted: Converted, tmp_path: Path) -> None:
    _large_object(tmp_path / "large.dcm", converted, 300, 1_000)
    correct(asked(tmp_path / "large.dcm", tmp_path))
    before, after = dcmread(tmp_path / "large.dcm"), dcmread(tmp_path / "dicom" / "level-0.dcm")
    tables = (after.ExtendedOffsetTable, after.ExtendedOffsetTableLengths)
    assert tables == (before.ExtendedOffsetTable, before.ExtendedOffsetTableLengths)
    for index in (0, 150, 299):
        found = get_frame(after.PixelData, index, extended_offsets=tables)
        assert found == get_frame(before.PixelData, index, extended_offsets=tables)
        assert found[2:6] == index.to_bytes(4, "big")


def test_a_large_object_costs_no_memory(converted: Converted, tmp_path: Path) -> None:
    _large_object(tmp_path / "large.dcm", converted, 3_000, 100_000)
    assert (tmp_path / "large.dcm").stat().st_size > 280 * _MEBIBYTE
    limits = Limits(memory_bytes=24 * _MEBIBYTE, cpu_seconds=60, wall=timedelta(minutes=2))
    given = asked(tmp_path / "large.dcm", tmp_path)
    with Decoder((_JOB,)) as decoder:
        made = decoder.run(_JOB, given, limits)["instance"]
    assert isinstance(made, dict)
    assert made["sha256"] == hashlib.sha256((tmp_path / "dicom" / "level-0.dcm").read_bytes()).hexdigest()


def test_a_full_disk_leaves_nothing_half_made(converted: Converted, small_disk: Path) -> None:
    shutil.copy(converted.file("level-1"), small_disk / "former.dcm")
    given = asked(small_disk / "former.dcm", small_disk, role="level-1")
    (small_disk / "filling").write_bytes(bytes(shutil.disk_usage(small_disk).free - 64 * 1024))
    with pytest.raises(OSError, match="No space left"):
        correct(given)
    assert list((small_disk / "dicom").iterdir()) == []
