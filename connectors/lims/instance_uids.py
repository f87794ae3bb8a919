"""DICOM UIDs that a message names."""

import re
from collections.abc import Collection, Iterable, Iterator

from connectors.lims.message import Segment

_UID = re.compile(r"(?=.{3,64}$)[0-9]+(\.[0-9]+)+", re.ASCII)


def uids_observed(segments: Iterable[Segment], observations: Collection[str]) -> Iterator[str]:
    """Yield OBX-5 of every observation of these: a tag or a keyword of DICOM."""
    for segment in segments:
        if segment.name == "OBX" and segment.stated(3).upper() in observations and (said := segment.stated(5)):
            yield said


def the_uid(said: Collection[str], of: str, problems: list[str]) -> str | None:
    """Return the one UID that is said; ``None``, with a problem, when there are several or it is no UID."""
    if len(said) > 1 or not all(map(_UID.fullmatch, said)):
        problems.append(f"The message names no usable {of} Instance UID: there are several, or it is no UID.")
        return None
    return next(iter(said), None)
