"""The answer to a message, made by hand from its header while the sender waits (HL7 2.5.1, 2.9.2).

An answer says that the message is stored, not that it was understood: what cannot be read is set
aside later. An answer has its own MSH-10 and time from the request and its receipt, so building it twice gives
the same bytes.

In enhanced mode (2.9.3) there may be two: the commit answer, and right behind it on the same connection the application
answer. That is what nearly every sender waits for that asks for both, it needs no way back into the sender's network,
and both are stored with the message, so that a repeat gets both again. None of our answers asks for an answer.
"""

import hashlib
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Literal

from connectors.lims.framing import FrameRefused
from connectors.lims.header import Header, read_header
from connectors.lims.processing import why_not_for_us
from connectors.lims.profile import KNOWN_CODES, Profile

Verdict = Literal["accept", "error", "reject"]

# The answer that a message type asks for, where it is not a plain ACK.
_ANSWER_TYPES = {
    "OML^O21": ("ORL", "O22", "ORL_O22"),
    "OML^O33": ("ORL", "O34", "ORL_O34"),
    "ORM^O01": ("ORR", "O02", "ORR_O02"),
    "ORM": ("ORR", "O02", "ORR_O02"),
}
_ANSWERS = frozenset({"ACK", "ORL", "ORR"})
# MSA-1 (table 0008) in both modes.
_APPLICATION_CODES: dict[Verdict, str] = {"accept": "AA", "error": "AE", "reject": "AR"}
_COMMIT_CODES: dict[Verdict, str] = {"accept": "CA", "error": "CE", "reject": "CR"}
_VERDICTS: dict[str, Verdict] = {code: verdict for verdict, code in _APPLICATION_CODES.items()}
# MSH-15 and MSH-16 (table 0155): for which verdicts an answer is wanted.
_WANTED: dict[str, frozenset[Verdict]] = {
    "AL": frozenset({"accept", "error", "reject"}),
    "NE": frozenset(),
    "ER": frozenset({"error", "reject"}),
    "SU": frozenset({"accept"}),
}
# Table 0357.
_MISSING_FIELD = ("101", "Required field missing")
_SEGMENT_ORDER = ("100", "Segment sequence error")
_UNKNOWN_TYPE = ("200", "Unsupported message type")
_PROCESSING_ID = ("202", "Unsupported processing id")
_INTERNAL_ERROR = ("207", "Application internal error")
# Up to MSH-18.
_NO_FIELDS = (b"",) * 19
# ERR has code and text in fields of their own from this version on.
_NEW_ERR_FROM = "2.5"
_ANSWER_STARTS = re.compile(rb"(?:\A|(?<=\r))MSH")


@dataclass(frozen=True, slots=True)
class Acknowledgement:
    """What the peer is told: one message or two, each from its MSH on; none when it wants to hear nothing.

    ``code`` is MSA-1 of the first.
    """

    code: str
    payload: bytes


@dataclass(frozen=True, slots=True)
class _Fault:
    """What ERR says."""

    code: tuple[str, str]
    text: str
    field: int | None = None


@dataclass(frozen=True, slots=True)
class _Request:
    """A message as far as its answer needs it."""

    header: Header
    sha256: str
    received_at: datetime


def acknowledge(
    raw: bytes, profile: Profile, received_at: datetime, header: Header | None = None, sha256: str = ""
) -> Acknowledgement:
    """Return the answer to a message that was stored.

    A message without MSH, or without MSH-10 or MSH-9, is stored too, but answered AE: without MSH-10 no
    sender can match the answer, and AA would let it believe that all is well with a message
    that a person must look at. ERR names the field. An answer is never answered: two systems that
    answer everything would talk for ever. Who has read the message's ``header`` already, or
    hashed its bytes (``sha256``, hexadecimal), gives it.
    """
    header = header or read_header(raw)
    if header.message_type[:3] in _ANSWERS:
        return Acknowledgement("", b"")
    request = _Request(header, sha256 or hashlib.sha256(raw).hexdigest(), received_at)
    fault = _fault(header)
    if fault is not None:
        return _answer(request, profile, "error", fault)
    if elsewhere := why_not_for_us(header, profile):
        verdict = _VERDICTS[profile.processing_id_answer]
        return _answer(request, profile, verdict, _Fault(_PROCESSING_ID, elsewhere, 11))
    if header.message_type[:3] in KNOWN_CODES or profile.unknown_type_answer == "AA":
        return _answer(request, profile, "accept", None)
    verdict = _VERDICTS[profile.unknown_type_answer]
    unknown = _Fault(_UNKNOWN_TYPE, "The message type in MSH-9 is none that Coverslip knows; it was kept.", 9)
    return _answer(request, profile, verdict, unknown)


def refuse(refused: FrameRefused, profile: Profile, received_at: datetime) -> Acknowledgement:
    """Return the answer to a message that was too large to be stored: AE, since sending it again is no use."""
    text = f"The message has {refused.size} bytes; {refused.limit} are allowed. It was not kept."
    request = _Request(read_header(refused.opening), hashlib.sha256(refused.opening).hexdigest(), received_at)
    return _answer(request, profile, "error", _Fault(_INTERNAL_ERROR, text))


def unavailable(raw: bytes, profile: Profile, received_at: datetime, code: Literal["AE", "AR"]) -> Acknowledgement:
    """Return the answer to a message that could not be stored now, for a peer that wants to hear it."""
    header = read_header(raw)
    if header.message_type[:3] in _ANSWERS:
        return Acknowledgement("", b"")
    fault = _Fault(_INTERNAL_ERROR, "The message could not be stored in time: send it again later.")
    request = _Request(header, hashlib.sha256(raw).hexdigest(), received_at)
    return _answer(request, profile, _VERDICTS[code], fault)


def separate(payload: bytes) -> tuple[bytes, ...]:
    """Return each message of an acknowledgement, as it goes into a frame of its own.

    Our answers take fields from one line of the request, so that only our own MSH begins a line.
    """
    if b"\rMSH" not in payload:
        return (payload,) if payload else ()
    starts = [found.start() for found in _ANSWER_STARTS.finditer(payload)] or [0]
    return tuple(payload[a:b] for a, b in zip(starts, [*starts[1:], len(payload)], strict=True) if b > a)


def _fault(header: Header) -> _Fault | None:
    if not header.problem:
        return None
    return _Fault(_MISSING_FIELD if header.problem_field else _SEGMENT_ORDER, header.problem, header.problem_field)


def _answer(request: _Request, profile: Profile, verdict: Verdict, fault: _Fault | None) -> Acknowledgement:
    """Return what is wanted in the mode that the peer's profile says: one answer, two or none."""
    header = request.header
    wanted = _wanted(header, profile, verdict)
    parts: list[bytes] = []
    for codes in wanted:
        # A commit answer is a plain ACK; only an application answer has the type of its request.
        plain = codes is _COMMIT_CODES or profile.answer_with == "ACK"
        parts += [_msh(request, second=bool(parts), plain=plain), _msa(header, codes[verdict], fault)]
        if fault is not None:
            parts.append(_err(header, fault))
    return Acknowledgement(wanted[0][verdict] if wanted else "", b"".join(part + b"\r" for part in parts))


def _wanted(header: Header, profile: Profile, verdict: Verdict) -> tuple[dict[Verdict, str], ...]:
    """Return the codes of each answer that is wanted, in their order.

    What is refused is refused once: no application ever sees it. An application answer that is all a peer wants comes
    at once: stored is all that an answer ever says.
    """
    commit, application = header.text(15), header.text(16)
    # HL7 2.5.1, 2.9.3: with both empty the original mode holds.
    if profile.acknowledgement == "original" or not (commit or application):
        return (_APPLICATION_CODES,)
    is_wanted = (verdict in _WANTED.get(said or "NE", _WANTED["AL"]) for said in (commit, application))
    wanted = tuple(codes for codes, asked in zip((_COMMIT_CODES, _APPLICATION_CODES), is_wanted, strict=True) if asked)
    return wanted if verdict == "accept" else wanted[:1]


def _msh(request: _Request, *, second: bool, plain: bool) -> bytes:
    """Return MSH with the peers swapped and the request's own delimiters, version and character set."""
    header = request.header
    said = header.fields + _NO_FIELDS[len(header.fields) :]
    separator = said[1] or b"|"
    fields = (
        said[2] or b"^~\\&",
        said[5],
        said[6],
        said[3],
        said[4],
        _time(request.received_at.replace(microsecond=0)),
        b"",
        _answer_type(header.message_type, header.delimiters.component, plain=plain),
        # MSH-10 has room for 20 characters up to HL7 2.6.
        (b"B" if second else b"A") + request.sha256[:19].upper().encode(),
        said[11] or b"P",
        said[12] or b"2.5.1",
        *([b""] * 5),
        said[18],
    )
    return (b"MSH" + separator + separator.join(fields)).rstrip(separator)


# Thousands are answered within one second.
@lru_cache(maxsize=8)
def _time(second: datetime) -> bytes:
    return second.astimezone(UTC).strftime("%Y%m%d%H%M%S+0000").encode()


@lru_cache(maxsize=64)
def _answer_type(message_type: str, component: str, *, plain: bool) -> bytes:
    """Return MSH-9 of the answer to a message of this type."""
    trigger = message_type.partition("^")[2]
    parts = ("ACK", trigger, "ACK") if trigger else ("ACK",)
    if not plain:
        parts = _ANSWER_TYPES.get(message_type, parts)
    return component.join(parts).encode("latin-1")


def _msa(header: Header, code: str, fault: _Fault | None) -> bytes:
    """Return MSA: MSA-2 is MSH-10 byte for byte, however odd."""
    separator = header.raw(1) or b"|"
    fields = [b"MSA", code.encode(), header.control_id]
    if fault is not None:
        fields.append(_text(fault.text, header))
    return separator.join(fields)


def _err(header: Header, fault: _Fault) -> bytes:
    """Return ERR in the form of the request's version: a code table field from 2.5 on, one ELD before."""
    marks = header.delimiters
    separator = (header.raw(1) or b"|").decode("latin-1")
    number, meaning = fault.code
    place = ("MSH", "1", str(fault.field)) if fault.field else ()
    if "2" < header.text(12) < _NEW_ERR_FROM:
        code = marks.subcomponent.join((number, meaning, "HL70357"))
        old = marks.component.join((*(place or ("", "", "")), code))
        return separator.join(("ERR", old)).encode("latin-1")
    code = marks.component.join((number, meaning, "HL70357"))
    fields = ("ERR", "", marks.component.join(place), code, "E", "", "", "", "")
    return separator.join(fields).encode("latin-1") + _text(fault.text, header)


def _text(text: str, header: Header) -> bytes:
    """Return our own words without anything that the request uses as a delimiter."""
    marks = header.delimiters
    used = {marks.field, marks.component, marks.repetition, marks.escape, marks.subcomponent}
    return "".join(" " if mark in used else mark for mark in text).encode("latin-1")
