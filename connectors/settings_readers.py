"""Settings of the people who read."""

from datetime import time
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from connectors.settings_site import Name, Subspecialty, Title
from connectors.settings_wire import FrozenSettings
from connectors.toml_file import checked, read_toml


def _civil(at: time) -> time:
    if at.tzinfo is not None:
        message = "must have no offset: reading hours are in the civil time of the site, for example 08:30:00"
        raise ValueError(message)
    return at


class Hours(FrozenSettings):
    """Weekly reading hours in the site's civil time.

    They end on the next day when ``ends`` is not after ``starts``: 22:00 to 06:00 is a night, 00:00 to 00:00 a
    whole day.
    """

    days: tuple[Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"], ...]
    starts: Annotated[time, AfterValidator(_civil)]
    ends: Annotated[time, AfterValidator(_civil)]


class Reader(FrozenSettings):
    """A pathologist: what they lead in, what else they may read, and when."""

    id: Name
    name: Title
    site: Name
    points_a_week: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 100.0
    leads: tuple[Subspecialty, ...] = ()
    may_read: tuple[Subspecialty, ...] = ()
    hours: tuple[Hours, ...] = ()
    known_as: tuple[Annotated[str, Field(min_length=1, max_length=200)], ...] = ()
    """What the LIMS and the PACS call them, the first being what we tell them; without any, it is the id."""


class _Readers(FrozenSettings):
    """People alone, written as among the settings."""

    readers: Annotated[tuple[Reader, ...], Field(min_length=1)]


def readers_in(path: Path) -> tuple[Reader, ...]:
    """Return the pathologists of a file that has only [[readers]], written as in the settings file.

    Raises
    ------
    RefusedError
        As ``connectors.settings.load``.
    """
    return checked(_Readers, read_toml(path), path).readers
