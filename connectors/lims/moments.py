"""Times and dates as HL7 writes them (DTM and DT, 2.5.1 section 2.A.21 and 2.A.22)."""

import re
from datetime import UTC, date, datetime, timedelta, timezone
from functools import lru_cache
from zoneinfo import ZoneInfo

from models.statements import Stamp

_MOMENT = re.compile(
    r"(?P<year>\d{4})(?P<month>\d\d)(?P<day>\d\d)"
    r"(?:(?P<hour>\d\d)(?P<minute>\d\d)?(?P<second>\d\d)?(?:\.(?P<fraction>\d{1,6}))?)?"
    r"(?P<offset>Z|[+-]\d\d:?\d\d)?",
    re.ASCII,
)
# Outside these years a time is a slip of a keyboard, and arithmetic on it may overflow.
_FIRST_YEAR, _LAST_YEAR = 1850, 2200
_LONGEST = 32


def read_stamp(text: str, zone: ZoneInfo, *, end_of_day: bool = False) -> Stamp | None:
    """Return the moment with its raw text; ``None`` when it is none or has no day.

    A time without offset is the zone's (the earlier one where a clock goes back). A date alone is the first
    second of that day, or its last one for something that is due on it.
    """
    return _stamp(text, zone, end_of_day) if len(text) <= _LONGEST else None


# A message says the same few times of each of its containers.
@lru_cache(maxsize=256)
def _stamp(text: str, zone: ZoneInfo, end_of_day: bool) -> Stamp | None:  # noqa: FBT001 - of a cache's key
    found = _MOMENT.fullmatch(text)
    if found is None:
        return None
    hour, minute, second = (found[part] for part in ("hour", "minute", "second"))
    clock = (23, 59, 59) if hour is None and end_of_day else (int(hour or 0), int(minute or 0), int(second or 0))
    offset = found["offset"]
    micro = int((found["fraction"] or "0").ljust(6, "0"))
    try:
        day = date(int(found["year"]), int(found["month"]), int(found["day"]))
        at = datetime(day.year, day.month, day.day, *clock, micro, tzinfo=_offset(offset) if offset else zone)
    except ValueError:
        return None
    if not _FIRST_YEAR <= day.year <= _LAST_YEAR:
        return None
    return Stamp(at=at.astimezone(UTC), raw=text, zone_assumed=offset is None)


def read_date(text: str) -> date | None:
    """Return the day that a date, or a time of which only the day counts, names; ``None`` when it is none."""
    stamp = read_stamp(text[:8], ZoneInfo("UTC"))
    return stamp.at.date() if stamp else None


def _offset(text: str) -> timezone:
    """Return ``+0100``, ``-05:00`` or ``Z`` as an offset from UTC; ``ValueError`` when it is a day or more."""
    if text == "Z":
        return UTC
    minutes = int(text[1:3]) * 60 + int(text[-2:])
    return timezone(timedelta(minutes=-minutes if text[0] == "-" else minutes))
