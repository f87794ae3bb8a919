"""What a message says of how a case is read: its subspecialty, and what it weighs."""

import re
from collections.abc import Iterable, Sequence

from connectors.lims.message import Segment
from connectors.lims.profile import Profile
from models.statements import MOST_POINTS

_NUMBER = re.compile(r"\+?([0-9]{1,9}(\.[0-9]{0,9})?|\.[0-9]{1,9})", re.ASCII)
_DELETED_OBSERVATIONS = frozenset({"D", "X"})


def subspecialty_in(segments: Sequence[Segment], profile: Profile) -> str | None:
    """Return the subspecialty of the first code that has one, field by field of the profile."""
    for place in profile.subspecialty_fields:
        for segment in segments:
            if segment.name != place.segment or not segment.raw(place.field):
                continue
            for component in (place.component, place.component + 3) if place.whole_field else (place.component,):
                code = segment.stated(place.field, component, place.subcomponent).upper()
                if code in profile.subspecialties:
                    return profile.subspecialties[code]
    return None


def points_in(segments: Iterable[Segment], profile: Profile, problems: list[str]) -> float | None:
    """Return the sum of what is observed as points; ``None``, with a problem, when one of them is no weight."""
    said: list[float] = []
    for segment in segments:
        named = {segment.stated(3).upper(), segment.stated(3, 4).upper()} if segment.name == "OBX" else set()
        if not named & profile.points_observations or segment.stated(11) in _DELETED_OBSERVATIONS:
            continue
        points = _number(segment.stated(5))
        if points is None:
            problems.append(
                f"OBX-5 (points) is no number from 0 to {MOST_POINTS}: the case keeps the weight that it has."
            )
            return None
        said.append(points)
    total = sum(said)
    if total > MOST_POINTS:
        problems.append(f"OBX-5 (points) comes to more than {MOST_POINTS}: the case keeps the weight that it has.")
        return None
    return total if said else None


def _number(said: str) -> float | None:
    """Return an NM (HL7 2.5.1, 2.A.47) that is a weight; never NaN, which Python would read too."""
    return float(said) if _NUMBER.fullmatch(said) and float(said) <= MOST_POINTS else None
