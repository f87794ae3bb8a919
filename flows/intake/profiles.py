"""Which profile a peer's messages are read by."""

from dataclasses import replace
from functools import cache
from typing import Any, Final
from zoneinfo import ZoneInfo

from connectors.lims.profile import Profile
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
    """Return the default profile with what this peer's listener overrides."""
    for listener in settings.listeners:
        if listener.peer == peer:
            site = settings.site(listener.site)
            default = _default(peer, site.id, listener.issuer, site.zone)
            said = _said_of_the_wire(default, listener)
            if listener.subspecialties:
                ours = {code.upper(): to for code, to in listener.subspecialties.items()}
                said["subspecialties"] = {**default.subspecialties, **ours}
            return default.model_copy(update=said)
    message = f"no listener of the settings is named {peer} any more: put it back, then rerun its messages"
    raise RefusedError(message)


def _said_of_the_wire(default: Profile, listener: DoorWire) -> dict[str, Any]:
    """Return what a listener's settings say about limits and answers in place of its profile."""
    said = {name: getattr(listener, name) for name in _OF_THE_WIRE if getattr(listener, name) is not None}
    if listener.processing_id == "any":
        said["processing_id"] = None
    limits = replace(default.limits, segments=listener.segments, repetitions_a_segment=listener.repetitions)
    return {**said, "limits": limits}


@cache
def _default(peer: str, site: str, issuer: str, zone: str) -> Profile:
    # Made once: its tables are copied whenever one is made, which costs more than to read a message's header.
    return Profile(peer=peer, site=site, issuer=issuer, zone=ZoneInfo(zone))
