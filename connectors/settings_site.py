"""Settings of a site, and the words that all settings are made of."""

from datetime import timedelta
from typing import Annotated, Literal
from zoneinfo import available_timezones

from pydantic import AfterValidator, Field

from connectors.settings_wire import FrozenSettings, Seconds
from models.identifier_pattern import compiled

Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")]
Title = Annotated[str, Field(min_length=1, max_length=200)]
Subspecialty = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_]{0,62}$")]
Authority = Literal["coverslip", "lims", "pacs"]
"""Who may say who reads a case."""


def _zone(name: str) -> str:
    if name not in available_timezones():
        message = f"{name!r} is no IANA time zone; for example: Europe/London"
        raise ValueError(message)
    return name


def _pattern(text: str) -> str:
    compiled(text)
    return text


class SiteRules(FrozenSettings):
    """A site and the rules that differ from site to site."""

    id: Name
    name: Title
    zone: Annotated[str, AfterValidator(_zone)] = "Europe/London"
    lims: Name
    """Who is told: the name of a ``lims`` entry."""
    identifier_pattern: Annotated[str, AfterValidator(_pattern)] = (
        r"(?P<container>[0-9]{2}[A-Z][0-9]{4,8}-[A-Z]{1,2}[0-9]{0,3}-[0-9]{1,3})"
    )
    settle_after: Seconds = timedelta(seconds=60)
    """An expected set is closed when no order changed it for so long."""
    order_wait: Seconds = timedelta(hours=12)
    """A scan without its order goes to a person after so long."""
    scan_wait: Seconds = timedelta(hours=48)
    """A slide without a scan is raised after so long."""
    person_wait: Seconds = timedelta(hours=4)
    """A wait for a person is raised after so long."""
    work_wait: Seconds = timedelta(hours=72)
    """Work that the laboratory was asked for is raised after so long."""
    allocation: Authority = "coverslip"
    """Who says who reads a case; what others say is recorded and checked, and never overwritten where it is theirs."""
    allocation_of: dict[Subspecialty, Authority] = Field(default_factory=dict)
    """The subspecialties in which somebody else says so."""

    def who_allocates(self, subspecialty: str | None) -> Authority:
        """Return who says who reads a case of this subspecialty."""
        return self.allocation_of.get(subspecialty or "general", self.allocation)
