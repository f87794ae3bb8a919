"""A slide as conversions are given it and as they leave it: what their tests share."""

import json
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, Final

from pydicom import Dataset, dcmread
from pydicom.encaps import generate_frames

from connectors.slides.conversion import convert
from connectors.slides.header import PatientHeader, PersonName, ScannerHeader, SlideHeader, SpecimenHeader
from models.statements import Coded
from models.uid import derive_uid

SCAN: Final = "5f1c0c1e-0000-8000-8000-000000000001"

_SPECIMEN: Final = SpecimenHeader(
    identifier="S26-00017;A;1",
    issuer="NORTH LAB",
    short_description="Lung, right, biopsy",
    specimen_type=Coded(code="430856003", meaning="Tissue section", scheme="SCT"),
    anatomic_site=Coded(code="39607008", meaning="Lung", scheme="SCT"),
    laterality=Coded(code="24028007", meaning="Right", scheme="SCT"),
    block_identifier="S26-00017;A",
    block_issuer="NORTH LAB",
    part_identifier="S26-00017",
    part_issuer="THEATRE 3",
)
FULL: Final = SlideHeader(
    patient=PatientHeader(
        identifier="9434765919",
        issuer="NHS",
        name=PersonName(family="Müller-O'Neil", given="Zoë", middle="M", suffix="III"),
        birth_date=date(1960, 2, 29),
        sex="F",
    ),
    accession_number="H26-00017",
    accession_issuer="NORTH LIMS",
    study_instance_uid=derive_uid("study", "case", "north"),
    study_at=datetime(2026, 11, 20, 23, 30, tzinfo=UTC),
    container_identifier="S26-00017;A;1",
    container_issuer="NORTH LAB",
    specimens=(_SPECIMEN,),
    fixative=Coded(code="434162003", meaning="Neutral buffered formalin", scheme="SCT"),
    embedding=Coded(code="311731000", meaning="Paraffin wax", scheme="SCT"),
    stains=(
        Coded(code="12710003", meaning="hematoxylin stain", scheme="SCT"),
        Coded(code="HE-LOCAL-PROTOCOL-17", scheme="L"),
    ),
    stain_text="H&E",
    barcode="S26-00017;A;1",
    label_text="S26-00017\nH&E",
    scanned_at=datetime.fromisoformat("2026-11-22T09:30:00+01:00"),
    received_at=datetime(2026, 11, 22, 9, 0, tzinfo=UTC),
    scanner=ScannerHeader(manufacturer="Leica", model="AT2", serial_number="SS12345", software_versions=("12.4",)),
)
BARE: Final = SlideHeader(
    study_instance_uid=derive_uid("study", "bare", "north"),
    container_identifier="S26-00018",
    received_at=datetime(2026, 11, 22, 9, 0, tzinfo=UTC),
)


def arguments(path: Path, folder: Path, header: SlideHeader = FULL, *, edition: int = 1) -> dict[str, Any]:
    """What a worker sends to its child, as JSON."""
    return {
        "path": str(path),
        "folder": str(folder),
        "header": header.model_dump(mode="json"),
        "scan_id": SCAN,
        "edition": edition,
    }


class Converted:
    """What one conversion answered, and the objects it wrote."""

    def __init__(self, path: Path, folder: Path, header: SlideHeader = FULL, *, edition: int = 1) -> None:
        self.source = path
        self.folder = folder
        answer = json.loads(json.dumps(convert(arguments(path, folder, header, edition=edition))))
        self.instances: list[dict[str, Any]] = answer["instances"]

    @property
    def roles(self) -> list[str]:
        return [instance["role"] for instance in self.instances]

    def file(self, role: str) -> Path:
        below = {str(instance["role"]): str(instance["path"]) for instance in self.instances}
        return self.folder / below[role]

    def dataset(self, role: str) -> Dataset:
        return dcmread(self.file(role))

    def datasets(self) -> Iterator[Dataset]:
        for instance in self.instances:
            yield dcmread(self.folder / instance["path"], stop_before_pixels=True)


def frames_of(dataset: Dataset) -> list[bytes]:
    """Return the frames of an encapsulated object."""
    return list(generate_frames(dataset.PixelData, number_of_frames=int(dataset.NumberOfFrames)))
