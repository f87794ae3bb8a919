"""Order messages of our own, put together from lines: what the tests read and send."""

from pathlib import Path

from connectors.lims.message import Message
from connectors.lims.profile import Profile, profile_named
from connectors.lims.reading import read
from models.statements import MessageStated, OrderStated

PID = "PID|1||9990048215^^^NHS^NH~A100234^^^SITEA^MR||Example^Ada^^^^^L||19640229|F"
PROFILE = Profile(issuer="SITEA")


def dialect(name: str, **also: object) -> Profile:
    """Return a shipped profile of site SITEA, with what a laboratory says otherwise."""
    return profile_named(name, Path(), **{"issuer": "SITEA", **also})


def text(message_type: str, *segments: str, control_id: str = "M1", rest: str = "") -> str:
    """Return a message as its segments, each ended by CR."""
    header = f"MSH|^~\\&|LIMS|SITEA|COVERSLIP|NET|20261122091500+0000||{message_type}|{control_id}|P|2.5.1{rest}"
    return "".join(segment + "\r" for segment in (header, *segments))


def stated(message_type: str, *segments: str, profile: Profile = PROFILE, rest: str = "") -> MessageStated:
    """Return what such a message states."""
    return read(Message(text(message_type, *segments, rest=rest).encode()), profile)


def order(message_type: str, *segments: str, profile: Profile = PROFILE) -> OrderStated:
    """Return the order of such a message, which must have one."""
    found = stated(message_type, PID, *segments, profile=profile).order
    assert found is not None
    return found


def segment(name: str, **fields: str) -> str:
    """Return ``SPM`` with ``f2="x"`` in SPM-2 and so on."""
    numbers = {int(key[1:]): value for key, value in fields.items()}
    return "|".join([name, *(numbers.get(number, "") for number in range(1, max(numbers, default=0) + 1))])


def slide(identifier: str, parent: str = "", **more: str) -> str:
    """Return the SPM of a slide."""
    return segment("SPM", f2=identifier, f3=parent, f27="GLASS", **more)


def orc(control: str = "NW", accession: str = "26H1", **more: str) -> str:
    """Return an ORC whose filler order number is the accession."""
    return segment("ORC", f1=control, f3=accession, **more)


ORDER = text("OML^O33^OML_O33", PID, slide("S1"), orc())
"""An order for one slide, M1."""


def numbered(number: int) -> bytes:
    """Return an order for one slide whose message control id has this number."""
    return text("OML^O33", PID, slide("S1"), orc(), control_id=f"M{number}").encode()
