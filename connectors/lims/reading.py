"""What a message states, by the profile of the peer that sent it.

This is where HL7 ends: what leaves is a ``MessageStated``, and nothing behind it knows of segments.
"""

import re

from connectors.lims.groups import group
from connectors.lims.message import Message
from connectors.lims.moments import read_stamp
from connectors.lims.ordering import read_order
from connectors.lims.patient import read_patient
from connectors.lims.profile import ACTED_ON, KNOWN_CODES, Profile
from models.errors import RejectedError
from models.statements import MessageStated, OrderStated, PatientStated, Stamp

_LONGEST_SEQUENCE_NUMBER = 15


def read(message: Message, profile: Profile) -> MessageStated:
    """Return what the message states.

    A message of a type that Coverslip does not use comes back with neither patient nor order, and a
    problem that says so.

    Raises
    ------
    RejectedError
        When the message is broken, or what it says about its case cannot be acted on without guessing.
    """
    if message.problem:
        raise RejectedError(message.problem)
    problems = list(message.notes)
    unused = _why_unused(message, profile)
    if unused:
        patient, order = None, None
        problems.append(unused)
    else:
        patient, order = _patient(message, profile, problems), _order(message, profile, problems)
    header = message.header
    return MessageStated(
        message_type=header.message_type or "unknown",
        message_control_id=header.control_id.decode("utf-8", "replace").strip(),
        sent_at=_sent_at(message, profile, problems),
        sequence_number=_sequence_number(message, problems),
        patient=patient,
        order=order,
        problems=tuple(dict.fromkeys(problems)),
    )


def _why_unused(message: Message, profile: Profile) -> str:
    """Return why nothing is done with a message of this kind, or an empty text when something is."""
    named = message.header.message_type
    if named in ACTED_ON:
        transaction = message.header.text(21)
        if not named.startswith("OML") or not transaction or transaction in profile.order_profiles:
            return ""
        return f"This {named} (MSH-21) is not a message Coverslip acts on yet: it is kept unread."
    if named[:3] in KNOWN_CODES:
        return f"{named} is not a message Coverslip acts on yet: it is kept unread."
    return "MSH-9 names no message type that we know: the message is kept unread."


def _patient(message: Message, profile: Profile, problems: list[str]) -> PatientStated | None:
    """Return the first patient, which an update must have and an order should."""
    found = message.named("PID")
    if found:
        return read_patient(found[0], profile, problems)
    if message.header.message_type == "ADT^A08":
        raise RejectedError("ADT^A08 has no PID: it does not say whose record was updated.")
    problems.append("The message has no PID: its order names no patient.")
    return None


def _order(message: Message, profile: Profile, problems: list[str]) -> OrderStated | None:
    """Return the order of an order message."""
    if message.header.message_type == "ADT^A08":
        return None
    site = profile.site or message.header.text(4)
    if not site:
        raise RejectedError("Neither the settings of this peer nor MSH-4 name a site for the order.")
    return read_order(group(message.segments), profile, site, problems)


def _sent_at(message: Message, profile: Profile, problems: list[str]) -> Stamp | None:
    """Return MSH-7, which orders what the peer says when it can be read."""
    written = message.header.text(7)
    stamp = read_stamp(written, profile.zone)
    if written and stamp is None:
        problems.append("MSH-7 (time of the message) is not a time.")
    return stamp


def _sequence_number(message: Message, problems: list[str]) -> int | None:
    """Return MSH-13."""
    written = message.header.text(13)
    if not written:
        return None
    if len(written) > _LONGEST_SEQUENCE_NUMBER or not re.fullmatch(r"[0-9]+", written):
        problems.append("MSH-13 (sequence number) is not a number.")
        return None
    return int(written)
