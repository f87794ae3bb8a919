"""A scanner's slide becomes DICOM whole slide images: its compressed tiles unchanged, the same bytes every time.

The scanner's own formats are read by opentile (Aperio, Hamamatsu NDPI, Philips TIFF, 3DHISTECH TIFF, OME-TIFF). A
slide that is DICOM already, or whose tiles DICOM can't carry as they are, is refused with a sentence: nothing
that a scanner compressed is ever compressed again.
"""

import errno
import hashlib
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Final

from pydantic import Field, StringConstraints, ValidationError
from wsidicom import WsiDicom
from wsidicom.codec import Encoder, NumpySettings
from wsidicom.group import Instances
from wsidicomizer.sources import OpenTileSource

from connectors.disk import sync_folder
from connectors.slides.attributes import Scanned, stated_attributes
from connectors.slides.frames import check_carried_unchanged, pixels_of
from connectors.slides.header import SlideHeader, read_header
from connectors.slides.stamping import DerivedUids, Stamp
from connectors.slides.validity import check_arrived_whole, inspect
from connectors.slides.writing import write_object
from models.errors import CoverslipError, RejectedError, TransientError
from models.failpoint import failpoint
from models.statements import Frozen

_CONVERTERS: Final = ("wsidicomizer", "wsidicom", "opentile")

_UNFINISHED: Final = ".unfinished"
_FINISHED: Final = "dicom"

_LARGEST_WITH_BASIC_OFFSETS: Final = 3_500_000_000
"""Bytes of a slide. The basic offset table ends at 4 GiB (PS3.5 A.4); a larger slide gets the extended one."""

_DISK_IS_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})


class _Job(Frozen):
    path: Path
    folder: Path
    scan_id: Annotated[str, StringConstraints(min_length=1)]
    edition: Annotated[int, Field(ge=1)]


def convert(arguments: Mapping[str, object]) -> dict[str, object]:
    """Convert one slide, for a bounded child process: JSON in, JSON out.

    Parameters
    ----------
    arguments
        ``path`` of the slide; ``folder``, private to this attempt; ``header``, a ``SlideHeader``; ``scan_id``;
        ``edition``, 1 or more.

    Returns
    -------
    dict
        ``converter``, its name and versions; ``instances``, one for each object with ``role`` (``level-0``, ...,
        ``label``, ``overview``, ``thumbnail``), ``path`` below ``folder``, ``sop_instance_uid``, ``sha256``,
        ``bytes``, ``rows`` and ``columns`` of the whole image, ``frames``, ``transfer_syntax``.
        The objects lie in ``folder/dicom``, all of them, readable and on the disk, or not at all.

    Raises
    ------
    RejectedError
        When the slide is damaged, in no known format, or can't be carried unchanged.
    TransientError
        When the disk is full or a system library is missing.
    """
    job, header = _read(arguments)
    with _our_errors(job):
        check_arrived_whole(job.path)
        unfinished = _emptied(job.folder / _UNFINISHED)
        roles = _write_objects(job, header, unfinished)
        instances = [_finished(unfinished, role) for role in roles]
        sync_folder(unfinished)
        _emptied(job.folder / _FINISHED).rmdir()
        failpoint("conversion.before_rename")
        unfinished.rename(job.folder / _FINISHED)
        sync_folder(job.folder)
        failpoint("conversion.after_rename")
    return {"instances": instances, "converter": converter()}


@cache
def converter() -> str:
    """Return the name and version of what converts; another one means another edition."""
    return ", ".join(f"{name} {version(name)}" for name in _CONVERTERS)


def _read(arguments: Mapping[str, object]) -> tuple[_Job, SlideHeader]:
    stated = dict(arguments)
    header = read_header(stated.pop("header", None))
    try:
        return _Job.model_validate(stated), header
    except ValidationError as error:
        raise RejectedError("The conversion was asked for without a path, folder, scan id or edition.") from error


def _write_objects(job: _Job, header: SlideHeader, folder: Path) -> list[str]:
    """Write every image of the slide into the folder, each named for its role, and return the roles."""
    uids = DerivedUids(header.study_instance_uid, job.scan_id, job.edition)
    # What the scanner did not compress, the label as a rule, is written uncompressed: lossless, and read by all.
    encoder = Encoder.create_for_settings(NumpySettings())
    source = OpenTileSource(job.path, encoder, uid_generator=uids)
    scanned = _what_the_slide_says(source)
    stamp = Stamp(stated_attributes(header, scanned, converter()), _has_colour_profile(source))
    large = job.path.stat().st_size > _LARGEST_WITH_BASIC_OFFSETS
    roles = []
    with WsiDicom(source, True) as slide:  # noqa: FBT003 - the library's own signature: close the source with it
        for number, (role, group) in enumerate(_images(slide), start=1):
            dataset = group.default_instance.dataset.as_tiled_full(
                group.focal_planes, group.optical_paths, group.tiled_size
            )
            stamp.put_on(dataset, uids.instance_uid(role), number)
            write_object(_named(folder, role), dataset, pixels_of(group, large=large))
            roles.append(role)
    return roles


def _images(slide: WsiDicom) -> Iterator[tuple[str, Instances]]:
    """Yield each image of the slide with its role; levels from the largest to the smallest."""
    levels = [level for pyramid in slide.pyramids for level in pyramid]
    for number, level in enumerate(levels):
        check_carried_unchanged(level)
        yield f"level-{number}", level
    thumbnails = [group for pyramid in slide.pyramids if pyramid.thumbnails for group in pyramid.thumbnails.groups]
    for role, groups in (("thumbnail", thumbnails), ("overview", slide.overviews), ("label", slide.labels)):
        for number, group in enumerate(groups or ()):
            yield f"{role}-{number}" if number else role, group


def _what_the_slide_says(source: OpenTileSource) -> Scanned:
    equipment = source.base_metadata.equipment
    return Scanned(
        at=source.base_metadata.pyramid.image.acquisition_datetime,
        manufacturer=equipment.manufacturer or None,
        model=equipment.model_name or None,
        serial_number=equipment.device_serial_number or None,
        software_versions=tuple(text for text in equipment.software_versions or () if text),
    )


def _has_colour_profile(source: OpenTileSource) -> bool:
    """Tell whether the slide brings an ICC profile of its own."""
    return any(path.icc_profile is not None for path in source.base_metadata.pyramid.optical_paths)


def _finished(folder: Path, role: str) -> dict[str, object]:
    """Read one object back, put it on the disk and say what it is."""
    path = _named(folder, role)
    found = inspect(path)
    with path.open("rb") as file:
        os.fsync(file.fileno())
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {
        "role": role,
        "path": f"{_FINISHED}/{path.name}",
        "sop_instance_uid": found.sop_instance_uid,
        "sha256": digest,
        "bytes": path.stat().st_size,
        "rows": found.rows,
        "columns": found.columns,
        "frames": found.frames,
        "transfer_syntax": found.transfer_syntax,
    }


def _named(folder: Path, role: str) -> Path:
    return folder / f"{role}.dcm"


def _emptied(folder: Path) -> Path:
    """Return the folder, empty: what an attempt that was killed left in it is worth nothing."""
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    return folder


@contextmanager
def _our_errors(job: _Job) -> Iterator[None]:
    """Turn what the libraries raise into ours, and leave nothing half made behind."""
    try:
        yield
    except BaseException as error:
        shutil.rmtree(job.folder / _UNFINISHED, ignore_errors=True)
        if isinstance(error, (CoverslipError, MemoryError)) or not isinstance(error, Exception):
            raise  # what memory is allowed is the parent's to say
        raise _ours(error, job) from error


def _ours(error: Exception, job: _Job) -> CoverslipError:
    if isinstance(error, OSError) and error.errno in _DISK_IS_FULL:
        return TransientError(
            f"The disk is full: {shutil.disk_usage(job.folder).free} bytes are free, and converting takes about "
            f"{job.path.stat().st_size}; make room."
        )
    if isinstance(error, FileNotFoundError) and "turbojpeg" in str(error):
        return TransientError("A system library that converting needs is missing; install libturbojpeg0.")
    if isinstance(error, OSError) and error.errno is not None:
        return TransientError(f"The slide or its folder can't be reached ({errno.errorcode.get(error.errno, 'EIO')}).")
    if isinstance(error, KeyError) and error.args == ("MPP",):
        return RejectedError("The slide doesn't say how large a pixel is (MPP), and DICOM must; scan the glass again.")
    # A damaged slide breaks its readers in any way there is, so what is left is the slide's fault.
    return RejectedError(
        f"The slide can't be converted ({type(error).__name__}): it is damaged or in an unknown format; "
        "open it in the scanner's viewer, or scan the glass again."
    )
