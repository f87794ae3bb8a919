"""Settings of whom we talk to: the LIMSs that we tell, the ports that hear HL7, the folders that scanners fill."""

from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from connectors.lims.profile_file import DEFAULT
from connectors.settings_site import Name, Subspecialty
from connectors.settings_wire import DoorWire, FrozenSettings, PeerWire, Seconds


class LimsPeer(PeerWire):
    """A LIMS that we tell what happened."""

    # Short enough for the names that are made with it, such as that of its slot.
    name: Annotated[Name, Field(max_length=48)]
    application: str = "LIMS"
    facility: str = ""
    slides_as: Literal["OUL^R22", "OUL^R21", "LAB-104"] = "OUL^R22"
    """How it hears of slides: by specimen, by the older result of an order, or as IHE DPOW tells of images."""
    quality_as: Literal["OBX", "NTE"] = "OBX"
    """Where it finds the verdict on a scan's quality, which has no home in DPOW."""
    rescans_as_work: bool = False
    """A scan that is to be made again is a work order (LAB-102) too."""
    hears_reports: bool = False
    """It is told where a report stands that others stated to us."""
    hears_all_readers: bool = False
    """It is told who reads second, ahead, a part or for an opinion too: one that knows one reader would change it."""


class Listener(DoorWire):
    """A port on which HL7 comes in, for one peer in one dialect."""

    peer: Name
    site: Name
    issuer: str
    """The issuer of container and accession numbers that a message gives without one."""
    profile: Annotated[str, Field(min_length=1, max_length=500)] = DEFAULT
    """How it writes what it means: a shipped profile's name, or the path of a laboratory's own file."""
    subspecialties: dict[str, Subspecialty] = Field(default_factory=dict)
    """Code of OBR-4 or SPM-8 to our subspecialty; the shipped table covers the usual words."""


class ScannerFolder(FrozenSettings):
    """A folder that a scanner writes into."""

    name: Name
    site: Name
    path: Path
    stable_for: Seconds = timedelta(seconds=5)
    patience: Seconds = timedelta(hours=1)
    done_suffix: str | None = None
    at_gateway: bool = False
    """A gateway watches this folder; here is only said of which site it is."""
