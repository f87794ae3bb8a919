"""Times, ages and sizes as people read them."""

from datetime import datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from markupsafe import Markup

_MINUTE_S: Final = 60
_HOUR_S: Final = 3_600
_DAY_S: Final = 86_400
_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_UNITS: Final = ("bytes", "KiB", "MiB", "GiB", "TiB")
_A_KIB: Final = 1_024
_TEN: Final = 10


def moment(at: datetime, zone: str, now: datetime) -> str:
    """Return a time in a site's own zone, with the zone's name; the year only when it is not this one."""
    there = at.astimezone(ZoneInfo(zone))
    year = "" if there.year == now.astimezone(ZoneInfo(zone)).year else f" {there.year}"
    return f"{there.day} {_MONTHS[there.month - 1]}{year}, {there:%H:%M} {zone_name(there)}"


def exact_moment(at: datetime, zone: str) -> str:
    """Return a time to the second, as history needs it."""
    there = at.astimezone(ZoneInfo(zone))
    return f"{there.day} {_MONTHS[there.month - 1]} {there.year}, {there:%H:%M:%S} {zone_name(there)}"


def zone_name(there: datetime) -> str:
    """Return a zone's short name; one that has only a number is told as an offset from UTC."""
    name = there.tzname() or "UTC"
    return f"UTC{name}" if name[0] in "+-" else name


def age(span: timedelta) -> str:
    """Return how long something has lasted, in at most two units."""
    seconds = int(span.total_seconds())
    if seconds < _MINUTE_S:
        return f"{max(seconds, 0)} s"
    if seconds < _HOUR_S:
        return f"{seconds // _MINUTE_S} min"
    if seconds < _DAY_S:
        return f"{seconds // _HOUR_S} h {seconds % _HOUR_S // _MINUTE_S} min"
    return f"{seconds // _DAY_S} d {seconds % _DAY_S // _HOUR_S} h"


def took(span: timedelta | None) -> str:
    """Return how long a step took; short ones to the tenth of a second."""
    if span is None:
        return ""
    seconds = span.total_seconds()
    return f"{seconds:.1f} s" if seconds < _TEN else age(span)


def size(number: int) -> str:
    """Return a size in the unit that gives it one to four digits."""
    value, unit = float(number), 0
    while value >= _A_KIB and unit < len(_UNITS) - 1:
        value, unit = value / _A_KIB, unit + 1
    return f"{number} bytes" if unit == 0 else f"{value:.1f} {_UNITS[unit]}"


def time_tag(at: datetime, zone: str, now: datetime) -> Markup:
    """Return a time as HTML that a machine can read too, with the seconds on hovering."""
    return Markup('<time datetime="{}" title="{}">{}</time>').format(
        at.isoformat(), exact_moment(at, zone), moment(at, zone, now)
    )


def age_tag(since: datetime, now: datetime) -> Markup:
    """Return how long ago something began; the page's script keeps it counting."""
    return Markup('<span class="age" data-since="{}">{}</span>').format(since.isoformat(), age(now - since))
