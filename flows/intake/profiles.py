"""Which profile a peer's messages are read by."""

from functools import cache
from zoneinfo import ZoneInfo

from connectors.lims.profile import Profile
from connectors.settings import Settings
from models.errors import RefusedError


def profile_of(settings: Settings, peer: str) -> Profile:
    """Return the default profile with what this peer's listener overrides."""
    for listener in settings.listeners:
        if listener.peer == peer:
            site = settings.site(listener.site)
            default = _default(peer, site.id, listener.issuer, site.zone)
            if not listener.subspecialties:
                return default
            table = {**default.subspecialties, **{code.upper(): to for code, to in listener.subspecialties.items()}}
            return default.model_copy(update={"subspecialties": table})
    message = f"no listener of the settings is named {peer} any more: put it back, then rerun its messages"
    raise RefusedError(message)


@cache
def _default(peer: str, site: str, issuer: str, zone: str) -> Profile:
    # Made once: its tables are copied whenever one is made, which costs more than to read a message's header.
    return Profile(peer=peer, site=site, issuer=issuer, zone=ZoneInfo(zone))
