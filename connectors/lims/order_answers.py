"""What a peer's answer says of the orders that we placed: taken or not, order by order (ORL^O22, ORR^O02)."""

from connectors.lims import dpow
from connectors.lims.message import Message
from models.errors import RejectedError
from models.statements import Frozen

# HL7 table 0119: accepted, or unable to accept, to fill.
_TAKEN = {dpow.ACCEPTED: True, "NA": True, dpow.REFUSED: False, "UM": False, "DE": False}
_REASON_CHARACTERS = 500


class OrderAnswered(Frozen):
    """One order of ours as answered: our number (ORC-2), the peer's own (ORC-3), and why it was refused."""

    number: str
    accepted: bool
    filler_number: str = ""
    reason: str = ""


def orders_answered(raw: bytes) -> tuple[OrderAnswered, ...]:
    """Return what an answer says of each order; nothing for a plain acknowledgement, or one that can't be read."""
    try:
        message = Message(raw)
    except RejectedError:
        return ()
    if message.problem:
        return ()
    said_why = _why(message)
    found = []
    for orc in message.named("ORC"):
        accepted = _TAKEN.get(orc.stated(1).upper())
        number = orc.stated(2)
        if accepted is not None and number:
            reason = "" if accepted else (orc.stated(16, 2) or orc.stated(16) or said_why)[:_REASON_CHARACTERS]
            filler = orc.stated(3)[:200]
            found.append(OrderAnswered(number=number, accepted=accepted, filler_number=filler, reason=reason))
    return tuple(found)


def _why(message: Message) -> str:
    """Return the peer's words: NTE-3, else ERR-8, ERR-7, else MSA-3."""
    for name, number in (("NTE", 3), ("ERR", 8), ("ERR", 7), ("MSA", 3)):
        for segment in message.named(name):
            if text := segment.stated(number):
                return text
    return ""
