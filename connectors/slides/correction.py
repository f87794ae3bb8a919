"""A converted object under another name: its header is written anew, its pixels are copied byte for byte.

What comes out is what converting the slide again would have made, without the slide and without decoding anything.
"""

import hashlib
import os
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Annotated, BinaryIO, Final

from pydantic import Field, StringConstraints, ValidationError
from pydicom.dataset import Dataset
from pydicom.filereader import read_partial
from pydicom.tag import BaseTag

from connectors.disk import sync_folder
from connectors.slides.attributes import NAMED_WHEN_KNOWN, named_attributes
from connectors.slides.header import SlideHeader, read_header
from connectors.slides.stamping import DerivedUids
from connectors.slides.writing import write_header
from models.errors import RejectedError, TransientError
from models.statements import Frozen

_PIXEL_GROUP: Final = 0x7FE0
"""Offset tables, pixel data and whatever follows them: none of it names anybody."""

_CHUNK_BYTES: Final = 1 << 20

_MOMENT: Final = "%Y%m%d%H%M%S.%f"

_Text = Annotated[str, StringConstraints(min_length=1)]


class _Job(Frozen):
    path: Path
    sha256: _Text
    folder: Path
    role: Annotated[str, StringConstraints(pattern=r"^[a-z0-9-]{1,32}$")]
    scan_id: _Text
    edition: Annotated[int, Field(ge=2)]


def correct(arguments: Mapping[str, object]) -> dict[str, object]:
    """Make one object of an edition from that of a former one, for a bounded child process: JSON in, JSON out.

    Parameters
    ----------
    arguments
        ``path`` of the former object and its ``sha256`` by the books; ``folder``, private to this attempt; ``role``;
        ``header``, a ``SlideHeader``; ``scan_id``; ``edition``, 2 or more.

    Returns
    -------
    dict
        ``instance``: ``role``, ``sop_instance_uid``, ``sha256``, ``bytes`` of what lies, on the disk, in
        ``folder/dicom/<role>.dcm``, and ``pixels_sha256`` of all that was copied; ``None`` when there is no file or
        not the one that the books know: then nothing of it was read as DICOM.

    Raises
    ------
    RejectedError
        When the header can't be written, or the object is none that was converted here.
    TransientError
        When the disk gives back other bytes than were written.
    """
    job, header = _read(arguments)
    if not _is_in_the_books(job):
        return {"instance": None}
    target = job.folder / "dicom" / f"{job.role}.dcm"
    target.parent.mkdir(exist_ok=True)
    with job.path.open("rb") as former:
        dataset = read_partial(former, stop_when=_has_pixels)
        _rename(dataset, job, header)
        copied, pixels_at = _write(target, dataset, former)
    sync_folder(target.parent)
    sha256, kept = _read_back(target, pixels_at)
    if kept != copied:
        raise TransientError("The disk gave back other pixels than were written to it; try again.")
    return {
        "instance": {
            "role": job.role,
            "sop_instance_uid": str(dataset.SOPInstanceUID),
            "sha256": sha256,
            "bytes": target.stat().st_size,
            "pixels_sha256": kept,
        }
    }


def _read(arguments: Mapping[str, object]) -> tuple[_Job, SlideHeader]:
    stated = dict(arguments)
    header = read_header(stated.pop("header", None))
    try:
        return _Job.model_validate(stated), header
    except ValidationError as error:
        raise RejectedError(
            "The correction was asked for without a path, digest, folder, role, scan id or edition."
        ) from error


def _is_in_the_books(job: _Job) -> bool:
    """Tell whether the file is there and is, to the last bit, the one we made: nothing else is parsed."""
    try:
        with job.path.open("rb") as former:
            return hashlib.file_digest(former, "sha256").hexdigest() == job.sha256
    except FileNotFoundError:
        return False


def _has_pixels(tag: BaseTag, _representation: str | None, _length: int) -> bool:
    return tag.group >= _PIXEL_GROUP


def _rename(dataset: Dataset, job: _Job, header: SlideHeader) -> None:
    """Change in place whose slide the object shows and which edition it belongs to; all else stays."""
    for keyword in NAMED_WHEN_KNOWN:
        dataset.pop(keyword, None)
    dataset.update(named_attributes(header, _moment(str(dataset.AcquisitionDateTime))))
    uids = DerivedUids(header.study_instance_uid, job.scan_id, job.edition)
    derived = {
        "SOPInstanceUID": uids.instance_uid(job.role),
        "SeriesInstanceUID": uids.series_uid(None),
        "FrameOfReferenceUID": uids.frame_of_reference_uid(None),
        "DimensionOrganizationUID": uids.dimension_organization_uid(None),
        "PyramidUID": uids.pyramid_uid(None),
    }
    for element in dataset.iterall():
        if element.keyword in derived:
            element.value = derived[element.keyword]


def _moment(text: str) -> datetime:
    """Return when the slide was scanned, as the converter wrote it: with an offset or without."""
    try:
        return datetime.strptime(text, f"{_MOMENT}%z" if len(text) > len("YYYYMMDDHHMMSS.FFFFFF") else _MOMENT)  # noqa: DTZ007 - a slide states no zone
    except ValueError as error:
        raise RejectedError(
            "The object does not say when it was scanned as ours do; convert the scan again."
        ) from error


def _write(target: Path, dataset: Dataset, former: BinaryIO) -> tuple[str, int]:
    """Write header and pixels to the disk; return the digest of what was copied and where it begins."""
    try:
        with target.open("xb") as file:
            write_header(file, dataset, dataset.file_meta.TransferSyntaxUID)
            pixels_at = file.tell()
            digest = hashlib.sha256()
            while some := former.read(_CHUNK_BYTES):
                file.write(some)
                digest.update(some)
            file.flush()
            os.fsync(file.fileno())
    except OSError:
        # Half an object on a full disk helps nobody.
        target.unlink(missing_ok=True)
        raise
    return digest.hexdigest(), pixels_at


def _read_back(path: Path, pixels_at: int) -> tuple[str, str]:
    """Return the digests of a whole file and of what lies from an offset on, in one reading."""
    whole, pixels = hashlib.sha256(), hashlib.sha256()
    with path.open("rb") as file:
        whole.update(file.read(pixels_at))
        while some := file.read(_CHUNK_BYTES):
            for digest in (whole, pixels):
                digest.update(some)
    return whole.hexdigest(), pixels.hexdigest()
