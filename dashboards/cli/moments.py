"""Where in a topic a person means: an offset, or a time of some zone that is always said back."""

from datetime import datetime
from typing import TypeAlias
from zoneinfo import ZoneInfo

from connectors.settings import Settings
from dashboards.cli.times import when
from models.errors import RefusedError

Place: TypeAlias = datetime | int
"""A time of writing, or an offset."""


def place_said(said: str, option: str, settings: Settings, site: str | None) -> Place:
    """Return what somebody typed: only digits are an offset, all else a time of ISO 8601.

    A time without offset is one of the site, or of all sites where they share a zone.

    Raises
    ------
    RefusedError
        It is neither, or it is not clear which time it is.
    """
    if said.isdecimal():
        return int(said)
    return _time(said, option, settings, site, ("an offset, or ", ", or --site"))


def time_said(said: str, option: str, settings: Settings, site: str | None) -> datetime:
    """Return a time as somebody typed it in ISO 8601; without offset it is one of the site, as in ``place_said``.

    Raises
    ------
    RefusedError
        It is none, or it is not clear which time it is.
    """
    return _time(said, option, settings, site, ("", ""))


def place_in_words(place: Place, zone: str) -> str:
    """Return it for people: a time in this zone, however it was typed."""
    return f"offset {place}" if isinstance(place, int) else when(place, zone, exactly=True)


def _time(said: str, option: str, settings: Settings, site: str | None, ways_out: tuple[str, str]) -> datetime:
    or_else, or_site = ways_out
    try:
        at = datetime.fromisoformat(said)
    except ValueError as error:
        message = f"{option} takes {or_else}a time as in 2026-03-02T09:30+00:00"
        raise RefusedError(message) from error
    if at.tzinfo is not None:
        return at
    return _local(at, option, _zone(option, settings, site, or_site))


def _zone(option: str, settings: Settings, site: str | None, or_site: str) -> ZoneInfo:
    zones = {one.zone for one in settings.sites if site in (None, one.id)}
    if len(zones) != 1:
        message = f"{option}: the sites are in several zones, so say the time's offset, as in 09:30+00:00{or_site}"
        raise RefusedError(message)
    return ZoneInfo(zones.pop())


def _local(at: datetime, option: str, zone: ZoneInfo) -> datetime:
    local = at.replace(tzinfo=zone)
    if local.utcoffset() != local.replace(fold=1).utcoffset():
        message = f"{option}: the clocks change then in {zone.key}, so say the time's offset, as in 01:30+00:00"
        raise RefusedError(message)
    return local
