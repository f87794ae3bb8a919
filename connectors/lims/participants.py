"""Who is said to read a case."""

import re

from connectors.lims.groups import Groups
from connectors.lims.message import Field
from connectors.lims.profile import Profile
from models.statements import ReaderStated

_TIME = re.compile(r"[0-9]{4,}")


def reader_of(groups: Groups, profile: Profile) -> ReaderStated | None:
    """Return the reading pathologist: PRT-5 by the role in PRT-4, else the profile's fields (OBR-32)."""
    segments = groups.segments()
    for segment in segments:
        if segment.name == "PRT" and segment.stated(4).upper() in profile.reader_roles and segment.stated(5):
            return _person(segment.field(5))
    for place in profile.reader_fields:
        for segment in segments:
            if segment.name == place.segment and segment.stated(place.field):
                return _person(segment.field(place.field))
    return None


def _person(field: Field) -> ReaderStated:
    """Return id, family and given name: the components of an XCN, or the subcomponents of NDL's first (OBR-32)."""
    family, given = field.stated(1, 2), field.stated(1, 3)
    # NDL's second component is a time; many write an XCN there.
    if not family and not _TIME.match(field.stated(2)):
        family, given = field.stated(2), field.stated(3)
    return ReaderStated(id=field.stated(1), family_name=family, given_name=given)
