"""The pixels of a slide as they lie in its file, in the order in which DICOM wants them."""

from collections.abc import Iterator

import numpy as np
from pydicom.uid import UID
from wsidicom.geometry import Point
from wsidicom.group import Instances
from wsidicom.instance import ImageData

from connectors.slides.writing import Pixels
from models.errors import RejectedError


def check_carried_unchanged(level: Instances) -> None:
    """Refuse a level whose tiles would have to be compressed again.

    Raises
    ------
    RejectedError
        With the name of the compression.
    """
    for image in level.instances.values():
        if image.image_data.transcoder is not None:
            compression = getattr(image.image_data.native_compression, "name", "unknown")
            raise RejectedError(
                f"The slide's tiles are compressed as {compression}, which DICOM can't carry unchanged; "
                "let the scanner write JPEG."
            )


def pixels_of(group: Instances, *, large: bool) -> Pixels:
    """Return the frames of a ``wsidicom`` group (a level, label, overview or thumbnail), read as they are asked for."""
    data = group.default_instance.image_data
    planes = len(group.focal_planes) * len(group.optical_paths)
    return Pixels(
        frames=_encoded(group) if data.transcoder is None else _decoded(group),
        count=data.tiled_size.area * planes,
        transfer_syntax=UID(data.transfer_syntax),
        large=large,
    )


def _encoded(group: Instances) -> Iterator[bytes]:
    for data, path, plane in _planes(group):
        for row in _rows(group):
            yield from data.get_encoded_tiles(row, plane, path)


def _decoded(group: Instances) -> Iterator[bytes]:
    for data, path, plane in _planes(group):
        for row in _rows(group):
            for tile in data.get_decoded_tiles(row, plane, path):
                yield np.asarray(tile, dtype=np.uint8).tobytes()


def _planes(group: Instances) -> Iterator[tuple[ImageData, str, float]]:
    """Yield optical paths and in each its focal planes (PS3.3 C.7.6.17.3, TILED_FULL), always in the same order."""
    for path in sorted(group.optical_paths):
        for plane in group.focal_planes:
            yield group.image_data_map[path, plane], path, plane


def _rows(group: Instances) -> Iterator[list[Point]]:
    size = group.tiled_size
    for row in range(size.height):
        yield [Point(column, row) for column in range(size.width)]
