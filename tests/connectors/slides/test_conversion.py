"""A scanner's slide as DICOM: the same pixels, the laboratory's words, the same bytes every time."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydicom import Dataset
from pydicom.pixels.utils import pixel_array
from tifffile import TiffFile, TiffPage, imwrite
from wsidicom import WsiDicom

from connectors.slides.conversion import convert
from connectors.slides.simulator import SlideScript, write_slide
from models.uid import instance_uid, series_uid
from tests.connectors.slides.converted import BARE, FULL, SCAN, Converted, arguments, frames_of

_CHECKOUT = Path(__file__).resolve().parents[3]
_IN_A_PROCESS = """
import json, sys
from connectors.slides.conversion import convert
print(json.dumps(convert(json.load(sys.stdin))))
"""


@pytest.fixture(scope="session")
def converted(drawn: Path, tmp_path_factory: pytest.TempPathFactory) -> Converted:
    """The drawn slide, converted with everything that a laboratory may know."""
    return Converted(drawn, tmp_path_factory.mktemp("converted"))


@pytest.fixture
def real(shared_data: Path, tmp_path: Path) -> Converted:
    """A slide of a real scanner, converted."""
    return Converted(shared_data / "slides" / "CMU-1-Small-Region.svs", tmp_path / "real")


def _raw_tiles(page: TiffPage) -> list[bytes]:
    file = page.parent.filehandle
    tiles = []
    for offset, count in zip(page.dataoffsets, page.databytecounts, strict=True):
        file.seek(offset)
        tiles.append(file.read(count))
    return tiles


def _level_pages(tiff: TiffFile) -> list[TiffPage]:
    pages = [page for page in tiff.pages if isinstance(page, TiffPage) and page.is_tiled]
    return sorted(pages, key=lambda page: -page.imagewidth)


def test_a_slide_becomes_its_levels_label_overview_and_thumbnail(converted: Converted) -> None:
    assert converted.roles == ["level-0", "level-1", "level-2", "thumbnail", "overview", "label"]
    sizes = {instance["role"]: (instance["rows"], instance["columns"]) for instance in converted.instances}
    assert (sizes["level-0"], sizes["level-1"]) == ((3000, 5000), (750, 1250))
    flavours = [dataset.ImageType[2] for dataset in converted.datasets()]
    assert flavours == ["VOLUME", "VOLUME", "VOLUME", "THUMBNAIL", "OVERVIEW", "LABEL"]


def test_every_tile_is_bit_for_bit_the_scanner_s(converted: Converted) -> None:
    with TiffFile(converted.source) as tiff:
        for number, page in enumerate(_level_pages(tiff)):
            dataset = converted.dataset(f"level-{number}")
            tiles = _raw_tiles(page)
            assert len(tiles) == dataset.NumberOfFrames
            # DICOM pads a frame of odd length with one zero byte.
            assert [frame[: len(tile)] for frame, tile in zip(frames_of(dataset), tiles, strict=True)] == tiles


def test_a_real_slide_keeps_every_bit_though_its_tables_lie_apart(real: Converted) -> None:
    dataset = real.dataset("level-0")
    with TiffFile(real.source) as tiff:
        page = _level_pages(tiff)[0]
        tiles, tables = _raw_tiles(page), page.jpegtables
        assert tables is not None
        for frame, tile in zip(frames_of(dataset), tiles, strict=True):
            # A frame has to stand alone, so the tables go in before the scan (SOS); all else is the scanner's own.
            scan = tile.index(b"\xff\xda")
            kept = frame[: -1 if len(frame.rstrip(b"\0")) < len(frame) else None]
            assert kept.startswith(tile[:scan] + tables[2:-2])
            assert kept.endswith(tile[scan:])
        with WsiDicom.open(real.folder / "dicom") as slide:
            read = np.asarray(slide.read_region((0, 0), 0, (page.imagewidth, page.imagelength)))
        assert np.array_equal(read, page.asarray())


def test_the_label_is_carried_without_loss(converted: Converted) -> None:
    with TiffFile(converted.source) as tiff:
        label = next(page for page in tiff.pages if isinstance(page, TiffPage) and "label" in page.description)
        assert np.array_equal(pixel_array(converted.dataset("label")), label.asarray())


def test_the_validator_finds_no_error(converted: Converted, dciodvfy: Callable[[Path], list[str]]) -> None:
    assert {role: dciodvfy(converted.file(role)) for role in converted.roles} == {role: [] for role in converted.roles}


def test_the_validator_finds_no_error_in_real_slides(
    shared_data: Path, tmp_path: Path, dciodvfy: Callable[[Path], list[str]]
) -> None:
    for name in ("CMU-1-Small-Region.svs", "hamamatsu-fluo-DAPI-387.ndpi"):
        for kind, header in (("full", FULL), ("bare", BARE)):
            made = Converted(shared_data / "slides" / name, tmp_path / name / kind, header)
            assert {role: dciodvfy(made.file(role)) for role in made.roles} == {role: [] for role in made.roles}


def test_wsidicom_opens_the_slide_and_reads_the_same_pixels(converted: Converted) -> None:
    with WsiDicom.open(converted.folder / "dicom") as slide, TiffFile(converted.source) as tiff:
        assert len(slide.levels) == 3
        page = _level_pages(tiff)[0]
        read = np.asarray(slide.read_region((1000, 500), 0, (700, 400)))
        assert np.array_equal(read, page.asarray()[500:900, 1000:1700])
        assert slide.read_label().size == (480, 480)
        assert slide.read_overview().size == (1280, 431)


def test_converting_twice_gives_the_same_bytes_whatever_the_day_and_the_process(drawn: Path, tmp_path: Path) -> None:
    answers = []
    for seed in ("1", "2"):
        ran = subprocess.run(
            [sys.executable, "-c", _IN_A_PROCESS],
            input=json.dumps(arguments(drawn, tmp_path / seed)),
            env={**os.environ, "PYTHONHASHSEED": seed, "TZ": f"UTC+{seed}"},
            cwd=_CHECKOUT,
            check=True,
            capture_output=True,
            text=True,
        )
        answers.append(json.loads(ran.stdout))
    assert answers[0] == answers[1]
    assert len({instance["sha256"] for instance in answers[0]["instances"]}) == 6


def test_a_new_edition_shares_no_object_with_the_one_before(drawn: Path, converted: Converted, tmp_path: Path) -> None:
    second = convert(arguments(drawn, tmp_path, edition=2))
    old = {instance["sop_instance_uid"] for instance in converted.instances}
    new = {instance["sop_instance_uid"] for instance in json.loads(json.dumps(second))["instances"]}
    assert len(new) == 6
    assert not old & new


def test_uids_are_derived_and_shared_where_dicom_shares_them(converted: Converted) -> None:
    datasets = list(converted.datasets())
    assert [dataset.SOPInstanceUID for dataset in datasets] == [instance_uid(SCAN, 1, r) for r in converted.roles]
    assert {dataset.SeriesInstanceUID for dataset in datasets} == {series_uid(SCAN, 1)}
    assert {dataset.StudyInstanceUID for dataset in datasets} == {FULL.study_instance_uid}
    assert len({dataset.FrameOfReferenceUID for dataset in datasets}) == 1
    assert len({dataset.PyramidUID for dataset in datasets if dataset.ImageType[2] == "VOLUME"}) == 1


def test_what_the_order_says_is_in_every_object(converted: Converted) -> None:
    for dataset in converted.datasets():
        assert str(dataset.PatientName) == "Müller-O'Neil^Zoë^M^^III"
        assert (dataset.PatientID, dataset.IssuerOfPatientID) == ("9434765919", "NHS")
        assert (dataset.PatientBirthDate, dataset.PatientSex) == ("19600229", "F")
        assert dataset.AccessionNumber == "H26-00017"
        assert dataset.IssuerOfAccessionNumberSequence[0].LocalNamespaceEntityID == "NORTH LIMS"
        assert dataset.ContainerIdentifier == "S26-00017;A;1"
        assert dataset.IssuerOfTheContainerIdentifierSequence[0].LocalNamespaceEntityID == "NORTH LAB"
        assert (dataset.BarcodeValue, dataset.LabelText) == ("S26-00017;A;1", "S26-00017\nH&E")
        assert (dataset.Manufacturer, dataset.ManufacturerModelName) == ("Leica", "AT2")
        assert (dataset.DeviceSerialNumber, dataset.SoftwareVersions) == ("SS12345", "12.4")
        specimen = dataset.SpecimenDescriptionSequence[0]
        assert specimen.SpecimenIdentifier == "S26-00017;A;1"
        assert specimen.SpecimenTypeCodeSequence[0].CodeValue == "430856003"
        site = specimen.PrimaryAnatomicStructureSequence[0]
        assert (site.CodeValue, site.PrimaryAnatomicStructureModifierSequence[0].CodeValue) == ("39607008", "24028007")


def test_the_preparation_is_told_in_its_order(converted: Converted) -> None:
    steps = next(converted.datasets()).SpecimenDescriptionSequence[0].SpecimenPreparationSequence
    told = [
        [
            item.TextValue if item.ValueType == "TEXT" else _code(item.ConceptCodeSequence[0])
            for item in step.SpecimenPreparationStepContentItemSequence
        ]
        for step in steps
    ]
    block, slide, issuer = "S26-00017;A", "S26-00017;A;1", "NORTH LAB"
    assert told == [
        [block, issuer, "433465004", "122459003", "S26-00017", "THEATRE 3", "119376003"],
        [block, issuer, "9265001", "434162003", "311731000"],
        [slide, issuer, "433465004", "434472006", block, issuer, "119376003"],
        [slide, issuer, "127790008", "12710003", "HE-LOCAL-PROTOCOL-17"],
    ]


def _code(item: Dataset) -> str:
    return str(item.get("CodeValue") or item.LongCodeValue)


def test_a_local_code_says_that_it_is_local_and_means_at_least_itself(converted: Converted) -> None:
    step = next(converted.datasets()).SpecimenDescriptionSequence[0].SpecimenPreparationSequence[-1]
    stain = step.SpecimenPreparationStepContentItemSequence[-1].ConceptCodeSequence[0]
    assert (stain.CodingSchemeDesignator, stain.CodeMeaning) == ("99LOCAL", "HE-LOCAL-PROTOCOL-17")


def test_times_are_the_scan_s_with_the_site_s_offset(converted: Converted) -> None:
    for dataset in converted.datasets():
        assert dataset.AcquisitionDateTime == "20261122093000.000000+0100"
        assert (dataset.ContentDate, dataset.ContentTime) == ("20261122", "093000.000000")
        assert dataset.TimezoneOffsetFromUTC == "+0100"
        # 23:30 UTC is past midnight in the offset that the whole object is in.
        assert (dataset.StudyDate, dataset.StudyTime) == ("20261121", "003000")


def test_the_label_and_the_macro_are_marked_as_showing_names(converted: Converted) -> None:
    shown = {
        dataset.ImageType[2]: (dataset.BurnedInAnnotation, dataset.SpecimenLabelInImage)
        for dataset in converted.datasets()
    }
    assert shown == {
        "VOLUME": ("NO", "NO"),
        "THUMBNAIL": ("NO", "NO"),
        "OVERVIEW": ("YES", "YES"),
        "LABEL": ("YES", "YES"),
    }


def test_what_nobody_knows_is_empty_and_never_made_up(drawn: Path, tmp_path: Path) -> None:
    made = Converted(drawn, tmp_path, BARE)
    for dataset in made.datasets():
        for keyword in (
            "PatientName",
            "PatientID",
            "PatientBirthDate",
            "PatientSex",
            "AccessionNumber",
            "StudyDate",
            "StudyTime",
            "StudyID",
            "ReferringPhysicianName",
            "BarcodeValue",
            "LabelText",
        ):
            assert keyword in dataset
            assert not dataset[keyword].value
        for keyword in ("IssuerOfPatientID", "IssuerOfAccessionNumberSequence", "TimezoneOffsetFromUTC"):
            assert keyword not in dataset
        assert dataset.DeviceSerialNumber == "not recorded"
        specimen = dataset.SpecimenDescriptionSequence[0]
        assert specimen.SpecimenIdentifier == "S26-00018"
        assert "SpecimenTypeCodeSequence" not in specimen
        assert len(specimen.SpecimenPreparationSequence) == 0
        # The slide's own clock, without a zone, because it states none that can be trusted.
        assert dataset.AcquisitionDateTime == "20261122093000.000000"
    assert all(b"unknown" not in made.file(role).read_bytes().lower() for role in made.roles)


def test_nothing_of_the_file_s_name_or_the_scanner_s_user_leaks(real: Converted) -> None:
    for role in real.roles:
        content = real.file(role).read_bytes()
        for leak in (b"CMU-1", b"b414003d-95c6-48b0-9369-8010ed517ba7", b"Aperio Image Library", b"StripeWidth"):
            assert leak not in content


def test_a_slide_without_a_date_is_dated_when_it_was_received(drawn: Path, tmp_path: Path) -> None:
    undated = tmp_path / "undated.svs"
    content = drawn.read_bytes()
    assert b"|Date = " in content
    undated.write_bytes(content.replace(b"|Date = ", b"|Dxxx = "))
    made = Converted(undated, tmp_path / "made", BARE)
    assert {dataset.AcquisitionDateTime for dataset in made.datasets()} == {"20261122090000.000000+0000"}


def test_a_slide_without_label_and_barcode_is_converted(tmp_path: Path) -> None:
    path = tmp_path / "bare.svs"
    write_slide(path, SlideScript("S26-00019", width=2000, height=1500, label="absent"))
    assert "label" not in Converted(path, tmp_path / "made").roles


def test_the_answer_is_what_lies_in_the_folder(converted: Converted) -> None:
    named = {instance["path"] for instance in converted.instances}
    assert {f"dicom/{path.name}" for path in (converted.folder / "dicom").iterdir()} == named
    assert [path.name for path in converted.folder.iterdir()] == ["dicom"]
    for instance in converted.instances:
        assert (converted.folder / instance["path"]).stat().st_size == instance["bytes"]


def test_thumbnails_say_that_they_were_made_from_the_scan(converted: Converted) -> None:
    dataset = converted.dataset("thumbnail")
    derived = ["DERIVED", "PRIMARY", "THUMBNAIL", "RESAMPLED"]
    assert list(dataset.ImageType) == derived
    shared = dataset.SharedFunctionalGroupsSequence[0]
    assert list(shared.WholeSlideMicroscopyImageFrameTypeSequence[0].FrameType) == derived


def test_a_colour_profile_of_the_slide_is_kept(tmp_path: Path) -> None:
    profile = b"scanner's own profile".ljust(132, b"\0")
    path = _aperio(tmp_path / "profiled.svs", profile)
    dataset = Converted(path, tmp_path / "made").dataset("level-0")
    assert dataset.OpticalPathSequence[0].ICCProfile == profile


def _aperio(path: Path, profile: bytes) -> Path:
    """Write the smallest slide that passes for an Aperio scanner's: one level."""
    imwrite(
        path,
        np.asarray(Image.effect_noise((512, 512), 60).convert("RGB")),
        tile=(256, 256),
        photometric="rgb",
        compression="jpeg",
        description="Aperio Image Library v12.0.15 \r\n512x512 [0,0 512x512] (256x256)|AppMag = 20|MPP = 0.5",
        iccprofile=profile,
        metadata=None,
        software=False,
    )
    return path
