"""Which profile a peer's messages are read by."""

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo

from connectors.lims.profile import Profile, profile_named
from connectors.settings import Settings
from connectors.settings_wire import DoorWire
from models.errors import RefusedError

_OF_THE_WIRE: Final = (
    "acknowledgement",
    "answer_with",
    "unknown_type_answer",
    "processing_id",
    "processing_id_answer",
    "charset",
)


def profile_of(settings: Settings, peer: str) -> Profile:
    """Return the profile that this peer's listener names, with what the listener says otherwise."""
    for listener in settings.listeners:
        if listener.peer == peer:
            site = settings.site(listener.site)
            named = _named(listener.profile, settings.home, peer, site.id, listener.issuer, site.zone)
            said = _said_of_the_wire(named, listener)
            if listener.subspecialties:
                ours = {code.upper(): to for code, to in listener.subspecialties.items()}
                said["subspecialties"] = {**named.subspecialties, **ours}
            return named.model_copy(update=said)
    message = f"no listener of the settings is named {peer} any more: put it back, then rerun its messages"
    raise RefusedError(message)


def _said_of_the_wire(named: Profile, listener: DoorWire) -> dict[str, Any]:
    """Return what a listener's settings say about limits and answers in place of its profile."""
    said = {name: getattr(listener, name) for name in _OF_THE_WIRE if getattr(listener, name) is not None}
    if listener.processing_id == "any":
        said["processing_id"] = None
    limits = replace(named.limits, segments=listener.segments, repetitions_a_segment=listener.repetitions)
    return {**said, "limits": limits}


@cache
def _named(name: str, folder: Path, peer: str, site: str, issuer: str, zone: str) -> Profile:
    # Made once: a profile is read from files, and its tables are copied whenever one is made. A file that changes
    # counts from the next start on, as the settings do.
    return profile_named(name, folder, peer=peer, site=site, issuer=issuer, zone=ZoneInfo(zone))
