"""What a message states, by the profile of the peer that sent it.

This is where HL7 ends: what leaves is a ``MessageStated``, and nothing behind it knows of segments.
"""

import re
from dataclasses import dataclass
from typing import Any

from connectors.lims.dpow import Transaction, transaction
from connectors.lims.groups import group
from connectors.lims.merging import read_merges, read_moves
from connectors.lims.message import Message
from connectors.lims.moments import read_stamp
from connectors.lims.ordering import read_order
from connectors.lims.patient import read_patient
from connectors.lims.processing import why_not_for_us
from connectors.lims.profile import KNOWN_CODES, Profile, Reads
from connectors.lims.reports import read_report
from connectors.lims.transactions import read_case_update, read_images, read_work_done
from models.errors import RejectedError
from models.statements import MessageStated, PatientStated, Stamp

_LONGEST_SEQUENCE_NUMBER = 15
_ORDER_OF_DPOW = "OML^O21"
# Who sends these owns the patient's record; what other messages say of it is an echo.
_STATE_THE_PATIENT = frozenset({"order", "patient", "merge", "move"})


@dataclass(frozen=True, slots=True)
class _Kind:
    """What a message is called, what is read from it, and why not when nothing is."""

    named: str
    reads: Reads | None = None
    transaction: Transaction | None = None
    why_unused: str = ""


def read(message: Message, profile: Profile) -> MessageStated:
    """Return what the message states.

    A message of a type that Coverslip does not use comes back with nothing stated, and a problem that says so.

    Raises
    ------
    RejectedError
        When the message is broken, or what it says about its case cannot be acted on without guessing.
    """
    if why := message.problem or why_not_for_us(message.header, profile):
        raise RejectedError(why)
    problems = list(message.notes)
    kind = _kind(message, profile)
    if kind.why_unused:
        problems.append(kind.why_unused)
    stated = _stated(message, kind, profile, problems)
    header = message.header
    return MessageStated(
        message_type=kind.named or "unknown",
        message_control_id=header.control_id.decode("utf-8", "replace").strip(),
        sent_at=_sent_at(message, profile, problems),
        sequence_number=_sequence_number(message, problems),
        **stated,
        problems=tuple(dict.fromkeys(problems)),
    )


def _kind(message: Message, profile: Profile) -> _Kind:
    """Return what a message is by MSH-9, and an OML^O21 also by MSH-21."""
    named = _type_of(message)
    reads = profile.reads.get(named)
    if reads == "order" and named == _ORDER_OF_DPOW:
        said = (transaction(one.stated()) for one in message.named("MSH")[0].repetitions(21))
        meant = next((one for one in said if one), None)
        if meant is not None:
            unused = f"This {named} (MSH-21) is not a message Coverslip acts on yet: it is kept unread."
            return _Kind(named, meant.reads, meant, "" if meant.reads else unused)
    if reads is not None:
        return _Kind(named, reads)
    if named[:3] in KNOWN_CODES:
        return _Kind(named, why_unused=f"{named} is not a message Coverslip acts on yet: it is kept unread.")
    return _Kind(named, why_unused="MSH-9 names no message type that we know: the message is kept unread.")


def _type_of(message: Message) -> str:
    """Return MSH-9 as ``ADT^A08``; where older senders leave the event to EVN-1, that is taken."""
    named = message.header.message_type
    if len(named) != len("ADT"):
        return named
    event = next((segment.stated(1) for segment in message.named("EVN")), "")
    return f"{named}^{event}" if re.fullmatch(r"[A-Z][A-Z0-9]{2}", event) else named


def _stated(message: Message, kind: _Kind, profile: Profile, problems: list[str]) -> dict[str, Any]:
    """Return the parts of a statement that this kind of message has."""
    stated: dict[str, Any] = {}
    if kind.reads in _STATE_THE_PATIENT:
        stated["patient"] = _patient(message, kind, profile, problems)
    match kind.reads:
        case "merge":
            stated["merges"] = read_merges(message, profile)
        case "move":
            stated["moves"] = read_moves(message, profile)
        case None | "patient":
            pass
        case _:
            stated |= _of_a_case(message, kind, profile, problems)
    return stated


def _of_a_case(message: Message, kind: _Kind, profile: Profile, problems: list[str]) -> dict[str, Any]:
    site = profile.site or message.header.text(4)
    if not site:
        raise RejectedError("Neither the settings of this peer nor MSH-4 name a site for the order.")
    groups = group(message.segments)
    match kind.reads:
        case "report":
            return {"report": read_report(groups, profile, site, problems)}
        case "case update":
            return {"case_update": read_case_update(groups, profile, site, problems)}
        case "images":
            return {"images": read_images(groups, profile, site, problems)}
        case "work done":
            return {"work_done": read_work_done(groups, profile, site)}
        case _:
            registers = kind.transaction.registers if kind.transaction else None
            if registers:
                _expect_one_asset(len(groups.containers), problems)
            return {"order": read_order(groups, profile, site, problems, registers)}


def _expect_one_asset(count: int, problems: list[str]) -> None:
    """LAB-100 has exactly one SPM: without one nothing is registered, and more are no guess."""
    if count == 0:
        raise RejectedError("A registration of DPOW (LAB-100) has no SPM: it does not say what was registered.")
    if count > 1:
        problems.append("A registration of DPOW (LAB-100) has more than one SPM: each was registered.")


def _patient(message: Message, kind: _Kind, profile: Profile, problems: list[str]) -> PatientStated | None:
    """Return the patient, which an update must have and an order should; of several that are merged, none."""
    found = message.named("PID")
    if not found and kind.reads == "order":
        problems.append("The message has no PID: its order names no patient.")
    elif not found:
        raise RejectedError(f"{kind.named} has no PID: it does not say whose record was updated.")
    elif len(found) == 1 or kind.reads in ("order", "patient"):
        return read_patient(found[0], profile, problems)
    return None


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
