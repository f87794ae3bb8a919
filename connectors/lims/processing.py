"""Whether a message is meant for this interface at all: production, training or debugging (MSH-11, HL7 table 0103)."""

from connectors.lims.header import Header
from connectors.lims.profile import Profile

_MEANINGS = {"P": "production", "T": "training", "D": "debugging"}


def why_not_for_us(header: Header, profile: Profile) -> str:
    """Return why a message is kept and not acted on, as one sentence, or an empty text.

    HL7 2.5.1, 2.9.2.2: a processing id that is not acceptable rejects a message. One that says nothing is taken as
    ours, since many senders leave the field out.
    """
    said = header.text(11).upper()
    if not said or profile.processing_id is None or said == profile.processing_id:
        return ""
    meant = f"{said} ({_MEANINGS[said]})" if said in _MEANINGS else "none that HL7 knows"
    return f"MSH-11 (processing id) is {meant}; here {profile.processing_id} is taken: kept, and not acted on."
