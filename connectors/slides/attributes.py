"""The DICOM attributes that come from the laboratory, not from the scanner's pixels."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from pydicom.dataset import Dataset

from connectors.slides.header import SlideHeader
from connectors.slides.preparation import coded_item, issuer_items, specimen_descriptions
from models.statements import Coded

_NOT_RECORDED: Final = "not recorded"
"""PS3.3 C.7.5.2 asks for the scanner's maker, model, serial number and software even when no one knows them."""

_PROCESSING_EQUIPMENT: Final = Coded(code="109102", meaning="Processing Equipment", scheme="DCM")
"""CID 7005."""

_UTF_8: Final = "ISO_IR 192"


@dataclass(frozen=True)
class Scanned:
    """What the slide file itself says about its making; ``at`` has no zone, because slides state none."""

    at: datetime | None = None
    manufacturer: str | None = None
    model: str | None = None
    serial_number: str | None = None
    software_versions: tuple[str, ...] = ()


NAMED_WHEN_KNOWN: Final = ("IssuerOfPatientID", "IssuerOfAccessionNumberSequence")
"""What ``named_attributes`` leaves out, not empty, when nobody states it."""


def stated_attributes(header: SlideHeader, scanned: Scanned, converter: str) -> Dataset:
    """Return the patient, study, equipment, specimen and label attributes, the same for each object of a slide.

    Type 2 attributes that nobody knows are there and empty; nothing is made up for them.
    """
    # When the slide was scanned, by the best source there is; never the present.
    at = header.scanned_at or scanned.at or header.received_at
    dataset = named_attributes(header, at)
    _add_acquisition(dataset, at)
    _add_equipment(dataset, header, scanned, converter)
    return dataset


def named_attributes(header: SlideHeader, scanned_at: datetime) -> Dataset:
    """Return whose slide this is and what is on it: all that a correction may change, and nothing about the scan.

    ``scanned_at`` may have no zone; one that has says in which the study's time is told.
    """
    dataset = Dataset()
    dataset.SpecificCharacterSet = _UTF_8
    _add_patient(dataset, header)
    _add_study(dataset, header, scanned_at)
    dataset.ContainerIdentifier = header.container_identifier
    dataset.IssuerOfTheContainerIdentifierSequence = issuer_items(header.container_issuer)
    dataset.SpecimenDescriptionSequence = specimen_descriptions(header)
    dataset.BarcodeValue = header.barcode
    dataset.LabelText = header.label_text
    return dataset


def _add_patient(dataset: Dataset, header: SlideHeader) -> None:
    patient = header.patient
    dataset.PatientName = None if patient.name is None else patient.name.person_name()
    dataset.PatientID = patient.identifier
    if patient.issuer is not None:
        dataset.IssuerOfPatientID = patient.issuer
    dataset.PatientBirthDate = None if patient.birth_date is None else f"{patient.birth_date:%Y%m%d}"
    dataset.PatientSex = patient.sex


def _add_acquisition(dataset: Dataset, at: datetime) -> None:
    dataset.AcquisitionDateTime = f"{at:%Y%m%d%H%M%S.%f%z}"
    dataset.ContentDate = f"{at:%Y%m%d}"
    dataset.ContentTime = f"{at:%H%M%S.%f}"
    if at.tzinfo is not None:
        # PS3.3 C.12.1.1.8: the offset of every date and time in the object that carries none itself.
        dataset.TimezoneOffsetFromUTC = f"{at:%z}"


def _add_study(dataset: Dataset, header: SlideHeader, at: datetime) -> None:
    dataset.StudyInstanceUID = header.study_instance_uid
    study_at = header.study_at
    if study_at is not None and at.tzinfo is not None:
        study_at = study_at.astimezone(at.tzinfo)
    dataset.StudyDate = None if study_at is None else f"{study_at:%Y%m%d}"
    dataset.StudyTime = None if study_at is None else f"{study_at:%H%M%S}"
    dataset.StudyID = None
    dataset.ReferringPhysicianName = None
    dataset.AccessionNumber = header.accession_number
    if header.accession_number is not None and header.accession_issuer is not None:
        dataset.IssuerOfAccessionNumberSequence = issuer_items(header.accession_issuer)


def _add_equipment(dataset: Dataset, header: SlideHeader, scanned: Scanned, converter: str) -> None:
    scanner = header.scanner
    dataset.Manufacturer = scanner.manufacturer or scanned.manufacturer or _NOT_RECORDED
    dataset.ManufacturerModelName = scanner.model or scanned.model or _NOT_RECORDED
    dataset.DeviceSerialNumber = scanner.serial_number or scanned.serial_number or _NOT_RECORDED
    dataset.SoftwareVersions = list(scanner.software_versions or scanned.software_versions) or _NOT_RECORDED
    made_by = Dataset()
    made_by.PurposeOfReferenceCodeSequence = [coded_item(_PROCESSING_EQUIPMENT)]
    made_by.Manufacturer = "Coverslip"
    made_by.ContributionDescription = f"Converted to DICOM, compressed tiles unchanged, by {converter}"
    dataset.ContributingEquipmentSequence = [made_by]
