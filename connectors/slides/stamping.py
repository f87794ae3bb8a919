"""Our marks on what the converter makes: derived UIDs, and the laboratory's attributes in place of its guesses."""

from dataclasses import dataclass
from functools import cache
from typing import Final

from PIL import ImageCms
from pydicom.dataset import Dataset
from pydicom.uid import UID
from wsidicom.metadata import UidGenerator

from models.uid import derive_uid, instance_uid, series_uid

_SHOWS_THE_LABEL: Final = {"VOLUME": "NO", "THUMBNAIL": "NO", "LABEL": "YES", "OVERVIEW": "YES"}
"""By Image Type (0008,0008) value 3. The label has names printed or written on it, and the macro picture shows it."""

_PROFILE_DATE: Final = slice(24, 36)
_PROFILE_ID: Final = slice(84, 100)


class DerivedUids(UidGenerator):  # type: ignore[misc]  # wsidicom ships no types
    """Answers the converter, which asks for a UID wherever the slide has none: after the scan and the edition."""

    def __init__(self, study_instance_uid: str, scan_id: str, edition: int) -> None:
        self._study_instance_uid = study_instance_uid
        self._scan_id = scan_id
        self._edition = edition

    def study_uid(self, study: object) -> UID:
        """Return the study that the LIMS, the PACS or we chose."""
        del study
        return UID(self._study_instance_uid)

    def series_uid(self, series: object) -> UID:
        """Return the series of this edition."""
        del series
        return UID(series_uid(self._scan_id, self._edition))

    def frame_of_reference_uid(self, metadata: object) -> UID:
        """Return the coordinates that the slide's images share (0020,0052)."""
        del metadata
        return self._derived("frame of reference")

    def dimension_organization_uid(self, metadata: object) -> UID:
        """Return the value of (0020,9164)."""
        del metadata
        return self._derived("dimension organization")

    def pyramid_uid(self, pyramid: object) -> UID:
        """Return the value of Pyramid UID (0008,0019)."""
        del pyramid
        return self._derived("pyramid")

    def sample_uid(self, sample: object) -> UID:
        """Return a placeholder: the specimens are the laboratory's and are stamped later."""
        del sample
        return self._derived("sample")

    def sop_uid(self, dataset: object) -> UID:
        """Return a placeholder: the instance's UID is stamped with its role."""
        del dataset
        return self._derived("instance")

    def annotation_group_uid(self) -> UID:
        """Return a UID that is never written: slides bring no annotations."""
        return self._derived("annotation group")

    def instance_uid(self, role: str) -> UID:
        """Return the SOP Instance UID of a role."""
        return UID(instance_uid(self._scan_id, self._edition, role))

    def _derived(self, kind: str) -> UID:
        return UID(derive_uid(kind, self._scan_id, str(self._edition)))


@dataclass(frozen=True)
class Stamp:
    """The laboratory's attributes, and whether the slide brings a colour profile of its own."""

    stated: Dataset
    slide_has_profile: bool

    def put_on(self, dataset: Dataset, sop_instance_uid: UID, number: int) -> None:
        """Change the data set of one image in place, so that it says what is true and nothing else."""
        flavour = str(dataset.ImageType[2])
        dataset.update(self.stated)
        dataset.SOPInstanceUID = sop_instance_uid
        dataset.InstanceNumber = number
        dataset.BurnedInAnnotation = _SHOWS_THE_LABEL[flavour]
        dataset.SpecimenLabelInImage = _SHOWS_THE_LABEL[flavour]
        if flavour == "THUMBNAIL":
            _say_it_was_resampled(dataset)
        for path in dataset.OpticalPathSequence:
            self._choose_profile(path, dataset)

    def _choose_profile(self, path: Dataset, dataset: Dataset) -> None:
        if str(dataset.PhotometricInterpretation).startswith("MONOCHROME"):
            path.pop("ICCProfile", None)
        elif not (self.slide_has_profile and dataset.ImageType[2] in {"VOLUME", "THUMBNAIL"}):
            path.ICCProfile = srgb_profile()


@cache
def srgb_profile() -> bytes:
    """Return an sRGB profile that does not depend on the day.

    PS3.3 C.8.12.5 requires a profile for each optical path of a colour image; this one stands in for a slide without.
    """
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    profile[_PROFILE_DATE] = b"".join(part.to_bytes(2, "big") for part in (2000, 1, 1, 0, 0, 0))
    profile[_PROFILE_ID] = bytes(16)  # a digest that covers the date; zero means not calculated
    return bytes(profile)


def _say_it_was_resampled(dataset: Dataset) -> None:
    """Say that a thumbnail is made from the scan (PS3.3 C.8.12.4.1.1), which the converter does not."""
    derived = ["DERIVED", "PRIMARY", "THUMBNAIL", "RESAMPLED"]
    dataset.ImageType = derived
    shared = dataset.SharedFunctionalGroupsSequence[0]
    shared.WholeSlideMicroscopyImageFrameTypeSequence[0].FrameType = derived
