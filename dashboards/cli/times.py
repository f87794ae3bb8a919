"""How the commands write a time: one look, in the zone of the site where that is known, and how far away it is."""

from datetime import UTC, date, datetime
from typing import TYPE_CHECKING

from dashboards.web.words import age, exact_moment, moment

if TYPE_CHECKING:
    from connectors.settings import Settings


def when(at: datetime, zone: str, now: datetime | None = None, *, exactly: bool = False) -> str:
    """Return a time as people read it, as in ``22 Nov, 16:56 GMT (3 min ago)``; exactly: with year and seconds."""
    now = now or datetime.now(UTC)
    try:
        said = exact_moment(at, zone) if exactly else moment(at, zone, now)
    except OverflowError:
        # What a LIMS wrote may lie at the very end of what a calendar holds.
        said = at.isoformat()
    return f"{said} ({_away(at, now)})"


def zone_of(settings: "Settings", site: str | None = None) -> str:
    """Return a site's zone; without a site, the one that all sites share; else UTC."""
    zones = {one.zone for one in settings.sites if site in (None, one.id)}
    return zones.pop() if len(zones) == 1 else "UTC"


def on_day(day: date) -> str:
    """Return a day as people read it, as in ``27 Nov 2026``."""
    return f"{day.day} {day:%b %Y}"


def _away(at: datetime, now: datetime) -> str:
    return f"{age(now - at)} ago" if at <= now else f"in {age(at - now)}"
